"""The strip of what happened: who answered, canaries with their shares, and a lane of marks for each kind of event."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby, pairwise

from modelwright.demo.canvas import Canvas, months, svg, text
from modelwright.demo.chronicle import Retraining, Rollout, Step
from modelwright.demo.report import Report, WeekRow


def timeline(report: Report, canvas: Canvas) -> str:
    """Return who answered, canaries with their shares, and marks for all that happened, a lane for each."""
    gap = 0 if canvas.wide else 17
    drawn: list[tuple[str, int, Callable[[float], str]]] = [
        ("champion", 30, lambda y: _champions(report["weeks"], canvas, y)),
        ("canary", 34, lambda y: "".join(_canary(r, canvas, y) for r in report["rollouts"])),
    ]
    drawn += [(name, 26, partial(_marks, marks, shape, canvas)) for name, shape, marks in _lanes(report)]
    y, parts, names = 6.0, [], []
    for name, height, draw in drawn:
        base = y + gap
        names.append(
            text(canvas.left - 10, base + height / 2 + 4, name, "lane end")
            if canvas.wide
            else text(canvas.left, base - 4, name, "lane small")
        )
        parts.append(
            f'<line class="grid" x1="{canvas.left}" x2="{canvas.edge}" y1="{base + height}" y2="{base + height}"/>'
        )
        parts.append(draw(base))
        y = base + height + 8
    axis = months(canvas, 0, y)
    return svg(canvas, int(y) + 24, "What happened", _timeline_summary(report), [axis, *names, *parts])


@dataclass(frozen=True, slots=True)
class _Mark:
    at: str
    label: str
    told: str
    hollow: bool = False


def _lanes(report: Report) -> list[tuple[str, str, list[_Mark]]]:
    trained = [
        _Mark(
            r["at"],
            _trained_label(r),
            f"retraining ({r['trigger']}): {r['reason']}; {r['outcome'].replace('_', ' ')}",
            hollow=r["outcome"] in _FRUITLESS,
        )
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


def _trained_label(retraining: Retraining) -> str:
    if retraining["outcome"] in _FRUITLESS:
        return retraining["outcome"]
    return f"v{retraining['version']}" if retraining["version"] else ""


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
        bars.append(text((left + right) / 2, y + 18, name, "inbar") + "</g>")
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
        parts.append(text(canvas.x(first["at"]) + 1, y + 13, f"v{rollout['challenger']}", "tiny"))
    return "".join(parts) + "</g>"


def _marks(marks: Sequence[_Mark], shape: str, canvas: Canvas, y: float) -> str:
    places, middle, taken = [canvas.x(mark.at) for mark in marks], y + 13, 0.0
    drawn = []
    for mark, x, following in zip(marks, places, [*places, canvas.width + _MARK][1:], strict=True):
        kind, width = " hollow" if mark.hollow else "", _LETTER * len(mark.label)
        drawn.append(f"<g><title>{mark.at[:10]}: {escape(mark.told)}</title>{_SHAPES[shape](x, middle, kind)}")
        if x + _MARK + width < min(following - _MARK, canvas.width):
            drawn.append(text(x + _MARK, middle + 4, mark.label, "tiny"))
            taken = x + _MARK + width
        elif x - _MARK - width > taken:
            drawn.append(text(x - _MARK, middle + 4, mark.label, "tiny end"))
            taken = x + _MARK
        else:
            taken = x + _MARK
        drawn.append("</g>")
    return "".join(drawn)


_MARK = 9
"""From a mark's middle to its label."""
_LETTER = 6.2
_FRUITLESS = ("refused", "failed")
_SHAPES: dict[str, Callable[[float, float, str], str]] = {
    "triangle": lambda x, y, kind: (
        f'<polygon class="mark{kind}" points="{x - 6:.1f},{y + 5} {x + 6:.1f},{y + 5} {x:.1f},{y - 6}"/>'
    ),
    "disc": lambda x, y, _: f'<circle class="mark loop" cx="{x:.1f}" cy="{y}" r="5.5"/>',
    "cross": lambda x, y, _: f'<path class="cross" d="M{x - 5:.1f},{y - 5}l10,10m0,-10l-10,10"/>',
    "square": lambda x, y, _: f'<rect class="mark bad" x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>',
}


def _timeline_summary(report: Report) -> str:
    promoted = sum(rollout["outcome"] == "promoted" for rollout in report["rollouts"])
    return (
        f"{len(report['retrainings'])} retrainings, {promoted} promotions, {len(report['rollbacks'])} rollbacks, "
        f"{len(report['quarantines'])} quarantines; the list below tells each with its date."
    )
