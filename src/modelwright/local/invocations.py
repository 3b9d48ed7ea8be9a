"""What functions printed: the emulator's file of invocations, as lines for people.

Functions print JSON (powertools' logger); ``outcome`` makes one line per invocation of it, for the
foreground of ``modelwright up``, and ``details`` every line, for ``modelwright logs``.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

Invocation: TypeAlias = Mapping[str, Any]

KEEP_BYTES = 20 << 20
_POLL_S = 0.2
_CORRELATION = ("correlation_id", "correlation-id", "xray_trace_id")


def read(path: Path, *, follow: bool, from_end: bool = False) -> Iterator[Invocation]:
    """Yield invocations, oldest first; with ``follow``, go on as they happen, for ever."""
    if not path.exists():
        if not follow:
            return
        path.touch()
    with path.open(encoding="utf-8") as stream:
        if from_end:
            stream.seek(0, 2)
        partial = ""
        while True:
            partial += stream.readline()
            if partial.endswith("\n"):
                yield json.loads(partial)
                partial = ""
            elif not follow:
                return
            else:
                time.sleep(_POLL_S)


def trim(path: Path) -> None:
    """Forget the file's content once it is over 20 MB; called while nothing writes to it."""
    if path.exists() and path.stat().st_size > KEEP_BYTES:
        path.unlink()


def outcome(invocation: Invocation) -> str:
    """Return one line: time, function, what became of it, duration, correlation id."""
    last = _last_record(invocation["lines"])
    said = str(last.get("message", "")) or ("" if not invocation["lines"] else invocation["lines"][-1])
    state = "failed" if invocation["failed"] else str(last.get("outcome", "ok"))
    text = f"{said}: {state}" if said else state
    identity = next((str(last[key]) for key in _CORRELATION if last.get(key)), invocation["request_id"])
    return f"{_clock(invocation)} {invocation['function']:<12} {text}  {invocation['ms']} ms  {identity}"


def details(invocation: Invocation) -> Iterator[str]:
    """Yield every line that the invocation printed, then its outcome when it printed nothing."""
    head = f"{_clock(invocation)} {invocation['function']:<12}"
    for line in invocation["lines"]:
        record = _record(line)
        if "message" in record:
            identity = next((f"  {record[key]}" for key in _CORRELATION if record.get(key)), "")
            said = ": ".join(str(record[key]) for key in ("message", "outcome") if record.get(key))
            yield f"{head} {record.get('level', 'INFO'):<7} {said}{identity}"
        else:
            yield f"{head} {line}"
    if not invocation["lines"]:
        yield outcome(invocation)


def _clock(invocation: Invocation) -> str:
    return datetime.fromtimestamp(float(invocation["time"])).strftime("%H:%M:%S")


def _last_record(lines: list[str]) -> Mapping[str, Any]:
    return next((record for line in reversed(lines) if "message" in (record := _record(line))), {})


def _record(line: str) -> Mapping[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        parsed = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
