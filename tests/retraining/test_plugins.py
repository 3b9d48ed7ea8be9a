"""Triggers and trainers that we ship pass the checks that we ask of others'."""

from collections.abc import Callable

import pytest

from modelwright import plugins
from modelwright.retraining.trainers import TrainerClass
from modelwright.retraining.triggers import Trigger
from modelwright.testing import TRAINER_CHECKS, TRIGGER_CHECKS


@pytest.mark.parametrize("check", TRIGGER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "name", ["age", "drift", "estimated_performance", "manual", "new_data", "performance", "schedule"]
)
def test_our_triggers(name: str, check: Callable[[Callable[[], Trigger]], None]) -> None:
    check(plugins.load("triggers", name))


@pytest.mark.parametrize("check", TRAINER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["automl", "batch", "lambda", "sagemaker", "stepfunctions"])
def test_our_trainers(name: str, check: Callable[[TrainerClass], None]) -> None:
    check(plugins.load("trainers", name))
