"""Copies the content of logged models, in two steps: tags come last, since registering a version changes them."""

from modelwright.transfer.files import Files
from modelwright.transfer.records import LoggedModel
from modelwright.transfer.renaming import Renaming
from modelwright.transfer.sides import PAIRS_AT_ONCE, Target
from modelwright.transfer.tally import Tally


class ModelCopy:
    """Copies logged models.

    Args:
        target: where to.
        renaming: the ids of both.
        files: copies artifacts.
        tally: where everything is counted.
    """

    def __init__(self, target: Target, renaming: Renaming, files: Files, tally: Tally) -> None:
        self._target, self._renaming, self._files, self._tally = target, renaming, files, tally

    def fill(self, given: LoggedModel, what: str) -> None:
        """Write params and files, and say that it is ready."""
        wanted = self._renaming.model(given)
        there = self._target.logged_model(wanted.model_id)
        missing = [(k, v) for k, v in wanted.params.items() if there.params.get(k) != v]
        for start in range(0, len(missing), PAIRS_AT_ONCE):
            self._target.describe_logged_model(wanted.model_id, params=dict(missing[start : start + PAIRS_AT_ONCE]))
        copied = self._files.copy(what, given.artifact_uri, there.artifact_uri)
        if given.status == "READY" and not copied:
            self._tally.note(f"{what} is ready and has no files at {given.artifact_uri}")
        if wanted.status not in (there.status, "PENDING"):
            self._target.finish_logged_model(wanted.model_id, wanted.status)

    def settle(self, given: LoggedModel, what: str) -> None:
        """Set tags, read the model again, and compare."""
        wanted = self._renaming.model(given)
        there = self._target.logged_model(wanted.model_id)
        tags = {k: v for k, v in wanted.tags.items() if there.tags.get(k) != v}
        if tags:
            self._target.describe_logged_model(wanted.model_id, tags=tags)
            there = self._target.logged_model(wanted.model_id)
        self._compare(what, wanted, there)

    def _compare(self, what: str, wanted: LoggedModel, there: LoggedModel) -> None:
        for name in ("name", "model_type", "run_id", "status"):
            old, new = getattr(wanted, name), getattr(there, name)
            if old and old != new:
                self._tally.differs(what, f"its {name} is {new!r}, not {old!r}")
        for kind, old_items, new_items in (
            ("model params", set(wanted.params.items()), set(there.params.items())),
            ("model tags", set(wanted.tags.items()), set(there.tags.items())),
            ("model metrics", {p.place for p in wanted.newest}, {p.place for p in there.points}),
        ):
            missing = old_items - new_items
            self._tally.count(kind, len(old_items), len(old_items) - len(missing))
            if missing:
                self._tally.differs(what, f"{len(missing)} of {len(old_items)} {kind} differ, such as {min(missing)}")
