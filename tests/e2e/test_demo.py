"""Twelve replayed weeks, and every figure that is told of them computed a second time."""

import json
import math
import re
from collections import Counter
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from e2e.almanac import start_of
from e2e.conftest import WEEKS, Aftermath, Replayed
from modelwright.local.packaging import Sources

pytestmark = pytest.mark.e2e

FIRST_LINE_WITHIN_S = 60
ENDED_WITHIN_S = 180
BROKEN_WEEK = 6


def test_the_demo_succeeds_and_says_nothing_to_standard_error_but_warnings(replayed: Replayed) -> None:
    assert replayed.code == 0, (replayed.lines[-10:], replayed.errors[-5:])
    assert not [line for line in replayed.errors if "Traceback" in line or "Error" in line]


def test_the_first_week_is_told_within_a_minute_of_wall_time(replayed: Replayed) -> None:
    """Asked of two free cores."""
    seconds, line = next((seconds, line) for seconds, line in replayed.lines if line.startswith("week  1"))
    assert seconds < FIRST_LINE_WITHIN_S, line


def test_twelve_weeks_end_within_three_minutes_of_wall_time(replayed: Replayed) -> None:
    """Asked of two free cores."""
    assert replayed.report["seconds"] <= replayed.seconds < ENDED_WITHIN_S


def test_the_report_has_every_figure_that_is_promised(replayed: Replayed) -> None:
    report = replayed.report
    promised = {
        "static": {"auc", "brier"},
        "loop": {"auc", "brier"},
        "no_information": {"brier"},
        "auc_difference": {"value", "low", "high"},
        "flights": {"expected", "predicted"},
        "parity": {"compared", "equal"},
        "chain": {"verified", "items"},
        "deliveries": {"expected", "handled"},
    }
    for name, parts in promised.items():
        assert parts <= report[name].keys(), name
    for name in ("weeks", "retrainings", "rollouts", "rollbacks", "quarantines"):
        assert isinstance(report[name], list), name
        assert report[name], name
    assert all(quarantine["reasons"] for quarantine in report["quarantines"])
    assert {"dead_letters", "cost", "seconds", "predictions"} <= report.keys()
    columns = {"flight_id", "version", "route", "score", "label"}
    assert columns <= set(pd.read_parquet(Path(report["predictions"])).columns)


# --- the figures, from the raw files and the predictions ---------------------------------


def test_every_flight_of_the_replayed_weeks_is_predicted_exactly_once(replayed: Replayed) -> None:
    answered = replayed.predictions[replayed.predictions["route"].isin(["champion", "canary"])]
    assert Counter(answered["flight_id"]) == Counter(replayed.flights["flight_id"])
    told = replayed.report["flights"]
    assert (told["expected"], told["predicted"]) == (len(replayed.flights), len(replayed.flights))
    assert told["labelled"] == int(replayed.flights["label"].notna().sum())
    assert told["faults"] == []


def test_labels_are_those_of_the_raw_flights(replayed: Replayed) -> None:
    joined = replayed.predictions.merge(replayed.flights, on="flight_id", suffixes=("", "_raw"), validate="many_to_one")
    assert len(joined) == len(replayed.predictions)
    pd.testing.assert_series_equal(joined["label"], joined["label_raw"], check_names=False)
    assert (joined["week"] == joined["week_raw"]).all()


@pytest.mark.parametrize("side", ["static", "loop"])
def test_auc_and_brier_are_those_of_scikit_learn(replayed: Replayed, side: str) -> None:
    told = replayed.report[side]
    assert told["auc"] == pytest.approx(replayed.sides.auc(side), abs=1e-9)
    assert told["brier"] == pytest.approx(replayed.sides.brier(side), abs=1e-12)


def test_the_baseline_is_the_base_rate_as_everyones_score(replayed: Replayed) -> None:
    rate = replayed.flights["label"].mean()
    assert replayed.report["no_information"]["brier"] == pytest.approx(rate * (1 - rate), abs=1e-12)


def test_the_difference_is_loop_minus_static(replayed: Replayed) -> None:
    expected = replayed.sides.auc("loop") - replayed.sides.auc("static")
    assert replayed.report["auc_difference"]["value"] == pytest.approx(expected, abs=1e-9)


def test_the_bootstrap_interval_is_right_within_its_monte_carlo_error(replayed: Replayed) -> None:
    told = replayed.report["auc_difference"]
    low, high, error = replayed.sides.difference_interval()
    assert told["resampled"] == "weeks"
    # A 2.5 % quantile of 500 normal draws has the standard error 0.12 of theirs; four of these.
    assert told["low"] == pytest.approx(low, abs=0.48 * error)
    assert told["high"] == pytest.approx(high, abs=0.48 * error)


@pytest.mark.parametrize("number", range(1, WEEKS + 1))
def test_each_week_says_what_its_flights_say(replayed: Replayed, number: int) -> None:
    row = replayed.report["weeks"][number - 1]
    week = replayed.sides.week(number)
    flights = replayed.flights[replayed.flights["week"] == number]
    assert (row["number"], row["start"][:10], row["end"][:10]) == (number, start_of(number), start_of(number + 1))
    assert (row["flights"], row["labelled"]) == (len(flights), int(flights["label"].notna().sum()))
    assert row["late_share"] == pytest.approx(flights["label"].mean())
    for side in ("static", "loop"):
        assert row[f"{side}_brier"] == pytest.approx(week.brier(side))
        told = row[f"{side}_auc"]
        assert told["value"] == pytest.approx(week.auc(side))
        assert (told["low"], told["high"]) == pytest.approx(week.auc_interval(side), abs=1e-9)
    by_route = {route: set(rows["version"]) for route, rows in week.answers.groupby("route")}
    assert by_route["champion"] == {row["champion"]}
    assert by_route.get("canary", set()) == ({row["canary"]} if row["canary"] else set())
    share = 100 * (week.answers["route"] == "canary").mean()
    assert row["canary_percent"] == pytest.approx(share, abs=2)


# --- the planted faults ------------------------------------------------------------------


def test_the_celsius_file_with_missing_wind_is_held_and_both_faults_are_named(replayed: Replayed) -> None:
    (held,) = [held for held in replayed.report["quarantines"] if held["scope"] == "file"]
    reasons = "; ".join(held["reasons"])
    assert held["source"] == "weather"
    assert week_of(held["at"]) == BROKEN_WEEK
    assert "Celsius" in reasons
    assert all(column in reasons for column in ("temp", "dewp", "wind_speed"))
    assert re.search(r"wind_speed: 3[34]% missing", reasons)
    assert held["released"] is not None
    assert replayed.report["weeks"][BROKEN_WEEK - 1]["quarantined"] == 1


def test_no_training_was_requested_because_of_the_broken_file_or_while_it_was_held(
    replayed: Replayed, aftermath: Aftermath
) -> None:
    (failed,) = [e for e in aftermath.of("QualityFailed") if e["data"]["scope"] == "file"]
    (released,) = [
        e for e in aftermath.of("QuarantineReleased") if e["data"]["quarantine_id"] == failed["data"]["quarantine_id"]
    ]
    begun, ended = datetime.fromisoformat(failed["at"]), datetime.fromisoformat(released["at"])
    assert begun < ended
    requests = aftermath.of("TrainingRequested")
    assert requests
    for request in requests:
        assert not begun <= datetime.fromisoformat(request["at"]) <= ended
        assert request["correlation_id"] != failed["correlation_id"]
        assert failed["data"]["upload_key"] not in json.dumps(request["data"])
    assert Counter(r["training_id"] for r in replayed.report["retrainings"]) == Counter(
        r["data"]["training_id"] for r in requests
    )


def test_the_shuffled_challenger_was_forced_in_and_rolled_back_on_labels(
    replayed: Replayed, aftermath: Aftermath
) -> None:
    (forced,) = [rollout for rollout in replayed.report["rollouts"] if rollout["forced"]]
    assert "shuffled labels" in forced["forced"]
    assert forced["outcome"] == "rolled_back"
    (back,) = [
        event for event in aftermath.of("RolloutRolledBack") if event["data"]["rollout_id"] == forced["rollout_id"]
    ]
    measured = [
        event
        for event in aftermath.of("PerformanceMeasured")
        if event["correlation_id"] == back["correlation_id"] and event["data"]["model"] == "flights"
    ]
    assert measured, "it was not judged on labels"
    assert [r["challenger"] for r in replayed.report["rollbacks"]] == [forced["challenger"]]
    version = forced["challenger"]
    subject = f"model/flights/rollback/{forced['rollout_id']}"
    incidents = [e for e in aftermath.of("IncidentOpened") if e["data"]["subject"] == subject]
    assert len(incidents) == 1
    assert incidents[0]["data"]["severity"] == "critical"
    assert incidents[0]["data"]["text"].startswith(f"version {version} of flights was rolled back")
    canaried = replayed.predictions.query("version == @version and route == 'canary'")
    assert 0 < len(canaried) < 0.15 * 6_600


# --- the log, deliveries, parity, cost ---------------------------------------------------


def test_online_and_offline_agree_for_every_flight_of_the_lived_days(replayed: Replayed) -> None:
    parity = replayed.report["parity"]
    lived = [start_of(number).replace("-", "") for number in range(4, WEEKS + 1, 4)]
    expected = sum(replayed.flights["flight_id"].str.startswith(day).sum() for day in lived)
    assert parity["compared"] == parity["equal"] == expected > 0
    assert parity["first_difference"] is None


def test_the_chain_is_verified_and_nothing_is_in_a_dead_letter_queue(replayed: Replayed, aftermath: Aftermath) -> None:
    chain = replayed.report["chain"]
    assert chain["verified"]
    assert chain["items"] == len(aftermath.envelopes)
    assert chain["streams"] == len({envelope["stream"] for envelope in aftermath.envelopes})
    assert aftermath.verified.code == 0
    assert f"{chain['items']} items in {chain['streams']} streams: verified" in aftermath.verified.out
    assert replayed.report["dead_letters"] == aftermath.dead_letters == 0


def test_as_many_deliveries_were_handled_as_the_log_and_the_rules_ask_for(
    replayed: Replayed, aftermath: Aftermath
) -> None:
    rules = patterns(Sources.find().template.read_text())
    expected = sum(takes(rule, envelope) for rule in rules for envelope in aftermath.envelopes)
    told = replayed.report["deliveries"]
    assert told["expected"] == told["handled"] == expected > 0


def test_the_cost_is_what_the_functions_counted_at_the_prices_told(replayed: Replayed) -> None:
    cost = replayed.report["cost"]
    outcomes = [
        json.loads(line)
        for invocation in replayed.invocations
        for line in invocation["lines"]
        if line.startswith("{") and "outcome" in json.loads(line)
    ]
    for unit, counted in (
        ("dynamodb_read_units", "read_units"),
        ("dynamodb_write_units", "write_units"),
        ("s3_reads", "s3_reads"),
        ("s3_writes", "s3_writes"),
    ):
        assert cost["units"][unit] == sum(outcome.get(counted, 0) for outcome in outcomes), unit
    for unit, price in cost["prices"].items():
        assert cost["parts"][unit] == pytest.approx(cost["units"][unit] * price)
    assert cost["total"] == pytest.approx(math.fsum(cost["parts"].values()))
    assert cost["per_1000_predictions"] == pytest.approx(1000 * cost["total"] / len(replayed.flights))


def test_what_happened_is_what_the_log_says(replayed: Replayed, aftermath: Aftermath) -> None:
    report = replayed.report
    assert len(report["rollouts"]) == len(aftermath.of("RolloutStarted"))
    assert len(report["rollbacks"]) == len(aftermath.of("RolloutRolledBack"))
    assert len(report["quarantines"]) == len(aftermath.of("QualityFailed"))
    assert len(report["incidents"]) == len(aftermath.of("IncidentOpened"))
    promoted = {event["data"]["rollout_id"] for event in aftermath.of("RolloutPromoted")}
    assert {r["rollout_id"] for r in report["rollouts"] if r["outcome"] == "promoted"} == promoted
    completed = {event["data"]["training_id"]: event["data"] for event in aftermath.of("TrainingCompleted")}
    for retraining in report["retrainings"]:
        assert retraining["rows"] == completed[retraining["training_id"]]["rows"]


def test_the_first_champion_is_the_static_model(replayed: Replayed, aftermath: Aftermath) -> None:
    first = next(e for e in aftermath.of("AliasChanged") if e["data"]["alias"] == "champion")
    assert (first["data"]["version"], first["data"]["previous"]) == (1, None)
    assert replayed.report["weeks"][0]["champion"] == 1


def test_the_shipped_policy_is_used_unchanged() -> None:
    project = Sources.find().package / "demo" / "project" / "modelwright.toml"
    assert "policy" not in project.read_text()


# --- functions and page ------------------------------------------------------------------


def test_no_invocation_was_denied_access_or_failed(replayed: Replayed) -> None:
    faults = [
        (invocation["function"], line)
        for invocation in replayed.invocations
        for line in invocation["lines"]
        if invocation["failed"] or "AccessDenied" in line or "not authorized to perform" in line
    ]
    assert faults == []
    assert not [invocation for invocation in replayed.invocations if invocation["failed"]]


def test_every_function_that_the_loop_needs_ran_under_its_own_role(replayed: Replayed) -> None:
    ran = {invocation["function"] for invocation in replayed.invocations}
    quiet = {"console", "gates", "maintain"}  # the shipped policy has only gates that answer at once
    names = {folder.parent.name for folder in Sources.find().functions.glob("*/handler.py")}
    assert names - ran <= quiet


def test_the_page_is_one_file_that_asks_nobody_for_anything(replayed: Replayed) -> None:
    page = replayed.folder / ".modelwright" / "demo" / "report.html"
    assert page.stat().st_size < 1_000_000
    reader = _References()
    text = page.read_text(encoding="utf-8")
    reader.feed(text)
    assert [link for link in reader.found if not link.startswith(("#", "data:"))] == []
    assert "svg" in reader.tags
    assert not re.search(r"@import|url\((?!['\"]?(#|data:))|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", text)


class _References(HTMLParser):
    """Collects whatever a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        loading = {"src", "href", "srcset", "data", "poster", "action", "xlink:href", "background", "formaction"}
        self.found += [value or "" for name, value in attributes if name in loading]


class _Template(yaml.SafeLoader):
    """Reads a template's short forms as their plain values."""


def _plain(loader: Any, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    construct = loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping
    return construct(node, deep=True)


_Template.add_multi_constructor("!", _plain)


def patterns(template: str) -> list[dict[str, Any]]:
    """Return the patterns of the rules that deliver our own events to functions."""
    found = []
    for resource in yaml.load(template, _Template)["Resources"].values():
        for rule in resource.get("Properties", {}).get("Events", {}).values() if _is_function(resource) else ():
            pattern = rule["Properties"].get("Pattern", {}) if rule["Type"] == "EventBridgeRule" else {}
            found += [pattern] if pattern.get("source") == ["modelwright"] else []
    return found


def takes(pattern: dict[str, Any], envelope: dict[str, Any]) -> bool:
    """Say whether a pattern takes an event: its type, and fields that must have some text in them."""
    fields = pattern.get("detail", {}).get("data", {})
    assert all(wanted == [{"wildcard": "*"}] for wanted in fields.values())
    return envelope["type"] in pattern["detail-type"] and all(envelope["data"].get(field) for field in fields)


def _is_function(resource: dict[str, Any]) -> bool:
    return bool(resource["Type"] == "AWS::Serverless::Function")


def week_of(at: str) -> int:
    start = datetime.fromisoformat(f"{start_of(1)}T00:00:00+00:00")
    return (datetime.fromisoformat(at) - start) // timedelta(days=7) + 1
