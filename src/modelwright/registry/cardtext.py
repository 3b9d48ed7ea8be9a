"""A card in words: from its JSON to a document of a few kinds of blocks, which ``cardforms`` writes down.

Whatever was said by people or clients stays plain text here; escaping is the business of each form.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelwright.registry.cardfacts import NEWEST
from modelwright.registry.sections import title

Facts = Mapping[str, Any]
_SHOWN_REQUESTS = 10
_FIGURES = {"auc": "AUC", "brier": "Brier score", "log_loss": "log loss"}


class Code(str):
    """Text that is shown as code: ids, digests, names."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of the platform's."""

    text: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A paragraph that nobody should overlook."""

    text: str


@dataclass(frozen=True, slots=True)
class Names:
    """Names in order."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Markdown that people wrote.

    Attributes:
        carried: whether it is a draft that was carried over.
        note: who wrote it, and when.
    """

    markdown: str
    note: str
    carried: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is known, by name."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; ``figures`` are the columns of numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str


Block = Prose | Alarm | Names | Written | Pairs | Grid | Heading


@dataclass(frozen=True, slots=True)
class Part:
    """A section: its name and what it shows."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A card as it is read.

    Attributes:
        badges: what is to be seen at a glance.
        people: sections that people wrote.
        generated: the platform's.
        foot: when it was made, of what.
    """

    title: str
    badges: tuple[str, ...]
    people: tuple[Part, ...]
    generated: tuple[Part, ...]
    foot: str


def document(card: Facts) -> Document:
    """Return a card's JSON as a document."""
    facts = card["generated"]
    people = [_written(name, section) for name, section in card["sections"].items()]
    generated = [Part(name, title(name), tuple(say(facts[name]))) for name, say in _SAY.items()]
    if card["missing"]:
        names = ", ".join(title(name).lower() for name in card["missing"])
        missing = Prose(f"Nobody wrote or confirmed for this version: {names}.")
        generated.insert(0, Part("missing", "Not written yet", (missing,)))
    revision = f"revision {card['revision']}" if card["revision"] else "no revision yet"
    foot = f"Generated {time(card['generated_at'])} from the registry and the log; written sections: {revision}"
    foot += f" (SHA-256 {card['digest']})." if card["digest"] else "."
    badges = tuple(facts["overview"]["aliases"]) + ((f"stage {facts['overview']['stage']}",) if _staged(facts) else ())
    return Document(f"{card['model']} v{card['version']}", badges, tuple(people), tuple(generated), foot)


def number(value: Any) -> str:
    """Return a figure with four digits that say something."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def estimate(told: Any, sign: str = "") -> str:
    """Return a figure with its 95 % interval, where that is known."""
    if told is None:
        return "not known"
    if not isinstance(told, Mapping):
        return number(told)
    if told.get("low") is None:
        return number(told["value"])
    return f"{told['value']:{sign}.4f} [{told['low']:{sign}.4f}, {told['high']:{sign}.4f}]"


def time(text: str) -> str:
    """Return an ISO 8601 time as people read it, in UTC."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def period(window: Facts) -> str:
    """Return a window as people read it."""
    return f"{time(window['start'])} to {time(window['end'])}"


# --- sections that people wrote ----------------------------------------------------------


def _written(name: str, section: Facts) -> Part:
    carried = section["carried_from"]
    note = f"{section['by']}, {time(section['at'])}"
    if carried:
        note = f"Carried over from v{carried} and not confirmed for this version ({note})"
    return Part(name, title(name), (Written(section["text"], note, bool(carried)),))


# --- sections of the platform ------------------------------------------------------------


def _overview(told: Facts) -> Iterator[Block]:
    if told["about"]:
        yield Prose(told["about"])
    if told["description"]:
        yield Prose(told["description"])
    trained = (
        f"by the platform ({told['trigger'] or 'trigger unknown'})" if told["trained_by_platform"] else "by a client"
    )
    label = told["predicts"]
    yield _pairs(
        ("Model", told["model"]),
        ("Version", str(told["version"])),
        ("Aliases", ", ".join(told["aliases"]) or "none"),
        ("Stage", "" if told["stage"] == "None" else told["stage"]),
        ("Created", f"{time(told['created'])} by {told['created_by'] or 'nobody that is known'}"),
        ("Trained", trained),
        ("Predicts", f"whether {label['column']} of {label['source']} is above {label['above']:g}" if label else ""),
    )


def _training_data(told: Facts) -> Iterator[Block]:
    digests = [Code(digest) for digest in told["digests"]]
    if not digests:
        yield Prose("Nobody said what this version was trained on.")
        return
    yield _pairs(
        *(("Dataset digest", digest) for digest in digests),
        ("Rows", f"{told['rows']:,}" if told["rows"] else "not known"),
        ("Period", period(told["window"]) if told["window"] else "not known"),
    )


def _features(told: Sequence[str]) -> Iterator[Block]:
    if told:
        yield Names(tuple(told))
    else:
        yield Prose("It is not known which features this version is fed.")


def _metrics(told: Sequence[Facts]) -> Iterator[Block]:
    if not told:
        yield Prose("No metric of this version is known.")
        return
    rows = tuple((_figure(m["name"]), estimate(m), _whence(m)) for m in told)
    yield Grid(("Metric", "Value [95 % interval]", "Measured on"), rows, frozenset({1}))


def _slices(told: Sequence[Facts]) -> Iterator[Block]:
    if not told:
        yield Prose("No metric by category is known.")
        return
    rows = tuple(
        (
            s["column"],
            s["value"],
            f"{s['rows']:,}",
            f"{s['positives'] / s['rows']:.1%}",
            "one class" if s["auc"] is None else number(s["auc"]),
            number(s["brier"]),
        )
        for s in told
    )
    yield Prose("On the held-out rows, for the most frequent values of each categorical feature.")
    yield Grid(("Feature", "Value", "Rows", "Positive", "AUC", "Brier score"), rows, frozenset({2, 3, 4, 5}))


def _comparison(told: Facts | None) -> Iterator[Block]:
    if told is None:
        yield Prose("This version was not compared with a champion on the same rows.")
        return
    yield Prose(f"On the same {told['rows']:,} held-out rows, {period(told['window'])}; differences are paired.")
    rows = tuple(
        (_figure(f["name"]), estimate(f["version"]), estimate(f["champion"]), estimate(f["difference"], "+"))
        for f in told["figures"]
    )
    yield Grid(("Metric", "This version", "Champion then", "Difference [95 % interval]"), rows, frozenset({1, 2, 3}))


def _drift(told: Facts) -> Iterator[Block]:
    yield from _performance(told["performance"])
    if told["sources"]:
        yield Heading("Data that feeds it")
        yield Grid(("Source", "Newest data", "Drift", "Quality"), tuple(map(_source, told["sources"])))


def _performance(told: Facts) -> Iterator[Block]:
    yield Heading("On labels that came later")
    measured, fallen = told["measured"], told["degraded"]
    if fallen:
        what = f"{_figure(fallen['metric'])} {estimate(fallen['value'])}, reference {number(fallen['reference'])}"
        yield Alarm(f"Degraded in {period(fallen['window'])}: {what}. {fallen['reason']}")
    if not measured:
        yield Prose("Not measured yet.")
        return
    yield _pairs(
        ("Window", period(measured["window"])),
        ("Rows", f"{measured['rows']:,}, {measured['positives']:,} positive"),
        ("AUC", estimate(measured["auc"])),
        ("Brier score", estimate(measured["brier"])),
    )


def _source(told: Facts) -> tuple[str, ...]:
    accepted, drift = told["accepted"], told["drift"]
    newest = f"{accepted['rows']:,} rows, until {time(accepted['window']['end'])}" if accepted else "none known"
    moved = f"none in the last {NEWEST} events"
    if drift:
        columns = ", ".join(f"{c['column']} ({c['detector']} {number(c['effect'])})" for c in drift["columns"])
        moved = f"{'in the newest data' if drift['current'] else 'last in ' + period(drift['window'])}: {columns}"
    held = "; ".join(f"{q['rows']:,} rows in quarantine: {', '.join(q['reasons'])}" for q in told["quarantined"])
    return told["source"], newest, moved, held or "nothing in quarantine"


def _lineage(told: Facts) -> Iterator[Block]:
    names = (
        ("Run", "run_id"), ("Training", "training_id"), ("Logged model", "logged_model"), ("Files", "source"),
        ("Code", "code"), ("Environment digest", "environment_digest"), ("Model file digest", "artifact_digest"),
        ("Copy of", "copied_from"), ("Carried here from", "origin"),
    )  # fmt: skip
    yield _pairs(*((name, Code(told[key])) for name, key in names if told[key]))


def _approvals(told: Sequence[Facts]) -> Iterator[Block]:
    if not told:
        yield Prose("Nobody asked for an alias for this version.")
    for request in told[:_SHOWN_REQUESTS]:
        yield Heading(f"{request['alias']}: {state(request)}")
        yield asked(request)
        if request["results"]:
            yield gates(request["results"])
    if len(told) > _SHOWN_REQUESTS:
        yield Prose(f"{len(told) - _SHOWN_REQUESTS} older requests are in the model's history.")


def state(request: Facts) -> str:
    """Return how a request stands."""
    if request["state"] == "refused":
        ends = {"gates": "refused by its gates", "expired": "expired", "superseded": "overtaken by another request"}
        return ends.get(request["why"], str(request["why"]))
    if request["state"] == "waiting":
        return f"waits for approval, {len(request['approvals'])} of {request['needed']}"
    if request["state"] == "judging":
        return f"gates are still to be run: {', '.join(request['pending'])}"
    return "applied, overriding what was against it" if request["forced"] else "applied"


def asked(request: Facts) -> Pairs:
    """Return who asked for what, who approved it, and how it ended."""
    approvals = [
        f"{a['actor']}, {time(a['at'])}" + (f": {a['comment']}" if a["comment"] else "") for a in request["approvals"]
    ]
    decided = f"{time(request['decided'])} by {request['decided_by']}" if request["decided"] else ""
    return _pairs(
        ("Request", Code(request["request_id"])),
        ("Asked", f"{time(request['at'])} by {request['actor']}"),
        ("Overridden because" if request["forced"] else "Reason", request["reason"]),
        ("Compared with", f"champion v{request['champion']}" if request["champion"] else ""),
        ("Approved", "; ".join(approvals)),
        ("Decided", decided),
        ("Decision", request["decision"]),
        ("Expires", "" if request["decided"] else time(request["expires"])),
    )


def gates(results: Sequence[Facts]) -> Grid:
    """Return what gates said."""
    rows = tuple((Code(r["gate"]), "passed" if r["passed"] else "FAILED", r["text"]) for r in results)
    return Grid(("Gate", "Verdict", "Why"), rows)


def _serving(told: Facts) -> Iterator[Block]:
    shares = [f"{route['percent']} % of traffic as {route['role']}" for route in told["routes"]]
    yield _pairs(("Aliases", ", ".join(told["aliases"]) or "none"), ("Traffic", "; ".join(shares) or "none"))


_SAY: Mapping[str, Callable[[Any], Iterator[Block]]] = {
    "overview": _overview,
    "metrics": _metrics,
    "slices": _slices,
    "comparison": _comparison,
    "drift": _drift,
    "training_data": _training_data,
    "features": _features,
    "lineage": _lineage,
    "approvals": _approvals,
    "serving": _serving,
}


def _pairs(*pairs: tuple[str, str]) -> Pairs:
    return Pairs(tuple((name, value) for name, value in pairs if value))


def _figure(name: str) -> str:
    return _FIGURES.get(name, name)


def _whence(metric: Facts) -> str:
    known = {"run": "its run or training", "tag": "a tag's word"}
    return known.get(metric["source"]) or f"{metric['rows']:,} held-out rows"


def _staged(facts: Facts) -> bool:
    return bool(facts["overview"]["stage"] != "None")
