"""The year in pictures: one HTML page out of the report, for people who will not read the code.

One file, no script and no request to anywhere; light or dark as the reader's system is.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files

from modelwright.demo import charts
from modelwright.demo.canvas import Canvas, canvases
from modelwright.demo.chronicle import Happening
from modelwright.demo.report import Report, WeekRow
from modelwright.demo.timeline import timeline

Picture = Callable[[Report, Canvas], str]

_SIDELINE = ("declined", "drift", "step", "release", "degraded")
"""Kinds that the list tells only when it is unfolded."""
_KINDS = {
    "retraining": "retraining",
    "rollout": "canary",
    "step": "canary",
    "promotion": "promoted",
    "rollback": "rolled back",
    "quarantine": "quarantine",
    "release": "quarantine",
    "refused": "refused",
    "failed": "failed",
    "champion": "champion",
    "degraded": "degraded",
    "declined": "no retraining",
    "drift": "drift",
}


def render(report: Report) -> str:
    """Return the page."""
    parts = [
        _headline(report),
        _tiles(report),
        *_pictures(report),
        _happened(report["weeks"]),
        _by_week(report),
        _proofs(report),
        _reading(report),
    ]
    style = files("modelwright.demo").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Modelwright: a year of flights</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def verdict(report: Report) -> str:
    """Return the answer in one sentence."""
    found = report["auc_difference"]
    low, high = found["low"], found["high"]
    if low > 0:
        claim = "The loop told late flights from punctual ones better than the January model left alone"
    elif high < 0:
        claim = "The loop told late flights from punctual ones worse than the January model left alone"
    else:
        claim = "Between the loop and the January model left alone there is no clear difference"
    return (
        f"{claim}: AUC {report['loop']['auc']:.3f} against {report['static']['auc']:.3f}, "
        f"a difference of {_signed(found['value'])} (95 % interval {_signed(low)} to {_signed(high)})."
    )


# --- sections ----------------------------------------------------------------------------


def _headline(report: Report) -> str:
    weeks = report["weeks"]
    span = f"{_date(weeks[0]['start'])} to {_date(weeks[-1]['end'])}" if weeks else ""
    return (
        f'<header><p class="over">Will this flight arrive more than 15 minutes late? · New York, {span}</p>'
        f"<h1>{escape(verdict(report))}</h1>"
        f"<p>Both were asked about the same {report['flights']['labelled']:,} flights at their scheduled departure. "
        "The January model was trained on January and never changed. The loop began with that very model and then "
        "watched its own results, retrained, tried each new version on a share of the flights and replaced or "
        "withdrew it, with nobody at the controls.</p></header>"
    )


def _tiles(report: Report) -> str:
    flights, chain = report["flights"], report["chain"]
    promoted = sum(rollout["outcome"] == "promoted" for rollout in report["rollouts"])
    held = [q for q in report["quarantines"] if q["scope"] == "file"]
    exactly = flights["predicted"] == flights["expected"] and not flights["faults"]
    tiles = [
        (
            f"{flights['predicted']:,}",
            "flights predicted",
            "each exactly once" if exactly else "; ".join(flights["faults"]),
        ),
        (*_counted(report["retrainings"], "retraining"), f"triggers declined: {len(report['declined'])}"),
        (*_counted(report["rollouts"], "rollout"), f"{promoted} promoted"),
        (*_counted(report["rollbacks"], "rollback"), _versions(r["challenger"] for r in report["rollbacks"])),
        (*_counted(held, "quarantined upload"), ", ".join(sorted({q["source"] for q in held}))),
        (_dollars(report["cost"]["per_1000_predictions"]), "per 1,000 predictions", "estimated AWS cost"),
        (
            "intact" if chain["verified"] else "BROKEN",
            "hash chain of the log",
            f"{chain['items']:,} events, all verified" if chain["verified"] else "; ".join(chain["breaks"]),
        ),
    ]
    cells = (
        f'<li><span class="figure">{escape(figure)}</span><span class="what">{escape(what)}</span>'
        f'<span class="note">{escape(note)}</span></li>'
        for figure, what, note in tiles
    )
    return f'<ul class="tiles" aria-label="The replay in figures">{"".join(cells)}</ul>'


def _pictures(report: Report) -> Iterable[str]:
    if not report["weeks"]:
        return
    found = report["auc_difference"]
    sides = '<span class="key loop">the loop</span> and <span class="key static">January model</span>'
    yield _figure(
        report,
        "How well late flights were told from punctual ones",
        f"AUC by week, {sides}; higher is better. Bands: 95 % intervals of each week. "
        "Dotted lines: a new version takes over.",
        charts.auc,
    )
    yield _figure(
        report,
        "What the loop gained",
        f"AUC of the loop less that of the January model, by week; all flights together: {_signed(found['value'])}. "
        "While both are the same model, there is nothing to see.",
        charts.gain,
    )
    yield _figure(
        report,
        "What the platform did",
        "Which version answered, which were tried out, and everything that happened on the way. "
        "The coloured height of a canary is its share of flights.",
        timeline,
    )
    yield _figure(
        report,
        "How far the probabilities were off",
        f'Brier score by week, {sides}; lower is better. <span class="key blind">Grey</span>: knowing nothing of a '
        "flight but, with hindsight, its week's share of late ones.",
        charts.brier,
    )
    yield _figure(
        report,
        "How many flights were late",
        "Share of arrivals more than 15 minutes late, by week. Bad weeks make the Brier score rise for everybody.",
        charts.late,
    )


def _figure(report: Report, title: str, caption: str, draw: Picture) -> str:
    drawn = "".join(draw(report, canvas) for canvas in canvases(report["weeks"]))
    return f"<figure><h2>{escape(title)}</h2><figcaption>{caption}</figcaption>{drawn}</figure>"


def _happened(weeks: Sequence[WeekRow]) -> str:
    every = [(week["number"], happening) for week in weeks for happening in week["events"]]
    told = [(number, h) for number, h in every if h["kind"] not in _SIDELINE]
    rest = [(number, h) for number, h in every if h["kind"] in _SIDELINE]
    body = _list(told) if told else "<p>Nothing: the first model answered to the end.</p>"
    if rest:
        body += (
            f"<details><summary>{len(rest)} smaller things: steps of canaries, findings of the monitor, and "
            f"retrainings that were not started</summary>{_list(rest)}</details>"
        )
    return f"<section><h2>What happened</h2>{body}</section>"


def _list(happenings: Iterable[tuple[int, Happening]]) -> str:
    lines = (
        f'<li class="{h["kind"]}"><time datetime="{h["at"]}">{_day(h["at"])}</time>'
        f'<span class="kind">{_KINDS.get(h["kind"], h["kind"])}</span><span>{escape(h["text"])}</span></li>'
        for _, h in happenings
    )
    return f'<ol class="happened">{"".join(lines)}</ol>'


def _by_week(report: Report) -> str:
    head = ("week", "from", "flights", "late", "champion", "canary", "AUC loop", "January", "Brier loop", "January")
    rows = [_week_cells(week) for week in report["weeks"]]
    total = (
        "all", "", f"{report['flights']['predicted']:,}", "", "", "", f"{report['loop']['auc']:.3f}",
        f"{report['static']['auc']:.3f}", f"{report['loop']['brier']:.4f}", f"{report['static']['brier']:.4f}",
    )  # fmt: skip
    return (
        '<section><h2>Week by week</h2><div class="scroll" role="region" aria-label="Figures by week" tabindex="0">'
        f"<table><thead>{_row(head, 'th')}</thead><tbody>{''.join(map(_row, rows))}</tbody>"
        f"<tfoot>{_row(total)}</tfoot></table></div></section>"
    )


def _week_cells(week: WeekRow) -> tuple[str, ...]:
    loop, static = week["loop_auc"], week["static_auc"]
    return (
        str(week["number"]),
        week["start"][:10],
        f"{week['flights']:,}",
        "" if week["late_share"] is None else f"{week['late_share']:.0%}",
        "" if week["champion"] is None else f"v{week['champion']}",
        "" if week["canary"] is None else f"v{week['canary']} {week['canary_percent']} %",
        f"{loop['value']:.3f}" if loop else "",
        f"{static['value']:.3f}" if static else "",
        _four(week["loop_brier"]),
        _four(week["static_brier"]),
    )


def _proofs(report: Report) -> str:
    parity, deliveries, chain, cost = report["parity"], report["deliveries"], report["chain"], report["cost"]
    first = parity["first_difference"]
    same = "all equal to the bit" if parity["compared"] == parity["equal"] else f"first difference: {first}"
    rows = [
        ("Flights predicted exactly once", f"{report['flights']['predicted']:,} of {report['flights']['expected']:,}"),
        ("Online against offline", f"{parity['equal']:,} of {parity['compared']:,} flights compared; {same}"),
        ("Events handled", f"{deliveries['handled']:,} of {deliveries['expected']:,} deliveries that were due"),
        ("Messages in dead-letter queues", f"{report['dead_letters']:,}"),
        ("Hash chains", f"{chain['items']:,} events in {chain['streams']:,} streams; {_chain(report)}"),
        ("Wall time", f"{report['seconds'] / 60:.1f} minutes on this machine"),
        ("Estimated AWS cost", f"{_dollars(cost['total'])} in all, {_dollars(cost['per_week'])} a week of replay"),
    ]
    checks = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    parts = [
        (name.replace("_", " "), f"{cost['units'][name]:,.0f}", _dollars(amount))
        for name, amount in sorted(cost["parts"].items(), key=lambda part: -part[1])
    ]
    return (
        f"<section><h2>What was checked, and what it costs</h2><dl>{checks}</dl>"
        f"<details><summary>The cost in parts</summary><table><thead>{_row(('what', 'units', 'dollars'), 'th')}</thead>"
        f"<tbody>{''.join(map(_row, parts))}</tbody></table><p>{escape(cost['source'])}. Lambda's time is this "
        "machine's; storage, logs and traces are not in it, nor is a free tier.</p></details></section>"
    )


def _reading(report: Report) -> str:
    words = {
        "AUC": "Take one late and one punctual flight at random: the AUC is how often the model gave the late one the "
        "higher probability. 0.5 is guessing, 1 is perfect.",
        "Brier score": "The mean squared distance between the probability and what came (1 late, 0 not). Lower is "
        "better; saying the whole time's share of late flights for each would score "
        f"{report['no_information']['brier']:.4f}, the loop scored {report['loop']['brier']:.4f}.",
        "Canary": "A new version first answers a small share of the flights while the old one answers the rest; only "
        "when the outcomes show no harm does it get more, and at the first sign of harm it is withdrawn.",
        "Interval": f"The whole comparison was repeated on {report['auc_difference']['resampled']} drawn at random "
        "with replacement; 95 % of the differences lie in the interval. The bands of the first picture are DeLong's "
        "and take the flights of a week as independent, which makes them a little too narrow.",
        "Not shown": "What delays cost, or whether anybody would act on these probabilities. It is one year, one city, "
        "one kind of model, and a replay: nothing that was predicted could change what happened next. Flights that "
        "never arrived have no outcome and count in no score. Times are New York's wall clock.",
    }
    told = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in words.items())
    return f"<section><h2>How to read this</h2><dl>{told}</dl></section>"


# --- pieces ------------------------------------------------------------------------------


def _row(cells: Sequence[str], tag: str = "td") -> str:
    scope = ' scope="col"' if tag == "th" else ""
    return "<tr>" + "".join(f"<{tag}{scope}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _date(at: str) -> str:
    time = datetime.fromisoformat(at)
    return f"{time.day} {time:%b %Y}"


def _day(at: str) -> str:
    time = datetime.fromisoformat(at)
    return f"{time.day} {time:%b}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _counted(things: Sequence[object], word: str) -> tuple[str, str]:
    return str(len(things)), word if len(things) == 1 else f"{word}s"


def _versions(versions: Iterable[int]) -> str:
    return ", ".join(f"v{version}" for version in versions)


def _chain(report: Report) -> str:
    return (
        "none was changed, dropped or swapped" if report["chain"]["verified"] else "; ".join(report["chain"]["breaks"])
    )
