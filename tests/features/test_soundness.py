"""What does not fit together in a team's definitions is said before anything of it takes effect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.feature_cases import PROJECT
from modelwright.errors import InvalidInput
from modelwright.features.soundness import reads, require_sound
from modelwright.project import Project
from modelwright.team import read_team

Change = Callable[[dict[str, Any]], None]


def changed(*changes: Change) -> Project:
    document = PROJECT.model_dump(mode="json")
    for change in changes:
        change(document)
    return Project.model_validate(document)


def put(path: str, value: Any) -> Change:
    """Return what puts a value at a place such as ``views.weather.ttl``."""

    def change(document: dict[str, Any]) -> None:
        *places, last = path.split(".")
        for place in places:
            document = document[place]
        document[last] = value

    return change


def test_a_project_that_fits_together_is_sound() -> None:
    require_sound(PROJECT)
    assert reads(PROJECT, PROJECT.models["flights"])["weather"] == ("sky", "temp")


SUM = {"function": "sum", "column": "sky"}
CYCLE = {"source": "departures", "function": "features:f"}
SERVICE = {"request": {"origin": "string"}, "views": ["weather"], "inputs": ["temp"]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("views.weather.features", ["temp", "tmp"]), "view weather serves tmp, which source weather does not "
         "declare: it has origin, observed_at"),
        (put("views.weather.entity", ["airport"]), "view weather joins by airport, which source weather does not"),
        (put("views.weather.features", []), "view weather serves nothing"),
        (put("views.weather.features", ["temp", "temp"]), "view weather serves two features called temp"),
        (put("views.by_origin.windows", ["24h", "1d"]), "view by_origin serves two features called n_1d"),
        (put("views.by_origin.aggregates", {"x": SUM}), "view by_origin.x is of sky, which source departures"),
        (put("views.by_origin.aggregates", {"x": {"function": "sum"}}), "view by_origin.x is a sum of no column"),
        (put("views.weather.expected", {"sky": {"low": 0}}), "view weather expects sky, a string, within numbers"),
        (put("sources.weather.key", []), "source weather has no key"),
        (put("sources.weather.available_at", "temp"), "source weather takes a time from temp, a number"),
        (put("sources.weather.prefix", "departures/jfk/"), "no file ever reaches source weather: departures takes all"),
        (put("sources.weather.columns.origin.type", "integer"), "origin is a string in request, and view weather joins "
         "by a integer"),
        (put("models.flights.inputs", ["temp", "tmp"]), "model flights: the input tmp is no request column, stored or"),
        (put("models.flights.inputs", ["temp", "temp"]), "model flights: temp is twice among its inputs"),
        (put("models.flights.categorical", ["gate"]), "model flights: gate are said to be categories and are no"),
        (put("models.flights.label.column", "delay"), "model flights: its label is of delay, which source arrivals"),
        (put("models.flights.request.scheduled", "string"), "its time column scheduled is a string in request"),
        (put("models.flights.on_demand", ["calender"]), "there are no on-demand features calender: there are calendar"),
        (put("models.flights.request", {"carrier": "string", "scheduled": "timestamp"}), "joins by origin, which is"),
        (put("on_demand.calendar.inputs", ["schedule"]), "on-demand features calendar read schedule, which is no "
         "feature, and which nothing is asked with: write request={'schedule': '<type>'}"),
        (put("on_demand.calendar.outputs", []), "on-demand features calendar give nothing"),
        (put("on_demand.calendar.outputs", ["hour", "warm", "part", "carrier"]), "give carrier, which is in request"),
        (put("services", {"s": {**SERVICE, "inputs": ["n_2h"]}}), "feature service s: the input n_2h is no request"),
        (put("services", {"s": {**SERVICE, "request": {"carrier": "string"}}}), "feature service s: view weather"),
    ],
)  # fmt: skip
def test_a_fault_names_the_thing_and_what_to_do(change: Change, text: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        require_sound(changed(change))
    assert text in str(failure.value)


def test_features_of_two_views_with_one_name_are_told_apart() -> None:
    column, feature = put("sources.weather.columns.n_2h", {"type": "integer"}), ["temp", "sky", "n_2h"]
    both = changed(column, put("views.weather.features", feature))
    with pytest.raises(InvalidInput, match="the input n_2h is in the views weather, by_origin: write weather__n_2h"):
        require_sound(both)


def test_sources_that_are_derived_from_each_other_are_refused() -> None:
    def derived(source: str) -> dict[str, Any]:
        columns = {"origin": {"type": "string"}, "at": {"type": "timestamp"}}
        made = {"source": source, "function": "features:f"}
        return {"columns": columns, "key": ["origin"], "event_time": "at", "derived": made}

    cycle = changed(put("sources.a", derived("b")), put("sources.b", derived("a")))
    with pytest.raises(InvalidInput, match="source a is derived from itself: a from b from a") as failure:
        require_sound(cycle)
    assert str(failure.value).count("derived from itself") == 1
    require_sound(changed(put("sources.a", derived("b")), put("sources.b", derived("weather"))))


def test_an_entity_has_one_type_wherever_it_is_joined_by() -> None:
    integers = changed(
        put("entities", {"airport": {"join_keys": ["origin"]}}),
        put("sources.weather.columns.origin", {"type": "integer"}),
    )
    said = "entity airport joins by origin, a integer in view weather and a string in view by_origin: give it one type"
    with pytest.raises(InvalidInput, match=said):
        require_sound(integers)


def test_on_demand_features_are_computed_after_what_they_read() -> None:
    twice = {"function": "features:twice", "inputs": ["warm"], "outputs": ["hot"]}
    inputs = put("models.flights.inputs", ["hot", "carrier", "sky"])
    declared = put("on_demand.twice", twice)
    require_sound(changed(declared, inputs, put("models.flights.on_demand", ["calendar", "twice"])))
    with pytest.raises(InvalidInput, match="twice read warm of calendar: name calendar before twice in on_demand"):
        require_sound(changed(declared, inputs, put("models.flights.on_demand", ["twice", "calendar"])))


def test_at_most_ten_faults_are_told_and_the_others_counted() -> None:
    views = {f"v{n:02}": {"entity": ["origin"], "source": "weather", "features": ["x"]} for n in range(12)}
    with pytest.raises(InvalidInput, match=r"view v09 serves x.*; and 2 more$"):
        require_sound(changed(lambda document: document["views"].update(views)))


FEATURES = '''"""Features of shops."""
from modelwright.project import Aggregate, Column, Entity, Expected, Service, Source, View, derived, on_demand

shop = Entity(join_keys=("shop", "city"), owner="sales", description="A shop of a city.")
sales = Source(
    prefix="sales/",
    columns={
        "id": Column(type="string"), "shop": Column(type="string"), "city": Column(type="string"),
        "at": Column(type="timestamp"), "amount": Column(type="number", decimals=2),
    },
    key=("id",), event_time="at",
)
stock = Source(columns={**sales.columns, "left": Column(type="integer")}, key=("id",), event_time="at")
sold = View(
    entity=shop, source="sales", aggregates={"amount": Aggregate(function="quantile", column="amount", q=0.9)},
    windows=("1d", "4w"), tumbling=True, by="event_time", tile="1d", fresh_within="2h", version=2,
    expected={"amount_1d": Expected(low=0)}, owner="sales", tags={"tier": "1"},
)
left = View(entity=shop, source="stock", features=("left",), ttl="30m")
more = View(entity=("shop", "city"), source="large", features=("amount",))
all_of_it = Service(
    request={"shop": "string", "city": "string", "event_timestamp": "timestamp", "price": "number"},
    views=("sold", "left"), on_demand=("value",), inputs=("amount_1d", "left", "value_left"), sampled=0.5,
)


@derived(source="sales", columns=sales.columns, key=("id",), event_time="at", owner="sales")
def large(frame):
    """Large sales."""
    return frame[frame["amount"] > 100]


@on_demand(inputs=("price", "left"), outputs=("value_left",), request={"price": "number"}, tags={"pii": "no"})
def value(row):
    """What is left, in money."""
    return {"value_left": row["price"] * (row["left"] or 0)}
'''


def team(folder: Path, features: str = FEATURES) -> Path:
    (folder / "modelwright.toml").write_text('[project]\nname = "shops"\n', encoding="utf-8")
    (folder / "features.py").write_text(features, encoding="utf-8")
    return folder


def test_what_the_readme_says_of_the_words_is_sound(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = next(block for block in text.split("```python\n")[1:] if "Aggregate" in block).split("```")[0]
    project = read_team(team(tmp_path, block)).project
    assert project.views["spending"].feature_names() == ("spent_1h", "payments_1h", "spent_30d", "payments_30d")
    assert project.sources["large_payments"].owner == ""


def test_a_team_declares_everything_in_python(tmp_path: Path) -> None:
    project = read_team(team(tmp_path)).project
    assert project.views["sold"].entity == ("shop", "city")
    assert (project.views["sold"].tile_us, project.views["sold"].feature_names()) == (
        86_400_000_000,
        ("amount_1d", "amount_28d"),
    )
    assert project.entities_of(project.views["left"]) == ("shop",)
    assert set(project.sources) == {"sales", "stock", "large"}
    made = project.sources["large"].derived
    assert made is not None
    assert (made.source, made.function) == ("sales", "team_shops.features:large")
    assert project.on_demand["value"].request == {"price": "number"}
    assert project.on_demand["value"].description == "What is left, in money."
    assert project.services["all_of_it"].sampled == 0.5
    assert Project.model_validate_json(project.model_dump_json()) == project


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('features=("left",)', 'features=("lft",)', "view left serves lft, which source stock does not declare"),
        ('entity=shop, source="stock"', 'entity=("branch",), source="stock"', "view left joins by branch"),
        ('windows=("1d", "4w")', 'windows=("36h",)', "the window 36h is no whole number of tiles of 1d"),
        (
            '"amount_1d", "left",',
            '"amount_2d", "left",',
            "feature service all_of_it: the input amount_2d is no request",
        ),
        (
            'source="sales", columns=sales',
            'source="sale", columns=sales',
            "source large is derived from sale, which is",
        ),
        ('views=("sold", "left")', 'views=("sold", "lift")', "feature service all_of_it uses view lift, which is not"),
    ],
)
def test_a_fault_of_a_folder_is_told_with_the_folder(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert FEATURES.count(old) == 1
    with pytest.raises(InvalidInput) as failure:
        read_team(team(tmp_path, FEATURES.replace(old, new)))
    assert str(tmp_path) in str(failure.value)
    assert text in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('ttl="30m"', 'ttl="30s"', "features.py, line 19: View: ttl: '30s' is no span of time: write it as 30m, 2h"),
        ('ttl="30m"', 'tll="30m"', "features.py, line 19: View: tll: Extra inputs are not permitted"),
        ("q=0.9", "q=90", "features.py, line 15: Aggregate: q: Input should be less than or equal to 1"),
        ("\nstock = ", "\nStock = ", "features.py: source Stock is called what nothing may be: names are lower-case"),
        ("\nleft = View", "\n_left = View", "feature service all_of_it uses view left, which is not declared"),
    ],
)
def test_a_word_that_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, text: str) -> None:
    with pytest.raises(InvalidInput) as failure:
        read_team(team(tmp_path, FEATURES.replace(old, new)))
    assert text in str(failure.value)
    assert "\n" not in str(failure.value)
