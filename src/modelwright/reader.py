"""Online features read from DynamoDB by callers inside the account: no HTTP, no function, the same answers.

    features = OnlineFeatures.connect("stack-FeaturesTable-1A2B", "stack-GovernanceTable-3C4D")
    features.get_online_features("checkout", {"customer": [1, 2], "price": [9.5, 3.0]})

Who may read is said by IAM alone: ``dynamodb:BatchGetItem`` on the features table, ``dynamodb:GetItem`` on the
governance table (the project), and ``s3:GetObject`` below ``projects/`` of the artifacts bucket where on-demand
features are asked for. Nothing is logged and no grant is looked at: keep it to callers who may read every view, or
narrow the policy by ``dynamodb:LeadingKeys``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelwright import teamcode
from modelwright.adapters.dynamodb import DynamoTables
from modelwright.adapters.s3 import S3Blobs
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, Unavailable
from modelwright.features.serving import Current, FeaturesQuery, RowsQuery, Serving
from modelwright.project import Project
from modelwright.storage import Blobs, Tables
from modelwright.wiring import Settings, Wiring

if TYPE_CHECKING:
    import boto3

_ATTEMPTS = 5
FRESH_S = 60.0


class OnlineFeatures:
    """A workspace's online features.

    Args:
        tables: the tables ``features`` and ``governance``.
        blobs: the bucket ``artifacts``, which holds the code of on-demand features.
        workspace: whose features.
        fresh_s: how old the definitions may be that are answered by; a name that they do not know is looked for in
            the newest.
    """

    def __init__(self, tables: Tables, blobs: Blobs, *, workspace: str = "default", fresh_s: float = FRESH_S) -> None:
        settings = Settings(
            function="", workspace=workspace, bus="", virtual_time=False, tables={}, buckets={}, environment={}
        )
        self._workspace = workspace
        self._wiring = Wiring(settings, tables=tables, blobs=blobs)
        self._current = Current(
            lambda within_s: self._wiring.project(workspace, within_s=within_s), self._serving, fresh_s
        )

    @classmethod
    def connect(
        cls,
        table: str,
        governance: str,
        *,
        artifacts: str = "",
        workspace: str = "default",
        session: "boto3.Session | None" = None,
        fresh_s: float = FRESH_S,
    ) -> "OnlineFeatures":
        """Return the features of a deployed stack.

        Args:
            table: name of its table of features (its output ``FeaturesTableName``).
            governance: name of its table of governance, in which the project is (``GovernanceTableName``).
            artifacts: name of its bucket of artifacts (``ArtifactsBucketName``), needed for on-demand features alone.
            workspace: whose features.
            session: a boto3 session; the default one if it is not said.
            fresh_s: see the class.
        """
        made = session or _session()
        names: Any = {"features": table, "governance": governance}
        tables = DynamoTables(_client(made, "dynamodb"), names, made.get_credentials())
        blobs = S3Blobs(lambda: _client(made, "s3"), {"artifacts": artifacts} if artifacts else {})
        return cls(tables, blobs, workspace=workspace, fresh_s=fresh_s)

    def get_online_features(
        self,
        features: str | Sequence[str],
        entities: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
        *,
        full_feature_names: bool = False,
        as_of: datetime | None = None,
    ) -> dict[str, Any]:
        """Return what ``POST /get-online-features`` answers.

        Args:
            features: the name of a feature service or model, or ``view:feature`` and ``group:output`` of each.
            entities: join keys and request columns: values by column, or rows.
            full_feature_names: answer ``view__feature``.
            as_of: the time as of which to answer; now if it is not said.

        Raises:
            NotFound: a view, feature or service that does not exist; the text says what does.
            InvalidInput: entities that do not fit together, or lack a column that is needed.
            Unavailable: the table is throttled.
        """
        columns = entities if isinstance(entities, Mapping) else _columns(entities)
        query = FeaturesQuery(
            **_named(features, "feature_service"),
            entities={name: list(values) for name, values in columns.items()},
            full_feature_names=full_feature_names,
        )
        return self._asked(lambda call, serving: serving.columns(call, query, tables=self._wiring.tables), as_of)

    def rows(
        self,
        features: str | Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        full_feature_names: bool = False,
        statuses: bool = False,
        as_of: datetime | None = None,
    ) -> dict[str, Any]:
        """Return what ``POST /v1/features/online`` answers; raises as ``get_online_features`` does."""
        query = RowsQuery(
            **_named(features, "service"),
            rows=[dict(row) for row in rows],
            full_feature_names=full_feature_names,
            statuses=statuses,
        )
        return self._asked(lambda call, serving: serving.rows(call, query, tables=self._wiring.tables), as_of)

    def _asked(self, ask: Callable[[Call, Serving], str], as_of: datetime | None) -> dict[str, Any]:
        call = Call(self._workspace, "iam", as_of or datetime.now(UTC), "")
        for _ in range(_ATTEMPTS):
            try:
                answer: dict[str, Any] = json.loads(self._current.answer(lambda serving: ask(call, serving)))
            except ConditionFailed:  # an item was written anew while its parts were read
                continue
            return answer
        raise Unavailable("the items asked for are written all the time: try again")

    def _serving(self, project: Project) -> Serving:
        return Serving(project, teamcode.loader(project, blobs=self._wiring.blobs))


def _named(features: str | Sequence[str], service: str) -> dict[str, Any]:
    return {service: features} if isinstance(features, str) else {"features": tuple(features)}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    lacking = [n for n, row in enumerate(rows) if len(row) < len(names)]
    if lacking:
        raise InvalidInput(f"row {lacking[0]} lacks columns that others have: they are {', '.join(names)}")
    return {name: [row[name] for row in rows] for name in names}


def _session() -> "boto3.Session":
    import boto3

    return boto3.Session()


def _client(session: "boto3.Session", service: str) -> Any:
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": 5}
    config = Config(retries=retries, max_pool_connections=32, user_agent="modelwright")
    return session.client(service, config=config)  # type: ignore[call-overload]
