"""What a proof of parity says: figures, causes, examples, as JSON for programs and as a page for people.

``proofs/<ws>/<digest>.json`` and ``.html`` in the lake; the digest is that of the JSON. Examples hold join keys and
values: whoever removes a subject removes the reports that show it.
"""

import hashlib
import html
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.events import ParityDifference, Window
from modelwright.log import canonical

Cause = Literal[
    "late data",
    "code version",
    "float width",
    "null fill",
    "leak through the join",
    "time zone",
    "unexplained",
    "not investigated",
]
Way = Literal["served", "replayed"]
WAYS: Mapping[Way, str] = {
    "served": "what was served, against the history as of then",
    "replayed": "random moments of the history, served again",
}


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Compared(_Said):
    """How much was compared in one way, and how much of it is equal to the bit.

    Attributes:
        answers: how many logged answers it was; of ``replayed``, how many pairs.
        left_out: logged answers that were not read, because there are too many.
        rows: entity rows.
        equal: of the values.
    """

    way: Way
    answers: int
    left_out: int = 0
    rows: int
    values: int
    equal: int


class Counted(_Said):
    """Values of a feature that differ for one cause.

    Attributes:
        text: the circumstances under which computing again gives what was served; of the commonest.
    """

    feature: str
    way: Way
    cause: Cause
    text: str
    count: int


class Example(_Said):
    """A value that differs.

    Attributes:
        entity: its join keys.
        as_of: the moment.
        served: what serving said, as Python spells it.
        offline: what the point-in-time join says.
        also: other causes that would explain it as well.
    """

    feature: str
    entity: dict[str, str]
    as_of: datetime
    way: Way
    served: str
    offline: str
    cause: Cause
    text: str
    also: tuple[Cause, ...] = ()


class Report(_Said):
    """A proof, or its failure.

    Attributes:
        project: digest of the project that the history was joined by.
        views: versions of its views.
        window: the moments that were compared.
        notes: what else has to be known to read the figures.
    """

    service: str
    project: str
    features: tuple[str, ...]
    views: dict[str, int]
    at: datetime
    window: Window
    compared: tuple[Compared, ...]
    differences: tuple[Counted, ...] = ()
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Entity rows, in both ways."""
        return sum(each.rows for each in self.compared)

    @property
    def values(self) -> int:
        """Values, in both ways."""
        return sum(each.values for each in self.compared)

    @property
    def equal(self) -> bool:
        """Whether every value is equal to the bit."""
        return all(each.equal == each.values for each in self.compared)

    def body(self) -> bytes:
        """Return the report as canonical JSON."""
        return canonical(self.model_dump(mode="json"))

    def told(self) -> tuple[ParityDifference, ...]:
        """Return the differences by feature and cause, as the event says them."""
        counts: dict[tuple[str, str], int] = {}
        for each in self.differences:
            counts[each.feature, each.cause] = counts.get((each.feature, each.cause), 0) + each.count
        return tuple(ParityDifference(feature=f, cause=c, count=n) for (f, c), n in sorted(counts.items()))


def digest_of(report: Report) -> str:
    """Return SHA-256 of a report's JSON."""
    return hashlib.sha256(report.body()).hexdigest()


def path(workspace: str, digest: str, kind: Literal["json", "html"] = "json") -> str:
    """Return where a report lies in the lake."""
    return f"proofs/{workspace}/{digest}.{kind}"


def lines(report: Report) -> list[str]:
    """Return the verdict as a person reads it, in plain text."""
    found = [f"{report.service}: {verdict(report)}"]
    for each in report.compared:
        what = "answers" if each.way == "served" else "pairs"
        left = f" ({each.left_out:,} older ones left out)" if each.left_out else ""
        figures = f"{each.answers:,} {what}{left}, {each.equal:,} of {each.values:,} values equal to the bit"
        found.append(f"  {WAYS[each.way]}: {figures}")
    found += [f"  {d.feature}: {d.count:,} {d.way}, {d.cause}: {d.text}" for d in report.differences]
    for example in report.examples[:5]:
        entity = ", ".join(f"{name} {value}" for name, value in example.entity.items())
        found.append(
            f"    {example.feature} of {entity} as of {_time(example.as_of)}: "
            f"served {example.served}, offline {example.offline} ({example.cause})"
        )
    return [*found, *(f"  note: {note}" for note in report.notes)]


def verdict(report: Report) -> str:
    """Return the outcome in one sentence."""
    if report.equal:
        return f"proven: serving and training agree in all {report.values:,} values, to the bit"
    differing = report.values - sum(each.equal for each in report.compared)
    causes = ", ".join(dict.fromkeys(each.cause for each in report.differences))
    return f"DIFFERENT: {differing:,} of {report.values:,} values differ ({causes})"


def page(report: Report) -> str:
    """Return the report as a page that needs nothing else."""
    ways = [(WAYS[c.way], c.answers, c.left_out, c.rows, c.values, c.equal) for c in report.compared]
    causes = [(d.feature, d.way, d.cause, d.text, d.count) for d in report.differences]
    shown = [
        (
            e.feature,
            ", ".join(f"{name} {value}" for name, value in e.entity.items()),
            _time(e.as_of),
            e.way,
            e.served,
            e.offline,
            e.cause + (f" (or {', '.join(e.also)})" if e.also else ""),
            e.text,
        )
        for e in report.examples
    ]
    about = [
        ("service", report.service),
        ("project", report.project),
        ("views", ", ".join(f"{name} v{version}" for name, version in report.views.items())),
        ("window", f"{_time(report.window.start)} to {_time(report.window.end)}"),
        ("made", _time(report.at)),
    ]
    parts = [
        f"<h1>{html.escape(verdict(report))}</h1>",
        _table((), about),
        "<h2>What was compared</h2>",
        _table(("how", "answers or pairs", "left out", "rows", "values", "equal to the bit"), ways),
    ]
    if causes:
        parts += ["<h2>Differences</h2>", _table(("feature", "where", "cause", "circumstances", "values"), causes)]
        header = ("feature", "entity", "as of", "where", "served", "offline", "cause", "circumstances")
        parts += ["<h2>Examples</h2>", _table(header, shown)]
    if report.notes:
        parts += ["<h2>Notes</h2>", _table((), [(note,) for note in report.notes])]
    return _PAGE.format(title=html.escape(f"Parity of {report.service}"), body="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }}
h1 {{ font-size: 1.35rem }} h2 {{ font-size: 1.05rem; margin-top: 2rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dce3; overflow-wrap: anywhere }}
</style></head><body>
{body}
</body></html>
"""


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    lines = ["".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in [*([head] if head else []), *lines]) + "</table>"


def _shown(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S.%f} UTC"
