"""Events: names, envelopes, and that older and newer code understand each other."""

import inspect
import math
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from pydantic import ValidationError

from modelwright import events
from modelwright.errors import InvalidInput
from modelwright.events import Delivery, Estimate, Event, QuarantineReleased, RootAnchored, ScheduleDue, kinds

NOW = datetime(2013, 1, 1, tzinfo=UTC)


def detail(**more: Any) -> dict[str, Any]:
    data = {"source": "weather", "quarantine_id": "q", "reason": "sent again"}
    return {
        "id": "e", "type": "QuarantineReleased", "schema_version": 1, "workspace": "default", "stream": "s",
        "sequence": 1, "at": NOW.isoformat(), "actor": "ann", "correlation_id": "c", "data": data, **more,
    }  # fmt: skip


def test_every_event_is_found_by_its_name() -> None:
    assert kinds()["QuarantineReleased"] is QuarantineReleased
    assert all(kind.detail_type() == name == kind.__name__ for name, kind in kinds().items())
    assert "ScheduleDue" not in kinds()


def test_every_class_of_the_events_is_imported_from_the_package() -> None:
    modules = [import_module(f"{events.__name__}.{found.name}") for found in iter_modules(events.__path__)]
    classes = [
        kind for m in modules for _, kind in inspect.getmembers(m, inspect.isclass) if kind.__module__ == m.__name__
    ]
    assert {kind.__name__ for kind in classes} | {"Delivery", "SCHEDULE_DUE", "SOURCE", "kinds"} == set(events.__all__)
    assert [kind for kind in classes if getattr(events, kind.__name__) is not kind] == []


def test_a_name_that_no_event_has_is_told_like_that_of_any_module() -> None:
    assert not hasattr(events, "Nonsense")


@pytest.mark.parametrize(
    "script",
    [
        "from modelwright.events import QuarantineReleased",
        f"from modelwright.events import Delivery; Delivery.read('retrain', {detail()!r})",
    ],
)
def test_one_capabilitys_events_are_imported_without_those_of_others(script: str) -> None:
    asked = f"{script}; import sys; print(*sorted(m for m in sys.modules if m.startswith('modelwright.events.')))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["modelwright.events.data", "modelwright.events.envelope"]


def test_a_delivery_is_read_from_a_bus_events_detail() -> None:
    delivery = Delivery.read("retrain", detail())
    assert delivery.event == QuarantineReleased(source="weather", quarantine_id="q", reason="sent again")
    assert (delivery.consumer, delivery.envelope.at) == ("retrain", NOW)


def test_a_delivery_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(InvalidInput, match="retrain got the unknown event type Nonsense"):
        Delivery.read("retrain", detail(type="Nonsense"))


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.__name__)
def test_an_event_is_frozen_and_ignores_what_newer_code_adds(kind: type[Event]) -> None:
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "ignore"
    assert kind.__doc__
    assert kind.schema_version >= 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_json_cannot_say_is_refused_where_it_is_made(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Estimate(value=value, low=0, high=1)


def test_a_schedule_takes_no_other_word() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ScheduleDue.model_validate({"name": "a", "at": NOW, "more": 1})


def test_figures_survive_the_log_to_the_bit() -> None:
    event = Estimate(value=0.1 + 0.2, low=5e-324, high=1.7976931348623157e308)
    assert Estimate.model_validate_json(event.model_dump_json()) == event
    assert RootAnchored(key="k", streams=1, items=10**15, root="r").items == 10**15
