"""What the hourly schedule does for performance: it packs the prediction log and joins what came late."""

import json
from pathlib import Path

from support.http import handler_of, memory_wiring

from modelwright.events import PerformanceMeasured
from modelwright.monitoring.performance.logbook import packed
from monitoring.performance.stage import MODEL, Shop, project
from monitoring.performance.test_packing import Watched, one

EVENTS = Path(__file__).parents[3] / "events"


def test_every_hour_the_log_is_packed_and_late_predictions_find_their_labels() -> None:
    shop, blobs = Shop(project("classification")), Watched()
    shop.desk.blobs = blobs
    rows = shop.rows(0, days=1, count=40)
    assert shop.label(rows, [1.0] * 40).joined == 0
    for number in range(40):
        shop.answer(one(rows, number), [0.5])
    due = json.loads((EVENTS / "monitor-schedule-due.json").read_text())
    due["detail"] |= {"name": "windows", "at": shop.desk.call().now.isoformat()}
    monitor = handler_of("monitor", memory_wiring(tables=shop.desk.tables, blobs=blobs))
    assert monitor(due) == monitor(due) == {"outcome": "done"}
    (key,) = [listed.key for listed in blobs.list("lake", "predictions/")]
    assert packed(key)
    found = shop.desk.events(PerformanceMeasured, MODEL, "PERFORMANCE")
    assert [(event.joined, event.again) for event in found] == [(0, False), (40, True)]
