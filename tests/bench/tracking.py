"""Measures tracking beside MLflow's own server, in one run, on this machine.

    python tests/bench/tracking.py [--out figures.json] [--quick] [--scales 1000,10000] [--large 100000]

MLflow's latency is what a client with a kept connection waits for, one request at a time, with four
workers. Ours is the handler's CPU time in this process (boto3's serialising, signing and HTTP are in
it; the emulator is another process and is not) plus a stated time per AWS round trip.
``MODELWRIGHT_BENCH_MLFLOW`` names the interpreter whose MLflow is measured, if it is not this one.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.cloud import cloud

from bench import large, seeding, stock
from bench.costs import Measured
from bench.operations import BASIC, Operation, new_experiment, searches
from bench.ours import Ours, complain, ours
from bench.stock import Stock, Unavailable
from bench.table import Row, text

SCALES = (1000, 10_000)
LARGE = 100_000
_STOCKS: dict[str, Callable[[str], AbstractContextManager[Stock]]] = {
    "sqlite": stock.on_sqlite,
    "postgres": stock.on_postgres,
}


def run(
    *, scales: Sequence[int] = SCALES, big: int = LARGE, quick: int = 1, only: str = ""
) -> tuple[list[Row], list[str]]:
    """Measure everything and return the rows, and what a reader must know of the run.

    Args:
        scales: over how many runs searches are measured on both sides.
        big: over how many on ours alone; 0: none.
        quick: do each operation only a ``quick``-th as often.
        only: only operations whose name contains this.
    """
    python = stock.interpreter()
    notes = [_machine(python)]
    with ExitStack() as stack:
        theirs = _servers(stack, python, notes)
        side = stack.enter_context(ours(stack.enter_context(cloud())))
        rows = [_row(operation, side, theirs, quick) for operation in BASIC if only in operation.name]
        for scale in scales if only in "search" or only.startswith("search") else ():
            rows += _search_rows(scale, side, theirs, quick)
        rows += large.rows(side, big) if big else []
    notes.append(f"load {os.getloadavg()[0]:.1f} at the end")
    return rows, notes


def _servers(stack: ExitStack, python: str, notes: list[str]) -> dict[str, Stock]:
    """Start MLflow's server on each database that can be had."""
    found = {}
    for name, server in _STOCKS.items():
        try:
            found[name] = stack.enter_context(server(python))
        except Unavailable as why:
            notes.append(f"without MLflow on {name}: {why}")
    return found


def _search_rows(scale: int, side: Ours, theirs: Mapping[str, Stock], quick: int) -> list[Row]:
    """Fill an experiment on each side and search there."""
    complain(f"searches of {scale:,} runs ...")
    experiments = {name: new_experiment(other) for name, other in theirs.items()}
    for name, other in theirs.items():
        other.seed(experiments[name], scale)
    there = {name: searches(scale, identity) for name, identity in experiments.items()}
    found = []
    for number, operation in enumerate(searches(scale, seeding.experiment(side, scale))):
        measured = {name: there[name][number].measure(other, quick) for name, other in theirs.items()}
        found.append(_told(operation, operation.measure(side, quick), measured))
    return found


def _row(operation: Operation, side: Ours, theirs: Mapping[str, Stock], quick: int) -> Row:
    """Measure an operation on all sides, one right after the other, so that the machine is as busy for each."""
    complain(f"{operation.name} ...")
    measured = {name: operation.measure(other, quick) for name, other in theirs.items()}
    return _told(operation, operation.measure(side, quick), measured)


def _told(operation: Operation, measured: Measured, theirs: Mapping[str, Measured]) -> Row:
    medians = {name: found.p50("wall_ms") for name, found in theirs.items() if not found.failure}
    return Row(operation.name, operation.asked, measured, medians.get("sqlite"), medians.get("postgres"))


def _machine(python: str) -> str:
    asked = [python, "-c", "import mlflow; print(mlflow.__version__)"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    load = os.getloadavg()[0]
    busy = "; the machine is busy, which slows clocks more than CPU time: ratios are too high" if load > 1 else ""
    return (
        f"MLflow {version or 'not installed'}, {stock.WORKERS} workers; Python {platform.python_version()}; "
        f"{os.cpu_count()} cores, load {load:.1f} at the start{busy}"
    )


def main() -> int:
    """Measure, print, and return 1 if anything is short of what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="do everything a fifth as often")
    parser.add_argument("--scales", default=",".join(map(str, SCALES)), help="runs that are searched on both sides")
    parser.add_argument("--large", type=int, default=LARGE, help="runs that are searched on ours alone; 0: none")
    parser.add_argument("--only", default="", help="only operations whose name contains this")
    asked = parser.parse_args()
    scales = [int(scale) for scale in asked.scales.split(",") if scale]
    rows, notes = run(scales=scales, big=asked.large, quick=5 if asked.quick else 1, only=asked.only)
    print(text(rows, notes))  # noqa: T201
    if asked.out:
        figures: dict[str, Any] = {"notes": notes, "operations": [row.figures() for row in rows]}
        asked.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 1 if any(row.misses for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
