"""``modelwright models history``, ``as-of``, ``lineage`` and ``uses`` against the registry behind a loopback port."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from support.http import serve
from support.mlflow_desk import API, Desk, event_of
from typer.testing import CliRunner

from modelwright.cli.models import app
from modelwright.cli.telling import as_of_lines, tree
from modelwright.errors import InvalidInput, NotFound

JAN, FEB, MAR = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 2, 3))
DATA = "d" * 64
Run = Callable[..., Any]


@pytest.fixture
def desk() -> Desk:
    """In January a version was trained, in February another one became champion."""
    desk = Desk()
    desk.tell("registry", event_of("registry-training-completed.json", dataset_digest=DATA), at=JAN)
    body = {"name": "flights", "source": "s3://x/y"}
    asked = {"version": 2, "alias": "champion", "reason": "\x1b[31mbetter"}
    for path, said in ((f"{API}/model-versions/create", body), ("/v1/models/flights/transitions", asked)):
        status, answer = desk.registry("POST", path, said, x_modelwright_as_of=FEB.isoformat())
        assert status == 200, answer
    return desk


@pytest.fixture
def run(desk: Desk) -> Iterator[Run]:
    with serve([desk.functions["registry"]], desk.blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, [*arguments, "--endpoint", url])


def test_a_history_has_a_line_for_each_event(run: Run) -> None:
    done = run("history", "flights")
    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert lines[0] == "2026-01-01 12:00:00  platform          flights was born"
    assert lines[-1].startswith("2026-02-01 12:00:00  ann               v2 became champion in place of v1 (reason: ")
    assert "\x1b" not in done.output
    assert len(run("history", "flights", "--type", "AliasChanged").output.splitlines()) == 2
    assert len(run("history", "flights", "--type", "AliasChanged", "--since", "2026-01-15").output.splitlines()) == 1
    assert len(run("history", "flights", "--until", "2026-01-15").output.splitlines()) == len(lines) - 3


def test_a_history_is_read_to_its_end_and_told_to_programs(run: Run, desk: Desk) -> None:
    for number in range(1100):
        tag = {"name": "flights", "key": f"k{number}", "value": ""}
        desk.registry.ok("POST", f"{API}/registered-models/set-tag", tag)
    events = [json.loads(line) for line in run("history", "flights", "--json").output.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len(events) > 1100


def test_as_of_tells_who_was_champion_and_why(run: Run) -> None:
    lines = run("as-of", "flights", "2026-01-15T12:00Z").output.splitlines()
    assert lines[0] == "flights as of 2026-01-15 12:00:00 UTC (born 2026-01-01 12:00:00 UTC)"
    assert lines[1].startswith("champion: v1 since 2026-01-01 12:00:00 UTC, asked for by platform, reason: training ")
    assert "traffic: none" in lines
    assert f"  data         {DATA}" in lines
    assert "  features     dep_hour, wind_speed" in lines
    assert lines[-1] == "0 other versions; 0 requests waited"
    assert "champion: v2 since" in run("as-of", "flights").output
    said = json.loads(run("as-of", "flights", "2026-01-15T12:00Z", "--version", "1", "--json").output)
    assert (said["champion"], said["versions"][0]["training_id"][:2]) == (1, "01")


def test_what_is_wrong_is_said(run: Run) -> None:
    assert isinstance(run("as-of", "flights", "yesterday").exception, InvalidInput)
    assert isinstance(run("as-of", "flights", "2025-01-01").exception, NotFound)
    assert isinstance(run("lineage", "nobody").exception, NotFound)
    assert isinstance(run("uses", "nothing").exception, NotFound)


def test_lineage_is_a_tree_up_and_down(run: Run) -> None:
    lines = run("lineage", "flights/1").output.splitlines()
    assert lines[:2] == ["made of:", "flights v1"]
    assert lines[2].startswith("  run ")
    assert lines[3:] == [f"    dataset {DATA}", "      feature dep_hour", "      feature wind_speed"]
    lines = run("lineage", "flights").output.splitlines()
    assert lines == ["made of:", "model flights (champion v2)", "  flights v2 (champion)"]
    lines = run("lineage", "flights@champion").output.splitlines()
    assert lines == ["used by:", "flights v2 (champion)", "  model flights (champion v2)"]
    lines = run("lineage", DATA, "--kind", "dataset", "--depth", "1").output.splitlines()
    assert [line.split()[0] for line in lines] == ["made", "dataset", "feature", "feature", "used", "dataset", "run"]
    said = json.loads(run("lineage", "flights", "--json").output)
    assert said["start"] == "model:flights"


def test_a_model_that_nothing_is_known_of_is_named(run: Run, desk: Desk) -> None:
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "new"})
    assert run("lineage", "new").output == "nothing is known of what new was made of, or where it is used\n"


def test_who_uses_a_feature_is_told_with_the_deployed_first(run: Run, desk: Desk) -> None:
    desk.tell("registry", event_of("registry-training-completed.json", training_id="01OTHER", model="a"), at=MAR)
    desk.tell("registry", event_of("registry-training-completed.json", training_id="01MORE"), at=MAR)
    assert run("uses", "wind_speed").output.splitlines() == [
        "a v1 (champion)", "flights v3 (challenger)", "flights v1",
    ]  # fmt: skip
    assert len(json.loads(run("uses", "wind_speed", "--json").output)["nodes"]) > 3


def test_what_was_shown_above_is_not_unfolded_again() -> None:
    nodes = [{"id": f"feature:{name}", "kind": "feature", "name": name} for name in "abcd"]
    pairs = [("b", "a"), ("c", "a"), ("d", "b"), ("d", "c"), ("a", "d")]
    edges = [{"from": f"feature:{start}", "to": f"feature:{end}", "kind": "x"} for start, end in pairs]
    lines = list(tree({"start": "feature:a", "nodes": nodes, "edges": edges, "whole": False}, "up"))
    assert lines == [
        "feature a", "  feature b", "    feature d", "      feature a ...", "  feature c", "    feature d ...",
        "(older versions that hold no alias are left out)",
    ]  # fmt: skip


def test_approvals_gates_canaries_and_late_versions_are_told() -> None:
    held: dict[str, Any] = {
        "version": 2, "previous": 1, "since": JAN.isoformat(), "set_by": "bob", "request_id": "r",
        "requested_by": "ann", "approved_by": ["bob", "eve"], "forced": "now", "reason": "",
        "gates": [{"gate": "floor", "passed": False, "text": "too low"}],
    }  # fmt: skip
    said: dict[str, Any] = {
        "model": "flights", "as_of": FEB.isoformat(), "born": JAN.isoformat(), "aliases": {"champion": held},
        "traffic": [{"version": 2, "role": "canary", "percent": 10}], "traffic_since": JAN.isoformat(),
        "versions": [{"version": 2, "aliases": ["champion"], "percent": 10}], "others": 3, "waiting": [1],
    }  # fmt: skip
    assert list(as_of_lines(said)) == [
        "flights as of 2026-02-01 12:00:00 UTC (born 2026-01-01 12:00:00 UTC)",
        "champion: v2 since 2026-01-01 12:00:00 UTC, asked for by ann, approved by bob, eve, set by bob",
        "  gates overridden: now",
        "  floor failed: too low",
        "traffic: v2 10 % (canary), since 2026-01-01 12:00:00 UTC",
        "v2: made later",
        "3 other versions; 1 requests waited",
    ]
