"""The pictures of figures: AUC, gain, Brier score, and the share of late flights, by week."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Literal

from modelwright.demo.canvas import Canvas, grid, months, points, scale, svg, text
from modelwright.demo.report import Range, Report, WeekRow

Side = Literal["static", "loop"]
NAMES: dict[Side, str] = {"static": "January model", "loop": "the loop"}
_LABEL_GAP = 30


def auc(report: Report, canvas: Canvas) -> str:
    """Return the weekly AUC of both sides with their bands; upright lines mark new champions."""
    height = 300 if canvas.wide else 240
    bands = {side: _ranges(report["weeks"], side) for side in NAMES}
    values = [limit for rows in bands.values() for _, r in rows for limit in (r["low"], r["high"])]
    axis = scale(values, top=26, bottom=height - 26)
    parts = [months(canvas, 26, height - 26), grid(canvas, axis), _arrivals(report, canvas, 26, height - 26)]
    for side, rows in bands.items():
        low = [(canvas.middle(week), axis.y(r["low"])) for week, r in rows]
        high = [(canvas.middle(week), axis.y(r["high"])) for week, r in rows]
        parts.append(f'<polygon class="band {side}" points="{points([*high, *reversed(low)])}"/>')
    lines = {side: [(canvas.middle(week), axis.y(r["value"])) for week, r in rows] for side, rows in bands.items()}
    parts += [_line(side, line) for side, line in lines.items()]
    parts.append(_names(canvas, lines, {side: report[side]["auc"] for side in NAMES}))
    parts.append(_hover(report["weeks"], canvas, height, _auc_of))
    return svg(canvas, height, "AUC by week", _auc_summary(report), parts)


def gain(report: Report, canvas: Canvas) -> str:
    """Return, by week, the loop's AUC less the January model's as bars from zero."""
    height = 110 if canvas.wide else 100
    static = {week["number"]: figure["value"] for week, figure in _ranges(report["weeks"], "static")}
    both = [(week, figure) for week, figure in _ranges(report["weeks"], "loop") if week["number"] in static]
    rows = [(week, figure["value"] - static[week["number"]]) for week, figure in both]
    axis = scale([0.0, *(value for _, value in rows)], top=8, bottom=height - 24, ticks=3)
    parts = [months(canvas, 8, height - 24), grid(canvas, axis, sign=True)]
    for week, value in rows:
        left, right = canvas.x(week["start"]) + 1, canvas.x(week["end"]) - 1
        top, bottom = sorted((axis.y(value), axis.y(0)))
        side = "loop" if value >= 0 else "static"
        parts.append(
            f'<rect class="bar {side}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}"><title>{escape(_week_name(week))}: {value:+.3f}</title></rect>'
        )
    if canvas.wide:
        parts += [
            text(canvas.edge + 10, axis.y(0) - 8, "the loop is better", "name loop small"),
            text(canvas.edge + 10, axis.y(0) + 16, "worse", "name static small"),
        ]
    better = sum(value > 0 for _, value in rows)
    return svg(canvas, height, "Gain by week", f"The loop's AUC is higher in {better} of {len(rows)} weeks.", parts)


def brier(report: Report, canvas: Canvas) -> str:
    """Return the weekly Brier score of both sides, with that of knowing only the week's rate of late flights."""
    height = 260 if canvas.wide else 220
    weeks = [week for week in report["weeks"] if week["static_brier"] is not None and week["loop_brier"] is not None]
    rate = [(week, _spread(week["late_share"])) for week in weeks if week["late_share"] is not None]
    values = [value for week in weeks for value in (week["static_brier"], week["loop_brier"]) if value is not None]
    axis = scale([*values, *(value for _, value in rate)], top=14, bottom=height - 26)
    lines: dict[Side, list[tuple[float, float]]] = {
        "static": [(canvas.middle(w), axis.y(w["static_brier"] or 0.0)) for w in weeks],
        "loop": [(canvas.middle(w), axis.y(w["loop_brier"] or 0.0)) for w in weeks],
    }
    blind = [(canvas.middle(week), axis.y(value)) for week, value in rate]
    parts = [months(canvas, 14, height - 26), grid(canvas, axis)]
    parts.append(f'<polyline class="line blind" points="{points(blind)}"/>')
    parts += [_line(side, line) for side, line in lines.items()]
    parts.append(_names(canvas, lines, {side: report[side]["brier"] for side in NAMES}, blind))
    parts.append(_hover(weeks, canvas, height, _brier_of))
    summary = (
        f"All flights: the loop {report['loop']['brier']:.4f}, the January model {report['static']['brier']:.4f}, "
        f"the base rate alone {report['no_information']['brier']:.4f}; lower is better."
    )
    return svg(canvas, height, "Brier score by week", summary, parts)


def late(report: Report, canvas: Canvas) -> str:
    """Return the share of late flights by week."""
    height = 96 if canvas.wide else 90
    weeks = [week for week in report["weeks"] if week["late_share"] is not None]
    axis = scale([0.0, *(week["late_share"] or 0.0 for week in weeks)], top=10, bottom=height - 24, ticks=3)
    parts = [months(canvas, 10, height - 24), grid(canvas, axis, percent=True)]
    for week in weeks:
        share, left, right = week["late_share"] or 0.0, canvas.x(week["start"]) + 1, canvas.x(week["end"]) - 1
        parts.append(
            f'<rect class="bar context" x="{left:.1f}" y="{axis.y(share):.1f}" width="{right - left:.1f}" '
            f'height="{axis.y(0) - axis.y(share):.1f}">'
            f"<title>{escape(_week_name(week))}: {share:.0%} late</title></rect>"
        )
    highest = max((week["late_share"] or 0.0 for week in weeks), default=0.0)
    return svg(canvas, height, "Share of late flights by week", f"At most {highest:.0%} in a week.", parts)


# --- pieces ------------------------------------------------------------------------------


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
                parts.append(text(x, top - 11, words, "tiny mid"))
                last = x
    return "".join(parts)


def _line(side: Side, line: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="line {side}" points="{points(line)}"/>'


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
        (line[-1][1], side, NAMES[side], f"all flights {totals[side]:.3f}") for side, line in lines.items() if line
    ]
    if blind:
        ends.append((blind[-1][1], "blind", "the week's rate", "for every flight"))
    parts, floor = [], 0.0
    for wanted, side, name, total in sorted(ends):
        y = max(wanted, floor)
        floor = y + _LABEL_GAP
        parts.append(text(canvas.edge + 10, y, name, f"name {side}") + text(canvas.edge + 10, y + 14, total, "tick"))
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
