"""Subjects that are called as our own words: they are erased as any, and nothing else is touched."""

import io
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.erasure_cases import (
    ANN,
    BOB,
    EVE,
    NOW,
    START,
    World,
    csv_of,
    keys_of,
    places_with,
    populated,
    reviews,
    trips,
)
from features.erasure_words import own_words, silent
from modelwright.events import QualityFailed, Window
from modelwright.features.history import decoded
from modelwright.features.layout import row_key
from modelwright.features.parity import report as parity_report
from modelwright.features.push import Push, push
from modelwright.insights import incidents
from modelwright.log import new_id
from modelwright.rollout import predictions


def questions(*people: str) -> list[dict[str, Any]]:
    return [
        {"trip_id": "x", "passenger": name, "origin": origin, "asked_at": NOW}
        for name in people
        for origin in ("EWR", "JFK")
    ]


def test_whoever_is_called_as_a_word_of_ours_and_has_no_rows_changes_nothing() -> None:
    world = populated(World())
    world.fold()
    words, before, asked = own_words(world), silent(world), questions(ANN, BOB, EVE)
    served = world.online(asked)
    assert {"rows", "week", "digest", "default", "trips", "offline", "parquet", "accepted", "csv"} <= {*words}
    assert len(words) > 150
    for word in words:
        if word not in ("EWR", "JFK", "elsewhere", "broken"):  # these are what people call things
            world.erase("passenger", word)
    assert silent(world) == before
    assert world.online(asked) == world.offline(asked) == served


@pytest.mark.parametrize("word", ["rows", "trips", "digest", "passenger", "partitions", "top"])
def test_whoever_is_called_as_a_word_of_ours_is_erased_as_any(word: str) -> None:
    def world_of(*people: str) -> World:
        world = World()
        rows = [row for row in trips(12, (BOB, EVE, word)) if row["passenger"] in people]
        world.land("trips/1.csv", csv_of(rows))
        world.land("reviews/1.csv", csv_of(reviews(rows)))
        world.push("moods", [{"passenger": name, "felt_at": START, "mood": n} for n, name in enumerate(people)])
        world.fold()
        world.training_set()
        return world

    world, never = world_of(BOB, EVE, word), world_of(BOB, EVE)
    receipt = world.erase("passenger", word)
    assert receipt["rows"]["offline"] == 9
    asked = questions(BOB, EVE, word)
    assert world.online(asked) == world.offline(asked) == never.online(asked)
    assert places_with(world, [], [row_key([word])]) == []
    assert world.blobs.get("landing", "trips/1.csv").body == never.blobs.get("landing", "trips/1.csv").body
    (left,) = (k.key for k in world.blobs.list("lake", "datasets/") if k.key.endswith(".parquet"))
    assert word not in decoded(world.blobs.get("lake", left).body)["passenger"].to_pylist()


def pushed_online(world: World, rows: list[dict[str, Any]]) -> None:
    given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
    stores: dict[str, Any] = {"project": world.project, "tables": world.tables, "blobs": world.blobs}
    push(world.call(), Push(source="trips", rows=given, to="online"), identity=new_id(), **stores)


def test_rows_that_went_online_alone_are_found_and_what_others_windows_counted_of_them() -> None:
    def world_of(*people: str) -> World:
        world = World()
        world.land("trips/1.csv", csv_of([row for row in trips(12) if row["passenger"] == EVE]))
        pushed_online(world, [row for row in trips(12) if row["passenger"] in people])
        return world

    world, never = world_of(ANN, BOB), world_of(BOB)
    asked = questions(ANN, BOB, EVE)
    assert world.online(asked) != never.online(asked)
    receipt = world.erase("passenger", ANN)
    assert world.online(asked) == never.online(asked)
    assert places_with(world, [ANN], keys_of(ANN)) == []
    assert (receipt["rows"]["pushed"], receipt["rows"]["online"]) == (4, 6)
    world.erase("passenger", BOB)  # what was left of the push is known as before
    assert places_with(world, [ANN, BOB], [*keys_of(ANN), *keys_of(BOB)]) == []
    assert world.online(asked) == world.offline(asked)
    world.fold()
    assert world.online(asked) == world.offline(asked)


def test_incidents_and_what_is_remembered_of_uploads_tell_of_nobody() -> None:
    world = World()
    for name in (ANN, BOB):
        world.land(f"trips/{name}.csv", f"trip_id,passenger\nx,{name}\n".encode())
    world.land("trips/copy.csv", world.blobs.get("landing", f"trips/{ANN}.csv").body)
    for delivery in world.deliveries(QualityFailed):
        incidents.follow(delivery, world.call(), tables=world.tables, log=world.log)
    there = {place.split()[0] for place in places_with(world, [ANN])}
    assert {"insights", "monitoring"} <= there
    receipt = world.erase("passenger", ANN)
    assert [place for place in places_with(world, [ANN]) if not place.startswith("log ")] == []
    assert {"uploads", "table insights", "table monitoring"} <= set(receipt["objects"])
    (told,) = (one for one in incidents.incidents(world.call(), tables=world.tables) if BOB in one["text"])
    assert told["open"]


@pytest.mark.parametrize("key", ["4711", "7"])
def test_a_report_and_its_page_go_together_and_those_of_others_stay(key: str) -> None:
    world = World()

    def report(passenger: str, served: str) -> str:
        entity = {"passenger": passenger}
        example = parity_report.Example(
            feature="mood", entity=entity, as_of=NOW, way="served", served=served, offline="9", cause="late data",
            text="7",
        )  # fmt: skip
        made = parity_report.Report(
            service="happy", project="p", features=("mood",), views={"mood": 7}, at=NOW,
            window=Window(start=START, end=NOW), compared=(), examples=(example,),
        )  # fmt: skip
        digest = parity_report.digest_of(made)
        world.blobs.put("lake", parity_report.path("default", digest), made.body())
        world.blobs.put("lake", parity_report.path("default", digest, "html"), parity_report.page(made).encode())
        return digest

    report(key, "3")
    report("bob", repr(key))
    kept = report("bob", "3")
    world.erase("passenger", key)
    left = [listed.key for listed in world.blobs.list("lake", "proofs/")]
    assert left == [parity_report.path("default", kept, "html"), parity_report.path("default", kept)]


def test_a_prediction_of_another_model_with_the_same_id_stays() -> None:
    world = populated(World())
    mine = [row for row in reviews(trips()) if row["passenger"] == ANN][:1]
    for model in ("happy", "tired"):
        lines = [predictions.Scored(row["trip_id"], row["asked_at"], 1, "champion", 0.5) for row in mine]
        asked = predictions.Request(world.workspace, model, "r", "live", NOW)
        predictions.write(lines, {row["trip_id"]: row["asked_at"] for row in mine}, asked, blobs=world.blobs)

    def said(model: str) -> list[str]:
        keys = [listed.key for listed in world.blobs.list("lake", f"predictions/default/{model}/")]
        return [line.prediction_id for line in predictions.read(keys, blobs=world.blobs)]

    world.erase("passenger", ANN)
    assert mine[0]["trip_id"] not in said("happy")
    assert said("tired") == [mine[0]["trip_id"]]


def test_a_prediction_is_found_by_who_was_asked_about_though_nobody_knows_its_id() -> None:
    world = populated(World())
    lines = [predictions.Scored(name, NOW, 1, "champion", 0.5) for name in ("of-ann", "of-bob")]
    asked = predictions.Request(world.workspace, "tired", "r", "live", NOW)
    people = pa.table({"passenger": [ANN, BOB], "feature_age": [30.0, 40.0]})
    inputs = predictions.Inputs(people, {"of-ann": 0, "of-bob": 1})
    predictions.write(lines, {"of-ann": NOW, "of-bob": NOW}, asked, inputs, blobs=world.blobs)
    world.erase("passenger", ANN)
    (key,) = [listed.key for listed in world.blobs.list("lake", "predictions/default/tired/")]
    left = pq.read_table(io.BytesIO(world.blobs.get("lake", key).body))
    assert left.select(["prediction_id", "passenger", "feature_age"]).to_pylist() == [
        {"prediction_id": "of-bob", "passenger": BOB, "feature_age": 40.0}
    ]


def test_a_short_key_is_said_to_have_been_searched_in_rows_and_cells_alone() -> None:
    world = World()
    assert any("so short" in note for note in world.erase("passenger", "7")["notes"])
    assert not any("so short" in note for note in world.erase("passenger", ANN)["notes"])
