"""The trainer `sagemaker`: a training job that runs our own image, or one that is told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError
from pydantic import Field

from modelwright.adapters.trainers.options import ARTIFACTS, RunOptions, asking, code_of, command, read, variables
from modelwright.errors import Unavailable
from modelwright.retraining.trainers import Job, Status

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import TrainingInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import CreateTrainingJobRequestTypeDef, ResourceConfigTypeDef

_NAME = "sagemaker"
_TAKEN = "ResourceInUse"


class SageMakerOptions(RunOptions):
    """Options of a training job.

    Attributes:
        image: of infra/images/full for linux/amd64, or another in which ``python -m modelwright.trainer`` runs.
        role: that the job runs under; ``infra/training`` makes one.
        volume_gb: of the instance's disk.
        subnets: of a VPC that the job runs in, with ``security_groups``.
    """

    image: str = Field(min_length=1)
    role: str = Field(pattern="^arn:")
    instance_type: str = Field(default="ml.m5.large", pattern=r"^ml\.")
    volume_gb: int = Field(default=30, ge=1, le=16_384)
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


class SageMakerTrainer:
    """Creates training jobs that are named by their training, so that a second start is the first one."""

    def __init__(self, environment: Mapping[str, str], client: "SageMakerClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        told = variables(self._environment)
        asked = self._asked(job, read(SageMakerOptions, _NAME, job), told)
        with asking(f"SageMaker did not take training {job.training_id} as {job.name}"):
            try:
                self._sagemaker().create_training_job(**asked)
            except ClientError as error:
                if code_of(error) != _TAKEN:
                    raise
        return f"sagemaker:{job.name}"

    def limit_s(self, job: Job) -> float:
        """See ``OutsideTrainer``."""
        return read(SageMakerOptions, _NAME, job).limit_s(job)

    def price_per_hour(self, job: Job) -> float | None:
        """See ``OutsideTrainer``."""
        return read(SageMakerOptions, _NAME, job).price_per_hour

    def status(self, job: Job, handle: str) -> Status:
        """See ``OutsideTrainer``."""
        with asking(f"SageMaker does not say how {job.name} does"):
            found = self._sagemaker().describe_training_job(TrainingJobName=job.name)
        state, seconds = found["TrainingJobStatus"], float(found.get("BillableTimeInSeconds", 0))
        if state in ("InProgress", "Stopping"):
            return Status("running", began=found.get("TrainingStartTime"))
        if state == "Completed":
            return Status("ended", seconds=seconds)
        why = found.get("FailureReason") or f"stopped after {seconds:.0f} s, {found.get('SecondaryStatus', '')}"
        return Status("failed", f"the SageMaker training job {job.name} is {state}: {why}", seconds)

    def stop(self, job: Job, handle: str, reason: str) -> None:
        """See ``StoppableTrainer``."""
        with asking(f"SageMaker does not stop {job.name}: {reason}"):
            self._sagemaker().stop_training_job(TrainingJobName=job.name)

    def _asked(self, job: Job, options: SageMakerOptions, told: dict[str, str]) -> "CreateTrainingJobRequestTypeDef":
        entry = command(job, options.price_per_hour)
        if not (bucket := told.get(ARTIFACTS)):
            raise Unavailable(f"the trainer sagemaker is not told the artifacts bucket, {ARTIFACTS}")
        asked: CreateTrainingJobRequestTypeDef = {
            "TrainingJobName": job.name,
            "AlgorithmSpecification": {
                "TrainingImage": options.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": entry[:3],
                "ContainerArguments": entry[3:],
            },
            "RoleArn": options.role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/{job.workspace}/trainings/{job.training_id}/job/"},
            "ResourceConfig": _machine(options),
            "StoppingCondition": {"MaxRuntimeInSeconds": int(options.limit_s(job))},
            "Environment": told,
            "HyperParameters": {"workspace": job.workspace, "training_id": job.training_id, "model": job.model},
            "Tags": [{"Key": "modelwright:workspace", "Value": job.workspace}],
        }
        if options.subnets:
            groups, subnets = list(options.security_groups), list(options.subnets)
            asked["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": subnets}
        return asked

    def _sagemaker(self) -> "SageMakerClient":
        if self._client is None:
            import boto3

            self._client = boto3.client("sagemaker")
        return self._client


def _machine(options: SageMakerOptions) -> "ResourceConfigTypeDef":
    kind = cast("TrainingInstanceTypeType", options.instance_type)  # any that SageMaker knows
    return {"InstanceType": kind, "InstanceCount": 1, "VolumeSizeInGB": options.volume_gb}
