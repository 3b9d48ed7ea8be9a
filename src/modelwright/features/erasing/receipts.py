"""What an erasure leaves: what was removed where, from which models nothing can be removed, and how to prove it later.

======================  =============================  ===============  =======================================
entity                  pk (table ``features``)        sk               access pattern
======================  =============================  ===============  =======================================
erasure                 ``WS#<ws>#ERASURES``           ``<id>``         get; query: those that are not over
its subject             ``WS#<ws>#ERASURE#<id>``       ``SUBJECT``      get; gone when the erasure is over
what it found           ``WS#<ws>#ERASURE#<id>``       ``FOUND#<n>``    query by prefix; gone when it is over
======================  =============================  ===============  =======================================

The receipt is ``erasures/<ws>/<id>.json`` in the lake. It names nobody: it has the HMAC of the subject's spelling and
the salt, so that who knows the key can tell that the receipt is about it, and nobody can tell the key from it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelwright.events import DatasetRewritten
from modelwright.features.erasing.subjects import Subject
from modelwright.storage import Item, Key, Tables, every

BACKUPS = timedelta(days=35)
"""How far back tables can be restored, and how long versions of objects are kept that were replaced."""
SUBJECT, FOUND = "SUBJECT", "FOUND#"
PREFIX = "erasures/"
NOTES = (
    "What comes about the subject from now on is new data, and is kept.",
    "Removed were rows that have all join keys of the entity; rows that know the subject by another name, or were "
    "derived from its rows without its join keys, were not.",
    "Aggregations of other entities that counted its rows were made anew without them; in datasets, which are what "
    "models were trained on, the rows of others kept the values that they had.",
    "Models trained with the subject were not changed: retrain, or retire them.",
    "Not searched, because they are not kept by row: experiment tracking and its artifacts; the registry's cards, "
    "comments and evidence; reports of retraining; documents of rollouts; the ids of requests; the text of job logs; "
    "what left the platform.",
    "Not searched, because nothing in it is ever changed: the log, and its exports in the lake. It names no subjects "
    "by itself, but it names uploaded files, and texts of earlier events may tell single values of rows, as findings "
    "of quality did: where such told of the subject, they still do.",
    "Not searched: what is remembered of the names of uploads that are no longer in the landing bucket.",
    "Files that people sent were searched record by record where records could be told apart (Parquet, CSV, JSON and "
    "lines of it); others were removed as a whole where the key stood in them as text.",
)
SHORT = (
    "The key is so short that it means anything in a text: only rows and whole cells were searched for it. Not "
    "searched were sentences, names of files, and files that are neither Parquet nor text."
)
"""What a receipt says besides of a subject with a short key."""


class Found(BaseModel):
    """What was found in one place.

    Attributes:
        place: kind of place, such as ``offline``.
        key: the object or item, without the subject's spelling.
        at: the object's own key while the erasure is not over.
        rows: of the subject, in what the key names now.
        texts: that told of it besides.
        versions: of the object that held it, with the newest.
        old: digest of the object.
        new: digest of what took its place; empty if nothing did.
        replaced_by: of a dataset, the new one's digest.
        ids: under which predictions were asked for, by column.
        entities: partition keys of online items about the subject.
    """

    model_config = ConfigDict(frozen=True)
    place: str
    key: str
    at: str = ""
    rows: int = 0
    texts: int = 0
    versions: int = 0
    old: str = ""
    new: str = ""
    replaced_by: str = ""
    ids: dict[str, list[str]] = Field(default_factory=dict)
    entities: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what the receipt says of it."""
        return self.model_dump(mode="json", exclude={"at", "ids", "entities"}, exclude_defaults=True)


class State(BaseModel):
    """How far an erasure is.

    Attributes:
        subject: what stands for it (``Subject.sealed``).
        place: number of the place that is searched next.
        after: where in it.
        batch: how many batches found something.
        dirty: whether this round found anything; the one that finds nothing is the last.
        receipt: the receipt's key; empty while the erasure is not over.
    """

    model_config = ConfigDict(frozen=True)
    erasure_id: str
    entity: str
    subject: str
    salt: str
    requested_at: datetime
    round: int = 1
    place: int = 0
    after: str = ""
    batch: int = 0
    dirty: bool = False
    receipt: str = ""
    status: Literal["erasing", "erased"] = "erasing"
    version: int = 1

    @classmethod
    def read(cls, item: Item) -> "State":
        """Read the stored form."""
        return cls.model_validate_json(item["state"])

    def item(self, workspace: str) -> Item:
        """Return the stored form."""
        key = state_key(workspace, self.erasure_id)
        return {**key._asdict(), "v": self.version, "status": self.status, "state": self.model_dump_json()}

    def next(self, **changes: Any) -> "State":
        """Return the state that follows."""
        return self.model_copy(update={**changes, "version": self.version + 1})


class Receipt(BaseModel):
    """The receipt.

    Attributes:
        subject: HMAC-SHA256 of the entity's name, a newline and the key's spelling, under ``salt``.
        rows: of the subject that were removed, by place.
        objects: and items that were rewritten or removed, by place.
        removed: each of them.
        datasets: that held it, and those in their place.
        models: versions that were trained on such, as ``model/version``; they are as they were.
        backups_until: when the last backup that holds the subject expires.
    """

    model_config = ConfigDict(frozen=True)
    erasure_id: str
    workspace: str
    entity: str
    join_keys: tuple[str, ...]
    subject: str
    salt: str
    requested_at: datetime
    erased_at: datetime
    backups_until: datetime
    rows: dict[str, int]
    objects: dict[str, int]
    removed: tuple[dict[str, Any], ...]
    datasets: tuple[DatasetRewritten, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...] = NOTES


def receipt_of(
    workspace: str, state: State, subject: Subject, found: Iterable[Found], models: Iterable[str], now: datetime
) -> Receipt:
    """Return the receipt of an erasure that is done."""
    rows: Counter[str] = Counter()
    objects: Counter[str] = Counter()
    removed, datasets = [], {}
    for one in found:
        rows[one.place] += one.rows
        objects[one.place] += 1
        removed.append(one.told())
        if one.place == "datasets" and one.old:
            datasets[one.old] = DatasetRewritten(digest=one.old, replaced_by=one.replaced_by)
    return Receipt(
        erasure_id=state.erasure_id,
        workspace=workspace,
        entity=state.entity,
        join_keys=tuple(subject.columns),
        subject=state.subject,
        salt=state.salt,
        requested_at=state.requested_at,
        erased_at=now,
        backups_until=now + BACKUPS,
        rows=dict(sorted(rows.items())),
        objects=dict(sorted(objects.items())),
        removed=tuple(removed),
        datasets=tuple(datasets.values()),
        models=tuple(models),
        notes=(*NOTES, *((SHORT,) if subject.short else ())),
    )


def under_way(tables: Tables, workspace: str) -> bool:
    """Say whether an erasure is not over."""
    return any(item["status"] == "erasing" for item in every(tables, "features", state_key(workspace, "").pk))


def state_key(workspace: str, erasure_id: str) -> Key:
    """Return the key of an erasure."""
    return Key(f"WS#{workspace}#ERASURES", erasure_id)


def own_key(workspace: str, erasure_id: str, what: str) -> Key:
    """Return the key of what an erasure keeps while it is not over."""
    return Key(f"WS#{workspace}#ERASURE#{erasure_id}", what)


def receipt_path(workspace: str, erasure_id: str) -> str:
    """Return where the receipt lies in the lake."""
    return f"{PREFIX}{workspace}/{erasure_id}.json"
