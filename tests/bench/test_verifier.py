"""How long the verifier takes, beside what reading the same lines takes at least; and how large roots get."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from governance.desk import START, Desk
from governance.test_verifier_faults import Excerpt, anchored, folder_of

from modelwright.events import AliasChanged, Envelope, GateResult
from modelwright.governance import excerpts, verifier
from modelwright.governance.anchoring import anchor
from modelwright.governance.excerpts import FIELDS, Tally
from modelwright.log import GENESIS, LogItem, new_id, stream_of

pytestmark = pytest.mark.bench

ITEMS, STREAMS, LIMIT_S = 100_000, 1000, 1.0
MANY_STREAMS = 100_000


@pytest.fixture(scope="module")
def log() -> Excerpt:
    """100,000 changes of aliases, with the root after them."""
    gates = tuple(GateResult(gate="metric_floor", passed=True, text="auc 0.91 is over 0.8") for _ in range(3))
    event = AliasChanged(model="flights", alias="champion", version=7, previous=6, results=gates, reason="größer")
    data = event.model_dump(mode="json")
    heads: dict[str, list[Any]] = {}
    items, tally = [], Tally()
    for number in range(STREAMS):
        stream = stream_of("default", "MODEL", f"{number:026d}")
        previous = GENESIS
        for sequence in range(1, ITEMS // STREAMS + 1):
            envelope = Envelope(
                id=new_id(START), type="AliasChanged", schema_version=1, workspace="default", stream=stream,
                sequence=sequence, at=START, actor="ann", correlation_id=new_id(START), data=data,
            )  # fmt: skip
            item = LogItem.chain(envelope, previous).item(START)
            items.append({field: item[field] for field in FIELDS})
            tally.take(item)
            previous = item["hash"]
        heads[stream] = [ITEMS // STREAMS, previous]
    root = anchored(heads, [], START)
    told = {"number": 1, "at": root["at"], "key": "k", "root": root["root"]}
    manifest = excerpts.manifest(tally, workspace="", period=(START, START), roots=(None, told), log={}, others={})
    return Excerpt(items, [root], json.loads(manifest))


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of the quickest of three."""
    times = []
    for _ in range(3):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def least(path: Path) -> None:
    """Read the lines and hash their text: what no verifier of this format can do without."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            hashlib.sha256(json.loads(line)["envelope"].encode()).hexdigest()


def test_a_hundred_thousand_items_take_a_second(log: Excerpt, tmp_path: Path) -> None:
    manifest, (root,) = folder_of(log, tmp_path)
    lines = tmp_path / "log.jsonl"
    floor = seconds(lambda: least(lines))
    whole = seconds(lambda: verifier.main([str(lines), "--roots", str(root)]))
    excerpt = seconds(lambda: verifier.main(["--manifest", str(manifest), "--roots", str(root)]))
    per_item = lines.stat().st_size / ITEMS
    sys.stdout.write(
        f"100,000 items of {per_item:.0f} bytes: whole streams {whole:.2f} s, an excerpt with its manifest "
        f"{excerpt:.2f} s; reading and hashing alone {floor:.2f} s\n"
    )
    assert whole < LIMIT_S
    assert excerpt < LIMIT_S
    assert whole < 2.5 * floor, "whatever machine this is"


def test_a_root_of_a_hundred_thousand_streams_is_written_within_a_functions_time() -> None:
    desk = Desk()
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "log": desk.log}
    desk.happen("a")
    anchor(desk.call, wall=desk.wall, **given)
    row = next(iter(desk.blobs.list("audit", "roots/")))
    first = json.loads(desk.blobs.get("audit", row.key).body)
    heads = {stream_of("default", "RUN", f"{n:032x}"): [3, hashlib.sha256(str(n).encode()).hexdigest()]
             for n in range(MANY_STREAMS)}  # fmt: skip
    desk.blobs.put("audit", row.key, json.dumps({**first, "heads": {**first["heads"], **heads}}).encode())
    desk.wait(hours=1)
    desk.happen("a")
    spent = seconds(lambda: anchor(desk.call, wall=_later(desk), anew=True, **given))
    size = max(row.size for row in desk.blobs.list("audit", "roots/"))
    sys.stdout.write(f"a root of {MANY_STREAMS} streams: {size / 1e6:.1f} MB, {spent:.2f} s\n")
    assert spent < 10
    assert size / MANY_STREAMS < 150


def _later(desk: Desk) -> Any:
    desk.wait(minutes=1)
    return desk.wall
