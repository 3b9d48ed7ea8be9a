"""Models that nobody approved yet, loaded and timed in a process that may do nothing else."""

import hashlib
import json
import os
import pickle
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from modelwright.errors import NotFound, Unavailable
from modelwright.flavors import mlmodel, pickled
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry.fullgates import LatencyBudget
from modelwright.registry.trial import attempt

FRAME = pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0)[::-1]})
FITTED = pickled(LogisticRegression().fit(FRAME, np.arange(40) % 2))
NAMED = json.dumps({"inputs": [{"name": n, "type": "double"} for n in "ab"], "outputs": [{"type": "double"}]})


class Called:
    """What a pickle calls when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._what = (function, arguments)

    def __reduce__(self) -> Any:
        return self._what


def candidate(model: bytes = FITTED, *, digest: str = "", signature: str = NAMED, **files: bytes) -> Candidate:
    there = {"MLmodel": mlmodel("r", inputs=["a", "b"], training_id=""), "model.pkl": model}
    there |= {name.replace("_json", ".json"): body for name, body in files.items()}

    def read(name: str) -> bytes:
        if name not in there:
            raise NotFound(name)
        return there[name]

    pinned = digest or hashlib.sha256(model).hexdigest()
    return Candidate("churn", 2, "champion", digest=pinned, read=read, signature=signature)


def says(asked: Candidate, **policy: Any) -> tuple[bool, str]:
    result = LatencyBudget().check(asked, GatePolicy.model_validate(policy))
    return result.passed, result.text


def test_a_model_is_timed_against_its_budget() -> None:
    passed, text = says(candidate(), max_latency_ms=5000)
    assert passed, text
    assert "churn v2 scores one row in " in text
    assert "at most 5000 ms are allowed" in text
    passed, text = says(candidate(), max_latency_ms=1e-6)
    assert not passed
    assert "make the model smaller, or raise max_latency_ms" in text


def test_a_file_that_is_not_the_pinned_one_is_not_loaded() -> None:
    passed, text = says(candidate(digest="0" * 64))
    assert not passed
    assert "the registry knows 000" in text


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (b"no pickle", "its pickle does not load"),
        (pickle.dumps(3), "a int has no predict_proba"),
        (pickle.dumps(Called(os._exit, 3)), "its process ended without a word"),
        (pickle.dumps(Called(print, '{"ms": 1, "rows": "mine"}')), "a NoneType has no predict_proba"),
        (pickle.dumps(Called(pickle.loads, b"\x80\x04.")), "does not load"),
    ],
)
def test_a_model_that_does_not_load_is_a_no_that_says_why(model: bytes, said: str) -> None:
    passed, text = says(candidate(model))
    assert not passed
    assert said in text
    assert "train it on the platform" in text


def test_a_foreign_flavor_is_a_no_that_says_what_to_do() -> None:
    foreign = b"flavors: {prophet: {data: model.pr}}"
    passed, text = says(Candidate("churn", 2, "champion", read=lambda _: foreign))
    assert not passed
    assert "no plugin prophet of flavors" in text
    assert "log it with a flavor that is installed here" in text


def test_the_model_sees_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MODELWRIGHT_TABLE_REGISTRY"):
        monkeypatch.setenv(name, "secret")
    seen = tmp_path / "seen"
    model = pickle.dumps(Called(exec, f"import os; open({str(seen)!r}, 'w').write(' '.join(os.environ))"))
    assert not says(candidate(model))[0]
    assert "PATH" in seen.read_text().split()
    assert not [name for name in seen.read_text().split() if name.startswith(("AWS_", "MODELWRIGHT_"))]


def test_a_model_that_hangs_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="churn v2 was not loaded and timed within 3 s"):
        attempt(candidate(pickle.dumps(Called(time.sleep, 600))), limit_s=3)
    assert time.monotonic() - began < 60


def test_what_the_model_was_tested_on_is_scored_before_its_example_and_that_before_a_blank_row() -> None:
    example = json.dumps({"columns": ["a", "b"], "data": [[1.0, 2.0]]}).encode()
    assert attempt(candidate()).rows == "a blank row of its signature"
    assert attempt(candidate(input_example_json=example)).rows == "its input example"
    assert attempt(candidate(input_example_json=b"{")).rows == "a blank row of its signature"
    with pytest.raises(Unavailable, match="there is no row that churn v2 could score"):
        attempt(candidate(signature=""))
