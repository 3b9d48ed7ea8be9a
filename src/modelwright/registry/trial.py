"""Loads a model that nobody approved yet and times it, in a process that may do nothing else.

A model is code. In serving it runs once it passed its gates; here it runs before that, and this function may write
what gates and approvals decide. So the model is opened in a process of its own, without credentials in its
environment, which gets the version's files (and the wheel of the team's code) through a pipe and says one figure.
On Linux this process's own environment and memory are closed to it. It has a time limit, and a model that crashes,
hangs or talks nonsense is one that does not load.

The pipe: the child asks ``{"read": name}`` or ``{"code": true}`` in a line and gets a line with the size (-1: there is
none) and the bytes; it ends with ``{"ms": ..., "rows": ...}`` or ``{"fault": ...}``.
"""

import contextlib
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from modelwright import plugins
from modelwright.artifacts import SAMPLE
from modelwright.errors import NotFound, Unavailable
from modelwright.flavors import Flavor, OpenModel, open_folder
from modelwright.plugins import Candidate
from modelwright.registry.signatures import Signature

if TYPE_CHECKING:
    import pandas as pd

WARM_UP, TIMED = 5, 50
"""Rows scored before, and while, the time is taken."""
LIMIT_S = 120.0
_KEPT = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR", "OMP_WAIT_POLICY")
_LONGEST_LINE = 1_000_000
_EXAMPLE = "input_example.json"
_BLANK: dict[str, Any] = {"string": "", "boolean": False, "datetime": "2026-01-01T00:00:00Z", "binary": b""}
_NOT_DUMPABLE = 4  # PR_SET_DUMPABLE


class Trial(NamedTuple):
    """How long a model takes for one row (the median), and which rows these were."""

    ms: float
    rows: str


def attempt(candidate: Candidate, *, limit_s: float = LIMIT_S) -> Trial:
    """Load a version's model as serving does and time it; raises ``Unavailable`` with the reason if that fails."""
    name = f"{candidate.model} v{candidate.version}"
    _close_to_others()
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    told = json.dumps([name, candidate.digest, candidate.signature])
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "modelwright.registry.trial", told],
            env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(limit_s, _end, [child])
        timer.start()
        with child:
            said = _served(child, candidate)
            in_time = timer.is_alive()
            timer.cancel()
            _end(child)
    if not in_time:
        raise Unavailable(f"{name} was not loaded and timed within {limit_s:g} s")
    return _trial(name, said)


def _served(child: "subprocess.Popen[bytes]", candidate: Candidate) -> Any:
    """Give the child what it asks for; return its last word, None if it had none."""
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        while line := child.stdout.readline(_LONGEST_LINE):
            asked = json.loads(line)
            if not isinstance(asked, dict) or not {"read", "code"} & set(asked):
                return asked
            body = candidate.code() if "code" in asked else _file(candidate, str(asked["read"]))
            child.stdin.write(f"{-1 if body is None else len(body)}\n".encode())
            child.stdin.write(body or b"")
            child.stdin.flush()
    return None


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a child with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _file(candidate: Candidate, name: str) -> bytes | None:
    try:
        return candidate.read(name)
    except NotFound:
        return None


def _trial(name: str, said: Any) -> Trial:
    try:
        if "fault" not in said:
            return Trial(float(said["ms"]), str(said["rows"])[:100])
        reason = str(said["fault"])[:1000]
    except (TypeError, KeyError, ValueError):
        reason = f"{name} does not load: its process ended without a word"
    raise Unavailable(reason)


def _close_to_others() -> None:
    """Keep other processes of the same user from reading this one's environment and memory (prctl(2), Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_NOT_DUMPABLE, 0, 0, 0, 0)


# --- the child ---------------------------------------------------------------------------


class _Pipe:
    """The child's side of the pipe; what the model prints goes elsewhere."""

    def __init__(self) -> None:
        self._in: IO[bytes] = sys.stdin.buffer
        self._out: IO[bytes] = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def say(self, **word: Any) -> None:
        self._out.write(json.dumps(word).encode() + b"\n")
        self._out.flush()

    def ask(self, **word: Any) -> bytes | None:
        self.say(**word)
        size = int(self._in.readline())
        return None if size < 0 else self._in.read(size)

    def read(self, name: str) -> bytes:
        body = self.ask(read=name)
        if body is None:
            raise NotFound(f"it has no file {name}")
        return body


def _main(name: str, digest: str, signature: str) -> None:
    pipe = _Pipe()
    if (wheel := pipe.ask(code=True)) is not None:
        path = Path("team.whl")
        path.write_bytes(wheel)
        sys.path.insert(0, str(path.resolve()))
    try:
        model = open_folder(name, pipe.read, digest=digest, flavors=_flavor)
        rows, whence = _rows(pipe, name, signature)
        pipe.say(ms=_median_ms(model, rows), rows=whence)
    except Unavailable as error:
        pipe.say(fault=str(error))


def _flavor(name: str) -> Flavor:
    made: Flavor = plugins.load("flavors", name)()
    return made


def _median_ms(model: OpenModel, rows: "pd.DataFrame") -> float:
    singles = [rows.iloc[n % len(rows) : n % len(rows) + 1] for n in range(WARM_UP + TIMED)]
    spent = []
    for row in singles:
        began = time.perf_counter()
        model.score(row)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[WARM_UP:]) * 1000


def _rows(pipe: _Pipe, name: str, text: str) -> tuple["pd.DataFrame", str]:
    """Return rows that the model should be able to score, and whence they are; raises ``Unavailable``."""
    import pandas as pd

    for file, whence, decode in (
        (SAMPLE, "rows it was tested on", _decoded_sample),
        (_EXAMPLE, "its input example", _decoded_example),
    ):
        body = pipe.ask(read=file)
        frame = decode(body) if body is not None else None
        if frame is not None and len(frame):
            return frame, whence
    signature = Signature.read(text)
    if signature is None or any(each.startswith("#") for each in signature.names):
        raise Unavailable(f"there is no row that {name} could score")
    blank = {column.name: [_BLANK.get(_kind(column.kind), 0.0)] for column in signature.inputs}
    return pd.DataFrame(blank), "a blank row of its signature"


def _decoded_sample(body: bytes) -> "pd.DataFrame | None":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(body), use_threads=False).to_pandas()
    except (pa.ArrowException, ValueError, OSError):
        return None
    return frame


def _decoded_example(body: bytes) -> "pd.DataFrame | None":
    """Return an input example in MLflow's form, ``{"columns": [...], "data": [[...]]}``."""
    import pandas as pd

    try:
        said = json.loads(body)
        return pd.DataFrame(said["data"], columns=said.get("columns"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _kind(kind: str) -> str:
    return str(json.loads(kind).get("type", ""))


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))
