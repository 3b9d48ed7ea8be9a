"""Searches over more runs than MLflow's server is asked to bear, in a process that does nothing else.

``python -m bench.large EXPERIMENT`` searches there, with the AWS that the environment names, and prints what each
search cost, and how much memory the process ever had.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from support.cloud import Cloud

from bench import seeding
from bench.costs import Cost, Measured
from bench.operations import SEARCHES, Asked
from bench.ours import Ours, ours
from bench.table import Row

_TIMES = 8
_ASKED = Asked(ms=1000, rss_mb=1000)


def rows(side: Ours, count: int) -> list[Row]:
    """Return the rows of an experiment with so many runs: each search the first time in a process, and after that."""
    identity = seeding.snapshot(side, count)
    found = []
    for number, (name, _, must) in enumerate(SEARCHES):
        command = [sys.executable, "-m", "bench.large", identity, str(number)]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True)
        costs = [Cost(**cost) for cost in json.loads(done.stdout)]
        asked = _ASKED if must else Asked()
        found.append(Row(f"search {count:,}: {name}; first", asked, Measured((costs[0],))))
        found.append(Row(f"search {count:,}: {name}", asked, Measured(tuple(costs[1:]))))
    return found


def _searched(experiment_id: str, more: dict[str, Any]) -> list[Cost]:
    with ours(Cloud(os.environ)) as side:
        costs = []
        for _ in range(1 + _TIMES):
            side.spent = Cost()
            side.ask("POST", "runs/search", {"experiment_ids": [experiment_id], "max_results": 100, **more})
            costs.append(replace(side.spent, rss_mb=_most_memory()))
    return costs


def _most_memory() -> int:
    """Return the most MB that this program has had (``ru_maxrss`` would count the process that it was forked from)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps([asdict(cost) for cost in _searched(sys.argv[1], dict(SEARCHES[int(sys.argv[2])][1]))]))
