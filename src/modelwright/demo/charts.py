"""The pictures of the report as SVG: one horizontal axis of time for all of them, so that they read downwards.

Every picture exists for wide and for narrow screens (``Canvas``); colours are classes of the page's style.
Shapes and words say everything that colours say.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby, pairwise
from typing import Literal

from modelwright.demo.chronicle import Rollout, Step
from modelwright.demo.report import Range, Report, WeekRow

Side = Literal["static", "loop"]
NAMES: dict[Side, str] = {"static": "January model", "loop": "the loop"}
_LABEL_GAP = 30
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a time and a value lie.

    Attributes:
        width: of the picture, in its own units, which are about pixels.
        left: margin for the names of lanes and values.
        right: margin for the names of lines.
        start: of the first week.
        end: of the last.
    """

    width: int
    left: int
    right: int
    start: datetime
    end: datetime

    @property
    def wide(self) -> bool:
        """Whether there is room beside the lines to name them."""
        return self.right > _LABEL_GAP

    @property
    def edge(self) -> int:
        """Where the plot ends."""
        return self.width - self.right

    def x(self, at: str) -> float:
        """Return where a time lies; outside of the weeks, at the edge."""
        share = (datetime.fromisoformat(at) - self.start) / (self.end - self.start)
        return self.left + min(max(share, 0.0), 1.0) * (self.edge - self.left)

    def middle(self, week: WeekRow) -> float:
        """Return where a week's middle lies."""
        return (self.x(week["start"]) + self.x(week["end"])) / 2


def canvases(weeks: Sequence[WeekRow]) -> tuple[Canvas, Canvas]:
    """Return the wide and the narrow canvas of some weeks."""
    start, end = datetime.fromisoformat(weeks[0]["start"]), datetime.fromisoformat(weeks[-1]["end"])
    return Canvas(960, 96, 128, start, end), Canvas(370, 38, 6, start, end)


# --- pictures ----------------------------------------------------------------------------


def auc(report: Report, canvas: Canvas) -> str:
    """Return the weekly AUC of both sides with their bands; upright lines mark new champions."""
    height = 300 if canvas.wide else 240
    bands = {side: _ranges(report["weeks"], side) for side in NAMES}
    values = [limit for rows in bands.values() for _, r in rows for limit in (r["low"], r["high"])]
    scale = _scale(values, top=26, bottom=height - 26)
    parts = [_months(canvas, 26, height - 26), _grid(canvas, scale), _arrivals(report, canvas, 26, height - 26)]
    for side, rows in bands.items():
        low = [(canvas.middle(week), scale.y(r["low"])) for week, r in rows]
        high = [(canvas.middle(week), scale.y(r["high"])) for week, r in rows]
        parts.append(f'<polygon class="band {side}" points="{_points([*high, *reversed(low)])}"/>')
    lines = {side: [(canvas.middle(week), scale.y(r["value"])) for week, r in rows] for side, rows in bands.items()}
    parts += [_line(side, points) for side, points in lines.items()]
    parts.append(_names(canvas, lines, {side: report[side]["auc"] for side in NAMES}))
    parts.append(_hover(report["weeks"], canvas, height, _auc_of))
    return _svg(canvas, height, "AUC by week", _auc_summary(report), parts)


def gain(report: Report, canvas: Canvas) -> str:
    """Return, by week, the loop's AUC less the January model's as bars from zero."""
    height = 110 if canvas.wide else 100
    static = {week["number"]: figure["value"] for week, figure in _ranges(report["weeks"], "static")}
    both = [(week, figure) for week, figure in _ranges(report["weeks"], "loop") if week["number"] in static]
    rows = [(week, figure["value"] - static[week["number"]]) for week, figure in both]
    scale = _scale([0.0, *(value for _, value in rows)], top=8, bottom=height - 24, ticks=3)
    parts = [_months(canvas, 8, height - 24), _grid(canvas, scale, sign=True)]
    for week, value in rows:
        left, right = canvas.x(week["start"]) + 1, canvas.x(week["end"]) - 1
        top, bottom = sorted((scale.y(value), scale.y(0)))
        side = "loop" if value >= 0 else "static"
        parts.append(
            f'<rect class="bar {side}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}"><title>{escape(_week_name(week))}: {value:+.3f}</title></rect>'
        )
    if canvas.wide:
        parts += [
            _text(canvas.edge + 10, scale.y(0) - 8, "the loop is better", "name loop small"),
            _text(canvas.edge + 10, scale.y(0) + 16, "worse", "name static small"),
        ]
    better = sum(value > 0 for _, value in rows)
    return _svg(canvas, height, "Gain by week", f"The loop's AUC is higher in {better} of {len(rows)} weeks.", parts)


def brier(report: Report, canvas: Canvas) -> str:
    """Return the weekly Brier score of both sides, with that of knowing only the week's rate of late flights."""
    height = 260 if canvas.wide else 220
    weeks = [week for week in report["weeks"] if week["static_brier"] is not None and week["loop_brier"] is not None]
    rate = [(week, _spread(week["late_share"])) for week in weeks if week["late_share"] is not None]
    values = [value for week in weeks for value in (week["static_brier"], week["loop_brier"]) if value is not None]
    scale = _scale([*values, *(value for _, value in rate)], top=14, bottom=height - 26)
    lines: dict[Side, list[tuple[float, float]]] = {
        "static": [(canvas.middle(w), scale.y(w["static_brier"] or 0.0)) for w in weeks],
        "loop": [(canvas.middle(w), scale.y(w["loop_brier"] or 0.0)) for w in weeks],
    }
    blind = [(canvas.middle(week), scale.y(value)) for week, value in rate]
    parts = [_months(canvas, 14, height - 26), _grid(canvas, scale)]
    parts.append(f'<polyline class="line blind" points="{_points(blind)}"/>')
    parts += [_line(side, points) for side, points in lines.items()]
    parts.append(_names(canvas, lines, {side: report[side]["brier"] for side in NAMES}, blind))
    parts.append(_hover(weeks, canvas, height, _brier_of))
    summary = (
        f"All flights: the loop {report['loop']['brier']:.4f}, the January model {report['static']['brier']:.4f}, "
        f"the base rate alone {report['no_information']['brier']:.4f}; lower is better."
    )
    return _svg(canvas, height, "Brier score by week", summary, parts)


def late(report: Report, canvas: Canvas) -> str:
    """Return the share of late flights by week."""
    height = 96 if canvas.wide else 90
    weeks = [week for week in report["weeks"] if week["late_share"] is not None]
    scale = _scale([0.0, *(week["late_share"] or 0.0 for week in weeks)], top=10, bottom=height - 24, ticks=3)
    parts = [_months(canvas, 10, height - 24), _grid(canvas, scale, percent=True)]
    for week in weeks:
        share, left, right = week["late_share"] or 0.0, canvas.x(week["start"]) + 1, canvas.x(week["end"]) - 1
        parts.append(
            f'<rect class="bar context" x="{left:.1f}" y="{scale.y(share):.1f}" width="{right - left:.1f}" '
            f'height="{scale.y(0) - scale.y(share):.1f}">'
            f"<title>{escape(_week_name(week))}: {share:.0%} late</title></rect>"
        )
    highest = max((week["late_share"] or 0.0 for week in weeks), default=0.0)
    return _svg(canvas, height, "Share of late flights by week", f"At most {highest:.0%} in a week.", parts)


# --- the strip of what happened ----------------------------------------------------------


def timeline(report: Report, canvas: Canvas) -> str:
    """Return who answered, canaries with their shares, and marks for all that happened, a lane for each."""
    gap = 0 if canvas.wide else 17
    drawn: list[tuple[str, int, Callable[[float], str]]] = [
        ("champion", 30, lambda y: _champions(report["weeks"], canvas, y)),
        ("canary", 34, lambda y: "".join(_canary(r, canvas, y) for r in report["rollouts"])),
    ]
    drawn += [
        (name, 26, lambda y, marks=marks, shape=shape: _marks(marks, shape, canvas, y))  # type: ignore[misc]
        for name, shape, marks in _lanes(report)
    ]
    y, parts, names = 6.0, [], []
    for name, height, draw in drawn:
        base = y + gap
        names.append(
            _text(canvas.left - 10, base + height / 2 + 4, name, "lane end")
            if canvas.wide
            else _text(canvas.left, base - 4, name, "lane small")
        )
        parts.append(
            f'<line class="grid" x1="{canvas.left}" x2="{canvas.edge}" y1="{base + height}" y2="{base + height}"/>'
        )
        parts.append(draw(base))
        y = base + height + 8
    months = _months(canvas, 0, y)
    return _svg(canvas, int(y) + 24, "What happened", _timeline_summary(report), [months, *names, *parts])


@dataclass(frozen=True, slots=True)
class _Mark:
    at: str
    label: str
    told: str


def _lanes(report: Report) -> list[tuple[str, str, list[_Mark]]]:
    trained = [
        _Mark(r["at"], "", f"retraining ({r['trigger']}): {r['reason']}; {r['outcome'].replace('_', ' ')}")
        for r in report["retrainings"]
    ]
    promoted = [
        _Mark(r["ended"], f"v{r['challenger']}", f"v{r['challenger']} takes over from v{r['champion']}")
        for r in report["rollouts"]
        if r["outcome"] == "promoted" and r["ended"]
    ]
    sent_back = [
        _Mark(r["at"], f"v{r['challenger']}", f"v{r['challenger']}: {r['reason']}") for r in report["rollbacks"]
    ]
    held = [
        _Mark(q["at"], q["source"], f"{q['upload']}: {'; '.join(q['reasons'])}")
        for q in report["quarantines"]
        if q["scope"] == "file"
    ]
    return [
        ("retraining", "triangle", trained),
        ("promoted", "disc", promoted),
        ("rolled back", "cross", sent_back),
        ("quarantine", "square", held),
    ]


def _champions(weeks: Sequence[WeekRow], canvas: Canvas, y: float) -> str:
    bars = []
    for position, (version, group) in enumerate(groupby(weeks, key=lambda week: week["champion"])):
        rows = list(group)
        if version is None:
            continue
        left, right = canvas.x(rows[0]["start"]), canvas.x(rows[-1]["end"])
        tone = "static" if version == 1 else ("loop" if position % 2 else "loop even")
        told = f"v{version} is champion in weeks {rows[0]['number']} to {rows[-1]['number']}"
        bars.append(
            f'<g><title>{told}</title><rect class="champion {tone}" x="{left + 0.5:.1f}" y="{y:.1f}" '
            f'width="{right - left - 1:.1f}" height="26" rx="3"/>'
        )
        room = right - left
        name = f"v{version}" if room > 18 else str(version) if room > 9 else ""
        if version == 1 and room > 150:
            name = "v1, the January model"
        bars.append(_text((left + right) / 2, y + 18, name, "inbar") + "</g>")
    return "".join(bars)


def _canary(rollout: Rollout, canvas: Canvas, y: float) -> str:
    end = rollout["ended"] or canvas.end.isoformat()
    times = [*rollout["steps"], Step(percent=0, at=end)]
    kind = "bad" if rollout["outcome"] == "rolled_back" else "loop"
    shares = ", ".join(f"{step['percent']} % from {step['at'][:10]}" for step in rollout["steps"])
    parts = [f"<g><title>canary v{rollout['challenger']}: {shares}; {rollout['outcome'].replace('_', ' ')}</title>"]
    for step, following in pairwise(times):
        left, right, tall = canvas.x(step["at"]), canvas.x(following["at"]), max(3.0, 30 * step["percent"] / 100)
        if right - left > 0.1:
            parts.append(
                f'<rect class="share {kind}" x="{left:.1f}" y="{y + 34 - tall:.1f}" '
                f'width="{right - left:.1f}" height="{tall:.1f}"/>'
            )
    if rollout["steps"] and canvas.wide:
        first = rollout["steps"][0]
        parts.append(_text(canvas.x(first["at"]) + 1, y + 13, f"v{rollout['challenger']}", "tiny"))
    return "".join(parts) + "</g>"


def _marks(marks: Iterable[_Mark], shape: str, canvas: Canvas, y: float) -> str:
    drawn, last = [], -100.0
    for mark in marks:
        x, middle = canvas.x(mark.at), y + 13
        drawn.append(f"<g><title>{mark.at[:10]}: {escape(mark.told)}</title>{_SHAPES[shape](x, middle)}")
        if mark.label and x - last > 8 * len(mark.label) + 10:
            side = "end" if x > canvas.edge - 70 else ""
            drawn.append(_text(x - 10 if side else x + 9, middle + 4, mark.label, f"tiny {side}"))
            last = x
        drawn.append("</g>")
    return "".join(drawn)


_SHAPES: dict[str, Callable[[float, float], str]] = {
    "triangle": lambda x, y: (
        f'<polygon class="mark" points="{x - 6:.1f},{y + 5} {x + 6:.1f},{y + 5} {x:.1f},{y - 6}"/>'
    ),
    "disc": lambda x, y: f'<circle class="mark loop" cx="{x:.1f}" cy="{y}" r="5.5"/>',
    "cross": lambda x, y: f'<path class="cross" d="M{x - 5:.1f},{y - 5}l10,10m0,-10l-10,10"/>',
    "square": lambda x, y: f'<rect class="mark bad" x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>',
}


# --- pieces ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    top: float
    bottom: float
    step: float

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    @property
    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [round(self.low + n * self.step, 10) for n in range(count + 1)]


def _scale(values: Sequence[float], *, top: float, bottom: float, ticks: int = 5) -> _Scale:
    """Return a scale over the values whose ends and ticks are round numbers."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    wanted = max(high - low, 1e-6) / ticks
    step = next((size for size in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if size >= wanted), 0.5)
    floor, ceiling = (low + 1e-12) // step * step, -((-high + 1e-12) // step) * step
    return _Scale(floor, max(ceiling, floor + step), top, bottom, step)


def _grid(canvas: Canvas, scale: _Scale, *, sign: bool = False, percent: bool = False) -> str:
    digits = 2 if scale.step >= 0.01 else 3
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        label = f"{tick:.0%}" if percent else f"{tick:+.{digits}f}" if sign and tick else f"{tick:.{digits}f}"
        zero = " zero" if sign and not tick else ""
        parts.append(f'<line class="grid{zero}" x1="{canvas.left}" x2="{canvas.edge}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(canvas.left - 6, y + 4, "0" if sign and not tick else label, "tick end"))
    return "".join(parts)


def _months(canvas: Canvas, top: float, bottom: float) -> str:
    parts = []
    month = canvas.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < canvas.end:
        following = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
        left, right = canvas.x(max(month, canvas.start).isoformat()), canvas.x(min(following, canvas.end).isoformat())
        if month > canvas.start:
            parts.append(f'<line class="month" x1="{left:.1f}" x2="{left:.1f}" y1="{top}" y2="{bottom:.1f}"/>')
        name = _MONTHS[month.month - 1] if canvas.wide else _MONTHS[month.month - 1][0]
        if right - left > (24 if canvas.wide else 8):
            parts.append(_text((left + right) / 2, bottom + 17, name, "tick mid"))
        month = following
    return "".join(parts)


def _arrivals(report: Report, canvas: Canvas, top: float, bottom: float) -> str:
    parts, last = [], -100.0
    for rollout in report["rollouts"]:
        if rollout["outcome"] == "promoted" and rollout["ended"]:
            x = canvas.x(rollout["ended"])
            parts.append(f'<line class="arrival" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}"/>')
            if x - last > 22:
                words = (
                    f"v{rollout['challenger']} takes over" if last < 0 and canvas.wide else f"v{rollout['challenger']}"
                )
                parts.append(_text(x, top - 11, words, "tiny mid"))
                last = x
    return "".join(parts)


def _line(side: Side, points: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="line {side}" points="{_points(points)}"/>'


def _names(
    canvas: Canvas,
    lines: dict[Side, list[tuple[float, float]]],
    totals: dict[Side, float],
    blind: Sequence[tuple[float, float]] = (),
) -> str:
    """Return the lines' names beside their ends; on a narrow canvas the page names them above."""
    if not canvas.wide:
        return ""
    ends: list[tuple[float, str, str, str]] = [
        (points[-1][1], side, NAMES[side], f"all flights {totals[side]:.3f}")
        for side, points in lines.items()
        if points
    ]
    if blind:
        ends.append((blind[-1][1], "blind", "the week's rate", "for every flight"))
    parts, floor = [], 0.0
    for wanted, side, name, total in sorted(ends):
        y = max(wanted, floor)
        floor = y + _LABEL_GAP
        parts.append(_text(canvas.edge + 10, y, name, f"name {side}") + _text(canvas.edge + 10, y + 14, total, "tick"))
    return "".join(parts)


def _hover(weeks: Iterable[WeekRow], canvas: Canvas, height: int, tell: Callable[[WeekRow], str]) -> str:
    """Return an unseen column per week that tells its figures when pointed at."""
    return "".join(
        f'<rect class="hover" x="{canvas.x(week["start"]):.1f}" y="20" height="{height - 46}" '
        f'width="{canvas.x(week["end"]) - canvas.x(week["start"]):.1f}"><title>{escape(tell(week))}</title></rect>'
        for week in weeks
    )


def _ranges(weeks: Iterable[WeekRow], side: Side) -> list[tuple[WeekRow, Range]]:
    pairs = ((week, week["static_auc"] if side == "static" else week["loop_auc"]) for week in weeks)
    return [(week, figure) for week, figure in pairs if figure]


def _spread(rate: float | None) -> float:
    return (rate or 0.0) * (1 - (rate or 0.0))


def _week_name(week: WeekRow) -> str:
    return f"week {week['number']}, from {week['start'][:10]}"


def _auc_of(week: WeekRow) -> str:
    told = [
        f"{name} {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
        for name, figure in (("loop", week["loop_auc"]), ("January model", week["static_auc"]))
        if figure
    ]
    return f"{_week_name(week)}: {', '.join(told)}"


def _brier_of(week: WeekRow) -> str:
    return f"{_week_name(week)}: loop {week['loop_brier']:.4f}, January model {week['static_brier']:.4f}"


def _auc_summary(report: Report) -> str:
    return f"All flights: the loop {report['loop']['auc']:.3f}, the January model {report['static']['auc']:.3f}."


def _timeline_summary(report: Report) -> str:
    promoted = sum(rollout["outcome"] == "promoted" for rollout in report["rollouts"])
    return (
        f"{len(report['retrainings'])} retrainings, {promoted} promotions, {len(report['rollbacks'])} rollbacks, "
        f"{len(report['quarantines'])} quarantines; the list below tells each with its date."
    )


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>' if words else ""


def _svg(canvas: Canvas, height: int, title: str, summary: str, parts: Iterable[str]) -> str:
    size = "wide" if canvas.wide else "narrow"
    identity = f"{title.lower().replace(' ', '-')}-{size}"
    return (
        f'<svg class="{size}" viewBox="0 0 {canvas.width} {height}" role="img" '
        f'aria-labelledby="{identity} {identity}-text">'
        f'<title id="{identity}">{escape(title)}</title><desc id="{identity}-text">{escape(summary)}</desc>'
        f"{''.join(parts)}</svg>"
    )
