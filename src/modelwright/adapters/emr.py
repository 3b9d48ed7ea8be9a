"""EMR Serverless, where joins run that exceed one machine: ``remote.Cluster`` on the application of ``infra/spark``."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from modelwright.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_emr_serverless import EMRServerlessClient

ENGINE = "spark"
APPLICATION, ROLE = "MODELWRIGHT_SPARK_APPLICATION", "MODELWRIGHT_SPARK_ROLE"
LAKE, ARTIFACTS = "MODELWRIGHT_BUCKET_LAKE", "MODELWRIGHT_BUCKET_ARTIFACTS"
ENTRY_POINT = "local:///usr/share/modelwright/historical.py"
"""Where the image of ``infra/spark`` has the job's file."""
_MINUTES = 12 * 60
_PYTHON = "/usr/bin/python3.11"
PARAMETERS = " ".join(
    f"--conf {name}={value}"
    for name, value in {
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": _PYTHON,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": _PYTHON,
        "spark.executorEnv.PYSPARK_PYTHON": _PYTHON,
        "spark.driver.cores": 2,
        "spark.driver.memory": "6g",
        "spark.executor.cores": 4,
        "spark.executor.memory": "8g",
        # The join's memory is Python's, beside the JVM's.
        "spark.executor.memoryOverhead": "20g",
    }.items()
)


class EmrServerless:
    """Starts jobs on an application, which starts for them, and stops when there is none.

    Args:
        environment: names the application, the role that jobs run under, and the buckets.
        client: instead of boto3's, in tests.
    """

    def __init__(self, environment: Mapping[str, str], client: "EMRServerlessClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job_id: str, query_key: str) -> str:
        """See ``Cluster``."""
        application = self._environment[APPLICATION]
        try:
            started = self._emr().start_job_run(
                applicationId=application,
                clientToken=job_id,
                executionRoleArn=self._environment[ROLE],
                name=job_id,
                executionTimeoutMinutes=_MINUTES,
                jobDriver={
                    "sparkSubmit": {
                        "entryPoint": ENTRY_POINT,
                        "entryPointArguments": [self._environment[LAKE], self._environment[ARTIFACTS], query_key],
                        "sparkSubmitParameters": PARAMETERS,
                    }
                },
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"the Spark application {application} did not take job {job_id}: {error}") from error
        return started["jobRunId"]

    def ended(self, run: str) -> str:
        """See ``Cluster``."""
        application = self._environment[APPLICATION]
        try:
            found = self._emr().get_job_run(applicationId=application, jobRunId=run)["jobRun"]
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"the Spark application {application} does not say how {run} goes: {error}") from error
        failed = found["state"] in ("FAILED", "CANCELLED")
        return f"the Spark job {run} is {found['state']}: {found.get('stateDetails', '')}" if failed else ""

    def _emr(self) -> "EMRServerlessClient":
        if self._client is None:
            import boto3

            self._client = boto3.client("emr-serverless")
        return self._client


def cluster(environment: Mapping[str, str]) -> EmrServerless | None:
    """Return the application that this stack was told of; None where it has none."""
    told = environment.get(APPLICATION) and environment.get(ROLE)
    return EmrServerless(environment) if told else None


def require_spark(environment: Mapping[str, str]) -> None:
    """Let a request for the engine ``spark`` pass where it can be joined.

    Raises:
        InvalidInput: the stack has no application, and is not one of a machine that has ``pyspark``.
    """
    if cluster(environment) is None and find_spec("pyspark") is None:
        raise InvalidInput(
            "the engine spark is not deployed in this stack: deploy infra/spark/template.yaml and give its outputs as "
            "the parameters SparkApplication and SparkRole, or ask for the engine arrow"
        )
