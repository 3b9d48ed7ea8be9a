"""What webhooks are told of models and versions, read from the registry's table."""

from datetime import UTC, datetime

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.insights.webhook_events import Subject
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables


class RegistrySubjects:
    """``Registry`` of ``insights.webhook_events`` over the registry's own store, which it only reads.

    Args:
        tables: the tables.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def model(self, workspace: str, model_id: str) -> Subject:
        """See ``Registry``."""
        model = self._store(workspace).by_id([model_id]).get(model_id)
        return Subject(model.is_prompt, model.description, model.tags) if model else Subject()

    def version(self, workspace: str, model_id: str, number: int) -> Subject:
        """See ``Registry``; a version counts as a prompt's by its own tag or its model's."""
        store = self._store(workspace)
        model = store.by_id([model_id]).get(model_id)
        if model is None:
            return Subject()
        try:
            version = store.version(model, number)
        except NotFound:
            return Subject(model.is_prompt)
        return Subject(version.is_prompt or model.is_prompt, version.description, version.tags)

    def _store(self, workspace: str) -> RegistryStore:
        return RegistryStore(self._tables, Call(workspace, "platform", datetime.now(UTC), ""))
