"""What a function is told by the template, and the collaborators that it makes of that.

Nothing is made before it is first asked for; what is made is kept while the process lives.
"""

import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict

from modelwright.adapters.metering import Meter, MeteredBlobs, MeteredTables
from modelwright.log import Log
from modelwright.storage import Blobs, BucketName, TableName, Tables

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

    from modelwright.governance.federation import Keys
    from modelwright.project import Project


class Settings(BaseModel):
    """What the template tells a function through its environment.

    Attributes:
        workspace: the workspace of deliveries that carry none (uploads, schedules).
        virtual_time: whether callers may say what time it is; only demo and test stacks do.
        tier: which of a team's environments this stack is: ``dev``, ``staging``, ``prod``.
    """

    model_config = ConfigDict(frozen=True)
    function: str
    workspace: str
    bus: str
    virtual_time: bool
    tier: str = "dev"
    tables: dict[TableName, str]
    buckets: dict[BucketName, str]
    environment: dict[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read ``MODELWRIGHT_*`` variables."""

        def named(prefix: str) -> dict[str, str]:
            return {k.removeprefix(prefix).lower(): v for k, v in environment.items() if k.startswith(prefix)}

        return cls.model_validate(
            {
                "function": environment.get("AWS_LAMBDA_FUNCTION_NAME", ""),
                "workspace": environment.get("MODELWRIGHT_WORKSPACE", "default"),
                "bus": environment.get("MODELWRIGHT_BUS", ""),
                "virtual_time": environment.get("MODELWRIGHT_VIRTUAL_TIME", "refused") == "allowed",
                "tier": environment.get("MODELWRIGHT_ENVIRONMENT", "dev"),
                "tables": named("MODELWRIGHT_TABLE_"),
                "buckets": named("MODELWRIGHT_BUCKET_"),
                "environment": {k: v for k, v in environment.items() if k.startswith("MODELWRIGHT_")},
            }
        )


class Wiring:
    """The collaborators of use cases, each made when first asked for and kept while the process lives.

    Args:
        settings: the function's settings.
        tables: instead of DynamoDB, in tests.
        blobs: instead of S3, in tests.

    Attributes:
        remaining_s: seconds until this invocation is stopped.
        invocation: what Lambda calls this one, and its repetitions should it be killed; empty where nobody says.
    """

    def __init__(self, settings: Settings, *, tables: Tables | None = None, blobs: Blobs | None = None) -> None:
        self.settings = settings
        self._tables = tables
        self._blobs = blobs
        self.cache: dict[str, Any] = {}
        self._projects: dict[str, tuple[Project, float]] = {}
        self.meter = Meter()
        self.remaining_s: Callable[[], float] = lambda: math.inf
        self.invocation = ""

    @cached_property
    def tables(self) -> Tables:
        """The tables that this function was given, with what they cost counted."""
        return MeteredTables(self._tables or self._dynamodb(), self.meter)

    @cached_property
    def blobs(self) -> Blobs:
        """The buckets that this function was given, with what they cost counted."""
        return MeteredBlobs(self._blobs or self._s3(), self.meter)

    def _dynamodb(self) -> Tables:
        import boto3

        from modelwright.adapters.dynamodb import DynamoTables

        client, session = _client("dynamodb"), boto3.DEFAULT_SESSION
        return DynamoTables(client, self.settings.tables, session.get_credentials() if session else None)

    def _s3(self) -> Blobs:
        from modelwright.adapters.s3 import S3Blobs

        return S3Blobs(lambda: cast("S3Client", _client("s3")), self.settings.buckets)

    @cached_property
    def log(self) -> Log:
        """The log, over this function's tables."""
        return Log(self.tables)

    @cached_property
    def events(self) -> "EventBridgeClient":
        """EventBridge; for ``publish`` alone."""
        return cast("EventBridgeClient", _client("events"))

    @cached_property
    def functions(self) -> "LambdaClient":
        """Lambda; for trainers."""
        return cast("LambdaClient", _client("lambda"))

    @cached_property
    def keys(self) -> "Keys":
        """The public keys of identity providers."""
        from modelwright.adapters.https import fetch
        from modelwright.governance.federation import Keys

        return Keys(fetch)

    def project(self, workspace: str, *, within_s: float = 0) -> "Project":
        """Return the workspace's current project; as long as it does not change, the same object.

        Args:
            workspace: whose.
            within_s: one that was read at most so long ago will do, without a look at the table.

        Raises:
            NotFound: none was applied yet.
        """
        from modelwright.project import load_current

        known, read = self._projects.get(workspace, (None, 0.0))
        if known is not None and time.monotonic() - read < within_s:
            return known
        project = load_current(self.tables, workspace)
        project = known if known is not None and known == project else project
        self._projects[workspace] = project, time.monotonic()
        return project


def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    # Without a name of its own botocore makes up a long one for every request.
    config = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32, user_agent="modelwright")
    if service == "s3":
        config = config.merge(Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    return boto3.client(service, config=config)  # type: ignore[call-overload]
