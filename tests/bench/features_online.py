"""CPU of our online serving beside Feast's DynamoDB store, in one run, on replayed answers of DynamoDB.

    python tests/bench/features_online.py [--out figures.json]

Ours is all that the function does, from the HTTP event to the body of the answer: parsing, authorisation, reading,
JSON, the log line; and beside it the client library's direct read. Feast's is ``get_online_features(...).to_dict()``,
without HTTP. Both go through botocore to the same emulator once, and then its answers are replayed.
``MODELWRIGHT_FEAST_PYTHON`` names an interpreter with ``feast``; without one only our side is measured.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.cloud import cloud
from support.http import handler_of, payload

from bench.replaying import Replaying
from modelwright.adapters.dynamodb import DynamoTables
from modelwright.adapters.memory import MemoryBlobs
from modelwright.client import OnlineFeatures
from modelwright.features import writing
from modelwright.features.rows import checked, placed
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put
from modelwright.wiring import Settings, Wiring

CELLS = ((1, 10), (10, 50), (100, 50))
ENTITIES = 1_000
VIEWS = 5
_ROUNDS = 5


@dataclass(frozen=True)
class Cell:
    """What a request costs.

    Attributes:
        entities: how many it asks for.
        features: how many of each, 10 of a view.
        ours: CPU of the whole function, in ms.
        direct: CPU of the direct read, in ms.
        feast: CPU of Feast, in ms; None where there is none.
    """

    entities: int
    features: int
    ours: float
    direct: float
    feast: float | None

    @property
    def ratio(self) -> float | None:
        """How many times less ours costs than Feast."""
        return self.feast / self.ours if self.feast else None


def run(cells: Sequence[tuple[int, int]] = CELLS) -> list[Cell]:
    """Measure both sides and return the cells; both have to serve the same values."""
    with cloud(), tempfile.TemporaryDirectory() as name:
        folder, values = Path(name), _values()
        (folder / "values.json").write_text(json.dumps(values))
        ours = _ours(values, cells)
        theirs = _feast(folder, cells)
    found = []
    for (entities, features), (cost, direct, first) in zip(cells, ours, strict=True):
        feast = theirs.get((entities, features))
        if feast is not None and feast["first"] != first:
            raise AssertionError(f"Feast serves {feast['first']}, and we {first}")
        found.append(Cell(entities, features, cost, direct, feast["cpu_ms"] if feast else None))
    return found


def text(cells: Sequence[Cell]) -> str:
    """Return the cells as a table."""
    lines = ["entities x features    ours ms   direct ms    Feast ms     ratio"]
    for cell in cells:
        feast = f"{cell.feast:11.2f} {cell.ratio:9.1f}" if cell.feast else "          -         -"
        lines.append(f"{cell.entities:8} x {cell.features:<8} {cell.ours:10.2f} {cell.direct:11.2f} {feast}")
    return "\n".join(lines)


def _values() -> dict[str, Any]:
    rng = random.Random(0)
    views = [
        {f"f{10 * view + n}": [rng.gauss(0, 1) for _ in range(ENTITIES)] for n in range(10)} for view in range(VIEWS)
    ]
    return {"entities": list(range(ENTITIES)), "views": views}


def _ours(values: dict[str, Any], cells: Sequence[tuple[int, int]]) -> list[tuple[float, float, dict[str, Any]]]:
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": 5}
    client = boto3.client("dynamodb", config=Config(retries=retries, max_pool_connections=32, user_agent="modelwright"))
    names: Any = {name: f"bench-{name}" for name in ("features", "governance", "log")}
    for name in names.values():
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
    session = boto3.DEFAULT_SESSION
    tables, project = DynamoTables(client, names, session.get_credentials() if session else None), _project(values)
    tables.write(
        [Put("governance", {**current_key("default")._asdict(), "project": project.model_dump_json()}, Anything())]
    )
    _fill(tables, project, values)
    settings = Settings(
        function="bench", workspace="default", bus="", virtual_time=True, tables=names, buckets={}, environment={}
    )
    wiring = Wiring(settings, tables=tables, blobs=MemoryBlobs())
    function = handler_of("features", wiring)
    direct = OnlineFeatures(tables, MemoryBlobs())
    with Replaying() as replaying, _silence():
        return [_measured(function, direct, replaying, values, *cell) for cell in cells]


def _project(values: dict[str, Any]) -> Project:
    number, time_ = {"type": "number"}, {"type": "timestamp"}
    sources = {
        f"source{n}": {
            "columns": {"eid": {"type": "integer"}, "at": time_, **dict.fromkeys(columns, number)},
            "key": ["eid"],
            "event_time": "at",
        }
        for n, columns in enumerate(values["views"])
    }
    views = {
        f"view{n}": {"entity": ["eid"], "source": f"source{n}", "features": list(columns), "ttl": "3650d"}
        for n, columns in enumerate(values["views"])
    }
    return Project.model_validate({"name": "bench", "sources": sources, "views": views})


def _fill(tables: DynamoTables, project: Project, values: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    event = (now - timedelta(hours=1)).isoformat()
    for n, columns in enumerate(values["views"]):
        source = project.sources[f"source{n}"]
        given = [
            {"eid": eid, "at": event, **dict(zip(columns, row, strict=True))}
            for eid, row in zip(values["entities"], zip(*columns.values(), strict=True), strict=True)
        ]
        rows = [placed(source, row, now_us=0, arrival="1") for row in checked(source, given)]
        writing.push(project, f"source{n}", rows, now=now, tables=tables, workspace="default")


def _measured(
    function: Any, direct: OnlineFeatures, replaying: Replaying, values: dict[str, Any], entities: int, features: int
) -> tuple[float, float, dict[str, Any]]:
    asked = [f"view{n}:{name}" for n, columns in enumerate(values["views"][: features // 10]) for name in columns]
    rng = random.Random(2)
    sets = [rng.sample(values["entities"], entities) for _ in range(3)]
    events = [payload("POST", "/get-online-features", {"features": asked, "entities": {"eid": ids}}) for ids in sets]
    answers = [function(event) for event in events]
    assert all(answer["statusCode"] == 200 for answer in answers), answers[0]
    body = json.loads(answers[2]["body"])
    first = {
        name: result["values"][0]
        for name, result in zip(body["metadata"]["feature_names"], body["results"], strict=True)
    }
    for ids in sets:
        direct.get_online_features(asked, {"eid": ids})
    sent, rounds = replaying.sent, max(30, 3000 // (entities * 5))
    ours = _cost(lambda n: function(events[n % 3]), rounds)
    read = _cost(lambda n: direct.get_online_features(asked, {"eid": sets[n % 3]}), rounds)
    assert replaying.sent - sent <= 2 * _ROUNDS, "answers were not replayed (but for the project, every few seconds)"
    return ours, read, first


def _cost(ask: Callable[[int], Any], rounds: int) -> float:
    """Return the CPU of a request in ms: the least of several rounds, as others use this machine too."""
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for n in range(rounds):
            ask(n)
        times.append((time.process_time() - start) / rounds * 1e3)
    return min(times)


def _silence() -> Any:
    """Send the function's log lines nowhere; writing them costs what it costs."""
    from contextlib import redirect_stderr

    return redirect_stderr(Path(os.devnull).open("w"))


def _feast(folder: Path, cells: Sequence[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    python = os.environ.get("MODELWRIGHT_FEAST_PYTHON", "")
    if not python:
        return {}
    script = Path(__file__).with_name("feast_online.py")
    command = [python, str(script), str(folder), json.dumps(cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"Feast's side failed: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(line["entities"], line["features"]): line for line in lines}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cells = run()
    print(text(cells))  # noqa: T201 - what it is for
    if options.out:
        options.out.write_text(json.dumps([{**asdict(cell), "ratio": cell.ratio} for cell in cells], indent=2))


if __name__ == "__main__":
    main()
