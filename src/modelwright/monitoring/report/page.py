"""The two forms of a report: a page for people, a document for programs."""

from collections.abc import Iterable, Sequence
from html import escape

from modelwright.events import ColumnDrift
from modelwright.monitoring.report.building import strength
from modelwright.monitoring.report.contents import ColumnReport, PastWindow, Side, WindowReport
from modelwright.monitoring.report.drawing import distribution, timeline
from modelwright.monitoring.report.style import SCRIPT, SCRIPT_HASH, STYLE
from modelwright.monitoring.report.wording import chance, day, figure, listed, moment, percent, times

SHOWN_IN_TIMELINE = 25
SEGMENTS_SHOWN = 60
_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'"


def document(report: WindowReport) -> bytes:
    """Return the report as JSON, with the very figures that the page shows."""
    return report.model_dump_json().encode()


def page(report: WindowReport) -> bytes:
    """Return the report as one HTML file that loads nothing."""
    title = escape(f"{report.source}, {day(report.start)} to {day(report.end)}")
    body = "".join(
        [_head(report), _ranking(report), _timeline(report), _segments(report), _findings(report), _columns(report)]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{body}<script>{SCRIPT}</script></body></html>\n"
    ).encode()


# --- private: the parts, from top to bottom --------------------------------------------------


def _head(report: WindowReport) -> str:
    facts = [
        ("Window", f"{moment(report.start)} to {moment(report.end)}"),
        ("Rows", f"{report.rows:,}"),
        ("Reference", f"{report.reference or 'the rows accepted before'}, {report.reference_rows:,} rows"),
        ("Workspace", report.workspace),
        ("Made", moment(report.made)),
        *([("Choices of", report.policy)] if report.policy else []),
    ]
    said = "".join(f"<li>{name} <b>{escape(value)}</b></li>" for name, value in facts)
    drifted = [column.name for column in report.columns if column.drifted]
    bad = " bad" if drifted or report.dataset else ""
    verdict = f'<p class="say{bad}">{_verdict(report, drifted)}</p>'
    return f'<h1>{escape(report.source)}</h1><ul class="facts">{said}</ul>{verdict}'


def _verdict(report: WindowReport, drifted: list[str]) -> str:
    if not drifted:
        return f"<b>No column drifts</b> of {len(report.columns)}."
    verb = "column drifts" if len(drifted) == 1 else "columns drift"
    text = f"<b>{len(drifted)} {verb}</b> of {len(report.columns)}: {escape(listed(drifted))}."
    if report.share is not None:
        text += f" They carry {percent(report.share)} of the importance"
        text += ", enough for the data set as a whole." if report.dataset else "."
    return text


def _ranking(report: WindowReport) -> str:
    head = ("Column", "Detector", "Effect", "Floor", "Of floor", "p", "Since", "What moved")
    shown = _strongest(one for one in report.verdicts if not one.segment)
    if not shown:
        return "<h2>Columns by effect</h2><p>Nothing was compared.</p>"
    rows = "".join(_row(_verdict_cells(one, report)) for one in shown)
    return f"<h2>Columns by effect</h2>{_table(head, rows, numeric=(2, 3, 4, 5))}"


def _strongest(verdicts: Iterable[ColumnDrift]) -> list[ColumnDrift]:
    """Return all verdicts that drifted, and of each other column and segment the strongest."""
    kept: list[ColumnDrift] = []
    seen: set[tuple[str, str]] = set()
    for one in verdicts:
        if one.drifted or (one.column, one.segment) not in seen:
            kept.append(one)
        seen.add((one.column, one.segment))
    return kept


def _verdict_cells(one: ColumnDrift, report: WindowReport) -> list[tuple[str, str, str, str]]:
    """Return class, name, sort key and text of each cell."""
    p = one.p_value if one.p_adjusted is None else one.p_adjusted
    against = f" (against {one.reference})" if one.reference not in report.reference else ""
    mark = "bad" if one.drifted else ""
    ratio = strength(one)
    text = f"{one.text}{against}" or ("drifts" if one.drifted else "")
    return [
        (mark, "Column", one.column, one.column),
        ("w", "Detector", one.detector, one.detector),
        ("n", "Effect", repr(one.effect), figure(one.effect)),
        ("n", "Floor", repr(one.floor), figure(one.floor)),
        (f"n {mark}", "Of floor", repr(ratio), "over 1,000" if ratio >= 1000 else f"{ratio:.2f}"),
        ("n", "p", repr(p), chance(p)),
        ("w", "Since", one.since.isoformat() if one.since else "", day(one.since) if one.since else ""),
        ("t", "What moved", text, text),
    ]


def _timeline(report: WindowReport) -> str:
    windows: list[PastWindow] = [*report.history, report.past()]
    names = [column.name for column in report.columns if any(column.name in one.strengths for one in windows)]
    if len(windows) < 2 or not names:
        return ""
    left = len(names) - SHOWN_IN_TIMELINE
    note = f'<p class="soft">{left} more columns, all with smaller effects, are in the JSON.</p>' if left > 0 else ""
    key = "".join(
        f'<span><i style="background:var(--heat{shade})"></i>{text}</span>'
        for shade, text in enumerate(("below half the floor", "below the floor", "above the floor", "drifted"), 1)
    )
    drawn = timeline(names[:SHOWN_IN_TIMELINE], windows)
    return f'<h2>The last {len(windows)} windows</h2><div class="key">{key}</div>{drawn}{note}'


def _segments(report: WindowReport) -> str:
    found = _strongest(one for one in report.verdicts if one.segment)
    if not found:
        return ""
    shown = sorted(found, key=lambda one: (not one.drifted, -strength(one)))[:SEGMENTS_SHOWN]
    rows = "".join(_row([("", "Segment", one.segment, one.segment), *_verdict_cells(one, report)]) for one in shown)
    head = ("Segment", "Column", "Detector", "Effect", "Floor", "Of floor", "p", "Since", "What moved")
    rest = len(found) - len(shown)
    note = f'<p class="soft">{rest} more, all weaker, are in the JSON.</p>' if rest else ""
    return f"<h2>Segments</h2>{_table(head, rows, numeric=(3, 4, 5, 6))}{note}"


def _findings(report: WindowReport) -> str:
    if not report.findings:
        return "<h2>Quality</h2><p>The checks found nothing.</p>"
    rows = "".join(
        _row([
            ("warn" if one.severity == "warn" else "bad", "Severity", one.severity, one.severity),
            ("w", "Check", one.check, one.check),
            ("", "Column", one.column, one.column),
            ("t", "Finding", one.text, one.text),
        ])
        for one in report.findings
    )  # fmt: skip
    return f"<h2>Quality</h2>{_table(('Severity', 'Check', 'Column', 'Finding'), rows)}"


def _columns(report: WindowReport) -> str:
    if not report.columns:
        return ""
    key = (
        '<div class="key"><span><i style="background:var(--usual)"></i>reference</span>'
        '<span><i style="background:var(--now)"></i>window</span>'
        "<span>the first and the last bar hold all that lies beyond</span></div>"
    )
    cards = "".join(_card(column) for column in report.columns)
    return f'<h2>Distributions</h2>{key}<div class="cards">{cards}</div>'


def _card(column: ColumnReport) -> str:
    drawn = distribution(column.shape) if column.shape is not None else '<p class="soft">No distribution to draw.</p>'
    bad = ' class="bad"' if column.drifted else ""
    state = "<b class=bad>drifted</b>" if column.drifted else _calm(column)
    return (
        f"<article{bad}><header><h3>{escape(column.name)}</h3><span>{state}</span></header>{drawn}"
        f"{_figures(column)}</article>"
    )


def _calm(column: ColumnReport) -> str:
    return f'<span class="soft">{times(column.strength)} the floor</span>' if column.strength else ""


def _figures(column: ColumnReport) -> str:
    sides = (column.reference, column.window)
    rows: list[tuple[str, ...]] = [("missing", *(_missing(side) for side in sides)), *_infinite(column)]
    names = [*(("mean", "deviation", "low", "median", "high") if column.kind == "numbers" else ()), "distinct"]
    rows += [(name, *(figure(getattr(side, name)) if side else "" for side in sides)) for name in names]
    body = "".join(f"<tr><th>{name}<td class=n>{usual}<td class=n>{now}" for name, usual, now in rows)
    return f"<table><tr><th><th class=n>reference<th class=n>window{body}</table>"


def _missing(side: Side | None) -> str:
    return percent(side.missing / side.rows) if side is not None and side.rows else ""


def _infinite(column: ColumnReport) -> list[tuple[str, str, str]]:
    usual = column.reference.infinite if column.reference is not None else 0
    return [("infinite", figure(usual), figure(column.window.infinite))] if usual or column.window.infinite else []


def _table(head: Sequence[str], rows: str, numeric: Sequence[int] = ()) -> str:
    cells = "".join(
        f'<th{" class=n" if place in numeric else ""} scope="col"><button>{name}</button></th>'
        for place, name in enumerate(head)
    )
    return f'<div class="wide"><table class="stack"><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(cells: Sequence[tuple[str, str, str, str]]) -> str:
    return f"<tr>{''.join(_cell(*cell) for cell in cells)}</tr>"


def _cell(kind: str, name: str, key: str, text: str) -> str:
    sort = f' data-key="{escape(key)}"' if key != text else ""
    return f'<td class="{kind.strip()}" data-name="{escape(name)}"{sort}>{escape(text)}</td>'
