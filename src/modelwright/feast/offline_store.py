"""An offline store for Feast's own client, whose joins run here: point in time, by what was known when.

It is imported by Feast, in an environment of Feast's with its pandas, so that it needs nothing but Feast,
pyarrow and the standard library. In ``feature_store.yaml``:

    offline_store:
        type: modelwright.feast.offline_store.ModelwrightOfflineStore
        endpoint: https://....execute-api.eu-central-1.amazonaws.com
        token: ...  # or MODELWRIGHT_TOKEN in the environment
    registry: s3://<lake bucket>/feast/<workspace>/registry.db
    online_store: {type: remote, path: https://....}

Entities go to the lake by a signed URL and the answer comes back by one; in between is a job. Materialization is the
platform's: with a ``remote`` online store Feast's client asks the server for it and pulls no rows.
"""

import io
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import FeastError
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel

TOKEN = "MODELWRIGHT_TOKEN"  # noqa: S105 - the name of a variable
NO_ENTITY = "__dummy_id"
_WAITS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_REQUEST_S = 60
_PULLS = (
    "{} is materialized by the stack that has it, when its rows arrive: set online_store to {{type: remote, path: ...}}"
)


class ModelwrightOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The ``offline_store`` of ``feature_store.yaml``.

    Attributes:
        endpoint: URL of a stack.
        token: a token of it; by default ``MODELWRIGHT_TOKEN``'s.
        available: whether rows count only from when they became known; without it by event time alone, as in Feast.
        engine: name of the engine that joins.
        timeout_s: how long to wait for an answer.
    """

    type: Literal["modelwright.feast.offline_store.ModelwrightOfflineStore"] = (
        "modelwright.feast.offline_store.ModelwrightOfflineStore"
    )
    endpoint: str
    token: str = ""
    available: bool = True
    engine: str = "arrow"
    timeout_s: float = 900.0


class HistoricalFeaturesError(FeastError):  # type: ignore[misc]
    """The stack did not answer, or says why it cannot."""


class ModelwrightRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """Features of entities as of their times; the join runs when the answer is first looked at."""

    def __init__(
        self,
        config: ModelwrightOfflineStoreConfig,
        query: dict[str, Any],
        entities: pa.Table,
        full_feature_names: bool,
        on_demand: list[OnDemandFeatureView],
        metadata: RetrievalMetadata,
    ) -> None:
        """Keep what is asked.

        Args:
            config: where.
            query: the body of ``/v1/historical-features``, without the entities.
            entities: rows with join keys and time.
            full_feature_names: whether a feature is called ``view__feature``.
            on_demand: Feast's on-demand views, which its client computes of the answer.
            metadata: Feast's.
        """
        self._config = config
        self._query = query
        self._entities = entities
        self._full = full_feature_names
        self._on_demand = on_demand
        self._metadata = metadata
        self._answer: pa.Table | None = None

    @property
    def full_feature_names(self) -> bool:
        """See ``RetrievalJob``."""
        return self._full

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """See ``RetrievalJob``."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """See ``RetrievalJob``."""
        return self._metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        found: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return found

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        if self._answer is None:
            self._answer = self._asked(timeout or self._config.timeout_s)
        return self._answer

    def _asked(self, timeout_s: float) -> pa.Table:
        """Return the entities as they were given, with the features in the order asked for beside them."""
        body = io.BytesIO()
        pq.write_table(self._entities, body)
        place = _call(self._config, "POST", "/v1/features/uploads")
        _send(_request("PUT", place["url"], body.getvalue()))
        query = {**self._query, "entities_key": place["entities_key"]}
        asked = _call(self._config, "POST", "/v1/historical-features", query)
        answer = pq.read_table(io.BytesIO(_send(_request("GET", _finished(self._config, asked, timeout_s)))))
        found = self._entities.drop_columns([NO_ENTITY]) if NO_ENTITY in self._entities.column_names else self._entities
        for reference in self._query["features"]:
            view, _, feature = reference.partition(":")
            column = next(n for n in (reference, f"{view}__{feature}", feature) if n in answer.column_names)
            name = f"{view}__{feature}" if self._full else feature
            found = found.append_column(name, answer[column])
        return found


class ModelwrightOfflineStore(OfflineStore):  # type: ignore[misc]
    """Feast's port to the offline store, by jobs of a Modelwright stack."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **options: Any,  # noqa: ARG004 - what later clients may say
    ) -> RetrievalJob:
        """Ask for features of entities as of their times; see Feast's ``OfflineStore``.

        Args:
            config: Feast's.
            feature_views: the views that features are of.
            feature_refs: ``view:feature`` each.
            entity_df: a data frame with join keys and a time.
            registry: Feast's.
            project: Feast's.
            full_feature_names: whether a feature is called ``view__feature``.
            filter_by_created_timestamp: whether rows count from when they became known, whatever is configured.
            options: what else Feast may say.

        Raises:
            ValueError: ``entity_df`` is no data frame, or a view is joined by other columns than its own.
        """
        store: ModelwrightOfflineStoreConfig = config.offline_store
        if not isinstance(entity_df, pd.DataFrame):
            raise ValueError(f"entity_df must be a data frame, it is a {type(entity_df).__name__}")  # noqa: TRY004
        _require_own_names(feature_views)
        clock = infer_event_timestamp_from_entity_df(dict(zip(entity_df.columns, entity_df.dtypes, strict=True)))
        entities = pa.Table.from_pandas(entity_df, preserve_index=False)
        if any(NO_ENTITY in view.join_keys for view in feature_views):
            entities = entities.append_column(NO_ENTITY, pa.array([""] * entities.num_rows))
        stored = [ref for ref in feature_refs if ref.partition(":")[0] in {view.name for view in feature_views}]
        query = {
            "features": stored,
            "time_column": clock,
            "engine": store.engine,
            "available": store.available or filter_by_created_timestamp,
        }
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        told = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.columns if name != clock],
            min_event_timestamp=entity_df[clock].min(),
            max_event_timestamp=entity_df[clock].max(),
        )
        return ModelwrightRetrievalJob(store, query, entities, full_feature_names, on_demand, told)

    @staticmethod
    def pull_latest_from_table_or_query(**asked: Any) -> RetrievalJob:
        """Refuse to hand rows out for another online store; see the module.

        Args:
            asked: see Feast's ``OfflineStore``.

        Raises:
            HistoricalFeaturesError: always.
        """
        raise HistoricalFeaturesError(_PULLS.format(asked["data_source"].name))

    @staticmethod
    def pull_all_from_table_or_query(**asked: Any) -> RetrievalJob:
        """Refuse to hand rows out. Raises as ``pull_latest_from_table_or_query``.

        Args:
            asked: see Feast's ``OfflineStore``.
        """
        raise HistoricalFeaturesError(_PULLS.format(asked["data_source"].name))


def _require_own_names(views: list[Any]) -> None:
    for view in views:
        if view.projection.join_key_map or view.projection.name_to_use() != view.name:
            raise ValueError(f"feature view {view.name} is joined by its own columns and under its own name alone")


def _finished(config: ModelwrightOfflineStoreConfig, asked: dict[str, Any], timeout_s: float) -> str:
    """Wait for a job, and return the URL of its answer."""
    until = time.monotonic() + timeout_s
    for count in range(1_000_000):
        job = _call(config, "GET", f"/v1/features/jobs/{asked['job_id']}")
        if job["state"] == "saved":
            return str(job["url"])
        if job["state"] == "failed":
            raise HistoricalFeaturesError(f"job {asked['job_id']} failed: {job['reason']}")
        if time.monotonic() > until:
            break
        time.sleep(_WAITS_S[min(count, len(_WAITS_S) - 1)])
    raise HistoricalFeaturesError(f"job {asked['job_id']} is not over after {timeout_s:.0f} s; it goes on")


def _call(config: ModelwrightOfflineStoreConfig, method: str, path: str, body: Any = None) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    token = config.token or os.environ.get(TOKEN, "")
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    return json.loads(_send(_request(method, config.endpoint.rstrip("/") + path, raw, headers)))


def _request(
    method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> urllib.request.Request:
    """Return a request; of the schemes that urllib knows, only those of the web are for us."""
    if not url.startswith(("https://", "http://")):
        raise HistoricalFeaturesError(f"{url!r} is no address of a stack: it begins with https:// or http://")
    return urllib.request.Request(url, body, headers or {}, method=method)  # noqa: S310 - checked above


def _send(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:  # noqa: S310 - see _request
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise HistoricalFeaturesError(f"{error.code}: {_message(error.read())}") from error
    except urllib.error.URLError as error:
        raise HistoricalFeaturesError(f"{request.host} does not answer: {error.reason}") from error


def _message(body: bytes) -> str:
    """Return what an error's body says: JSON, or a JSON string that holds JSON, as Feast's are."""
    try:
        said = json.loads(body)
        said = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return body.decode(errors="replace")[:200]
    return str(said.get("message", said)) if isinstance(said, dict) else str(said)
