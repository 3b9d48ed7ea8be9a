"""Copies registered models, their versions under their own numbers, and their aliases and stages.

What was decided at the target stays: an alias or a stage that is set there is never moved, only named.
"""

from dataclasses import replace

from modelwright.errors import AlreadyExists, ModelwrightError, NotFound
from modelwright.transfer.plan import Plan
from modelwright.transfer.records import PLACEHOLDER, PROMPT, SOURCE, RegisteredModel, Version, unmarked
from modelwright.transfer.renaming import Renaming, copied_from
from modelwright.transfer.sides import FATAL, Source, Target
from modelwright.transfer.tally import Tally

_NO_STAGE = "None"
_NOWHERE, _PROMPTS = "s3://modelwright/placeholder", "dummy-source"
"""Sources that MLflow takes for what is nothing, and for what is a prompt."""


class RegistryCopy:
    """Copies the registered models of a plan, those first of which others are copies.

    Args:
        source: where from.
        target: where to.
        plan: what.
        renaming: the ids of both.
        tally: where everything is counted.
    """

    def __init__(self, source: Source, target: Target, plan: Plan, renaming: Renaming, tally: Tally) -> None:
        self._source, self._target, self._plan = source, target, plan
        self._renaming, self._tally = renaming, tally
        self._there: dict[str, dict[int, Version]] = {}
        self._tried: set[tuple[str, int]] = set()

    def copy(self, name: str) -> None:
        """Copy a registered model (the source's name)."""
        versions = self._plan.versions[name]
        self._versions(name, versions[-1].number if versions else 0)
        wanted = self._renaming.registered(self._plan.registered[name])
        self._drop_placeholders(wanted)
        for version in versions:
            self._stage(self._there[name].get(version.number), version)
        there = self._target.registered_model(wanted.name)
        for alias, number in wanted.aliases.items():
            self._alias(there, alias, number)
        self._compare(name, wanted)

    # --- versions -------------------------------------------------------------------------

    def _versions(self, name: str, highest: int) -> None:
        """Make a model and its versions up to a number."""
        if name not in self._there:
            self._there[name] = self._made(self._renaming.registered(self._plan.registered[name]))
        for version in self._plan.versions[name]:
            if version.number <= highest and (name, version.number) not in self._tried:
                self._tried.add((name, version.number))
                self._guarded(version)

    def _guarded(self, version: Version) -> None:
        try:
            self._version(version)
        except FATAL:
            raise
        except ModelwrightError as error:
            self._tally.differs(_called(version), str(error))

    def _version(self, version: Version) -> None:
        origin = copied_from(version.source)
        if origin and origin[0] in self._plan.versions:
            self._versions(*origin)
        wanted = self._renaming.version(version, self._source, self._target)
        there = self._there[version.model]
        if version.number in there:
            self._describe(wanted, there[version.number])
        else:
            self._fill_up_to(wanted, there)
            number = self._target.add_version(wanted)
            if number != wanted.number:
                self._target.drop_version(wanted.model, number)
                raise AlreadyExists(f"its number is gone at the target, where the next one is {number}")
            there[number] = replace(wanted, stage=_NO_STAGE)
        if wanted.source != version.source and PROMPT not in version.tags:
            self._has_files(version)

    def _describe(self, wanted: Version, there: Version) -> None:
        """Bring a version that an earlier copy made up to date."""
        if SOURCE not in there.tags:
            raise AlreadyExists("there is another version of this number at the target: copy with a prefix")
        tags = {k: v for k, v in unmarked(wanted.tags).items() if there.tags.get(k) != v}
        if tags or wanted.description != there.description:
            self._target.describe_version(wanted.model, wanted.number, wanted.description, tags)

    def _fill_up_to(self, wanted: Version, there: dict[int, Version]) -> None:
        """Make placeholders, where a version can only get the next number."""
        prompt = {PROMPT: "true"} if PROMPT in wanted.tags else {}
        tags = {**prompt, **self._renaming.marks(), PLACEHOLDER: "true"}
        nothing = Version(wanted.model, 0, _PROMPTS if prompt else _NOWHERE, tags=tags)
        while not self._target.chooses_numbers and max(there, default=0) < wanted.number - 1:
            number = self._target.add_version(nothing)
            there[number] = nothing

    def _drop_placeholders(self, model: RegisteredModel) -> None:
        for version in self._target.versions(model):
            if version.is_placeholder:
                self._target.drop_version(model.name, version.number)

    def _has_files(self, version: Version) -> None:
        uri = self._source.download_uri(version.model, version.number)
        if not self._source.level(uri, ""):
            raise NotFound(f"nothing lies at {uri} at the source")

    # --- models ---------------------------------------------------------------------------

    def _made(self, wanted: RegisteredModel) -> dict[int, Version]:
        """Make a model, or describe the one there is, and return the versions that it has."""
        try:
            there = self._target.registered_model(wanted.name)
        except NotFound:
            marked = {**wanted.tags, **self._renaming.marks()}
            self._target.add_registered_model(RegisteredModel(wanted.name, wanted.description, marked))
            return {}
        ours_to_change = SOURCE in there.tags
        tags = {
            key: value
            for key, value in wanted.tags.items()
            if key not in there.tags or (ours_to_change and there.tags[key] != value)
        }
        description = wanted.description if ours_to_change or not there.description else there.description
        if tags or description != there.description:
            self._target.describe_registered_model(wanted.name, description, tags)
        return {version.number: version for version in self._target.versions(there)}

    def _stage(self, there: Version | None, version: Version) -> None:
        if there is not None and there.stage == _NO_STAGE != version.stage:
            self._target.stage_version(there.model, there.number, version.stage)

    def _alias(self, there: RegisteredModel, alias: str, number: int) -> None:
        if alias in there.aliases:
            if there.aliases[alias] != number:
                held = there.aliases[alias]
                self._tally.differs(
                    there.name, f"the alias {alias} is on v{held} at the target and stays, not v{number}"
                )
            return
        try:
            self._target.set_alias(there.name, alias, number)
        except FATAL:
            raise
        except ModelwrightError as error:
            self._tally.differs(there.name, f"the alias {alias} on v{number} is refused: {error}")

    # --- comparing ------------------------------------------------------------------------

    def _compare(self, name: str, wanted: RegisteredModel) -> None:
        there = self._target.registered_model(wanted.name)
        found = {version.number: version for version in self._target.versions(there)}
        for version in self._plan.versions[name]:
            self._compare_version(version, found.get(version.number))
        aliases = {alias for alias, number in wanted.aliases.items() if there.aliases.get(alias) == number}
        self._tally.count("aliases", len(wanted.aliases), len(aliases))
        if wanted.description and wanted.description != there.description:
            self._tally.differs(name, f"its description is {there.description!r}")
        for key in sorted(k for k, value in wanted.tags.items() if there.tags.get(k) != value):
            self._tally.differs(name, f"its tag {key} is {there.tags.get(key)!r}, not {wanted.tags[key]!r}")

    def _compare_version(self, version: Version, there: Version | None) -> None:
        same = there is not None and SOURCE in there.tags and self._alike(version, there)
        self._tally.count("versions", 1, int(same))

    def _alike(self, version: Version, there: Version) -> bool:
        try:
            wanted = self._renaming.version(version, self._source, self._target)
        except NotFound:
            return False
        fields = ("source", "run_id", "run_link", "description", "stage")
        faults = [name for name in fields if getattr(wanted, name) and getattr(wanted, name) != getattr(there, name)]
        faults += [f"tag {key}" for key, value in unmarked(wanted.tags).items() if there.tags.get(key) != value]
        for fault in faults:
            self._tally.differs(_called(version), f"its {fault} differs")
        return not faults


def _called(version: Version) -> str:
    return f"{version.model} v{version.number}"
