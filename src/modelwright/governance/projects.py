"""A team's project takes effect: its code into the artifacts bucket, its declarations for every function to read.

The wheel lies under its own digest below ``projects/<workspace>/``, where nothing but this writes, so that
whoever loads code by a digest gets that code. The items are described in ``modelwright.project``.
"""

import base64
import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.events import ProjectApplied
from modelwright.governance import planning
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.plugins import not_installed
from modelwright.project import Model, Project, current_key, load_current
from modelwright.storage import Absent, Anything, Blobs, Condition, Is, Put, Tables


class ApplyProject(BaseModel):
    """``POST /v1/projects``.

    Attributes:
        wheel: the code in base64; empty when there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    project: Project
    wheel: str = ""


class PlanProject(BaseModel):
    """``POST /v1/projects/plan``: as ``POST /v1/projects``, but nothing comes of it, and no code is needed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    project: Project


def plan(call: Call, message: PlanProject, *, tables: Tables, knowledge: planning.Knowledge) -> planning.Plan:
    """Return what applying a project would change, whom that touches, and why it would be refused.

    Raises:
        InvalidInput: it is not sound, or it names a plugin that is not installed.
    """
    call.authorise("projects:read", f"project/{message.project.name}")
    _require_installed(message.project)
    try:
        before = current(call, tables=tables)
    except NotFound:
        before = None
    return planning.plan(before, message.project, knowledge)


def apply(
    call: Call,
    message: ApplyProject,
    *,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    knowledge: planning.Knowledge,
) -> Project:
    """Store a project and make it the workspace's current one; the same again is no event.

    Raises:
        InvalidInput: the wheel is no base64, or not the one whose digest the project names, or it names a plugin
            that is not installed, or the project is not sound.
        Refused: it would break who reads features (``planning``).
    """
    call.authorise("projects:write", f"project/{message.project.name}")
    _require_installed(message.project)
    item = tables.get("governance", current_key(call.workspace))
    before = Project.model_validate_json(item["project"]) if item else None
    planned = planning.plan(before, message.project, knowledge)
    if planned.refused:
        raise Refused("; ".join(planned.refused))
    project = _with_code(call, message, blobs)
    document = project.model_dump_json()
    if item is not None and item["project"] == document:
        return project
    version = int(item.get("v", 0)) if item else 0
    condition: Condition = Absent() if item is None else Is("v", version)
    stored = {"project": document, "digest": project.digest, "applied": call.now.isoformat()}
    key = current_key(call.workspace)
    put = Put("governance", {**key._asdict(), **stored, "v": version + 1}, condition)
    applied = Put("governance", {"pk": key.pk, "sk": project.digest, **stored}, Anything())
    event = ProjectApplied(
        project=project.name,
        digest=project.digest,
        models=tuple(project.models),
        sources=tuple(project.sources),
        views=tuple(project.views),
        added_views=planned.views("added"),
        changed_views=planned.views("changed"),
        removed_views=planned.views("removed"),
        policies=policies_of(before, project),
    )
    log.commit(call, [Happened(stream_of(call.workspace, "PROJECT", project.name), event)], [put, applied])
    return project


def policies_of(before: Project | None, project: Project) -> dict[str, dict[str, Any]]:
    """Return the policies of each model that is new or has others than before, for the log to tell which ran when."""

    def told(model: Model) -> dict[str, Any]:
        return {part: getattr(model, part).model_dump(mode="json") for part in ("retraining", "monitoring")}

    known = {name: told(model) for name, model in before.models.items()} if before else {}
    now = {name: told(model) for name, model in project.models.items()}
    return {name: said for name, said in now.items() if known.get(name) != said}


def current(call: Call, *, tables: Tables) -> Project:
    """Return the workspace's project; raises ``NotFound``."""
    project = load_current(tables, call.workspace)
    call.authorise("projects:read", f"project/{project.name}")
    return project


def _require_installed(project: Project) -> None:
    if said := next(not_installed(project), ""):
        raise InvalidInput(said)


def _with_code(call: Call, message: ApplyProject, blobs: Blobs) -> Project:
    declared = message.project
    if not message.wheel:
        digest = hashlib.sha256(canonical(declared.model_dump(mode="json", exclude={"digest", "wheel"}))).hexdigest()
        return declared.model_copy(update={"digest": digest, "wheel": ""})
    try:
        code = base64.b64decode(message.wheel, validate=True)
    except ValueError as error:
        raise InvalidInput(f"the wheel of project {declared.name} is no base64: {error}") from error
    digest = hashlib.sha256(code).hexdigest()
    if declared.digest not in ("", digest):
        raise InvalidInput(f"the wheel of project {declared.name} has the digest {digest}, not {declared.digest}")
    key = f"projects/{call.workspace}/{digest}.whl"
    blobs.put("artifacts", key, code)
    return declared.model_copy(update={"digest": digest, "wheel": key})
