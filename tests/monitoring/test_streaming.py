import json
from collections.abc import Callable

import numpy as np
import pytest

from modelwright.monitoring.detectors.streaming import Adwin, Ddm, HddmA, Kswin, PageHinkley

Detector = Adwin | Ddm | HddmA | Kswin | PageHinkley
MADE: dict[str, Callable[[], Detector]] = {
    "adwin": Adwin, "ddm": Ddm, "hddm_a": HddmA, "kswin": Kswin, "page_hinkley": lambda: PageHinkley(threshold=20),
}  # fmt: skip
EACH = pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())


def errors(seed: int, *parts: tuple[int, float]) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(error) for n, rate in parts for error in rng.random(n) < rate]


def losses(seed: int, *parts: tuple[int, float]) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(loss) for n, mean in parts for loss in np.clip(rng.normal(mean, 0.1, n), 0, 1)]


@EACH
def test_a_rise_of_the_error_is_found_soon_after_it(make: Callable[[], Detector]) -> None:
    stream = losses if isinstance(make(), Kswin) else errors
    for seed in range(10):
        found = make().changes(stream(seed, (1000, 0.1), (600, 0.5)))
        assert any(1000 <= place < 1300 for place in found)


@EACH
def test_a_stream_that_does_not_change_is_seldom_called_changed(make: Callable[[], Detector]) -> None:
    stream = losses if isinstance(make(), Kswin) else errors
    alarms = sum(len(make().changes(stream(seed, (2000, 0.2)))) for seed in range(10))
    assert alarms <= 6, "in 20,000 errors"


@EACH
def test_what_is_put_away_goes_on_as_if_nothing_had_been(make: Callable[[], Detector]) -> None:
    stream = errors(3, (900, 0.1), (900, 0.45))
    whole, first = make(), make()
    expected = whole.changes(stream)
    before = first.changes(stream[:1000])
    kept = json.loads(json.dumps(first.state()))
    after = type(first).restored(kept).changes(stream[1000:])
    assert before + [1000 + place for place in after] == expected


def test_adwin_keeps_few_buckets_and_forgets_what_is_over() -> None:
    window = Adwin()
    window.changes(errors(1, (5000, 0.1), (2000, 0.6)))
    assert len(window.sizes) < 80
    assert window.mean == pytest.approx(0.6, abs=0.05)
    assert window.n <= 2500


def test_an_error_that_falls_is_no_alarm_of_those_that_look_for_a_rise() -> None:
    for make in (Ddm, HddmA, PageHinkley):
        assert make().changes(errors(5, (800, 0.5), (800, 0.1))) == []
