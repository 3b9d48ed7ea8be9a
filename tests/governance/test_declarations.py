"""What a project may not say: each is refused when it is applied, in words that name it and what there is."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from modelwright import plugins
from modelwright.project import Project

SOURCE: dict[str, Any] = {
    "prefix": "rows/",
    "columns": {
        "id": {"type": "string"},
        "at": {"type": "timestamp"},
        "x": {"type": "number"},
        "word": {"type": "string"},
    },
    "key": ["id"],
    "event_time": "at",
}
MODEL: dict[str, Any] = {
    "inputs": ["x"],
    "views": [],
    "request": {"id": "string", "at": "timestamp", "group": "string"},
    "id_column": "id",
    "time_column": "at",
    "trainer": "team.trainer:train",
    "label": {"source": "rows", "column": "x", "above": 1},
}


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in change.items():
        both[name] = merged(both.get(name, {}), value) if isinstance(value, dict) else value
    return both


def project(source: Mapping[str, Any] | None = None, model: Mapping[str, Any] | None = None) -> Project:
    return Project.model_validate(
        {
            "name": "tiny",
            "sources": {"rows": merged(SOURCE, source or {})},
            "models": {"flights": merged(MODEL, model or {})},
        }
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"columns": {"x": {"low": 3, "high": 1}}}, "low 3 is above high 1"),
        ({"columns": {"word": {"low": 3}}}, "bounds of numbers, and this is a string"),
        ({"columns": {"at": {"high": 3}}}, "bounds of numbers, and this is a timestamp"),
        ({"columns": {"x": {"regex": "[0-9]"}}}, "of strings, and this is a number"),
        ({"columns": {"word": {"regex": "("}}}, "the regex '(' is none"),
        ({"drift": {"importance": {"y": 2}}}, "importance names y, which is no column: there are id, at, x, word"),
        ({"drift": {"importance": {"x": -2}}}, "greater than or equal to 0"),
        ({"drift": {"ignore": ["y"]}}, "ignore names y, which is no column"),
        ({"drift": {"segments": ["word", "y > 3"]}}, "segment 'y > 3' names y, which is no column"),
        ({"drift": {"segments": ["x >"]}}, "'x >' is no expression over columns"),
        ({"drift": {"floors": {"kss": 0.1}}}, "floors of kss, which do not look: ks, chi_square"),
        ({"drift": {"floors": {"ks": -0.1}}}, "greater than or equal to 0"),
        ({"drift": {"reference": {"kind": "training", "model": "churn"}}}, "training of churn, which is not declared"),
        ({"healing": {"impute": {"y": "mode"}}}, "impute names y, which is no column"),
        (
            {"healing": {"impute": {"x": "meddian"}}},
            "impute fills x, a number, by median (of numbers), mode or a value",
        ),
        ({"healing": {"impute": {"word": "median"}}}, "impute fills word, a string, by median (of numbers)"),
    ],
)
def test_a_source_says_nothing_that_could_not_be_done(source: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        project(source)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"retraining": {"reserve": -1}}, "greater than 0"),
        ({"retraining": {"reserve": 6}}, "reserve $6 is more than the month's budget $5"),
        ({"retraining": {"budget": float("inf")}}, "finite number"),
        ({"retraining": {"budget": float("nan")}}, "finite number"),
        ({"retraining": {"cooldown_days": -1}}, "greater than or equal to 0"),
        ({"retraining": {"window_days": 7, "holdout_days": 7}}, "holdout_days 7 leaves nothing of window_days 7"),
        ({"monitoring": {"look_backs": []}}, "at least 1 item"),
        ({"monitoring": {"look_backs": [0]}}, "greater than or equal to 1"),
        ({"monitoring": {"auc_fall": -0.1}}, "greater than or equal to 0"),
        ({"monitoring": {"fairness": [{"group": "group"}, {"group": "group", "tolerance": 0.2}]}}, "is declared twice"),
        ({"rollout": {"alpha": 2}}, "less than 1"),
    ],
)
def test_a_policy_says_nothing_that_could_not_be_done(model: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        project(model=model)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("source", "model", "said"),
    [
        ({"checks": ["volum"]}, {}, "source rows names no installed checks: volum; there are "),
        ({"detectors": ["kss"]}, {}, "source rows names no installed detectors: kss; there are "),
        ({"drift": {"multivariate": ["ks"]}}, {}, "source rows names no installed detectors: ks; there are domain_cl"),
        ({"healing": {"rules": ["magic"]}}, {}, "source rows names no installed repairs: magic; there are "),
        (
            {},
            {"gates": {"gates": ["beauty", "not_inferior", "wit"]}},
            "model flights names no installed gates: beauty,",
        ),
        ({}, {"environments": {"prod": {"gates": ["wit"]}}}, "model flights names no installed gates: wit; there are "),
        ({}, {"retraining": {"triggers": ["moon"]}}, "model flights names no installed triggers: moon; there are age"),
        ({}, {"retraining": {"trainer": "gpu"}}, "model flights names no installed trainers: gpu; there are automl"),
        ({}, {"monitoring": {"estimators": ["cpe"]}}, "model flights names no installed estimators: cpe; there are cb"),
        (
            {},
            {"monitoring": {"streams": ["adwinn"]}},
            "model flights names no installed detectors: adwinn; there",
        ),
        ({}, {"rollout": {"judge": "paris"}}, "model flights names no installed judges: paris; there are "),
    ],
)
def test_what_is_named_and_not_installed_is_told_with_what_there_is(
    source: Mapping[str, Any], model: Mapping[str, Any], said: str
) -> None:
    found = list(plugins.not_installed(project(source, model)))
    assert len(found) == 1
    assert found[0].startswith(said)


def test_the_shipped_defaults_name_only_what_is_installed_and_survive_storing() -> None:
    usual = project()
    assert list(plugins.not_installed(usual)) == []
    assert Project.model_validate(json.loads(usual.model_dump_json())) == usual
