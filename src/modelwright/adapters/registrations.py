"""What registered versions need of tracking, from the registry's own table (a read-only grant, see infra/decisions.md).

Implements ``tracking.removal.Registrations``.
"""

from modelwright.context import Call
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables
from modelwright.tracking.removal import Needed


class RegisteredVersions:
    """Every version that exists now, in a consistent read: a projection of events would lag, and forget."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def needed(self, call: Call) -> Needed:
        """See ``Registrations``."""
        store = RegistryStore(self._tables, call)
        runs: dict[str, str] = {}
        models: dict[str, str] = {}
        places: dict[str, str] = {}
        for model in store.models():
            for version in store.versions(model):
                name = f"{model.name} v{version.version}"
                runs[version.run_id] = models[version.model_id] = places[version.artifact_key] = name
        return Needed(runs, models, places)
