import json
from datetime import timedelta
from typing import Any

import pytest
from support.http import handler_of, memory_wiring, payload

from modelwright.governance.access import Grant
from modelwright.monitoring import store
from monitoring.verdict.test_watching import HOUR, START, desk_of, higher, judged, land


def test_verdicts_reports_and_plans_are_read_over_http() -> None:
    desk = desk_of()
    land(desk, range(5), change=higher)
    monitor = handler_of("monitor", memory_wiring(tables=desk.tables, blobs=desk.blobs))

    def status(path: str, **options: Any) -> int:
        return int(monitor(payload("GET", path, **options))["statusCode"])

    found = json.loads(monitor(payload("GET", "/v1/monitoring/drift/rows"))["body"])
    assert [one["rows"] for one in found["windows"]] == [300, 300]
    page = monitor(payload("GET", "/v1/monitoring/drift/rows/report"))
    assert page["headers"]["content-type"].startswith("text/html")
    assert page["headers"]["content-security-policy"] == "sandbox allow-scripts"
    assert status("/v1/monitoring/drift/rows/report?form=pdf") == 400
    assert status("/v1/monitoring/drift/rows/report?window=zz") == 404
    assert status("/v1/monitoring/drift/rows?limit=many") == 400
    assert status("/v1/monitoring/drift/rows?limit=0") == 400
    assert status("/v1/monitoring/drift/ships") == 404
    assert status("/v1/monitoring/plan/rows?rows=0") == 400
    assert status("/v1/monitoring/drift/rows", signed_in=False) == 401
    elsewhere = Grant.model_validate({"role": "reader", "resources": "source/other"})
    assert status("/v1/monitoring/drift/rows", grants=[elsewhere]) == 403
    planned = json.loads(monitor(payload("GET", "/v1/monitoring/plan/rows?rows=200"))["body"])
    assert planned["rows"] == 200
    assert {one["column"] for one in planned["columns"]} == {"carrier", "x", "y"}


def test_without_anything_accepted_there_is_nothing_to_plan_from() -> None:
    monitor = handler_of("monitor", memory_wiring(tables=desk_of().tables))
    answer = monitor(payload("GET", "/v1/monitoring/plan/rows"))
    assert answer["statusCode"] == 400
    assert "rows has no reference yet (nothing was accepted): send files first" in answer["body"]


@pytest.mark.parametrize("applied", [True, False])
def test_the_schedule_judges_windows_that_are_over(applied: bool) -> None:
    desk = desk_of(every="1d", min_rows=200, windows=1, agreeing=1)
    land(desk, range(16), rows=50, span=6 * HOUR)
    if not applied:
        desk.tables = type(desk.tables)()
    wiring = memory_wiring(tables=desk.tables, blobs=desk.blobs)
    monitor = handler_of("monitor", wiring)
    due = START + timedelta(days=4)
    event = {"detail-type": "ScheduleDue", "id": "1", "detail": {"name": "windows", "at": due.isoformat()}}
    assert monitor(event) == {"outcome": "done"}
    assert len(judged(desk)) == applied
    newest = store.drift_votes(desk.tables, "default", "rows").newest
    assert (newest == due) == applied
