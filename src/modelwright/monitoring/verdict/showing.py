"""What people are shown of drift: verdicts over time, reports, and what could be found at all."""

from typing import Any

from modelwright.errors import InvalidInput, NotFound
from modelwright.monitoring import store
from modelwright.monitoring.verdict.sensitivity import Plan, plan
from modelwright.monitoring.verdict.windows import Watch, latest

MOST_WINDOWS = 200


def verdicts(watching: Watch, limit: int = 30) -> dict[str, Any]:
    """Return the newest verdicts on a source, newest first.

    Args:
        watching: the source and collaborators.
        limit: how many, up to ``MOST_WINDOWS``.

    Raises:
        InvalidInput: the limit is none.
    """
    watching.call.authorise("monitoring:read", f"source/{watching.name}")
    if not 1 <= limit <= MOST_WINDOWS:
        raise InvalidInput(f"limit is between 1 and {MOST_WINDOWS}, not {limit}")
    found = store.judged_windows(watching.tables, watching.workspace, watching.name, limit)
    return {"source": watching.name, "windows": [one.model_dump(mode="json") for one in found]}


def report_of(watching: Watch, digest: str = "", form: str = "html") -> bytes:
    """Return the report of a window as ``html`` or ``json``; of the newest, if none is named.

    Raises:
        InvalidInput: there is no such form.
        NotFound: there is no such report.
    """
    watching.call.authorise("monitoring:read", f"source/{watching.name}")
    if form not in ("html", "json"):
        raise InvalidInput(f"a report has the forms html and json, not {form!r}")
    found = store.judged_windows(watching.tables, watching.workspace, watching.name, MOST_WINDOWS)
    named = next((one for one in found if one.report_key and one.digest.startswith(digest)), None)
    if named is None:
        said = f"no window {digest} of {watching.name}" if digest else f"no window of {watching.name}"
        raise NotFound(f"{said} was judged yet: see `modelwright monitor drift {watching.name}`")
    return watching.blobs.get("lake", named.report_key.removesuffix("html") + form).body


def planned(watching: Watch, rows: int) -> Plan:
    """Return what a source's policy would find in windows of so many rows, and how often it would cry wolf.

    Raises:
        InvalidInput: that is no number of rows, or nothing was accepted yet.
    """
    watching.call.authorise("monitoring:read", f"source/{watching.name}")
    if rows < 1:
        raise InvalidInput(f"rows is how many rows a window has, not {rows}")
    reference = latest(watching)
    if not reference.profiles:
        raise InvalidInput(f"{watching.name} has no reference yet ({reference.text}): send files first")
    return plan(watching.name, watching.source, reference, watching.detectors, rows)
