"""What is large is kept and comes back; what is larger is refused in plain words, and nothing of it is written."""

import json
import random
from typing import Any

import pytest
from support.mlflow_desk import API, Desk

LIMIT = 6_000_000
"""What Lambda takes of an answer, as a JSON string."""


@pytest.fixture
def run(desk: Desk) -> str:
    return desk.run(desk.experiment())


def listed(desk: Desk) -> list[str]:
    return [found.key for found in desk.blobs.list("lake", "tracking/default/docs/")]


def test_a_run_takes_thirty_thousand_metrics_and_two_hundred_long_texts(desk: Desk, run: str) -> None:
    for first in range(0, 30_000, 1000):
        metrics = [(f"metric_{n:05d}", n / 7, 1_760_000_000_000, 0) for n in range(first, first + 1000)]
        assert desk.log_batch(run, metrics=metrics) == (200, {})
    texts = {kind: {f"k{n}": chr(97 + n % 26) * 8000 for n in range(100)} for kind in ("params", "tags")}
    assert desk.log_batch(run, **texts) == (200, {})
    data = desk.get_run(run)["data"]
    assert {m["key"]: m["value"] for m in data["metrics"]} == {f"metric_{n:05d}": n / 7 for n in range(30_000)}
    assert {p["key"]: p["value"] for p in data["params"]} == {k: v[:6000] for k, v in texts["params"].items()}
    assert texts["tags"].items() <= {t["key"]: t["value"] for t in data["tags"]}.items()
    assert len(json.dumps(json.dumps(desk.get_run(run)))) < LIMIT


def test_a_metric_is_still_logged_in_two_calls(desk: Desk, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in range(0, 8000, 1000):
        desk.log_batch(run, metrics=[(f"m{n}", 0.5, 1, 0) for n in range(first, first + 1000)])
    calls: list[str] = []
    for name in ("raise_entries", "query", "write", "batch_get"):
        original = getattr(desk.tables, name)

        def counted(*args: Any, original: Any = original, name: str = name, **kwargs: Any) -> Any:
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(desk.tables, name, counted)
    assert desk.log_batch(run, metrics=[("m7", 1.5, 1, 1)]) == (200, {})
    assert calls == ["raise_entries", "write"]


def test_metrics_that_no_longer_fit_into_an_answer_are_refused(desk: Desk, run: str) -> None:
    long = [f"metric {n}".ljust(250, "x") for n in range(11_000)]
    for first in range(0, 9000, 1000):
        assert desk.log_batch(run, metrics=[(key, 1.0, 1, 0) for key in long[first : first + 1000]])[0] == 200
    before = desk.get_run(run)
    status, said = desk.log_batch(run, metrics=[(key, 1.0, 1, 0) for key in long[9000:10_000]])
    assert (status, said["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    assert "too many metrics" in said["message"]
    assert desk.get_run(run) == before
    assert desk.log_batch(run, metrics=[(long[0], 2.0, 1, 1)])[0] == 200


def test_texts_that_no_longer_fit_into_an_answer_are_refused(desk: Desk, run: str) -> None:
    noise = "".join(chr(33 + n * 7919 % 90) for n in range(7990)).replace("\\", "/")
    for batch in range(2):
        assert desk.log_batch(run, tags={f"{batch} {n}": f"{n} {noise}" for n in range(100)})[0] == 200
    before, kept = desk.get_run(run), listed(desk)
    status, said = desk.log_batch(run, tags={f"2 {n}": f"{n} {noise}" for n in range(100)})
    assert (status, said["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    assert "log what is longer as a file" in said["message"]
    assert (desk.get_run(run), listed(desk)) == (before, kept)


def dataset(name: str, profile: str) -> dict[str, Any]:
    return {
        "dataset": {"name": name, "digest": "d", "source_type": "local", "source": "s", "profile": profile},
        "tags": [],
    }


def test_a_profile_of_four_megabytes_comes_back(desk: Desk, run: str) -> None:
    profile = "".join(chr(48 + n * n % 71) for n in range(4_000_000)).replace("\\", "/")
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", {"run_id": run, "datasets": [dataset("train", profile)]})
    assert desk.get_run(run)["inputs"]["dataset_inputs"][0]["dataset"]["profile"] == profile
    place = f"WS#default#EXPERIMENT#{desk.get_run(run)['info']['experiment_id']}"
    (item,) = desk.tables.query("tracking", place, prefix="DATASET#").items
    assert len(repr(item)) < 400_000


def test_of_profiles_that_do_not_fit_into_an_answer_the_datasets_are_told(desk: Desk, run: str) -> None:
    for name in ("train", "test", "valid"):
        inputs = {"run_id": run, "datasets": [dataset(name, f"{name} " * 400_000)]}
        desk.tracking.ok("POST", f"{API}/runs/log-inputs", inputs)
    read = [i["dataset"] for i in desk.get_run(run)["inputs"]["dataset_inputs"]]
    assert [d["name"] for d in read] == ["train", "test", "valid"]
    assert [d.get("profile", "")[:6] for d in read] == ["train ", "test t", ""]
    assert len(json.dumps(json.dumps(desk.get_run(run)))) < LIMIT


def test_what_a_long_document_was_is_read_whole_after_it_changed(desk: Desk, run: str) -> None:
    letters = [chr(n) for n in range(33, 127)]
    noise = {f"k{n}": "".join(random.Random(n).choices(letters, k=7000)) for n in range(100)}
    assert desk.log_batch(run, tags=noise)[0] == 200
    desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "k7", "value": "short"})
    tags = {t["key"]: t["value"] for t in desk.get_run(run)["data"]["tags"]}
    assert noise | {"k7": "short"} == {k: v for k, v in tags.items() if k != "mlflow.runName"}
    assert len(listed(desk)) == 2
