"""What things of the source are called at the target: runs and logged models get new ids, and some texts hold ids."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from modelwright.errors import NotFound
from modelwright.transfer.records import (
    CREATED,
    EXPERIMENT_ID,
    MODEL_ID,
    PREFIX,
    PROMPT,
    RUN_ID,
    SOURCE,
    Experiment,
    LoggedModel,
    RegisteredModel,
    Run,
    Version,
    unmarked,
)
from modelwright.transfer.sides import Source

PARENT, VERSIONS, HISTORY = "mlflow.parentRunId", "mlflow.modelVersions", "mlflow.log-model.history"
_WITH_IDS = (PARENT, HISTORY)
_ID = re.compile(r"\b(?:m-)?[0-9a-f]{32}\b")
_PLACES = ("file", "", "mlflow-artifacts", "runs", "models")
"""Schemes of sources that mean nothing, or something else, anywhere but at the source."""


@dataclass
class Renaming:
    """Ids and names of the source, and what they are at the target.

    Attributes:
        source: the source's address.
        prefix: what names of experiments and registered models get.
        places: where the files of the source's logged models lie.
    """

    source: str
    prefix: str = ""
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def marks(self, **more: str) -> dict[str, str]:
        """Return the tags that say where something is from; ``more`` by the names of ``records``."""
        known = {"prefix": PREFIX, "experiment": EXPERIMENT_ID, "run": RUN_ID, "model": MODEL_ID, "created": CREATED}
        return {SOURCE: self.source, **{known[name]: value for name, value in more.items() if value}}

    def experiment(self, given: Experiment) -> Experiment:
        """Return an experiment as it is made."""
        return replace(given, name=self.prefix + given.name, tags=unmarked(given.tags))

    def run(self, given: Run) -> Run:
        """Return a run as it must be at the target; ids that are not copied stay."""
        return replace(
            given,
            run_id=self.runs[given.run_id],
            experiment_id=self.experiments[given.experiment_id],
            tags=self.tags(given.tags),
            model_inputs=tuple(self.models.get(identity, identity) for identity in given.model_inputs),
            model_outputs=tuple((self.models.get(identity, identity), step) for identity, step in given.model_outputs),
        )

    def model(self, given: LoggedModel) -> LoggedModel:
        """Return a logged model as it must be at the target, with those of its points whose run is copied."""
        return replace(
            given,
            model_id=self.models.get(given.model_id, ""),
            experiment_id=self.experiments[given.experiment_id],
            run_id=self.runs.get(given.run_id, given.run_id),
            tags=self.tags(given.tags),
            points=tuple(p._replace(run_id=self.runs[p.run_id]) for p in given.points if p.run_id in self.runs),
        )

    def registered(self, given: RegisteredModel) -> RegisteredModel:
        """Return a registered model as it is made."""
        return replace(given, name=self.prefix + given.name, tags=unmarked(given.tags))

    def version(self, given: Version, source: Source, target: Source) -> Version:
        """Return a version as it is made; raises ``NotFound`` when its files are not among what is copied."""
        uri, model_id = (given.source, "") if PROMPT in given.tags else self._files(given, source, target)
        return replace(
            given,
            model=self.prefix + given.model,
            source=uri,
            run_id=self.runs.get(given.run_id, given.run_id),
            model_id=self.models.get(given.model_id, given.model_id) or model_id,
            tags={**unmarked(given.tags), **self.marks(created=str(given.created))},
        )

    def tags(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return tags without the marks of a copy, and with the target's ids where they hold ids."""
        tags = unmarked(given)
        for key in _WITH_IDS:
            if key in tags:
                tags[key] = self.runs.get(tags[key]) or _ID.sub(lambda found: self._id(found[0]), tags[key])
        if VERSIONS in tags and self.prefix:
            tags[VERSIONS] = self._prefixed(tags[VERSIONS])
        return tags

    def _id(self, identity: str) -> str:
        return self.runs.get(identity) or self.models.get(identity) or identity

    def _prefixed(self, text: str) -> str:
        try:
            return json.dumps([{**entry, "name": self.prefix + entry["name"]} for entry in json.loads(text)])
        except (ValueError, TypeError, KeyError):
            return text  # somebody else's tag of the same name

    def _files(self, version: Version, source: Source, target: Source) -> tuple[str, str]:
        """Return where a version's files are at the target, and the logged model that they are of, if any."""
        uri = version.source
        if origin := copied_from(uri):
            return f"models:/{self.prefix}{origin[0]}/{origin[1]}", ""
        if uri.startswith("models:/") and not _ID.fullmatch(uri.removeprefix("models:/").partition("/")[0]):
            uri = source.download_uri(version.model, version.number)  # an alias or stage, which moves
        for part in urlsplit(uri).path.split("/"):
            if moved := self._below(uri, part, source, target):
                return moved, self.models.get(part, "")
        if urlsplit(uri).scheme in _PLACES:
            raise NotFound(f"its files at {uri} are not among what is copied")
        return uri, ""

    def _below(self, uri: str, identity: str, source: Source, target: Source) -> str:
        """Return a URI below a run or logged model of the source as one of the target, or nothing."""
        if identity not in self.runs and identity not in self.models:
            return ""
        new = self._id(identity)
        for short in (f"runs:/{identity}", f"models:/{identity}"):
            if uri == short or uri.startswith(f"{short}/"):
                return short.replace(identity, new) + uri.removeprefix(short)
        of_run = identity in self.runs
        old_base = source.run(identity).artifact_uri if of_run else self.places[identity]
        inside = plain(uri).removeprefix(plain(old_base))
        if inside == plain(uri) or inside[:1] not in ("", "/"):
            return ""
        return (target.run(new) if of_run else target.logged_model(new)).artifact_uri.rstrip("/") + inside


def plain(uri: str) -> str:
    """Return a URI in the one form in which those of one folder begin alike."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return parts.path.rstrip("/")
    host = "" if parts.scheme == "mlflow-artifacts" else parts.netloc
    return f"{parts.scheme}://{host}/{parts.path.strip('/')}"


def ids_in(version: Version) -> set[str]:
    """Return the ids of runs and logged models that a version may have come from."""
    named = {version.run_id, version.model_id} | {
        part for part in urlsplit(version.source).path.split("/") if _ID.fullmatch(part)
    }
    return named - {""}


def copied_from(uri: str) -> tuple[str, int] | None:
    """Return the model and number that ``models:/<name>/<number>`` names, or None for any other URI."""
    name, _, number = uri.removeprefix("models:/").rpartition("/")
    return (name, int(number)) if uri.startswith("models:/") and name and number.isdigit() else None
