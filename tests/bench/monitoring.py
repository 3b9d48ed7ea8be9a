"""Profile and verdict of a file against a stored reference: beside sorting its columns, and beside other tools.

    cd tests && python -m bench.monitoring [--out figures.json] [--without-large]

A million rows of 16 numbers, 4 categories and a time in Parquet (snappy) are profiled from the file and judged, by the
detectors that sources have by default, against the four profiles of a reference of as many rows, which are read from
their documents. *Sorting* reads the same columns of the same file and sorts them with numpy, categories by their codes
in Parquet's dictionaries, which is much faster than as texts. Evidently (its preset for drift) and NannyML (its
univariate calculator) get both sets as data frames in memory, which is not counted; ``MODELWRIGHT_EVIDENTLY_PYTHON``
and ``MODELWRIGHT_NANNYML_PYTHON`` name interpreters that have them. What is counted is CPU, on one thread of one core,
as others use this machine too: of ours and of sorting the least of several rounds, of the others one, after a small
one. Memory is the peak of the whole process. Ten million rows are profiled and judged in a process of their own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

ROWS, LARGE, REFERENCES = 1_000_000, 10_000_000, 4
NUMBERS = tuple(f"x{n}" for n in range(16))
WORDS = {"s0": 4, "s1": 20, "s2": 100, "s3": 400}
START = datetime(2026, 1, 1, tzinfo=UTC)
SORTING, EVIDENTLY, NANNYML, PEAK_MB, LARGE_MB = 1.5, 100, 20, 400, 2048
"""What is asked: at most so many times sorting, at least so many times faster, at most so much memory."""
_ROUNDS = 7
_ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "NML_DISABLE_USAGE_LOGGING": "1",
    "DO_NOT_TRACK": "1",
}
Side = dict[str, float]


def source() -> Any:
    """Return the declaration of the rows."""
    from modelwright.project import Source

    columns: dict[str, Any] = {name: {"type": "number"} for name in NUMBERS}
    columns |= {name: {"type": "string"} for name in WORDS}
    return Source.model_validate({"columns": {**columns, "at": {"type": "timestamp"}}, "key": [], "event_time": "at"})


def make(folder: Path, name: str, rows: int, seed: int, start: datetime) -> Path:
    """Write rows of which the first column of a window (any name but ``reference``) moved by half a deviation."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(seed)
    path = folder / f"{name}.parquet"
    fields = [*((name, pa.float64()) for name in NUMBERS), *((name, pa.string()) for name in WORDS)]
    schema = pa.schema([*fields, ("at", pa.timestamp("us", tz="UTC"))])
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        for first in range(0, rows, ROWS):
            size = min(ROWS, rows - first)
            numbers = random.standard_normal((len(NUMBERS), size))
            numbers[0] += 0.5 * (not name.startswith("reference"))
            columns: list[Any] = list(numbers)
            for distinct in WORDS.values():
                words = pa.array([f"category {n}" for n in range(distinct)])
                columns.append(words.take(pa.array(random.integers(0, distinct, size))))
            seconds = np.arange(first, first + size) * 1_000_000 + int(start.timestamp()) * 1_000_000
            columns.append(pa.array(seconds, schema.field("at").type))
            writer.write_table(pa.table(columns, schema=schema))
    return path


def made(folder: Path, large: bool) -> None:
    """Make window and reference, the reference's profiles, and the large window."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from modelwright.monitoring.profiles import profile_file

    later = START + timedelta(days=100)
    make(folder, "window", ROWS, 1, later)
    if large:
        make(folder, "large", LARGE, 2, later)
    for n in range(REFERENCES):
        part = make(folder, f"reference{n}", ROWS // REFERENCES, 10 + n, START + timedelta(days=2 * n))
        profile = profile_file(part, "rows", source())
        (folder / f"profile{n}.json").write_bytes(profile.packed())
    parts = [pq.read_table(folder / f"reference{n}.parquet") for n in range(REFERENCES)]
    pq.write_table(pa.concat_tables(parts), folder / "reference.parquet", compression="snappy")
    (folder / "columns.json").write_text(json.dumps([*NUMBERS, *WORDS]))


# --- sides -------------------------------------------------------------------------------


def judged(folder: Path, name: str) -> Any:
    """Profile a file and judge it against the stored reference."""
    from modelwright.events import Window
    from modelwright.monitoring.profiles import Profile, Reference, profile_file
    from modelwright.monitoring.verdict import Seen, judge
    from modelwright.monitoring.votes import DriftVotes

    declared = source()
    detectors = [_detector(one) for one in declared.detectors]
    profile = profile_file(folder / f"{name}.parquet", "rows", declared, digest=name)
    documents = [(folder / f"profile{n}.json").read_bytes() for n in range(REFERENCES)]
    reference = Reference(tuple(Profile.unpacked(document) for document in documents))
    window = Window(start=profile.start, end=profile.end)
    return judge(Seen(profile, reference), window, declared, detectors, DriftVotes())


@cache
def _detector(name: str) -> Any:
    from modelwright.plugins import load

    return load("detectors", name)()


def sort(folder: Path) -> None:
    """Read the same columns one by one and sort them."""
    import numpy as np
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / "window.parquet", read_dictionary=list(WORDS)) as parquet:
        for name in NUMBERS:
            np.sort(parquet.read(columns=[name], use_threads=False).column(0).to_numpy())
        for name in WORDS:
            column = parquet.read(columns=[name], use_threads=False).column(0)
            np.sort(np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks]))
        np.sort(parquet.read(columns=["at"], use_threads=False).column(0).to_numpy())


def ours(folder: Path) -> Side:
    """Measure our side, which has to find the column that moved and no other."""
    found = judged(folder, "window")
    moved = {one.column for one, now in zip(found.columns, found.moved, strict=True) if now}
    assert moved == {"x0"}, moved
    return _measured(lambda: judged(folder, "window"), _ROUNDS)


def sorting(folder: Path) -> Side:
    """Measure sorting alone."""
    sort(folder)
    return _measured(lambda: sort(folder), _ROUNDS)


def large(folder: Path) -> Side:
    """Measure the large window."""
    return _measured(lambda: judged(folder, "large"), 1)


def _measured(act: Callable[[], object], rounds: int) -> Side:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        times.append(time.process_time() - start)
    return {"s": min(times), "mb": peak_mb()}


def peak_mb() -> float:
    """Return the peak memory of this process, unlike ``ru_maxrss`` without that of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


SIDES = {"ours": ours, "sorting": sorting, "large": large}


# --- the run -----------------------------------------------------------------------------


def run(folder: Path, *, large: bool = True) -> dict[str, Side]:
    """Measure all sides there are, each in a process of its own."""
    made(folder, large)
    module = [sys.executable, "-m", "bench.monitoring", "--side"]
    figures: dict[str, Side] = {}
    for name in ("ours", "sorting", "ours", "sorting", *(["large"] if large else [])):
        side = _child([*module, name, str(folder)])
        figures[name] = min(side, figures.get(name, side), key=lambda one: one["s"])
    for tool in ("evidently", "nannyml"):
        python = os.environ.get(f"MODELWRIGHT_{tool.upper()}_PYTHON", "")
        if python:
            figures[tool] = _child([python, str(Path(__file__).with_name("drift_peers.py")), tool, str(folder)])
    return figures


def _child(command: list[str]) -> Side:
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "-c", str(core), *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_ONE_THREAD},
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    side: Side = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return side


def text(figures: dict[str, Side]) -> str:
    """Return the figures as a table, each beside what is asked."""
    mine = figures["ours"]
    lines = [f"{'':12}{'CPU s':>9}{'peak MB':>9}   {'':22}asked"]
    lines.append(f"{'ours':12}{mine['s']:9.3f}{mine['mb']:9,.0f}   {'peak':22}at most {PEAK_MB} MB")
    times = f"{mine['s'] / figures['sorting']['s']:.2f} times sorting"
    lines.append(
        f"{'sorting':12}{figures['sorting']['s']:9.3f}{figures['sorting']['mb']:9,.0f}   {times:22}at most {SORTING}"
    )
    for tool, asked in (("evidently", EVIDENTLY), ("nannyml", NANNYML)):
        if tool in figures:
            ratio = f"{figures[tool]['s'] / mine['s']:,.0f} times ours"
            lines.append(f"{tool:12}{figures[tool]['s']:9.1f}{figures[tool]['mb']:9,.0f}   {ratio:22}at least {asked}")
        else:
            lines.append(f"{tool:12}not measured: MODELWRIGHT_{tool.upper()}_PYTHON names no interpreter that has it")
    if prepared := figures.get("nannyml", {}).get("prepared_s"):
        ratio = f"{(figures['nannyml']['s'] - prepared) / mine['s']:,.0f} times ours"
        lines.append(
            f"{'  window':12}{figures['nannyml']['s'] - prepared:9.1f}{'':9}   {ratio:22}its reference fitted before"
        )
    if "large" in figures:
        side = figures["large"]
        lines.append(f"{'ours, 10 M':12}{side['s']:9.2f}{side['mb']:9,.0f}   {'peak':22}at most {LARGE_MB} MB")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or measure one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--without-large", action="store_true")
    parser.add_argument("--side", nargs=2)
    options = parser.parse_args()
    if options.side:
        import pyarrow as pa

        pa.set_cpu_count(1)
        sys.stdout.write(json.dumps(SIDES[options.side[0]](Path(options.side[1]))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="modelwright-monitoring-") as name:
        figures = run(Path(name), large=not options.without_large)
    sys.stdout.write(text(figures) + "\n")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
