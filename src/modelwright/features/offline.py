"""Point-in-time features for many rows: what the online store would have said at each row's time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from modelwright import teamcode
from modelwright.features.engines import DEFAULT, Engine, engine
from modelwright.features.history import ARROW, History
from modelwright.features.layout import micros
from modelwright.features.plan import service_of
from modelwright.features.rows import asked
from modelwright.project import Project, Service
from modelwright.storage import Blobs, Tables


def historical(
    project: Project,
    service: Service | str,
    rows: pa.Table,
    *,
    blobs: Blobs,
    tables: Tables,
    workspace: str,
    cache: dict[str, Any],
    engine: str = DEFAULT,
    available: bool = True,
    known_by: datetime | None = None,
) -> pa.Table:
    """Return rows with the inputs of a service as columns, each as of the row's ``time_column``.

    Order and duplicates are kept. Rows whose time or join key is null get nulls. Inputs that are
    request columns stay as they are; columns of the same name as another input are replaced.

    Args:
        project: the definitions.
        service: the model or feature service, or its name.
        rows: hold its request columns.
        blobs: the lake, and the wheel of the team's code.
        tables: manifests.
        workspace: whose.
        cache: kept between calls by the caller (``wiring.cache``).
        engine: name of the engine that joins.
        available: see ``engines.Engine``.
        known_by: what became known later is not seen, whatever the rows' times; None: everything is.

    Raises:
        InvalidInput: a request column is missing or of another type.
        PluginError: there is no such engine.
    """
    chosen = project.service(service) if isinstance(service, str) else service
    bound = None if known_by is None else micros(known_by)
    history = History(blobs=blobs, tables=tables, workspace=workspace, cache=cache, known_by=bound)
    load = teamcode.loader(project, blobs=blobs)
    return _engine(engine, cache).historical(
        project, chosen, rows, history=history, workspace=workspace, load=load, available=available
    )


def get_historical_features(
    project: Project,
    entities: pa.Table,
    features: Sequence[str] | Service | str,
    *,
    time_column: str = "event_timestamp",
    **options: Any,
) -> pa.Table:
    """Return entity rows with features as columns, as of each row's time.

    Args:
        project: the definitions.
        entities: rows with the join keys, the request columns of on-demand features, and the time.
        features: ``view:feature`` and ``group:output`` each, or a feature service, or the name of one.
        time_column: the column with the time, where features are named; a service names its own.
        options: see ``historical``.

    Raises:
        NotFound: a feature or service is not declared.
        InvalidInput: a request column is missing or of another type.
    """
    if isinstance(features, Service | str):
        return historical(project, features, entities, **options)
    return historical(project, service_of(project, features, time_column=time_column), entities, **options)


def request_table(service: Service, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return request rows (as JSON has them) as a table of the request columns; raises ``InvalidInput``."""
    full = asked(service, rows)
    return pa.table({n: pa.array([row[n] for row in full], ARROW[kind]) for n, kind in service.request.items()})


def _engine(name: str, cache: dict[str, Any]) -> Engine:
    found: Engine = cache.setdefault(f"features.engine.{name}", None) or engine(name)
    cache[f"features.engine.{name}"] = found
    return found
