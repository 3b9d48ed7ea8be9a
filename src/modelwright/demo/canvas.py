"""The paper that pictures are drawn on: one horizontal axis of time for all of them, so that they read downwards.

Every picture exists for wide and for narrow screens (``Canvas``); colours are classes of the page's style.
Shapes and words say everything that colours say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from modelwright.demo.report import WeekRow

_ROOM_FOR_NAMES = 30
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


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
        return self.right > _ROOM_FOR_NAMES

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


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie between two heights."""

    low: float
    high: float
    top: float
    bottom: float
    step: float

    def y(self, value: float) -> float:
        """Return where a value lies."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    @property
    def ticks(self) -> list[float]:
        """The round values from end to end."""
        count = round((self.high - self.low) / self.step)
        return [round(self.low + n * self.step, 10) for n in range(count + 1)]


def scale(values: Sequence[float], *, top: float, bottom: float, ticks: int = 5) -> Scale:
    """Return a scale over the values whose ends and ticks are round numbers."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    wanted = max(high - low, 1e-6) / ticks
    step = next((size for size in _STEPS if size >= wanted), 0.5)
    floor, ceiling = (low + 1e-12) // step * step, -((-high + 1e-12) // step) * step
    return Scale(floor, max(ceiling, floor + step), top, bottom, step)


def grid(canvas: Canvas, scale: Scale, *, sign: bool = False, percent: bool = False) -> str:
    """Return lines at a scale's ticks with their values; ``sign`` writes +0.02 and stresses zero."""
    digits = 2 if scale.step >= 0.01 else 3
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        label = f"{tick:.0%}" if percent else f"{tick:+.{digits}f}" if sign and tick else f"{tick:.{digits}f}"
        zero = " zero" if sign and not tick else ""
        parts.append(f'<line class="grid{zero}" x1="{canvas.left}" x2="{canvas.edge}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(canvas.left - 6, y + 4, "0" if sign and not tick else label, "tick end"))
    return "".join(parts)


def months(canvas: Canvas, top: float, bottom: float) -> str:
    """Return the months' names and borders."""
    parts = []
    month = canvas.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < canvas.end:
        following = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
        left, right = canvas.x(max(month, canvas.start).isoformat()), canvas.x(min(following, canvas.end).isoformat())
        if month > canvas.start:
            parts.append(f'<line class="month" x1="{left:.1f}" x2="{left:.1f}" y1="{top}" y2="{bottom:.1f}"/>')
        name = _MONTHS[month.month - 1] if canvas.wide else _MONTHS[month.month - 1][0]
        if right - left > (24 if canvas.wide else 8):
            parts.append(text((left + right) / 2, bottom + 17, name, "tick mid"))
        month = following
    return "".join(parts)


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Return coordinates as SVG writes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def text(x: float, y: float, words: str, kind: str) -> str:
    """Return words of a class of the style; none if there are none."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>' if words else ""


def svg(canvas: Canvas, height: int, title: str, summary: str, parts: Iterable[str]) -> str:
    """Return a picture with what it is and what it says, for those who do not see it."""
    size = "wide" if canvas.wide else "narrow"
    identity = f"{title.lower().replace(' ', '-')}-{size}"
    return (
        f'<svg class="{size}" viewBox="0 0 {canvas.width} {height}" role="img" '
        f'aria-labelledby="{identity} {identity}-text">'
        f'<title id="{identity}">{escape(title)}</title><desc id="{identity}-text">{escape(summary)}</desc>'
        f"{''.join(parts)}</svg>"
    )
