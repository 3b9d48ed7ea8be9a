"""Answers in text, and how long they may be."""

import json
from typing import Any, Final

from modelwright.errors import TooLarge

ANSWER_BYTES: Final = 4_500_000
ENVELOPE_BYTES: Final = 5_800_000
"""Lambda takes 6 MB with the body as a JSON string, in which quotes and backslashes count twice."""
METRICS_BYTES, DOCUMENT_BYTES = 3_300_000, 2_000_000
"""Bytes that the metrics of a run may take of an answer, and what else there is of it, or of anything."""


def dumped(value: Any) -> str:
    """Return JSON without spaces, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def escaped(text: str) -> int:
    """Return how many bytes a text takes as a JSON string."""
    return len(text.encode()) + text.count('"') + text.count("\\")


def run_answer(run: dict[str, Any]) -> str:
    """Return a run's answer, without what its datasets look like inside if that makes it too long.

    Raises:
        TooLarge: it is too long even so.
    """
    text = dumped({"run": run})
    for detail in ("profile", "schema"):
        if escaped(text) <= ENVELOPE_BYTES:
            return text
        for read in run["inputs"]["dataset_inputs"]:
            read["dataset"].pop(detail, None)
        text = dumped({"run": run})
    if escaped(text) > ENVELOPE_BYTES:
        raise TooLarge(f"the run {run['info']['run_id']} has {len(text)} bytes, more than fit into an answer")
    return text
