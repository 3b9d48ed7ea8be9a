"""Figures and times as the report writes them."""

from datetime import UTC, datetime


def figure(value: float | None) -> str:
    """Return a number in four significant digits; empty where there is none."""
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share in percent."""
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{share:.1%}".replace("%", " %")


def chance(p_value: float | None) -> str:
    """Return a p-value."""
    if p_value is None:
        return ""
    if p_value == 0:
        return "<1e-300"
    return f"{p_value:.1e}" if 0 < p_value < 1e-3 else f"{p_value:.3f}".rstrip("0").rstrip(".") or "0"


def times(strength: float) -> str:
    """Return a multiple of a floor."""
    if strength >= 1000:
        return "over 1,000 times"
    return f"{strength:.2g} times" if strength < 10 else f"{strength:.0f} times"


def day(at: datetime) -> str:
    """Return a date, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def moment(at: datetime) -> str:
    """Return a time to the minute, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def shortened(text: str, length: int) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def listed(names: list[str], most: int = 6) -> str:
    """Return names in a sentence, the first few of many."""
    rest = len(names) - most
    return f"{', '.join(names[:most])} and {rest} more" if rest > 1 else ", ".join(names)
