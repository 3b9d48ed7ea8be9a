"""Every rule of the point-in-time join once more, by the engine ``spark``."""

import pytest

from features.offline_cases import Offline
from features.test_historical import (  # noqa: F401 - tests here too: what workers refuse is refused in the same words
    test_a_number_too_large_to_be_added_up_is_named,
    test_more_different_values_than_are_counted_exactly_are_estimated_as_the_oracle_does,
    test_sums_beyond_64_bits_are_exact_or_refused,
)
from features.test_truth_table import *  # noqa: F403 - each of its tests is a test here

# How far a search steps is a matter inside `point_in_time`, which is one for both engines: there are 24 of it.
del test_any_number_of_versions_that_do_not_count_is_stepped_over  # noqa: F821


@pytest.fixture(autouse=True)
def _by_spark(spark: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Offline, "engine", "spark")
