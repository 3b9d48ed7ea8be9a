"""Distributions and timelines as inline SVG, small enough for a hundred of them on a page."""

from collections.abc import Sequence
from html import escape

from modelwright.monitoring.report.contents import PastWindow, Shape
from modelwright.monitoring.report.wording import day, figure, percent, shortened, times

WIDTH, HEIGHT = 320, 96
ROW = 17
_LABEL = 108
_CELL, _GAP = 16, 2
_NAME, _DATE, _ROOM_FOR_BOTH = 128, 70, 8


def distribution(shape: Shape) -> str:
    """Return both sides of a column laid over each other: the reference filled, the window as a line or bars."""
    return _numbers(shape) if shape.edges else _categories(shape)


def timeline(names: Sequence[str], windows: Sequence[PastWindow]) -> str:
    """Return how strongly columns moved in each window, one row a column, the newest window last.

    Names stand still where a narrow screen has to scroll, and the newest windows are what it shows first.
    """
    width, height = len(windows) * (_CELL + _GAP), len(names) * ROW
    labels = "".join(
        f'<text x="0" y="{row * ROW + 12}">{escape(shortened(n, 19))}</text>' for row, n in enumerate(names)
    )
    cells = "".join(_cell(n, one, row, place) for row, n in enumerate(names) for place, one in enumerate(windows))
    first, last = day(windows[0].end), day(windows[-1].end)
    start = f'<text x="0" y="{height + 13}">{first}</text>' if len(windows) > _ROOM_FOR_BOTH else ""
    end = f'<text x="{width}" y="{height + 13}" text-anchor="end">{last}</text>'
    said = f'role="img" aria-label="Effects over the last {len(windows)} windows"'
    return (
        f'<div class="line">{_fixed(_NAME, height, "", labels)}'
        f'<div class="latest">{_fixed(max(width, _DATE), height, said, cells + start + end)}</div></div>'
    )


def _fixed(width: int, height: int, said: str, drawn: str) -> str:
    return f'<svg class="fixed" width="{width}" height="{height + 18}" {said}>{drawn}</svg>'


def heat(strength: float | None, drifted: bool) -> int:
    """Return the shade of a cell, from 0 (not compared) to 4 (drifted)."""
    if drifted:
        return 4
    if not strength:
        return 0
    if strength >= 1:
        return 3
    return 2 if strength >= 0.5 else 1


def _cell(name: str, window: PastWindow, row: int, place: int) -> str:
    strength, drifted = window.strengths.get(name), name in window.drifted
    said = f"{times(strength)} the floor" if strength else "no effect"
    title = f"{name}, {day(window.end)}: {said}{', drifted' if drifted else ''}"
    x, shade = place * (_CELL + _GAP), heat(strength, drifted)
    return (
        f'<rect class="h{shade}" x="{x}" y="{row * ROW + 1}" width="{_CELL}" height="{ROW - 3}" rx="2">'
        f"<title>{escape(title)}</title></rect>"
    )


def _numbers(shape: Shape) -> str:
    most = max((*shape.reference, *shape.window), default=0.0) or 1.0
    usual = _steps(shape.reference, most, closed=True)
    now = _steps(shape.window, most, closed=False)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" role="img" aria-label="Distribution of reference and window">'
        f'<path class="u" d="{usual}"/><path class="l" d="{now}"/>'
        f'<text x="0" y="{HEIGHT + 13}">{figure(shape.edges[0])}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 13}" text-anchor="end">{figure(shape.edges[-1])}</text></svg>'
    )


def _steps(shares: Sequence[float], most: float, *, closed: bool) -> str:
    if not shares:
        return ""
    width = WIDTH / len(shares)
    heights = [_short(HEIGHT - (HEIGHT - 3) * share / most) for share in shares]
    steps = "".join(f"V{height}H{_short((place + 1) * width)}" for place, height in enumerate(heights))
    return f"M0 {HEIGHT}{steps}V{HEIGHT}{'Z' if closed else ''}"


def _categories(shape: Shape) -> str:
    most = max((*shape.reference, *shape.window), default=0.0) or 1.0
    room = WIDTH - _LABEL - 44
    rows = []
    for place, name in enumerate(shape.names):
        usual, now = (side[place] if side else 0.0 for side in (shape.reference, shape.window))
        y = place * ROW
        rows.append(
            f'<text x="0" y="{y + 12}">{escape(shortened(name, 17))}</text>'
            f'<rect class="u" x="{_LABEL}" y="{y + 2}" width="{_short(room * usual / most)}" height="6"/>'
            f'<rect class="b" x="{_LABEL}" y="{y + 8.5}" width="{_short(room * now / most)}" height="5"/>'
            f'<text x="{WIDTH}" y="{y + 12}" text-anchor="end">{percent(now)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {len(shape.names) * ROW + 2}" role="img" '
        f'aria-label="Shares in reference and window">{"".join(rows)}</svg>'
    )


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
