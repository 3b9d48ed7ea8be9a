"""The proof that a feature service is served what it is trained on, to the bit, or the difference with its cause.

Two ways: logged answers (``serving_log``) are compared with the point-in-time join as of their moment, and random
moments of the history are served again (``Replay``) and compared with the join. What differs is explained by
``causes``. Report and page lie in the lake under the report's digest; ``ParityProven`` or ``ParityFailed``
says so, and gates can ask for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, InvalidInput, NotFound
from modelwright.events import Delivery, Event, ParityFailed, ParityProven, ParityRequested, Window
from modelwright.features import serving_log
from modelwright.features.history import ARROW, History
from modelwright.features.layout import PENDING, micros, moment, source_key
from modelwright.features.offline import historical
from modelwright.features.parity import pairs as parity_pairs
from modelwright.features.parity import proofs
from modelwright.features.parity import report as parity_report
from modelwright.features.parity.case import Case
from modelwright.features.parity.causes import Explained, explained
from modelwright.features.parity.proofs import LOOK_BACK, Proof
from modelwright.features.parity.report import Compared, Counted, Example, Report
from modelwright.features.parity.rows import (
    Difference,
    Recomputation,
    Row,
    Sample,
    differences,
    excerpt,
    listed,
)
from modelwright.features.plan import Load, Plan, plan_of
from modelwright.features.serving_log import Answer
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project
from modelwright.storage import Absent, Blobs, Condition, Is, Put, Tables, every

AS_OF = "_as_of"
ANSWERED = 20_000
INVESTIGATED = 2_000
_EXAMPLES = 5
_MOST_EXAMPLES = 100

Replay = Callable[[Sequence[Row]], Sequence[Row]]
"""Serves request rows, each as of its time, from the history alone, by the code that serves in production."""
Replays = Callable[[Project, str, History, Load], Replay]
Former = Callable[[str], tuple[Project, Load] | None]
"""Returns the project of a digest, and what loads its code; None where it is not kept."""


@dataclass(frozen=True)
class Stand:
    """What a proof is made with.

    Attributes:
        project: the definitions as they are.
        load: its code.
        former: the definitions as they were.
        replays: makes what serves again.
        blobs: the lake.
        tables: manifests.
        cache: kept between calls.
        answered: when the newest logged answers have so many rows, older ones are left out.
        investigated: rows with differences that causes are looked for, of each way: spread over all of them.
    """

    workspace: str
    project: Project
    load: Load
    former: Former
    replays: Replays
    blobs: Blobs
    tables: Tables
    cache: dict[str, Any]
    answered: int = ANSWERED
    investigated: int = INVESTIGATED

    @property
    def history(self) -> History:
        """The offline store."""
        return History(blobs=self.blobs, tables=self.tables, workspace=self.workspace, cache=self.cache)


def follow(delivery: Delivery, call: Call, *, stand: Stand, log: Log) -> None:
    """Make the proof that was asked for, and tell its outcome.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    event: ParityRequested = delivery.event
    asked = proofs.load(stand.tables, call.workspace, event.service, event.proof_id)
    if asked is not None and asked.state != "waiting":
        raise AlreadyHandled(f"proof {event.proof_id} of {event.service} does not wait")
    proof = asked or Proof(asked_at=call.now, **event.model_dump())
    try:
        report = prove(stand, event.service, now=call.now, since=event.since, pairs=event.pairs, seed=event.proof_id)
    except (InvalidInput, NotFound) as error:
        proof, events = proof.model_copy(update={"state": "impossible", "text": str(error)}), []
    else:
        proof, told = _kept(report, proof, stand)
        events = [Happened(stream_of(call.workspace, "PARITY", event.service), told)]
    waiting: Condition = Absent() if asked is None else Is("state", "waiting")
    write = Put("features", proofs.item_of(call.workspace, proof), waiting)
    log.commit(call, events, [write], delivery=delivery, table="features")


def prove(stand: Stand, service: str, *, now: datetime, since: datetime | None, pairs: int, seed: str) -> Report:
    """Compare what a service served, and what it would serve, with what is trained on.

    Args:
        stand: what the proof is made with.
        service: feature service or model.
        now: until when.
        since: from when; by default a week of answers, and pairs of the last four weeks of the history.
        pairs: how many random (entity, time) pairs are served again.
        seed: the same seed gives the same pairs.

    Raises:
        NotFound: there is no such service.
        InvalidInput: there is nothing to compare.
    """
    plan = plan_of(stand.project, service)
    notes: list[str] = []
    served, compared = _served(stand, service, plan, since or now - LOOK_BACK, now, notes)
    samples = [served] if served.rows else []
    ways = [compared] if served.rows else []
    if (again := _replayed(stand, service, plan, since, now, pairs, seed)) is not None:
        samples.append(again)
        ways.append(Compared(way="replayed", answers=len(again.rows), rows=len(again.rows), values=0, equal=0))
    if not samples:
        why = "; ".join(notes) or "no answer was logged, and no row is stored"
        raise InvalidInput(f"there is nothing to compare of {service} yet: {why}")
    placed: list[tuple[Sample, Explained]] = []
    for n, sample in enumerate(samples):
        offline = joined(stand, service, sample.rows, sample.as_of)
        differing = differences(sample.served, offline)
        values = sum(len(column) for column in sample.served.values())
        ways[n] = ways[n].model_copy(update={"values": values, "equal": values - len(differing)})
        placed += [(sample, each) for each in _investigated(stand, service, plan, sample, differing)]
    return Report(
        service=service,
        project=stand.project.digest,
        features=_features(plan),
        views={name: view.version for name, view in plan.views.items()},
        at=now,
        window=_window(samples),
        compared=tuple(ways),
        differences=_counted(placed),
        examples=_examples(plan, placed),
        notes=tuple(notes),
    )


def joined(stand: Stand, service: str, rows: Sequence[Row], as_of: Sequence[int]) -> dict[str, list[Any]]:
    """Return a service's features of request rows, each as of its moment, by the join that training uses.

    A row's moment need not be what its time column says, which on-demand functions may read: serving answers as of
    now whatever the caller says.
    """
    plan = plan_of(stand.project, service)
    declared = plan.service
    request = {**declared.request, AS_OF: "timestamp"}
    apart = declared.model_copy(update={"request": request, "time_column": AS_OF, "inputs": _features(plan)})
    columns = {n: pa.array([row.get(n) for row in rows], ARROW[kind]) for n, kind in declared.request.items()}
    times = pa.array([moment(time) for time in as_of], ARROW["timestamp"])
    table = historical(
        stand.project, apart, pa.table({**columns, AS_OF: times}), blobs=stand.blobs, tables=stand.tables,
        workspace=stand.workspace, cache=stand.cache,
    )  # fmt: skip
    return {name: listed(table[name]) for name in _features(plan)}


def _features(plan: Plan) -> tuple[str, ...]:
    return tuple(name for name in plan.service.inputs if name not in plan.service.request)


# --- samples -----------------------------------------------------------------------------


def _served(
    stand: Stand, service: str, plan: Plan, since: datetime, now: datetime, notes: list[str]
) -> tuple[Sample, Compared]:
    answers, count = serving_log.answers(stand.blobs, stand.workspace, service, since, now, most=stand.answered)
    comparable = [answer for answer in answers if _comparable(answer, plan)]
    if left := len(answers) - len(comparable):
        notes.append(f"{left} answers are not compared: their request or features are not what {service} has now")
    waiting = _waiting(stand, plan)  # after the answers: what they show and does not wait any more is in the history
    settled = [answer for answer in comparable if waiting is None or answer.as_of < waiting]
    if waiting is not None and (left := len(comparable) - len(settled)):
        first = f"{moment(waiting):%Y-%m-%d %H:%M:%S.%f} UTC"
        notes.append(f"{left} answers are not compared yet: rows pushed since {first} wait to be folded in")
    rows: list[Row] = []
    served: dict[str, list[Any]] = {name: [] for name in _features(plan)}
    blank = dict.fromkeys(plan.service.request)
    for answer in settled:
        columns = list(answer.given)
        rows += [{**blank, **dict(zip(columns, row, strict=True))} for row in zip(*answer.given.values(), strict=True)]
        for name, values in served.items():
            values.extend(answer.values[name])
    sample = Sample(
        "served", rows, [a.as_of for a in settled for _ in range(len(a))], served,
        [a.arrival for a in settled for _ in range(len(a))], [a.project for a in settled for _ in range(len(a))],
    )  # fmt: skip
    left_out = count - len(answers)
    return sample, Compared(way="served", answers=len(settled), left_out=left_out, rows=len(rows), values=0, equal=0)


def _waiting(stand: Stand, plan: Plan) -> int | None:
    """Return when the oldest of the pushes came that are served and not in the history yet, in microseconds."""
    sources = sorted({view.source for view in plan.views.values()})
    keys = [source_key(stand.workspace, source, "").pk for source in sources]
    pushes = (push for key in keys for push in every(stand.tables, "features", key, prefix=PENDING))
    return min((push["at"] for push in pushes), default=None)


def _comparable(answer: Answer, plan: Plan) -> bool:
    """Say whether an answer has the features that the service has now, of request columns of the same types."""
    types = plan.service.request
    fits = all(types.get(name) == kind for name, kind in answer.types.items())
    return fits and set(_features(plan)) <= set(answer.values)


def _replayed(
    stand: Stand, service: str, plan: Plan, since: datetime | None, now: datetime, count: int, seed: str
) -> Sample | None:
    start = None if since is None else micros(since)
    span = parity_pairs.span(stand.history, stand.project, plan, start, micros(now)) if count else None
    if span is None:
        return None
    chosen = np.random.default_rng(list(seed.encode()))
    taken = list(parity_pairs.pairs(stand.history, stand.project, plan, count, span, chosen))
    replay = stand.replays(stand.project, service, stand.history, stand.load)
    answers = replay([row for row, _ in taken])
    return parity_pairs.sample(taken, {name: [answer[name] for answer in answers] for name in _features(plan)})


# --- differences -------------------------------------------------------------------------


def _investigated(
    stand: Stand, service: str, plan: Plan, sample: Sample, differing: Sequence[Difference]
) -> list[Explained]:
    """Return differences with their causes; of too many rows, those of some."""
    rows = sorted({difference.row for difference in differing})
    if not rows:
        return []
    chosen = rows[:: -(-len(rows) // stand.investigated)]
    place = {row: n for n, row in enumerate(chosen)}
    few = sample.taken(chosen)
    current = Recomputation(
        stand.project, service, excerpt(stand.history, stand.project, plan.views, few.rows), stand.load
    )
    kept: dict[str, Recomputation | None] = {}

    def former(digest: str) -> Recomputation | None:
        if digest not in kept:
            kept[digest] = _former(stand, service, digest, few.rows)
        return kept[digest]

    mine = [each._replace(row=place[each.row]) for each in differing if each.row in place]
    back = {n: row for row, n in place.items()}
    found = [
        each._replace(difference=each.difference._replace(row=back[each.difference.row]))
        for each in explained(Case(few, mine, current, former))
    ]
    text = f"causes are looked for in {len(chosen):,} of {len(rows):,} rows that differ"
    return found + [Explained(each, "not investigated", text) for each in differing if each.row not in place]


def _former(stand: Stand, service: str, digest: str, rows: Sequence[Row]) -> Recomputation | None:
    known = stand.former(digest)
    if known is None:
        return None
    project, load = known
    try:
        views = plan_of(project, service).views
        return Recomputation(project, service, excerpt(stand.history, project, views, rows), load)
    except (NotFound, InvalidInput, KeyError):
        return None  # that project had no such service, or one of another request


def _counted(placed: Sequence[tuple[Sample, Explained]]) -> tuple[Counted, ...]:
    groups: dict[tuple[str, str, str], dict[str, int]] = {}
    for sample, each in placed:
        texts = groups.setdefault((each.difference.feature, sample.way, each.cause), {})
        texts[each.text] = texts.get(each.text, 0) + 1
    return tuple(
        Counted.model_validate(
            {
                "feature": feature,
                "way": way,
                "cause": cause,
                "text": max(texts, key=lambda text: texts[text]),
                "count": sum(texts.values()),
            }
        )
        for (feature, way, cause), texts in sorted(groups.items())
    )


def _examples(plan: Plan, placed: Sequence[tuple[Sample, Explained]]) -> tuple[Example, ...]:
    shown: dict[tuple[str, str, str], int] = {}
    found: list[Example] = []
    for sample, each in placed:
        kind = (each.difference.feature, sample.way, each.cause)
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= _EXAMPLES and len(found) < _MOST_EXAMPLES:
            row = sample.rows[each.difference.row]
            found.append(
                Example(
                    feature=each.difference.feature,
                    entity={key: _text(row[key]) for key in _keys(plan, each.difference.feature)},
                    as_of=moment(sample.as_of[each.difference.row]),
                    way=sample.way,
                    served=repr(each.difference.served),
                    offline=repr(each.difference.offline),
                    cause=each.cause,
                    text=each.text,
                    also=each.also,
                )
            )
    return tuple(found)


def _keys(plan: Plan, feature: str) -> tuple[str, ...]:
    """Return the join keys of a feature's view; of an on-demand feature, those of all views."""
    place = plan.stored.get(feature)
    if place is not None:
        return plan.views[place.view].entity
    return tuple(dict.fromkeys(key for view in plan.views.values() for key in view.entity))


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _window(samples: Sequence[Sample]) -> Window:
    times = [time for sample in samples for time in sample.as_of]
    return Window(start=moment(min(times)), end=moment(max(times)))


# --- outcome -----------------------------------------------------------------------------


def _kept(report: Report, proof: Proof, stand: Stand) -> tuple[Proof, Event]:
    """Store report and page, and return the proof with its outcome, and the event that tells it."""
    digest = parity_report.digest_of(report)
    key = parity_report.path(stand.workspace, digest)
    page = parity_report.page(report).encode()
    stand.blobs.put("lake", parity_report.path(stand.workspace, digest, "html"), page)
    stand.blobs.put("lake", key, report.body())
    said: dict[str, Any] = {
        "service": report.service, "digest": digest, "key": key, "rows": report.rows, "values": report.values,
        "window": report.window, "project": report.project, "features": report.features,
    }  # fmt: skip
    event = ParityProven(**said) if report.equal else ParityFailed(**said, differences=report.told())
    outcome: Mapping[str, Any] = {
        "state": "proven" if report.equal else "failed", "digest": digest, "rows": report.rows,
        "values": report.values, "text": parity_report.verdict(report),
    }  # fmt: skip
    return proof.model_copy(update=dict(outcome)), event
