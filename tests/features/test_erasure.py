"""A subject is removed from everything that lives; the others keep all they had, to the bit."""

import hashlib
import hmac
import json
import zlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from features.erasure_cases import (
    ANN,
    BOB,
    EVE,
    NOW,
    PROJECT,
    SALT,
    START,
    World,
    csv_of,
    ids_of,
    keys_of,
    places_with,
    populated,
    reviews,
    trips,
)
from modelwright.errors import AlreadyHandled, Forbidden, Gone, InvalidInput, NotFound, Unavailable
from modelwright.events import ErasureRequested, UploadAccepted
from modelwright.features import saved, serving_log
from modelwright.features.erasing import erasure
from modelwright.features.history import decoded
from modelwright.features.layout import row_key
from modelwright.project import Project
from modelwright.rollout import predictions
from modelwright.storage import Anything, Key, Put


@pytest.fixture
def world() -> World:
    return populated(World())


def questions(people: tuple[str, ...] = (ANN, BOB, EVE), step: int = 4) -> list[dict[str, Any]]:
    rows = [row for row in reviews(trips()) if row["passenger"] in people][::step]
    return [{**{k: row[k] for k in ("trip_id", "passenger", "origin")}, "asked_at": NOW} for row in rows]


def lake(world: World, prefix: str) -> dict[str, bytes]:
    keys = [listed.key for listed in world.blobs.list("lake", prefix)]
    return {key: world.blobs.get("lake", key).body for key in keys}


def test_traces_are_everywhere_before(world: World) -> None:
    there = places_with(world, [ANN, *ids_of(ANN)], keys_of(ANN))
    assert {place.split()[0] for place in there if "/" not in place.split()[0]} == {"features"}
    assert any(place.startswith("landing/") for place in there)
    assert {place.split("/")[1] for place in there if place.startswith("lake/")} == {
        "accepted", "quarantine", "profiles", "offline", "pushed", "datasets", "serving", "predictions",
    }  # fmt: skip


def test_nothing_of_a_subject_is_left_in_tables_objects_and_their_versions(world: World) -> None:
    world.erase("passenger", ANN)
    assert places_with(world, [ANN], keys_of(ANN)) == []
    assert places_with(world, ids_of(ANN)) == []


def test_a_profile_that_lay_in_the_table_before_loses_the_subject(world: World) -> None:
    key = {"pk": "WS#default#SOURCE#trips", "sk": "PROFILE#2026-01-01T00:00:00.000000Z#d"}
    passenger = {"kind": "categories", "quantiles": [], "top": {ANN: 3, BOB: 2}}
    old = zlib.compress(json.dumps({"columns": {"passenger": passenger}}).encode())
    world.tables.write([Put("monitoring", {**key, "profile": old}, Anything())])
    assert any(place.startswith("monitoring") for place in places_with(world, [ANN]))
    world.erase("passenger", ANN)
    assert places_with(world, [ANN], keys_of(ANN)) == []
    left = world.tables.get("monitoring", Key(**key))
    assert left is not None
    assert json.loads(zlib.decompress(bytes(left["profile"])))["columns"]["passenger"]["top"] == {BOB: 2}


def test_the_others_keep_what_they_had(world: World) -> None:
    def history() -> list[dict[str, Any]]:
        manifest = json.loads(world.tables._items["features"]["WS#default#SOURCE#trips", "MANIFEST"]["partitions"])  # type: ignore[index]
        paths = [f"offline/default/trips/{p['week']:05d}/{p['digest']}.parquet" for p in manifest]
        return [row for path in paths for row in decoded(world.blobs.get("lake", path).body).to_pylist()]

    def asked() -> list[Any]:
        bodies = lake(world, "serving/").values()
        answers = [serving_log.Answer.read(body) for body in bodies]
        return [row for a in answers for row in zip(*a.given.values(), *a.values.values(), strict=True)]

    def scored() -> list[Any]:
        return list(predictions.read(list(lake(world, "predictions/")), blobs=world.blobs))

    def examples() -> list[Any]:
        sets = [body for key, body in lake(world, "datasets/").items() if key.endswith(".parquet")]
        return [row for body in sets for row in decoded(body).to_pylist()]

    world.fold()
    before = history(), asked(), scored(), examples()
    file = world.blobs.get("landing", "trips/1.csv").body
    world.erase("passenger", ANN)
    mine = set(ids_of(ANN)) | {f"more-{n}" for n in range(0, 6, 3)}
    assert history() == [row for row in before[0] if row["passenger"] != ANN]
    assert asked() == [row for row in before[1] if ANN not in row]
    assert scored() == [line for line in before[2] if line.prediction_id not in mine]
    assert examples() == [row for row in before[3] if row["passenger"] != ANN]
    lines = file.splitlines(keepends=True)
    assert world.blobs.get("landing", "trips/1.csv").body == b"".join(x for x in lines if ANN.encode() not in x)
    assert len(history()) < len(before[0])
    assert len(asked()) == len(before[1]) - 2
    assert len(examples()) < len(before[3])


def test_serving_and_training_agree_as_if_the_subject_had_never_been_there(world: World) -> None:
    never = populated(World(), without=ANN)
    never.fold()
    world.erase("passenger", ANN)
    asked = questions((BOB, EVE))
    assert world.online(asked) == world.offline(asked) == never.online(asked) == never.offline(asked)
    nobody = questions((ANN,))
    assert world.online(nobody) == world.offline(nobody)
    assert {row["spent_1d"] for row in world.online(nobody)} == {0.0}


def test_rows_that_were_pushed_and_are_not_folded_in_go_on(world: World) -> None:
    world.erase("passenger", ANN)
    world.fold()
    asked = questions()
    assert world.online(asked) == world.offline(asked)
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_an_upload_that_is_delivered_again_brings_nothing_back(world: World) -> None:
    heard = world.deliveries(UploadAccepted)
    world.erase("passenger", ANN)
    for delivery in heard:
        with pytest.raises(AlreadyHandled):
            world.materialize(delivery)
    known = [key for key in world.tables._items["features"] if "HANDLED" in key.pk or "ACCEPTED" in key.sk]
    world.tables.delete_many("features", known)  # as if they had been accepted, and never folded in
    for delivery in heard:
        world.materialize(delivery)
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_an_upload_that_was_rewritten_is_no_new_upload(world: World) -> None:
    world.erase("passenger", ANN)
    accepted = len(world.deliveries(UploadAccepted))
    for version in world.blobs.versions("landing", ""):
        if version.newest and not version.marker:
            world.receive(version.key, version.version)
    assert len(world.deliveries(UploadAccepted)) == accepted


def test_what_comes_about_a_subject_afterwards_is_new(world: World) -> None:
    world.erase("passenger", ANN)
    world.push("moods", [{"passenger": ANN, "felt_at": START, "mood": 0}])  # the very push that was erased
    assert world.online(questions((ANN,), 1))[0]["mood"] == 0
    world.fold()
    asked = questions()
    assert world.online(asked) == world.offline(asked)


def test_the_receipt_says_what_was_removed_and_proves_whom_it_is_about(world: World) -> None:
    digest = next(key for key in lake(world, "datasets/")).split("/")[2].partition(".")[0]
    delivery = world.ask("passenger", ANN)
    erasure.follow(delivery, world.call(), shop=world.shop(trained_on=lambda digests: [f"happy/{len(digests)}"]))
    receipt = world.receipt(delivery)
    assert receipt["subject"] == hmac.new(bytes.fromhex(SALT), f"passenger\n{ANN}".encode(), hashlib.sha256).hexdigest()
    assert receipt["salt"] == SALT
    assert receipt["backups_until"] == (NOW + timedelta(days=35)).isoformat().replace("+00:00", "Z")
    assert [one["digest"] for one in receipt["datasets"]] == [digest]
    assert receipt["models"] == ["happy/1"]
    expected = sum(row["passenger"] == ANN for row in [*trips(), *trips()[:6]])
    reviewed = sum(row["passenger"] == ANN for row in trips())
    assert receipt["rows"]["offline"] == expected + reviewed + 1
    assert receipt["rows"]["online"] == 7  # mood, by_passenger twice, by_pair twice of both origins
    assert receipt["rows"]["predictions"] == 2
    for one in receipt["removed"]:
        if one["place"] in ("accepted", "landing", "serving", "predictions") and "new" in one:
            bucket, _, key = one["key"].partition("/")
            assert hashlib.sha256(world.blobs.get(bucket, key).body).hexdigest() == one["new"] != one["old"]
    event = world.erased(delivery.event.erasure_id)
    assert event.rows == receipt["rows"]
    assert event.models == ("happy/1",)


def test_the_offline_partitions_of_the_receipt_are_those_of_the_manifest(world: World) -> None:
    receipt = world.erase("passenger", ANN)
    manifest = json.loads(world.tables._items["features"]["WS#default#SOURCE#trips", "MANIFEST"]["partitions"])  # type: ignore[index]
    new = {one["new"] for one in receipt["removed"] if one["place"] == "offline" and one.get("rows")}
    assert {partition["digest"] for partition in manifest} <= new


def test_an_erased_dataset_is_gone_and_names_the_one_in_its_place(world: World) -> None:
    receipt = world.erase("passenger", ANN)
    (dataset,) = receipt["datasets"]
    with pytest.raises(Gone, match=dataset["replaced_by"]):
        saved.show(world.call(), dataset["digest"], blobs=world.blobs)
    told = saved.show(world.call(), dataset["replaced_by"], blobs=world.blobs)
    body = world.blobs.get("lake", told["key"]).body
    assert hashlib.sha256(body).hexdigest() == told["digest"] == dataset["replaced_by"]
    assert told["rows"] == decoded(body).num_rows


def test_models_that_were_trained_before_an_earlier_erasure_are_named_again(world: World) -> None:
    first = world.erase("passenger", ANN)["datasets"][0]["digest"]
    asked: list[str] = []
    delivery = world.ask("passenger", BOB)
    erasure.follow(delivery, world.call(), shop=world.shop(trained_on=lambda digests: asked.extend(digests) or ()))  # type: ignore[func-returns-value]
    assert first in asked
    assert world.receipt(delivery)["datasets"][0]["digest"] in asked
    assert places_with(world, [ANN, BOB], [*keys_of(ANN), *keys_of(BOB)]) == []


def test_again_there_is_nothing_left_to_remove_and_nobody_unknown_is_refused(world: World) -> None:
    world.erase("passenger", ANN)
    before = dict(lake(world, ""))
    for name in (ANN, "nobody-ever-1900"):
        receipt = world.erase("passenger", name)
        assert (receipt["rows"], receipt["objects"], receipt["datasets"]) == ({}, {}, [])
    assert {k: v for k, v in lake(world, "").items() if not k.startswith("erasures/")} == {
        k: v for k, v in before.items() if not k.startswith("erasures/")
    }


def test_a_composite_key_takes_its_rows_only(world: World) -> None:
    world.erase("origin,passenger", ["EWR", ANN])
    rows = [row for row in reviews(trips()) if row["passenger"] == ANN]
    for origin, left in (("EWR", False), ("JFK", True)):
        mine = [{**{k: r[k] for k in ("trip_id", "passenger", "origin")}, "asked_at": NOW} for r in rows]
        asked = [row for row in mine if row["origin"] == origin]
        assert world.online(asked) == world.offline(asked)
        assert any(row["times_1d"] for row in world.online(asked)) is left
    assert places_with(world, [ANN])
    assert places_with(world, [f"EWR|{ANN}"]) == []


def test_views_of_earlier_versions_are_erased_too(world: World) -> None:
    document = PROJECT.model_dump(mode="json")
    for name in ("mood", "by_pair", "by_origin"):
        document["views"][name]["version"] = 2
    world.apply(Project.model_validate(document))
    assert any("@1#" in place for place in places_with(world, [ANN], keys_of(ANN)))
    world.erase("passenger", ANN)
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_the_key_may_be_said_by_name_and_as_text() -> None:
    world = World()
    for key in (ANN, [ANN], {"passenger": ANN}):
        delivery = world.ask("passenger", key)
        assert isinstance(delivery.event, ErasureRequested)
        assert delivery.event.subject == world.ask("passenger", ANN).event.subject


@pytest.mark.parametrize(
    ("entity", "key", "error", "text"),
    [
        ("passangers", ANN, NotFound, "there are passenger, origin, origin,passenger"),
        ("passenger", [ANN, BOB], InvalidInput, "has 1 parts, passenger, not 2"),
        ("passenger", {"name": ANN}, InvalidInput, "names passenger, not name"),
        ("passenger", "", InvalidInput, "is empty"),
        ("origin,passenger", ["EWR"], InvalidInput, "has 2 parts"),
    ],
)
def test_who_cannot_be_meant_is_said(entity: str, key: Any, error: type[Exception], text: str) -> None:
    world = World()
    with pytest.raises(error, match=text):
        world.ask(entity, key)
    assert not world.tables._items.get("features")


def test_who_may_not_erase_learns_nothing(world: World) -> None:
    def nobody(action: str, resource: str) -> None:
        raise Forbidden(f"{action} {resource}")

    body = erasure.EraseSubject(entity="passenger", key=ANN)
    call = replace(world.call(), authority=nobody)
    with pytest.raises(Forbidden, match="features:erase entity/passenger"):
        erasure.ask(call, body, project=PROJECT, tables=world.tables, log=world.log, identity="x", salt=SALT)
    with pytest.raises(Forbidden):
        erasure.show(call, "nothing", tables=world.tables, blobs=world.blobs)


def test_an_erasure_goes_on_where_time_ran_out(world: World) -> None:
    delivery = world.ask("passenger", ANN)
    for _ in range(200):
        shop = world.shop(spare=partial(next, iter([True] * 3), False))
        if erasure.sweep(world.call(), shop=lambda shop=shop: shop, tables=world.tables):  # type: ignore[misc]
            break
    assert world.receipt(delivery)["rows"]["online"] == 7
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_names_of_files_that_tell_of_a_subject_are_changed(world: World) -> None:
    row = {**trips()[0], "trip_id": "named"}
    other = {**trips()[1], "trip_id": "named-too"}
    world.land(f"trips/{ANN}.csv", csv_of([row, other]))
    world.erase("passenger", ANN)
    assert [place for place in places_with(world, [ANN], keys_of(ANN)) if not place.startswith("log ")] == []
    (kept,) = [v.key for v in world.blobs.versions("landing", "trips/erased-")]
    assert BOB.encode() in world.blobs.get("landing", kept).body


def test_versions_that_were_replaced_or_deleted_are_searched_too(world: World) -> None:
    rows = trips()
    replaced = [{**row, "trip_id": f"again-{n}"} for n, row in enumerate(rows[:6])]
    world.land("trips/again.csv", csv_of(replaced))
    world.blobs.put("landing", "trips/again.csv", csv_of([row for row in replaced if row["passenger"] == BOB]))
    world.land("trips/deleted.csv", csv_of([{**row, "trip_id": f"deleted-{n}"} for n, row in enumerate(rows[:6])]))
    world.blobs.delete("landing", "trips/deleted.csv")
    now = world.blobs.get("landing", "trips/again.csv").version
    world.erase("passenger", ANN)
    assert places_with(world, [ANN], keys_of(ANN)) == []
    assert world.blobs.get("landing", "trips/again.csv").version == now
    with pytest.raises(NotFound):
        world.blobs.get("landing", "trips/deleted.csv")


def test_an_upload_of_nobody_else_is_waited_for_and_folded_in_as_an_empty_one() -> None:
    world = World()
    file = csv_of([row for row in trips() if row["passenger"] == ANN])
    world.receive("trips/ann.csv", world.blobs.put("landing", "trips/ann.csv", file))
    delivery = world.ask("passenger", ANN)
    with pytest.raises(Unavailable, match="waits for an upload of trips"):
        erasure.follow(delivery, world.call(), shop=world.shop())
    (upload,) = world.deliveries(UploadAccepted)
    world.materialize(upload)
    erasure.follow(delivery, world.call(), shop=world.shop())
    assert world.receipt(delivery)["rows"]["accepted"] == len(ids_of(ANN))
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_numbers_are_keys_like_texts() -> None:
    document = json.loads(PROJECT.model_dump_json())
    for source in document["sources"].values():
        source["columns"]["passenger"]["type"] = "integer"
    document["models"]["happy"]["request"]["passenger"] = "integer"
    world = World(Project.model_validate(document))
    numbers = {ANN: 7_341_921, BOB: 12, EVE: 7}
    rows = [{**row, "passenger": numbers[row["passenger"]]} for row in trips()]
    assert world.land("trips/1.csv", csv_of(rows)).startswith("accepted")
    world.push("moods", [{"passenger": number, "felt_at": START, "mood": 1} for number in numbers.values()])
    for key, name in (("7341921", ANN), (7, EVE)):
        receipt = world.erase("passenger", key)
        assert receipt["rows"]["offline"] == len(ids_of(name)) + 1
        assert places_with(world, ids_of(name), [row_key([numbers[name]])]) == []
    assert places_with(world, ["7341921"]) == []
    asked = [{"trip_id": "x", "passenger": n, "origin": "EWR", "asked_at": NOW} for n in numbers.values()]
    assert world.online(asked) == world.offline(asked)
    assert [row["mood"] for row in world.online(asked)] == [None, 1, None]
    with pytest.raises(InvalidInput, match="passenger of passenger"):
        world.ask("passenger", "seven")


def test_reports_of_windows_that_name_a_subject_go_with_their_pages(world: World) -> None:
    def report(name: str, text: str) -> bytes:
        side = {"low": None, "median": None, "high": None}
        column = {"name": "passenger", "window": side, "reference": None, "shape": {"names": [name]}}
        return json.dumps({"columns": [column], "verdicts": [{"text": text}], "findings": []}).encode()

    for name, (shown, text) in {"a": (ANN, ""), "b": (BOB, f"new: {ANN}, 5 %"), "c": (BOB, f"x{ANN}x")}.items():
        world.blobs.put("lake", f"reports/default/trips/{name}.json", report(shown, text))
        world.blobs.put("lake", f"reports/default/trips/{name}.html", f"<text>{shown}</text>{text}".encode())
    world.erase("passenger", ANN)
    assert list(lake(world, "reports/")) == [f"reports/default/trips/c.{kind}" for kind in ("html", "json")]


def test_reports_that_show_a_subject_go_and_other_documents_keep_their_rest(world: World) -> None:
    shown = {"examples": [{"row": {"passenger": ANN, "origin": "EWR"}, "served": 1}, {"row": {"passenger": BOB}}]}
    other = {"examples": [{"row": {"passenger": BOB}}]}
    for name, said in (("ann", shown), ("bob", other)):
        world.blobs.put("lake", f"proofs/default/{name}.json", json.dumps(said).encode())
        world.blobs.put("lake", f"proofs/default/{name}.html", f"<td>{said['examples']}</td>".encode())
    asked = {"entities": {"passenger": [ANN, BOB], "when": [1, 2]}, "service": "happy"}
    for folder in ("jobs", "something-new"):
        world.blobs.put("lake", f"{folder}/default/asked.json", json.dumps(asked).encode())
    world.erase("passenger", ANN)
    assert list(lake(world, "proofs/")) == ["proofs/default/bob.html", "proofs/default/bob.json"]
    for folder in ("jobs", "something-new"):
        left = json.loads(world.blobs.get("lake", f"{folder}/default/asked.json").body)
        assert left == {"entities": {"passenger": [BOB], "when": [2]}, "service": "happy"}
    assert places_with(world, [ANN], keys_of(ANN)) == []
