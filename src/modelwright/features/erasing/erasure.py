"""Erasure: a subject is removed from everything that lives, and a receipt says what was removed where.

Somebody asks; what stands for the subject goes into the log (an HMAC), who it is into an item of its own, which goes
with the last step. The work is a chain of small steps, each written down: a batch of things is searched, what was
found is recorded, then it is cleaned. Whoever is killed is followed by somebody who cleans the same things again and
goes on. Places are searched in the order in which data flows, so that nothing is put back from a place before; then
all of them once more, until a round finds nothing: that round is the proof that the receipt stands for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, NotFound, Unavailable
from modelwright.events import Delivery, ErasureRequested, SubjectErased
from modelwright.features.erasing.expunging import Accepted, Items, Offline, OnlineItems, Uploads, own_partitions
from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.places import (
    Answers,
    Datasets,
    Ground,
    Measures,
    Objects,
    Place,
    Repairs,
    Reports,
    WindowReports,
    ancestors,
    folders,
)
from modelwright.features.erasing.receipts import (
    FOUND,
    SUBJECT,
    Found,
    Receipt,
    State,
    own_key,
    receipt_of,
    receipt_path,
    state_key,
)
from modelwright.features.erasing.retracting import Declarations, Pushes, id_columns
from modelwright.features.erasing.subjects import Ids, Subject, subject_of
from modelwright.features.history import History
from modelwright.features.layout import micros, source_key
from modelwright.features.settling import Online
from modelwright.log import Happened, Log, stream_of, time_of
from modelwright.project import Project
from modelwright.storage import Absent, Blobs, Is, Key, Put, TableName, Tables, every

FOLDERS = (
    "accepted", "quarantine", "held", "jobs", "entities", "datasets", "serving", "predictions", "labelled", "profiles",
    "proofs",
)  # fmt: skip
"""Of the lake, in the order in which data flows; whatever other folders there are comes after them."""
_ELSEWHERE = ("offline", "pushed")
_NOT_SEARCHED = ("log", "tracking", "erasures")
"""The log, which names no subject; what people track; the receipts."""
_EVENTS_NAME = ("accepted", "quarantine")
"""Whose objects events name, so that they stay, if with no rows."""
_LONGEST_RUN = timedelta(minutes=15)
"""So long a function may still be at work on what it read before."""
_MOST_TOLD = 500
_founds = TypeAdapter(list[Found])


class EraseSubject(BaseModel):
    """``POST /v1/erasures``.

    Attributes:
        entity: the name of an entity, or the join keys of a view, with commas.
        key: the value of the join key; of several a list, or an object by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    entity: str
    key: Any = Field(repr=False)


@dataclass(frozen=True)
class Shop:
    """What an erasure needs of its surroundings.

    Attributes:
        project: the current one.
        former: all that were ever applied.
        fold: folds pushed rows in that wait.
        trained_on: versions of models (``model/version``) that were trained on datasets of these digests.
        others: partition keys, by table, of other capabilities' items that may tell of rows.
        states: gives the key of the item of monitoring about a version of an upload.
        landing: whether the landing bucket is this workspace's.
        spare: says whether there is time to begin another step.
        threads: how many objects are read at a time.
    """

    project: Project
    former: Sequence[Project]
    tables: Tables
    log: Log
    blobs: Blobs
    cache: dict[str, Any]
    fold: Callable[[], object]
    trained_on: Callable[[Sequence[str]], Sequence[str]]
    others: dict[TableName, tuple[str, ...]]
    states: Callable[[str, str], Key]
    landing: bool
    spare: Callable[[], bool]
    threads: int = 4


def ask(
    call: Call, body: EraseSubject, *, project: Project, tables: Tables, log: Log, identity: str, salt: str
) -> dict[str, Any]:
    """Ask for an erasure; it is done some time later. Whoever nobody knows is erased too: the receipt says so.

    Args:
        call: who asks.
        body: whom.
        project: declares the entity.
        tables: where it is remembered.
        log: told, without the key.
        identity: a ULID, the erasure's.
        salt: 64 random hexadecimal digits.

    Raises:
        NotFound: there is no such entity; the text says which there are.
        InvalidInput: the key does not fit the entity.
    """
    call.authorise("features:erase", f"entity/{body.entity}")
    subject = subject_of(project, body.entity, body.key).model_copy(update={"mark": f"erased-{identity}"})
    state = State(
        erasure_id=identity,
        entity=body.entity,
        subject=subject.sealed(salt),
        salt=salt,
        requested_at=call.now,
    )
    who = {**own_key(call.workspace, identity, SUBJECT)._asdict(), "subject": subject.model_dump_json()}
    writes = [Put("features", state.item(call.workspace), Absent()), Put("features", who, Absent())]
    event = ErasureRequested(erasure_id=identity, entity=",".join(subject.columns), subject=state.subject)
    log.commit(call, [Happened(_stream(call.workspace, identity), event, fresh=True)], writes)
    return told(state)


def show(call: Call, erasure_id: str, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return how far an erasure is, and its receipt when it is over; raises ``NotFound``."""
    item = tables.get("features", state_key(call.workspace, erasure_id))
    if item is None:
        call.authorise("features:erase", "entity/*")
        raise NotFound(f"there is no erasure {erasure_id}")
    state = State.read(item)
    call.authorise("features:erase", f"entity/{state.entity}")
    receipt = None
    if state.status == "erased":
        body = blobs.get("lake", state.receipt).body
        receipt = Receipt.model_validate_json(body).model_dump(mode="json")
    return {**told(state), "receipt": receipt}


def told(state: State) -> dict[str, Any]:
    """Return what is said of an erasure to people."""
    return state.model_dump(mode="json", include={"erasure_id", "entity", "subject", "requested_at", "round", "status"})


def follow(delivery: Delivery, call: Call, *, shop: Shop) -> None:
    """Do an erasure that was asked for, or go on with it.

    Raises:
        AlreadyHandled: it is over.
        NotFound: there is no such erasure.
        Unavailable: it waits for somebody; the delivery should come again.
    """
    event: ErasureRequested = delivery.event
    item = shop.tables.get("features", state_key(call.workspace, event.erasure_id))
    if item is None:
        raise NotFound(f"there is no erasure {event.erasure_id}")
    if State.read(item).status == "erased":
        raise AlreadyHandled(f"erasure {event.erasure_id} is over")
    if not Erasure(call, event.erasure_id, shop).run():
        again = Happened(_stream(call.workspace, event.erasure_id), event)
        shop.log.commit(call, [again])  # there is more to do than time: whoever hears this goes on


def sweep(call: Call, *, shop: Callable[[], Shop], tables: Tables) -> int:
    """Go on with erasures that are not over, and return how many are now."""
    waiting = [State.read(item) for item in every(tables, "features", state_key(call.workspace, "").pk)]
    over = 0
    for state in waiting:
        if state.status == "erasing":
            try:
                over += Erasure(call, state.erasure_id, shop()).run()
            except Unavailable:  # it waits for somebody
                continue
    return over


class Erasure:
    """An erasure that is at work.

    Args:
        call: in whose name.
        erasure_id: which.
        shop: what it needs.
    """

    def __init__(self, call: Call, erasure_id: str, shop: Shop) -> None:
        self._call, self._id, self._shop = call, erasure_id, shop
        item = shop.tables.get("features", state_key(call.workspace, erasure_id))
        if item is None:
            raise NotFound(f"there is no erasure {erasure_id}")
        self._state = State.read(item)

    def run(self) -> bool:
        """Go on until it is over; False if there is no time left."""
        if self._state.status == "erased":
            return True
        if not self._state.receipt and not self._search_all():
            return False
        self._finish()
        return True

    # --- one step after the other ---------------------------------------------------------

    def _search_all(self) -> bool:
        """Search and clean until a round finds nothing; False if there is no time left."""
        self._known = self._recorded()
        self._ground = self._ground_of(self._subject())
        places = self._places()
        while True:
            while self._state.place < len(places):
                if not self._shop.spare():
                    return False
                self._step(places)
            waits = "" if self._state.dirty else self._waits()
            if not self._state.dirty and not waits:
                break
            self._move(round=self._state.round + 1, place=0, after="", dirty=False)
            if waits:
                raise Unavailable(f"erasure {self._id} waits for {waits}, which is being folded in: try again")
        self._write_receipt()
        return True

    def _step(self, places: Sequence[Place]) -> None:
        place, batch = places[self._state.place], self._state.batch
        record = self._shop.tables.get("features", self._found_key(batch))
        if record is None:
            found, cursor = place.search(self._state.after)
            if found:
                self._record(batch, found, cursor)
        else:
            found, cursor = _founds.validate_json(record["found"]), record["cursor"]
        if found:
            place.clean(found)
        self._move(
            place=self._state.place + (not cursor),
            after=cursor,
            batch=batch + bool(found),
            dirty=self._state.dirty or bool(found),
        )

    def _record(self, batch: int, found: list[Found], cursor: str) -> None:
        item = {**self._found_key(batch)._asdict(), "found": _founds.dump_json(found).decode(), "cursor": cursor}
        self._shop.tables.write([Put("features", item, Absent())])
        self._learn(found)

    def _learn(self, found: Sequence[Found]) -> None:
        self._known.extend(found)
        for one in found:
            self._ground.ids.add(one.ids)
            self._ground.entities.update(one.entities)

    def _move(self, **changes: Any) -> None:
        following = self._state.next(**changes)
        put = Put("features", following.item(self._call.workspace), Is("v", self._state.version))
        self._shop.tables.write([put])
        self._state = following

    # --- where it searches ----------------------------------------------------------------

    def _places(self) -> list[Place]:
        ground, shop = self._ground, self._shop
        declared = Declarations.of(shop.project, shop.former)
        history = History(blobs=shop.blobs, tables=shop.tables, workspace=ground.workspace, cache=shop.cache)
        online = Online(shop.tables, ground.workspace, micros(self._call.now), datetime.now(UTC))
        lake = {name: self._folder(name) for name in folders(shop.blobs, "lake", FOLDERS, _NOT_SEARCHED)}
        accepted = f"accepted/{ground.workspace}/"
        lake["accepted"] = Accepted(ground, "accepted", "lake", accepted, keeps_empty=True, declared=declared)
        first = [lake.pop(name) for name in _EVENTS_NAME]
        for name in _ELSEWHERE:
            lake.pop(name, None)
        items: dict[TableName, list[tuple[str, str]]] = {"features": own_partitions(ground.workspace, declared)}
        for table, partitions in shop.others.items():
            items[table] = [(pk, "") for pk in partitions]
        stores: dict[str, Any] = {"declared": declared, "history": history, "online": online}
        landing: list[Place] = [
            Uploads(ground, "uploads", "monitoring", (), states=shop.states),  # before their names are gone
            Objects(ground, "landing", "landing", ""),
        ]
        return [
            *(landing if shop.landing else []),
            *first,
            Offline(ground, declared, history, online, shop.fold),
            Pushes(ground, "pushed", "lake", f"pushed/{ground.workspace}/", **stores),
            OnlineItems(ground, declared),
            *lake.values(),
            *(Items(ground, f"table {table}", table, tuple(partitions)) for table, partitions in items.items()),
        ]

    def _folder(self, name: str) -> Objects:
        prefix = f"{name}/{self._ground.workspace}/"
        if name == "datasets":
            return Datasets(self._ground, name, "lake", prefix)
        kinds = {
            "proofs": Reports,
            "repaired": Repairs,
            "reports": WindowReports,
            "serving": Answers,
            "tables": Measures,
        }
        if name in kinds:
            return kinds[name](self._ground, name, "lake", prefix)
        return Objects(self._ground, name, "lake", prefix, keeps_empty=name in _EVENTS_NAME)

    def _ground_of(self, subject: Subject) -> Ground:
        known = (*self._shop.former, self._shop.project)
        ids = Ids(*id_columns(known))
        sources = [source for project in known for source in project.sources.values()]
        prefixes = {source.prefix for source in sources if source.prefix}
        names = Names(tuple(sorted(prefixes)), tuple({frozenset(source.columns) for source in sources}))
        for column, name in subject.columns.items():
            if len(subject.columns) == 1 and column in ids.columns:
                ids.add({column: [name]})
        ground = Ground(
            self._id, self._call.workspace, subject, ids, set(), self._shop.tables, self._shop.blobs, names,
            threads=self._shop.threads,
        )  # fmt: skip
        for one in self._known:
            ground.ids.add(one.ids)
            ground.entities.update(one.entities)
        return ground

    def _subject(self) -> Subject:
        item = self._shop.tables.get("features", self._own(SUBJECT))
        if item is None:
            raise NotFound(f"erasure {self._id} does not know any more whom it is about")
        return Subject.model_validate_json(item["subject"])

    def _recorded(self) -> list[Found]:
        items = every(self._shop.tables, "features", self._own("").pk, prefix=FOUND)
        return [one for item in items for one in _founds.validate_json(item["found"])]

    # --- the end --------------------------------------------------------------------------

    def _waits(self) -> str:
        """Return an upload that was accepted with the subject in it and is not folded in yet; empty if there is none.

        Who folds it in may have read it before it was cleaned, and put online what does not count.
        """
        if datetime.now(UTC) - time_of(self._id) >= _LONGEST_RUN:
            return ""
        for one in self._known:
            parts = one.at.split("/")
            if one.place == "accepted" and one.rows and len(parts) == 4:
                ledger = source_key(self._call.workspace, parts[2], f"ACCEPTED#{parts[3].partition('.')[0]}")
                if self._shop.tables.get("features", ledger) is None:
                    return f"an upload of {parts[2]}"
        return ""

    def _write_receipt(self) -> None:
        shop, workspace = self._shop, self._call.workspace
        held = [one.old for one in self._known if one.place == "datasets" and one.old]
        before = [old for digest in held for old in ancestors(shop.tables, workspace, digest)]
        models = shop.trained_on(list(dict.fromkeys([*held, *before]))) if held else ()
        receipt = receipt_of(workspace, self._state, self._ground.subject, self._known, models, self._call.now)
        path = receipt_path(workspace, self._id)
        shop.blobs.put("lake", path, receipt.model_dump_json(indent=1).encode())
        self._move(receipt=path)

    def _finish(self) -> None:
        """Forget whom it was about, and say that it is over."""
        shop, workspace = self._shop, self._call.workspace
        receipt = Receipt.model_validate_json(shop.blobs.get("lake", self._state.receipt).body)
        keys = [Key(item["pk"], item["sk"]) for item in every(shop.tables, "features", self._own("").pk)]
        if keys:
            shop.tables.delete_many("features", keys)
        event = SubjectErased(
            erasure_id=self._id,
            entity=",".join(receipt.join_keys),
            subject=receipt.subject,
            receipt_key=self._state.receipt,
            rows=receipt.rows,
            datasets=receipt.datasets[:_MOST_TOLD],
            models=receipt.models[:_MOST_TOLD],
            backups_until=receipt.backups_until,
        )
        over = self._state.next(status="erased")
        put = Put("features", over.item(workspace), Is("v", self._state.version))
        shop.log.commit(self._call, [Happened(_stream(workspace, self._id), event)], [put])
        self._state = over

    def _found_key(self, batch: int) -> Key:
        return self._own(f"{FOUND}{batch:06d}")

    def _own(self, what: str) -> Key:
        return own_key(self._call.workspace, self._id, what)


def _stream(workspace: str, identity: str) -> str:
    return stream_of(workspace, "ERASURE", identity)
