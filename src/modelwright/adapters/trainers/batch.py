"""The trainer `batch`: a job of a queue and a definition that ``infra/training`` makes, or a team's own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field

from modelwright.adapters.trainers.options import RunOptions, asking, command, read, variables
from modelwright.retraining.trainers import Job, Status

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_batch.type_defs import ContainerOverridesTypeDef, JobDetailTypeDef

_NAME = "batch"


class BatchOptions(RunOptions):
    """Options of a job.

    Attributes:
        job_queue: its name or ARN.
        job_definition: its name, name and revision, or ARN; its image is that of infra/images/full.
        vcpus: instead of the definition's, as ``memory_mb``.
    """

    job_queue: str = Field(min_length=1)
    job_definition: str = Field(min_length=1)
    vcpus: float | None = Field(default=None, gt=0)
    memory_mb: int | None = Field(default=None, ge=4)


class BatchTrainer:
    """Submits jobs that are named by their training; where there is one of that name, it is the one."""

    def __init__(self, environment: Mapping[str, str], client: "BatchClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        options, told = read(BatchOptions, _NAME, job), variables(self._environment)
        limit = int(options.limit_s(job))
        overrides: ContainerOverridesTypeDef = {
            "command": command(job, options.price_per_hour),
            "environment": [{"name": name, "value": value} for name, value in sorted(told.items())],
        }
        sizes = {"VCPU": options.vcpus, "MEMORY": options.memory_mb}
        if any(sizes.values()):
            overrides["resourceRequirements"] = [
                {"type": kind, "value": f"{size:g}"}  # type: ignore[typeddict-item] # of the two kinds above
                for kind, size in sizes.items()
                if size
            ]
        with asking(f"Batch did not take training {job.training_id} in {options.job_queue}"):
            if known := self._known(options.job_queue, job.name):
                return known
            submitted = self._batch().submit_job(
                jobName=job.name,
                jobQueue=options.job_queue,
                jobDefinition=options.job_definition,
                containerOverrides=overrides,
                timeout={"attemptDurationSeconds": limit},
                tags={"modelwright:workspace": job.workspace},
            )
        return submitted["jobId"]

    def limit_s(self, job: Job) -> float:
        """See ``OutsideTrainer``."""
        return read(BatchOptions, _NAME, job).limit_s(job)

    def price_per_hour(self, job: Job) -> float | None:
        """See ``OutsideTrainer``."""
        return read(BatchOptions, _NAME, job).price_per_hour

    def status(self, job: Job, handle: str) -> Status:
        """See ``OutsideTrainer``."""
        with asking(f"Batch does not say how {job.name} ({handle}) does"):
            found = self._batch().describe_jobs(jobs=[handle])["jobs"]
        if not found:
            return Status("failed", f"Batch no longer knows the job {job.name} ({handle})")
        state, seconds = found[0]["status"], _seconds(found[0])
        if state == "SUCCEEDED":
            return Status("ended", seconds=seconds)
        if state != "FAILED":
            return Status("running", began=_began(found[0]))
        inside = found[0].get("container", {}).get("reason", "")
        why = ", ".join(part for part in (found[0].get("statusReason", ""), inside) if part)
        return Status("failed", f"the Batch job {job.name} is FAILED: {why or 'it does not say why'}", seconds)

    def stop(self, job: Job, handle: str, reason: str) -> None:
        """See ``StoppableTrainer``."""
        with asking(f"Batch does not stop {job.name} ({handle})"):
            self._batch().terminate_job(jobId=handle, reason=reason)

    def _known(self, queue: str, name: str) -> str:
        """Return the job of a name, if there is one: ``SubmitJob`` takes no token, and would submit it again."""
        said = self._batch().list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [name]}])
        return next((one["jobId"] for one in said["jobSummaryList"]), "")

    def _batch(self) -> "BatchClient":
        if self._client is None:
            import boto3

            self._client = boto3.client("batch")
        return self._client


def _began(found: "JobDetailTypeDef") -> datetime | None:
    """Return since when a job runs; None while it waits."""
    started = found.get("startedAt", 0)
    return datetime.fromtimestamp(started / 1000, tz=UTC) if started else None


def _seconds(found: "JobDetailTypeDef") -> float:
    """Return the seconds between start and stop, which Batch says in milliseconds since 1970."""
    return max(0.0, (found.get("stoppedAt", 0) - found.get("startedAt", found.get("stoppedAt", 0))) / 1000)
