"""A repository of Feast's in our words: its registry read, its parts declared, and what differs noted.

===================================  =================================================================
Feast                                Modelwright
===================================  =================================================================
entity                               entity, with the one join key that Feast's have
batch, push and stream sources       sources (``modelwright.feast.sources``)
feature view, stream feature view    view; without entities, one by a join key whose one value is empty
aggregations of a stream view        aggregates and windows, under our names
on-demand feature view               on-demand features (``modelwright.feast.functions``)
feature service                      feature service
arrays, maps, bytes; label views     left out, and said so
===================================  =================================================================
"""

import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from modelwright.declarations import NO_ENTITY, ColumnType, spoken
from modelwright.definitions import Entity, Service, View
from modelwright.errors import InvalidInput
from modelwright.feast import aggregations
from modelwright.feast.functions import RowCode, copied
from modelwright.feast.kinds import UNKNOWN, kind_of
from modelwright.feast.messages import Message
from modelwright.feast.notes import Notes
from modelwright.feast.sources import DUMMY, PUSH, Files, Gathered, fitting, tell
from modelwright.sources import Source

TIME = "event_timestamp"
_RESERVED = {"aggregate", "entity", "on_demand", "service", "view"}


@dataclass(frozen=True)
class Translation:
    """A project of ours, as yet without code.

    Attributes:
        files: by source, where its rows were.
    """

    project: str
    entities: Mapping[str, Entity]
    sources: Mapping[str, Source]
    views: Mapping[str, View]
    on_demand: Mapping[str, RowCode]
    services: Mapping[str, Service]
    files: Mapping[str, Files]
    notes: Notes


class _Feature(NamedTuple):
    name: str
    kind: ColumnType


class _Read(NamedTuple):
    """What an on-demand function reads, by our name, types of request columns, and the views of the rest."""

    inputs: dict[str, str]
    request: dict[str, ColumnType]
    views: tuple[str, ...]


def translate(registry: Message, project: str, imported: Mapping[str, str]) -> Translation:
    """Return what a registry declares as ours.

    Args:
        registry: Feast's.
        project: which of its projects; empty: the one there is.
        imported: see ``functions.copied``.

    Raises:
        InvalidInput: the registry has several projects, or none of that name.
    """
    name = _project_of(registry, project)
    return _Translator(registry, name, imported).translation()


def _project_of(registry: Message, wanted: str) -> str:
    parts = (registry.feature_views, registry.stream_feature_views, registry.entities, registry.projects)
    named = {part.spec.project if "project" in part.spec.DESCRIPTOR.fields_by_name else part.spec.name
             for group in parts for part in group}  # fmt: skip
    known = sorted(named - {""})
    if wanted and wanted not in known:
        raise InvalidInput(f"the registry has no project {wanted}: it has {', '.join(known) or 'none'}")
    if not wanted and len(known) != 1:
        raise InvalidInput(f"which project? the registry has {', '.join(known) or 'none'}: say --project")
    return wanted or known[0]


@dataclass
class _Translator:
    """One translation: what is declared so far, by Feast's names and by ours."""

    registry: Message
    project: str
    imported: Mapping[str, str]
    notes: Notes = field(default_factory=Notes)
    entities: dict[str, Entity] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    on_demand: dict[str, RowCode] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    gathered: dict[str, Gathered] = field(default_factory=dict)
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    names: set[str] = field(default_factory=lambda: {*_RESERVED, *keyword.kwlist})

    def translation(self) -> Translation:
        """Return it, in the order in which parts build on each other."""
        for entity in self._mine("entities"):
            self._entity(entity.spec)
        views = sorted(self._views(), key=lambda view: view.spec.name)
        owners = self._source_names([view.spec for view in views])
        for view in views:
            self._view(view.spec, owners)
        for group in self._mine("on_demand_feature_views"):
            self._group(group.spec)
        for service in self._mine("feature_services"):
            self._service(service.spec)
        self._others(owners)
        project = fitting(self.project, lambda _: False)
        if project != self.project:
            self.notes.change(f"project {self.project}: is called {project}")
        return Translation(
            project, self.entities, self._sources(), self.views, self.on_demand, self.services,
            {name: files for name, source in self.gathered.items() if (files := source.files())}, self.notes,
        )  # fmt: skip

    def _mine(self, part: str) -> list[Message]:
        """Return a part of the project by name: Feast keeps no order, and the same is to become the same."""
        found = [one for one in getattr(self.registry, part) if one.spec.project == self.project]
        return sorted(found, key=lambda one: one.spec.name)

    def _views(self) -> list[Message]:
        return [*self._mine("feature_views"), *self._mine("stream_feature_views")]

    def _called(self, kind: str, name: str) -> str:
        """Return our name of a thing of Feast's; all are names of one Python module."""
        found = fitting(name, lambda tried: tried in self.names)
        self.names.add(found)
        self.renamed[kind, name] = found
        if found != name:
            self.notes.change(f"{kind} {name}: is called {found}")
        self.notes.take(kind, found)
        return found

    # --- entities and sources --------------------------------------------------------------

    def _entity(self, spec: Message) -> None:
        if spec.name == DUMMY:
            return
        # Views and services are what clients name; an entity that is called as one of them makes way.
        taken = any(spec.name == other.spec.name for part in ("feature_views", "stream_feature_views",
            "on_demand_feature_views", "feature_services") for other in self._mine(part))  # fmt: skip
        name = self._called("entity", f"{spec.name}_entity" if taken else spec.name)
        self.renamed["entity", spec.name] = name
        self.entities[name] = Entity(
            join_keys=(spec.join_key,), description=spec.description, owner=spec.owner, tags=dict(spec.tags)
        )

    def _source_names(self, specs: Iterable[Message]) -> dict[str, str]:
        """Gather the sources of views, and return ours by the name of Feast's."""
        found: dict[str, Gathered] = {}
        for spec in specs:
            batch = spec.batch_source if spec.HasField("batch_source") else None
            stream = spec.stream_source if spec.HasField("stream_source") else None
            if batch is None and stream is not None and stream.HasField("batch_source"):
                batch = stream.batch_source
            owner = batch if batch is not None else stream
            if owner is None:
                continue
            source = found.setdefault(owner.name, Gathered(batch, stream))
            source.stream = source.stream if source.stream is not None else stream
        names: dict[str, str] = {}
        for called, source in found.items():
            said = source.stream.name if source.stream is not None and source.stream.type == PUSH else called
            names[called] = fitting(said, lambda tried: tried in self.gathered)
            if names[called] != said:
                self.notes.change(f"source {said}: is called {names[called]}")
            elif said != called:
                self.notes.change(f"source {called}: is called {said}, as what is pushed to it")
            self.gathered[names[called]] = source
        return names

    def _sources(self) -> dict[str, Source]:
        """Return the sources that views read; those of which every view was left out are not."""
        used = {view.source for view in self.views.values()}
        self.gathered = {name: source for name, source in self.gathered.items() if name in used}
        for name, source in self.gathered.items():
            self.notes.take("source", name)
            tell(name, source, self.notes)
            views = [view for view, declared in self.views.items() if declared.source == name]
            if source.stream is not None and len(views) > 1:
                self.notes.change(f"source {name}: its rows are of {', '.join(views)}; push whole rows, not one view's")
        return {n: source.declared(f"{n}/" if source.batch is not None else "") for n, source in self.gathered.items()}

    # --- views -----------------------------------------------------------------------------

    def _view(self, spec: Message, owners: Mapping[str, str]) -> None:
        if reason := _not_taken(spec):
            self.notes.leave(f"feature view {spec.name}: {reason}")
            return
        batch = spec.batch_source if spec.HasField("batch_source") else spec.stream_source
        if batch.name not in owners:
            batch = batch.batch_source
        source = owners[batch.name]
        keys = self._join_keys(spec)
        sums = list(getattr(spec, "aggregations", ()))
        features = [] if sums else self._features(f"feature view {spec.name}", spec.features)
        features = [feature for feature in features if feature.name not in {key.name for key in keys}]
        if not (features or sums):
            self.notes.leave(f"feature view {spec.name}: none of its features has a type that there is")
            return
        name = self._called("feature view", spec.name)
        gathered = self.gathered[source]
        gathered.keys |= dict.fromkeys(key.name for key in keys)
        gathered.add(spec.name, [*keys, *features, *aggregations.columns(sums, gathered.columns)], self.notes)
        try:
            self.views[name] = View(
                entity=tuple(key.name for key in keys),
                source=source,
                features=tuple(feature.name for feature in features),
                **aggregations.windows(name, sums, self.notes),
                ttl=self._ttl(name, spec),
                owner=spec.owner,
                description=spec.description,
                tags=dict(spec.tags),
            )
        except ValidationError as error:
            raise InvalidInput(f"feature view {spec.name} has no equal: {error.errors()[0]['msg']}") from error
        if not spec.online:
            self.notes.change(f"feature view {spec.name}: was offline alone; it is served online too")

    def _join_keys(self, spec: Message) -> list[_Feature]:
        known = {entity.spec.name: entity.spec for entity in self._mine("entities")}
        types = {column.name: column.value_type for column in (*spec.entity_columns, *spec.features)}
        keys = []
        for name in spec.entities:
            if name == DUMMY:
                continue  # as in registries that name it; others name no entity
            if name not in known:
                raise InvalidInput(f"feature view {spec.name} is about the entity {name}, which the registry lacks")
            entity = known[name]
            number = types.get(entity.join_key, UNKNOWN) or entity.value_type
            kind = kind_of(number).ours
            if kind is None:
                kind = "string"
                self.notes.change(f"entity {name}: its type is not told; {entity.join_key} is declared a string")
            keys.append(_Feature(entity.join_key, kind))
        if not keys:
            self.notes.change(
                f"feature view {spec.name}: has no entity; its rows have a column {NO_ENTITY}, always empty"
            )
        return keys or [_Feature(NO_ENTITY, "string")]

    def _features(self, place: str, fields: Iterable[Message]) -> list[_Feature]:
        found = []
        for declared in fields:
            kind = kind_of(declared.value_type)
            if kind.ours is None:
                self.notes.leave(f"{place}: {declared.name}, of type {kind.name}")
                continue
            if kind.told:
                self.notes.change(f"{place}: {declared.name} is {kind.told}")
            found.append(_Feature(declared.name, kind.ours))
        return found

    def _ttl(self, name: str, spec: Message) -> str:
        seconds = spec.ttl.seconds + (spec.ttl.nanos > 0)
        minutes = -(-seconds // 60)
        if minutes * 60 != spec.ttl.seconds or spec.ttl.nanos:
            self.notes.change(f"feature view {name}: its ttl is a whole number of minutes, {minutes}m")
        return spoken(minutes * 60_000_000) if minutes > 0 else ""

    # --- on-demand features and services ----------------------------------------------------

    def _group(self, spec: Message) -> None:
        place = f"on-demand feature view {spec.name}"
        function = spec.feature_transformation.user_defined_function
        text = function.body_text or spec.user_defined_function.body_text
        mode = spec.mode or function.mode or "pandas"
        found = copied(text, self.imported) if mode == "python" else f"it is in {mode} mode: write it as a row function"
        read = found if isinstance(found, str) else self._read(spec, found.body)
        if isinstance(found, str) or isinstance(read, str):
            self.notes.leave(f"{place}: {read}")
            return
        inputs, request, views = read
        outputs = tuple(feature.name for feature in self._features(place, spec.features))
        name = self._called("on-demand feature view", spec.name)
        self.on_demand[name] = RowCode(
            name, found, inputs, request, views, outputs, spec.singleton, spec.owner, spec.description, dict(spec.tags)
        )
        if spec.write_to_online_store:
            self.notes.change(f"{place}: is computed when it is asked for, not when rows are written")

    def _read(self, spec: Message, body: str) -> _Read | str:
        """Return what an on-demand function is given and names, or why it cannot be given that."""
        inputs: dict[str, str] = {}
        request: dict[str, ColumnType] = {}
        views: dict[str, None] = {}
        for source in spec.sources.values():
            if source.HasField("request_data_source"):
                fields = source.request_data_source.request_data_options.schema
                request |= self._features(f"on-demand feature view {spec.name}", fields)
                continue
            projected = source.HasField("feature_view_projection")
            used = source.feature_view_projection if projected else source.feature_view.spec
            named = used.feature_view_name if projected else used.name
            columns = used.feature_columns if projected else used.features
            view = self.renamed.get(("feature view", named), "")
            for column in columns:
                if view not in self.views or column.name not in self.views[view].feature_names():
                    if column.name in body:
                        return f"it reads {named}:{column.name}, which is left out"
                    continue
                inputs[self._input(column.name, view, self.views, request)] = column.name
                views[view] = None
        return _Read({**inputs, **{name: name for name in request}}, request, tuple(views))

    def _service(self, spec: Message) -> None:
        place = f"feature service {spec.name}"
        views: dict[str, list[str]] = {}
        groups: dict[str, list[str]] = {}
        for part in spec.features:
            named, columns = part.feature_view_name, [column.name for column in part.feature_columns]
            if part.join_key_map:
                keys = ", ".join(f"{theirs} for {key}" for key, theirs in part.join_key_map.items())
                self.notes.leave(f"{place}: {named} joined by other columns ({keys})")
            elif group := self.renamed.get(("on-demand feature view", named)):
                groups[group] = [name for name in self.on_demand[group].outputs if name in columns]
            elif view := self.renamed.get(("feature view", named)):
                views[view] = self._kept(place, named, view, columns)
            else:
                self.notes.leave(f"{place}: {named}, which is left out")
            if part.feature_view_name_alias:
                self.notes.change(f"{place}: {named} has no other name in it ({part.feature_view_name_alias})")
        if not (views or groups):
            self.notes.leave(f"{place}: nothing is left of it")
            return
        self._declare(spec, views, groups)

    def _kept(self, place: str, named: str, view: str, columns: Iterable[str]) -> list[str]:
        served = self.views[view].feature_names()
        for name in columns:
            if name not in served:
                self.notes.leave(f"{place}: {named}:{name}")
        return [name for name in columns if name in served]

    def _declare(self, spec: Message, views: Mapping[str, list[str]], groups: Mapping[str, list[str]]) -> None:
        needed = {*views, *(view for group in groups for view in self.on_demand[group].views)}
        used = {name: view for name, view in self.views.items() if name in needed}
        request: dict[str, ColumnType] = {}
        for view in used.values():
            request |= {key: self.gathered[view.source].columns[key] for key in view.entity}
        for group in groups:
            request |= self.on_demand[group].request
        request.setdefault(TIME, "timestamp")
        stored = [self._input(name, view, used, request) for view, names in views.items() for name in names]
        name = self._called("feature service", spec.name)
        self.services[name] = Service(
            request=request,
            views=tuple(used),
            on_demand=tuple(groups),
            inputs=(*stored, *(output for outputs in groups.values() for output in outputs)),
            owner=spec.owner,
            description=spec.description,
            tags=dict(spec.tags),
        )

    def _input(self, name: str, view: str, views: Mapping[str, View], request: Mapping[str, object]) -> str:
        """Return what a feature is called among views: its bare name where that says which."""
        having = [other for other, declared in views.items() if name in declared.feature_names()]
        return name if having == [view] and name not in request else f"{view}__{name}"

    def _others(self, owners: Mapping[str, str]) -> None:
        streams = {source.stream.name for source in self.gathered.values() if source.stream is not None}
        for source in self._of_project(self.registry.data_sources):
            if source.name not in owners and source.name not in streams and not source.HasField("request_data_options"):
                self.notes.leave(f"source {source.name}: no feature view reads it")
        for kind in ("label_views", "saved_datasets", "permissions", "validation_references"):
            named = [
                found.spec.name if hasattr(found, "spec") else found.name for found in getattr(self.registry, kind)
            ]
            if named:
                self.notes.leave(f"{kind.replace('_', ' ')}: {', '.join(named)}")

    def _of_project(self, found: Iterable[Message]) -> list[Message]:
        return [one for one in found if one.project in ("", self.project)]


def _not_taken(spec: Message) -> str:
    if spec.disabled:
        return "it is disabled"
    if spec.HasField("feature_transformation"):
        function = spec.feature_transformation.user_defined_function.name or "a function"
        return f"its rows are made by {function}; write it as a @derived source, and the view of that"
    if not (spec.HasField("batch_source") or spec.HasField("stream_source")):
        return "it has no source"
    return aggregations.fault(getattr(spec, "aggregations", ()))
