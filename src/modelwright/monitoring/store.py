"""What monitoring remembers, and the only place where its keys are spelled (table ``monitoring``).

=================  =============================  ===========================  ========================
entity             pk                             sk                           access pattern
=================  =============================  ===========================  ========================
seen upload        ``WS#<ws>#UPLOAD#<hash>``      ``STATE``                    get by key and version
seen content       ``WS#<ws>#SOURCE#<source>``    ``CONTENT#<digest>``         get by digest
accepted profile   ``WS#<ws>#SOURCE#<source>``    ``PROFILE#<end>#<digest>``   all within a span
drift votes        ``WS#<ws>#SOURCE#<source>``    ``DRIFT``                    get
judged window      ``WS#<ws>#SOURCE#<source>``    ``DRIFT#<end>#<digest>``     newest
open quarantine    ``WS#<ws>#QUARANTINE#OPEN``    ``<id>``                     all; get
closed quarantine  ``WS#<ws>#QUARANTINE#CLOSED``  ``<id>``                     get
champion           ``WS#<ws>#MODEL#<model>``      ``CHAMPION``                 get
training           ``WS#<ws>#MODEL#<model>``      ``TRAINING#<id>``            get: its window
version            ``WS#<ws>#MODEL#<model>``      ``VERSION#<number>``         get: its training
labels joined      ``WS#<ws>#MODEL#<model>``      ``JOINED``                   get
labelled file      ``WS#<ws>#MODEL#<model>``      ``LABELS#<end>#<digest>``    all after a time
measured window    ``WS#<ws>#MODEL#<model>``      ``MEASURED#<end>#<digest>``  newest
=================  =============================  ===========================  ========================

``<end>`` is a UTC time to the microsecond, so that sort keys sort by event time.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modelwright.errors import NotFound
from modelwright.events import ColumnDrift, Finding, PerformanceMeasured, Window
from modelwright.monitoring.documents import Profile
from modelwright.monitoring.votes import DriftVotes
from modelwright.storage import Absent, Anything, Condition, Delete, Exists, Is, Item, Key, Put, Tables, Write, every


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SeenContent(_Document):
    """What was decided on content that came before.

    Attributes:
        quarantine_id: where it lies, if it was not accepted.
    """

    verdict: Literal["accepted", "quarantined"]
    upload_key: str
    quarantine_id: str = ""


class Quarantine(_Document):
    """Held-back data: a whole file or rows of one.

    Attributes:
        key: the object with what is held back.
        closed: how it ended, empty while it is open.
        choices: the repairs that a person was asked to choose from; see ``healing``.
        asked: why, if somebody was.
        repaired: how it was repaired, if it was.
        reverts: the quarantine whose repair was taken back, if this is what came of that.
    """

    id: str
    source: str
    upload_key: str
    upload_version: str
    scope: Literal["file", "rows"]
    key: str
    rows: int
    at: datetime
    window: Window | None
    findings: tuple[Finding, ...]
    closed: str = ""
    choices: tuple[str, ...] = ()
    asked: str = ""
    repaired: "Repaired | None" = None
    reverts: str = ""


class Repaired(_Document):
    """What a quarantine was repaired to.

    Attributes:
        rules: ``name@version`` of each repair, in order.
        key: the repaired file, in the lake.
        log_key: what was changed.
        digest: of the rows that were accepted.
        end: their newest event.
        at: when.
        reverted: how the repair was taken back, empty while it counts.
    """

    rules: tuple[str, ...]
    key: str
    log_key: str
    digest: str
    end: datetime
    at: datetime
    reverted: str = ""


class KeptProfile(_Document):
    """An accepted upload whose profile is kept.

    Attributes:
        start: its smallest event time.
        end: its largest event time.
        key: of the profile in the lake.
        packed: the profile itself, in items of before it lay in the lake.
    """

    start: datetime
    end: datetime
    rows: int
    key: str
    packed: bytes = b""


class JudgedWindow(_Document):
    """The drift verdict on a window, for people and for the windows after it.

    Attributes:
        digest: of its rows; with the source it names the report.
        at: when it was judged.
        reference: what it was compared with, in words.
        share: see ``DriftDetected``.
        dataset: see ``DriftDetected``.
        report_key: the report, in the lake; beside it lies the same as JSON.
        columns: of each column what was furthest above its floor, and all that drifted.
        notes: what has to be said besides.
    """

    window: Window
    digest: str
    rows: int
    at: datetime
    reference: str
    share: float
    dataset: bool
    report_key: str = ""
    columns: tuple[ColumnDrift, ...] = ()
    notes: tuple[str, ...] = ()


class Champion(_Document):
    """The registry's champion, as far as its events were heard.

    Attributes:
        since: when it became champion; its reference performance begins then.
        sequence: of the event in the model's stream, so that late ones are known.
    """

    version: int | None
    since: datetime
    sequence: int


class LabelledFile(_Document):
    """Labels of one upload, joined with predictions.

    Attributes:
        window: of the upload.
        rows: labelled rows per version (as text, because JSON has no other keys).
        spoiled: whether what was predicted lacked data in quarantine, so that it says nothing about the model.
        predicted: the days on which the predictions lie that it may hold; None: nobody knows.
    """

    window: Window
    key: str
    rows: dict[str, int]
    spoiled: bool = False
    predicted: Window | None = None

    @property
    def end(self) -> datetime:
        """The end of its window or of its predictions, whichever is later."""
        return self.window.end if self.predicted is None else max(self.window.end, self.predicted.end)


class Measured(_Document):
    """A measured window, for people.

    Attributes:
        text: what could not be done.
    """

    at: datetime
    measured: PerformanceMeasured
    text: str = ""


# --- uploads -----------------------------------------------------------------------------


def upload_outcome(tables: Tables, workspace: str, key: str, version: str) -> str | None:
    """Return the outcome of an object version that was handled before."""
    item = tables.get("monitoring", upload_key(workspace, key, version))
    return None if item is None else str(item["outcome"])


def left_to_close(tables: Tables, workspace: str, key: str, version: str) -> tuple[str, ...]:
    """Return the quarantines that an object version ends, which had no room in its transaction."""
    item = tables.get("monitoring", upload_key(workspace, key, version)) or {}
    return tuple(item.get("closes", ()))


def put_upload(workspace: str, key: str, version: str, outcome: str, closes: Sequence[str] = ()) -> Write:
    """Remember that an object version was handled; once."""
    more = {"closes": list(closes)} if closes else {}
    return Put("monitoring", {**_named(upload_key(workspace, key, version)), "outcome": outcome, **more}, Absent())


def seen_content(tables: Tables, workspace: str, source: str, digest: str) -> SeenContent | None:
    """Return what was decided on this content before."""
    item = tables.get("monitoring", Key(_source(workspace, source), f"CONTENT#{digest}"))
    return None if item is None else SeenContent.model_validate_json(item["document"])


def put_content(workspace: str, source: str, digest: str, seen: SeenContent, before: SeenContent | None) -> Write:
    """Remember what was decided; fails if somebody else decided meanwhile."""
    condition: Condition = Absent() if before is None else Is("document", before.model_dump_json())
    key = Key(_source(workspace, source), f"CONTENT#{digest}")
    return Put("monitoring", {**_named(key), "document": seen.model_dump_json()}, condition)


def kept_profiles(
    tables: Tables, workspace: str, source: str, since: datetime, until: datetime
) -> tuple[KeptProfile, ...]:
    """Return where the profiles of accepted uploads lie whose last event lies in ``[since, until]``, oldest first."""
    options = {"start": f"PROFILE#{_stamp(since)}", "end": f"PROFILE#{_stamp(until)}~"}
    items = every(tables, "monitoring", _source(workspace, source), **options)
    return tuple(_kept(workspace, source, item) for item in items)


def newest_profile(tables: Tables, workspace: str, source: str) -> KeptProfile | None:
    """Return where the profile lies of the accepted upload whose last event is the latest; None: there is none."""
    page = tables.query("monitoring", _source(workspace, source), prefix="PROFILE#", reverse=True, limit=1)
    return _kept(workspace, source, page.items[0]) if page.items else None


def put_profile(workspace: str, profile: Profile) -> Write:
    """Add an accepted upload's profile, which lies in the lake by its ``profile_key``, to its source's reference."""
    key = Key(_source(workspace, profile.source), f"PROFILE#{_stamp(profile.end)}#{profile.digest}")
    said = {"start": _stamp(profile.start), "end": _stamp(profile.end), "rows": profile.rows}
    lies = {"key": profile_key(workspace, profile.source, profile.digest)}
    return Put("monitoring", {**_named(key), **said, **lies}, Anything())


def profile_key(workspace: str, source: str, digest: str) -> str:
    """Return where in the lake the profile of an accepted upload lies."""
    return f"profiles/{workspace}/{source}/{digest}.json"


def drift_votes(tables: Tables, workspace: str, source: str) -> DriftVotes:
    """Return the votes of the newest windows."""
    item = tables.get("monitoring", Key(_source(workspace, source), "DRIFT"))
    if item is None:
        return DriftVotes()
    return DriftVotes.unpacked(item["votes"]) if "votes" in item else DriftVotes.model_validate_json(item["document"])


def put_drift_votes(workspace: str, source: str, votes: DriftVotes) -> Write:
    """Replace the votes; fails if they changed since they were read."""
    condition: Condition = Absent() if votes.version == 0 else Is("v", votes.version)
    following = votes.model_copy(update={"version": votes.version + 1})
    item = {"v": following.version, "votes": following.packed()}
    return Put("monitoring", {**_named(Key(_source(workspace, source), "DRIFT")), **item}, condition)


def judged_windows(tables: Tables, workspace: str, source: str, limit: int) -> tuple[JudgedWindow, ...]:
    """Return the newest judged windows, newest first."""
    page = tables.query("monitoring", _source(workspace, source), prefix="DRIFT#", reverse=True, limit=limit)
    return tuple(JudgedWindow.model_validate_json(zlib.decompress(bytes(item["judged"]))) for item in page.items)


def put_judged(workspace: str, source: str, judged: JudgedWindow) -> Write:
    """Remember the verdict on a window."""
    key = Key(_source(workspace, source), f"DRIFT#{_stamp(judged.window.end)}#{judged.digest}")
    return Put("monitoring", {**_named(key), "judged": zlib.compress(judged.model_dump_json().encode())}, Anything())


# --- quarantine --------------------------------------------------------------------------


def open_quarantines(tables: Tables, workspace: str) -> tuple[Quarantine, ...]:
    """Return what is held back, in order of id."""
    items = every(tables, "monitoring", f"WS#{workspace}#QUARANTINE#OPEN")
    return tuple(Quarantine.model_validate_json(item["document"]) for item in items)


def open_quarantine(tables: Tables, workspace: str, identity: str) -> Quarantine:
    """Return an open quarantine; raises ``NotFound``."""
    item = tables.get("monitoring", Key(f"WS#{workspace}#QUARANTINE#OPEN", identity))
    if item is None:
        raise NotFound(f"there is no open quarantine {identity}")
    return Quarantine.model_validate_json(item["document"])


def put_open(workspace: str, quarantine: Quarantine) -> Write:
    """Open a quarantine."""
    key = Key(f"WS#{workspace}#QUARANTINE#OPEN", quarantine.id)
    return Put("monitoring", {**_named(key), "document": quarantine.model_dump_json()}, Absent())


def closed_quarantine(tables: Tables, workspace: str, identity: str) -> Quarantine:
    """Return a quarantine that is over; raises ``NotFound``."""
    item = tables.get("monitoring", Key(f"WS#{workspace}#QUARANTINE#CLOSED", identity))
    if item is None:
        raise NotFound(f"there is no closed quarantine {identity}")
    return Quarantine.model_validate_json(item["document"])


def replace_quarantine(workspace: str, before: Quarantine, after: Quarantine) -> Write:
    """Change what is known of a quarantine; fails if an open one was closed since it was read."""
    state = "CLOSED" if before.closed else "OPEN"
    item = {**_named(Key(f"WS#{workspace}#QUARANTINE#{state}", before.id)), "document": after.model_dump_json()}
    return Put("monitoring", item, Exists())


def accepted_digests(tables: Tables, workspace: str, source: str, since: datetime, limit: int) -> tuple[str, ...]:
    """Return the contents of the newest accepted uploads whose last event is not before a time, oldest first."""
    options = {"start": f"PROFILE#{_stamp(since)}", "end": "PROFILE#~"}
    page = tables.query("monitoring", _source(workspace, source), reverse=True, limit=limit, **options)
    return tuple(str(item["sk"]).rpartition("#")[2] for item in reversed(page.items))


def forget_profile(workspace: str, source: str, end: datetime, digest: str) -> Write:
    """Take an upload out of its source's reference."""
    return Delete("monitoring", Key(_source(workspace, source), f"PROFILE#{_stamp(end)}#{digest}"), Anything())


def close(workspace: str, quarantine: Quarantine, reason: str) -> tuple[Write, Write]:
    """Close a quarantine; fails if it is not open any more."""
    closed = quarantine.model_copy(update={"closed": reason})
    item = {**_named(Key(f"WS#{workspace}#QUARANTINE#CLOSED", quarantine.id)), "document": closed.model_dump_json()}
    return (
        Delete("monitoring", Key(f"WS#{workspace}#QUARANTINE#OPEN", quarantine.id)),
        Put("monitoring", item, Anything()),
    )


# --- trainings ---------------------------------------------------------------------------


def put_training(workspace: str, model: str, training_id: str, window: Window) -> Write:
    """Remember from when to when the rows of a training were."""
    key = Key(_model(workspace, model), f"TRAINING#{training_id}")
    return Put("monitoring", {**_named(key), "document": window.model_dump_json()}, Anything())


def put_version(workspace: str, model: str, version: int, training_id: str) -> Write:
    """Remember which training a version came out of."""
    key = Key(_model(workspace, model), f"VERSION#{version:09}")
    return Put("monitoring", {**_named(key), "training_id": training_id}, Anything())


def training_window(tables: Tables, workspace: str, model: str, version: int) -> Window | None:
    """Return from when to when the rows were on which a version was trained; None where nobody heard of that."""
    made = tables.get("monitoring", Key(_model(workspace, model), f"VERSION#{version:09}"))
    if made is None:
        return None
    item = tables.get("monitoring", Key(_model(workspace, model), f"TRAINING#{made['training_id']}"))
    return None if item is None else Window.model_validate_json(item["document"])


# --- performance -------------------------------------------------------------------------


def champion_of(tables: Tables, workspace: str, model: str) -> Champion | None:
    """Return the champion that was heard of last."""
    item = tables.get("monitoring", Key(_model(workspace, model), "CHAMPION"))
    return None if item is None else Champion.model_validate_json(item["document"])


def put_champion(workspace: str, model: str, champion: Champion, before: Champion | None) -> Write:
    """Replace the champion; fails if it changed since it was read."""
    condition: Condition = Absent() if before is None else Is("v", before.sequence)
    item = {"v": champion.sequence, "document": champion.model_dump_json()}
    return Put("monitoring", {**_named(Key(_model(workspace, model), "CHAMPION")), **item}, condition)


def labelled_files(tables: Tables, workspace: str, model: str, since: datetime) -> tuple[LabelledFile, ...]:
    """Return the labelled files of which windows or predictions end after a time, oldest first."""
    options = {"start": f"LABELS#{_stamp(since)}~", "end": "LABELS#~"}
    items = every(tables, "monitoring", _model(workspace, model), **options)
    return tuple(LabelledFile.model_validate_json(item["document"]) for item in items)


def labels_joined(tables: Tables, workspace: str, model: str) -> int:
    """Return how many label files were joined so far; what is read after it is guarded by ``put_labels_joined``."""
    item = tables.get("monitoring", Key(_model(workspace, model), "JOINED"))
    return 0 if item is None else int(item["v"])


def put_labels_joined(workspace: str, model: str, before: int) -> Write:
    """Count one more; fails if another file was joined meanwhile, whose rows might be the same."""
    condition: Condition = Absent() if before == 0 else Is("v", before)
    return Put("monitoring", {**_named(Key(_model(workspace, model), "JOINED")), "v": before + 1}, condition)


def put_labelled(workspace: str, model: str, digest: str, file: LabelledFile) -> Write:
    """Remember a labelled file; once per digest."""
    key = Key(_model(workspace, model), f"LABELS#{_stamp(file.end)}#{digest}")
    return Put("monitoring", {**_named(key), "document": file.model_dump_json()}, Absent())


def measured_windows(tables: Tables, workspace: str, model: str, limit: int) -> Sequence[Measured]:
    """Return the newest measured windows, newest first."""
    page = tables.query("monitoring", _model(workspace, model), prefix="MEASURED#", reverse=True, limit=limit)
    return [Measured.model_validate_json(item["document"]) for item in page.items]


def put_measured(workspace: str, digest: str, measured: Measured) -> Write:
    """Remember a measured window for people."""
    event = measured.measured
    key = Key(_model(workspace, event.model), f"MEASURED#{_stamp(event.window.end)}#{digest}")
    return Put("monitoring", {**_named(key), "document": measured.model_dump_json()}, Anything())


# --- keys --------------------------------------------------------------------------------


def partitions(workspace: str, sources: Iterable[str], models: Iterable[str]) -> tuple[str, ...]:
    """Return where items lie in which values of rows may be told: profiles, quarantines, what was measured."""
    quarantines = (f"WS#{workspace}#QUARANTINE#{state}" for state in ("OPEN", "CLOSED"))
    about = (*(_source(workspace, source) for source in sources), *(_model(workspace, model) for model in models))
    return (*about, *quarantines)


def _kept(workspace: str, source: str, item: Item) -> KeptProfile:
    if "key" in item:
        return KeptProfile.model_validate(item)
    packed = bytes(item["profile"])
    before = Profile.unpacked(packed)
    key = profile_key(workspace, source, before.digest)
    return KeptProfile(start=before.start, end=before.end, rows=before.rows, key=key, packed=packed)


def _named(key: Key) -> Item:
    return {"pk": key.pk, "sk": key.sk}


def _source(workspace: str, source: str) -> str:
    return f"WS#{workspace}#SOURCE#{source}"


def model_key(workspace: str, model: str, sk: str) -> Key:
    """Return a key beside a model's champion; ``performance.records`` says which there are."""
    return Key(_model(workspace, model), sk)


def stamp(time: datetime) -> str:
    """Return a time as sort keys have it."""
    return _stamp(time)


def _model(workspace: str, model: str) -> str:
    return f"WS#{workspace}#MODEL#{model}"


def upload_key(workspace: str, key: str, version: str) -> Key:
    """Return the key of the item about a version of an uploaded object."""
    name = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()
    return Key(f"WS#{workspace}#UPLOAD#{name}", "STATE")


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
