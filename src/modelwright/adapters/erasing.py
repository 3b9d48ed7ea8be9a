"""What an erasure needs of other capabilities: their items that tell of rows, and which models were trained on what."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from modelwright.context import Call
from modelwright.features import materialization
from modelwright.features.erasing.erasure import Shop
from modelwright.insights import incidents
from modelwright.monitoring import store as monitoring
from modelwright.monitoring.uploads import UNKNOWN
from modelwright.project import Project, current_key
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables, every


def shop_of(
    call: Call,
    *,
    project: Project,
    tables: Tables,
    log: Any,
    blobs: Blobs,
    cache: dict[str, Any],
    landing: bool,
    seconds: float,
) -> Shop:
    """Return what an erasure works with.

    Args:
        call: in whose name.
        project: the current one.
        tables: of features, monitoring, the registry and governance.
        log: the log.
        blobs: landing and lake; the wheel of the team's code.
        cache: kept between calls.
        landing: whether the landing bucket is this workspace's.
        seconds: after so many nothing new is begun.
    """
    stores: dict[str, Any] = {"tables": tables, "log": log, "blobs": blobs, "cache": cache}
    former = _former(tables, call.workspace)
    known = (*former, project)
    sources = dict.fromkeys([*(name for one in known for name in one.sources), UNKNOWN])
    models = dict.fromkeys(name for one in known for name in one.models)
    return Shop(
        project=project,
        former=former,
        fold=lambda: materialization.fold_pushed(call, project=project, **stores),
        trained_on=trained_on(call, tables),
        others={
            "monitoring": monitoring.partitions(call.workspace, sources, models),
            "insights": incidents.partitions(call.workspace),
        },
        states=partial(monitoring.upload_key, call.workspace),
        landing=landing,
        spare=_spare(seconds),
        **stores,
    )


def trained_on(call: Call, tables: Tables) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return what says which versions of models were trained on datasets, from the registry's own table."""

    def versions(digests: Sequence[str]) -> list[str]:
        store, wanted = RegistryStore(tables, call), set(digests)
        return [
            f"{model.name}/{version.version}"
            for model in store.models()
            for version in store.versions(model)
            if wanted & set(version.data)
        ]

    return versions


def _former(tables: Tables, workspace: str) -> tuple[Project, ...]:
    """Return every project that was ever applied, the oldest first."""
    items = [item for item in every(tables, "governance", current_key(workspace).pk) if item["sk"] != "CURRENT"]
    ordered = sorted(items, key=lambda item: str(item.get("applied", "")))
    return tuple(Project.model_validate_json(item["project"]) for item in ordered)


def _spare(seconds: float) -> Callable[[], bool]:
    started = time.monotonic()
    return lambda: time.monotonic() - started < seconds
