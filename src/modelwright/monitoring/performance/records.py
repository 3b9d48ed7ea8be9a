"""What else is remembered of a model's performance (table ``monitoring``, beside what ``monitoring.store`` lists).

================  ===========================  ============================  ========================
entity            pk                           sk                            access pattern
================  ===========================  ============================  ========================
fairness          ``WS#<ws>#MODEL#<model>``    ``FAIRNESS``                  get
model artifact    ``WS#<ws>#MODEL#<model>``    ``ARTIFACT#<version>``        get
estimating        ``WS#<ws>#MODEL#<model>``    ``ESTIMATING``                get
estimated window  ``WS#<ws>#MODEL#<model>``    ``ESTIMATED#<end>#<start>``   newest
labels to join    ``WS#<ws>#MODEL#<model>``    ``UNJOINED#<digest>``         all
================  ===========================  ============================  ========================
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

from modelwright.events import ModelVersionCreated, PerformanceEstimated, Window
from modelwright.monitoring import store
from modelwright.storage import Absent, Anything, Condition, Delete, Is, Key, Put, Tables, Write, every

_PAGE = 20


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Standing(_Document):
    """Which groups are treated differently just now.

    Attributes:
        version: which does so.
        broken: what is compared, as ``group metric``.
    """

    v: int = 0
    version: int = 0
    broken: tuple[str, ...] = ()


class Artifact(_Document):
    """Where a version's model lies, as its event said.

    Attributes:
        digest: SHA-256 of its ``model.pkl``; empty when nobody knows.
        features: names of its inputs, in order; empty when nobody said.
    """

    version: int
    key: str
    digest: str
    features: tuple[str, ...]


class Attribution(_Document):
    """What a model rests on.

    Attributes:
        ndcg: agreement with the rows it was trained on; None where these were not kept, with why.
        shares: of each feature, then and now, the largest now first.
        drifted: whether it fell under the floor.
    """

    ndcg: float | None
    shares: tuple[tuple[str, float, float], ...] = ()
    drifted: bool = False
    text: str = ""


class EstimatedWindow(_Document):
    """A window of predictions without labels, for people."""

    at: datetime
    version: int
    window: Window
    rows: int
    estimates: tuple[PerformanceEstimated, ...]
    attribution: Attribution | None = None
    text: str = ""


class Progress(_Document):
    """Up to which day a version's predictions were looked at.

    Attributes:
        worse: the newest estimate of each estimator that says that the version got worse.
    """

    v: int = 0
    version: int
    until: date
    worse: tuple[PerformanceEstimated, ...] = ()


class Unjoined(_Document):
    """An upload with labels of which some have no prediction in the log.

    Attributes:
        source: of the upload.
        upload_key: as people named it.
        upload_version: of it.
        digest: of its rows.
        key: the object with them.
        window: of their events.
        until: when they are given up.
        labels: how many have no prediction.
        days: of the rows.
        seen: what was in the log of their days when last looked, as a digest.
        tries: how often they were joined.
    """

    source: str
    upload_key: str
    upload_version: str
    digest: str
    key: str
    window: Window
    until: datetime
    labels: int = 0
    days: tuple[date, ...] = ()
    seen: str = ""
    tries: int = 0


def standing_of(tables: Tables, workspace: str, model: str) -> Standing:
    """Return which groups were treated differently when last looked."""
    item = tables.get("monitoring", store.model_key(workspace, model, "FAIRNESS"))
    return Standing() if item is None else Standing.model_validate_json(item["document"])


def put_standing(workspace: str, model: str, standing: Standing) -> Write:
    """Replace it; fails if it changed since it was read."""
    return _versioned(workspace, model, "FAIRNESS", standing, standing.v)


def artifact_of(tables: Tables, workspace: str, model: str, version: int) -> Artifact | None:
    """Return where a version's model lies; None if its making was not heard of."""
    item = tables.get("monitoring", store.model_key(workspace, model, _artifact(version)))
    return None if item is None else Artifact.model_validate_json(item["document"])


def put_artifact(workspace: str, event: ModelVersionCreated) -> Write:
    """Remember a version."""
    made = Artifact(
        version=event.version, key=event.artifact_key, digest=event.artifact_digest, features=event.features
    )
    key = store.model_key(workspace, event.model, _artifact(event.version))
    return Put("monitoring", {**key._asdict(), "document": made.model_dump_json()}, Anything())


def progress_of(tables: Tables, workspace: str, model: str) -> Progress | None:
    """Return how far estimates came."""
    item = tables.get("monitoring", store.model_key(workspace, model, "ESTIMATING"))
    return None if item is None else Progress.model_validate_json(item["document"])


def put_progress(workspace: str, model: str, progress: Progress) -> Write:
    """Go on; fails if somebody else did meanwhile."""
    return _versioned(workspace, model, "ESTIMATING", progress, progress.v)


def estimated_windows(tables: Tables, workspace: str, model: str, limit: int) -> Sequence[EstimatedWindow]:
    """Return the newest windows that were estimated, newest first."""
    pk = store.model_key(workspace, model, "ESTIMATED").pk
    page = tables.query("monitoring", pk, prefix="ESTIMATED#", reverse=True, limit=limit)
    return [EstimatedWindow.model_validate_json(item["document"]) for item in page.items]


def put_estimated(workspace: str, model: str, estimated: EstimatedWindow) -> Write:
    """Remember a window that was estimated."""
    window = estimated.window
    key = store.model_key(workspace, model, f"ESTIMATED#{store.stamp(window.end)}#{store.stamp(window.start)}")
    return Put("monitoring", {**key._asdict(), "document": estimated.model_dump_json()}, Anything())


def unjoined(tables: Tables, workspace: str, model: str) -> list[Unjoined]:
    """Return the uploads with labels that wait for their predictions."""
    pk = store.model_key(workspace, model, "UNJOINED").pk
    items = every(tables, "monitoring", pk, prefix="UNJOINED#")
    return [Unjoined.model_validate_json(item["document"]) for item in items]


def put_unjoined(workspace: str, model: str, waiting: Unjoined) -> Write:
    """Let labels wait, or wait on."""
    item = {**_unjoined(workspace, model, waiting.digest)._asdict(), "document": waiting.model_dump_json()}
    return Put("monitoring", item, Anything())


def forget_unjoined(workspace: str, model: str, digest: str) -> Write:
    """Let labels wait no more; those that do not are no error."""
    return Delete("monitoring", _unjoined(workspace, model, digest), Anything())


def newest_labelled(tables: Tables, workspace: str, model: str, until: datetime) -> Iterator[store.LabelledFile]:
    """Yield labelled files that end by a time, the newest first."""
    pk, cursor = store.model_key(workspace, model, "LABELS").pk, ""
    options = {"start": "LABELS#", "end": f"LABELS#{store.stamp(until)}~"}
    while True:
        page = tables.query("monitoring", pk, reverse=True, limit=_PAGE, cursor=cursor, **options)
        yield from (store.LabelledFile.model_validate_json(item["document"]) for item in page.items)
        if not (cursor := page.cursor):
            return


def first_labelled(tables: Tables, workspace: str, model: str) -> store.LabelledFile | None:
    """Return the labelled file of the earliest window; None if there is none yet."""
    pk = store.model_key(workspace, model, "LABELS").pk
    page = tables.query("monitoring", pk, prefix="LABELS#", limit=1)
    return store.LabelledFile.model_validate_json(page.items[0]["document"]) if page.items else None


def _versioned(workspace: str, model: str, sk: str, document: Standing | Progress, before: int) -> Write:
    condition: Condition = Absent() if before == 0 else Is("v", before)
    following = document.model_copy(update={"v": before + 1})
    item = {"v": before + 1, "document": following.model_dump_json()}
    return Put("monitoring", {**store.model_key(workspace, model, sk)._asdict(), **item}, condition)


def _unjoined(workspace: str, model: str, digest: str) -> Key:
    return store.model_key(workspace, model, f"UNJOINED#{digest}")


def _artifact(version: int) -> str:
    return f"ARTIFACT#{version:09}"
