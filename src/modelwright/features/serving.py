"""Features of named entities as of now over HTTP: Feast's protocol in columns, and ours in rows.

An answer is put together from the JSON text that the online store holds (``online.Column``): a number that is served is
neither parsed nor printed on its way.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.declarations import NO_ENTITY
from modelwright.errors import Forbidden, InvalidInput, ModelwrightError, NotFound, Unauthenticated, Unavailable
from modelwright.features.layout import moment
from modelwright.features.online import NULL, Found, Status, complete, lookup, said, told, wanted
from modelwright.features.plan import Load, Plan, plan_of, service_of
from modelwright.features.rights import may, visible
from modelwright.features.rows import asked, columnar
from modelwright.project import Project, Service
from modelwright.storage import Tables

ENTITIES = 1_000
_QUESTIONS = 256
_CLASSES: tuple[tuple[type[ModelwrightError], str, str], ...] = (
    (NotFound, "builtins", "KeyError"),
    (InvalidInput, "builtins", "ValueError"),
    (Forbidden, "builtins", "PermissionError"),
    (Unauthenticated, "builtins", "PermissionError"),
    (Unavailable, "builtins", "ConnectionError"),
)


class FeaturesQuery(BaseModel):
    """Feast's body of ``/get-online-features``.

    Attributes:
        features: ``view:feature`` or ``group:output`` (of on-demand features) each; or
        feature_service: the name of a feature service or model, whose stored and on-demand inputs are meant.
        entities: join keys and request columns, a list of values each.
        full_feature_names: answer ``view__feature``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    features: tuple[str, ...] | None = None
    feature_service: str | None = None
    entities: dict[str, list[Any]]
    full_feature_names: bool = False


class RowsQuery(BaseModel):
    """The body of ``/v1/features/online``.

    Attributes:
        features: as in ``FeaturesQuery``; or
        service: the name of a feature service or model, whose stored and on-demand inputs are meant.
        rows: join keys and request columns of each.
        full_feature_names: answer ``view__feature``.
        statuses: whether to say of each stored feature if it was found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    features: tuple[str, ...] | None = None
    service: str | None = None
    rows: list[dict[str, Any]]
    full_feature_names: bool = False
    statuses: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked of a project: all that follows from names, worked out once.

    Attributes:
        service: its name; empty where features were asked for one by one.
        needed: the request columns that have to be there, with their types.
        keys: the join keys of all views that are read.
        features: of the answer, in order: its input in the plan, its name, and its name with the view or group.
    """

    service: str
    plan: Plan
    needed: Service
    keys: frozenset[str]
    features: tuple[tuple[str, str, str], ...]

    def names(self, *, full: bool) -> dict[str, str]:
        """Return the inputs in order by what they are called; raises ``InvalidInput`` if two are called the same."""
        names = {(long if full else short): name for name, short, long in self.features}
        if len(names) < len({name for name, _, _ in self.features}) and not full:
            raise InvalidInput("features of several views have the same name: ask for full_feature_names")
        return names


@dataclass(frozen=True)
class Answered:
    """What was found for a question.

    Attributes:
        rows: the request columns that are needed, as plain values; with on-demand features, the features too.
        found: the stored features, by view.
    """

    question: Question
    rows: list[dict[str, Any]]
    found: Mapping[str, Found]

    def column(self, name: str, call: Call) -> tuple[Sequence[str], Sequence[Status], Sequence[str]]:
        """Return an input's values as JSON, their statuses, and their event times as JSON."""
        stored = self.question.plan.stored.get(name)
        if stored is not None:
            view = self.found[stored.view]
            column = view.features[stored.feature]
            return view.of_rows(column.texts), view.of_rows(column.statuses), view.of_rows(column.times)
        texts = [said(row[name]) for row in self.rows]
        now = f'"{told(call.now)}"'
        return texts, ["NULL_VALUE" if text == NULL else "PRESENT" for text in texts], [now] * len(texts)


class Serving:
    """The online features of one project; what depends on names alone is worked out once for each question.

    Args:
        project: the definitions.
        load: gives the row functions of the team's code.
        note: is told of each answer of a feature service (``serving_log.record``).
    """

    def __init__(self, project: Project, load: Load, note: "Callable[[Call, Answered], None] | None" = None) -> None:
        self.project = project
        self._load, self._note = load, note
        self._questions = lru_cache(_QUESTIONS)(partial(_question, project))

    def columns(self, call: Call, query: FeaturesQuery, *, tables: Tables) -> str:
        """Answer as Feast does, as JSON: entity columns first, then features, in the order asked.

        Raises:
            NotFound: a view, feature or service that does not exist; the text says what does.
            InvalidInput: entities that do not fit together, or lack a column that is needed.
            Unavailable: the online store is throttled.
        """
        question = self._asked(call, query.features, query.feature_service)
        names = question.names(full=query.full_feature_names)
        answer = self.answered(call, question, columnar(query.entities), tables=tables)
        statuses: list[Status] = ["PRESENT"] * len(answer.rows)
        epochs = [f'"{told(moment(0))}"'] * len(answer.rows)
        keys = {name: values for name, values in query.entities.items() if name in question.keys}
        written = _Written()
        results = [
            *(written.result([said(value) for value in values], statuses, epochs) for values in keys.values()),
            *(written.result(*answer.column(name, call)) for name in names.values()),
        ]
        named = json.dumps([*keys, *names])
        return f'{{"metadata": {{"feature_names": {named}}}, "results": [{", ".join(results)}]}}'

    def rows(self, call: Call, query: RowsQuery, *, tables: Tables) -> str:
        """Answer row by row, as JSON: ``rows`` of values by name, and ``statuses`` if they were asked for.

        Raises as ``columns`` does.
        """
        question = self._asked(call, query.features, query.service)
        names = question.names(full=query.full_feature_names)
        answer = self.answered(call, question, query.rows, tables=tables)
        columns = [answer.column(name, call) for name in names.values()]
        spelled = [json.dumps(name) for name in names]
        rows = _objects(spelled, [texts for texts, _, _ in columns])
        if not query.statuses:
            return f'{{"rows": {rows}}}'
        statuses = _objects(spelled, [[f'"{status}"' for status in found] for _, found, _ in columns])
        return f'{{"rows": {rows}, "statuses": {statuses}}}'

    def answered(
        self, call: Call, question: Question, rows: Sequence[Mapping[str, Any]], *, tables: Tables
    ) -> Answered:
        """Read what a question asks for, of the caller's rows."""
        if not rows or len(rows) > ENTITIES:
            raise InvalidInput(f"a request takes 1 to {ENTITIES} entities, this one has {len(rows)}")
        for view in question.plan.views:
            call.authorise("features:read", f"view/{view}")
        clock = question.plan.service.time_column
        if clock in question.needed.request:
            rows = [row if clock in row else {**row, clock: call.now} for row in rows]
        if NO_ENTITY in question.needed.request:  # which Feast's client leaves to the server
            rows = [{NO_ENTITY: "", **row} for row in rows]
        if missing := sorted(set(question.needed.request) - set().union(*rows)):
            raise InvalidInput(f"{_asked_for(question)} needs {', '.join(missing)}: the request lacks it")
        full = asked(question.needed, rows)
        stored = wanted(question.plan)
        found = lookup(self.project, stored, full, as_of=call.now, tables=tables, workspace=call.workspace)
        if question.plan.on_demand:
            complete(question.plan, found, full, self._load)
        answer = Answered(question, full, found)
        if question.service and self._note is not None:
            self._note(call, answer)
        return answer

    def _asked(self, call: Call, features: tuple[str, ...] | None, service: str | None) -> Question:
        """Return the question; the text of an error names only what the caller may read."""
        try:
            return self._questions(features, service)
        except NotFound:
            seen = visible(call, self.project)
            if seen is self.project:
                raise
        return _question(seen, features, service)


def _question(project: Project, features: tuple[str, ...] | None, service: str | None) -> Question:
    if bool(service) == bool(features):
        raise InvalidInput("say which features: either `features` or a feature service")
    plan = plan_of(project, service or service_of(project, features or ()))
    keys = frozenset(key for view in plan.views.values() for key in view.entity)
    read = {name for group in plan.on_demand.values() for name in group.inputs}
    request = {name: kind for name, kind in plan.service.request.items() if name in keys | read}
    needed = plan.service.model_copy(update={"request": request})
    found = dict.fromkeys(_named(plan, name, service or "") for name in plan.service.inputs)
    return Question(service or "", plan, needed, keys, tuple(one for one in found if one is not None))


class Current:
    """The serving of a workspace's project, which is looked at again every few seconds.

    What the project of some seconds ago does not know is looked for in the newest, so that what is applied can be
    asked for at once; what is taken away or changed is answered as before for ``fresh_s`` at most.

    Args:
        project: returns the project, as it was at most so many seconds ago; the same object while it is the same.
        serving: makes the serving of a project.
        fresh_s: how many.
    """

    def __init__(
        self, project: Callable[[float], Project], serving: Callable[[Project], Serving], fresh_s: float = 5.0
    ) -> None:
        self._project, self._make, self._fresh_s = project, serving, fresh_s
        self._known: Serving | None = None

    def answer(self, ask: Callable[[Serving], str]) -> str:
        """Return an answer; raises as ``ask`` does."""
        served = self._serving(self._fresh_s)
        try:
            return ask(served)
        except (NotFound, InvalidInput):
            newest = self._serving(0)
            if newest is served:
                raise
            return ask(newest)

    def _serving(self, within_s: float) -> Serving:
        project = self._project(within_s)
        if self._known is None or self._known.project is not project:
            self._known = self._make(project)
        return self._known


def views(call: Call, *, project: Project) -> dict[str, Any]:
    """List the feature views that the caller may read."""
    readable = {n: view for n, view in project.views.items() if may(call, "features:read", f"view/{n}")}
    listed = [
        {"name": name, "serves": view.feature_names(), **view.model_dump(mode="json")}
        for name, view in readable.items()
    ]
    return {"views": listed}


def error_body(error: ModelwrightError, status: int, code: str) -> str:
    """Return an error as Feast's client reads it: JSON in a JSON string, naming the class that it raises."""
    module, name = next(((m, c) for kind, m, c in _CLASSES if isinstance(error, kind)), ("builtins", "RuntimeError"))
    detail = {"module": module, "class": name, "message": str(error), "error_code": code, "status": status}
    return json.dumps(json.dumps(detail))


class _Written:
    """Writes columns as JSON; what several of them share is written once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Sequence[str], str]] = {}

    def result(self, texts: Sequence[str], statuses: Sequence[Status], times: Sequence[str]) -> str:
        """Return one of ``results``."""
        return (
            f'{{"values": [{", ".join(texts)}], "statuses": {self._once(statuses, json.dumps)}, '
            f'"event_timestamps": {self._once(times, _bracketed)}}}'
        )

    def _once(self, of: Sequence[str], write: Callable[[Sequence[str]], str]) -> str:
        if id(of) not in self._known:
            self._known[id(of)] = of, write(of)
        return self._known[id(of)][1]


def _bracketed(texts: Sequence[str]) -> str:
    return f"[{', '.join(texts)}]"


def _objects(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    rows = (
        ", ".join(f"{name}: {text}" for name, text in zip(names, row, strict=True))
        for row in zip(*columns, strict=True)
    )
    return f"[{', '.join(f'{{{row}}}' for row in rows)}]"


def _named(plan: Plan, name: str, service: str) -> tuple[str, str, str] | None:
    """Return an input with its short and full name; None for a request column."""
    if name in plan.stored:
        view, feature = plan.stored[name]
        return name, name if service else feature, f"{view}__{feature}"
    group = next((group for group, declared in plan.on_demand.items() if name in declared.outputs), None)
    return None if group is None else (name, name, f"{group}__{name}")


def _asked_for(question: Question) -> str:
    views = ", ".join(question.plan.views)
    return f"feature service {question.service}" if question.service else f"view {views}"
