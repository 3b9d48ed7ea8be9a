"""The round that ``maintain`` makes: every experiment of every workspace that it knows, as far as time allows.

Nothing lists the workspaces of a stack: a token brings its workspace with it. So each is noted when a run ends in it
(or somebody asks), which is when there is something to maintain. A round goes on where the last one ended.
"""

import zlib
from dataclasses import replace
from typing import Final

from modelwright.context import Call
from modelwright.errors import ModelwrightError, NotFound
from modelwright.events import RunEnded
from modelwright.tracking.compaction import Compacted, compact, compact_points, sweep
from modelwright.tracking.maintenance import Upkeep, go_on_at, remember_workspace, workspaces
from modelwright.tracking.store import TrackingStore

ONE_IN: Final = 64
"""So many runs end for each that has its experiment looked at; the others wait for it, or for the round."""
LEAST: Final = 64
ACTION: Final = "experiments:compact"


def run_ended(call: Call, event: RunEnded, upkeep: Upkeep) -> None:
    """Compact what the run logged, and now and then settle what ended in its experiment; again is harmless."""
    remember_workspace(call.workspace, upkeep.tables)
    compact_points(call, event.run_id, upkeep)
    if zlib.crc32(event.run_id.encode()) % ONE_IN == 0:
        compact(call, event.experiment_id, upkeep)


def compact_now(call: Call, experiment_id: str, upkeep: Upkeep) -> Compacted:
    """Settle whatever ended in an experiment; raises ``NotFound``."""
    call.authorise(ACTION, f"experiment/{experiment_id}")
    if TrackingStore(upkeep.tables, call, upkeep.blobs).experiment(experiment_id) is None:
        raise NotFound(f"No Experiment with id={experiment_id} exists")
    remember_workspace(call.workspace, upkeep.tables)
    return compact(call, experiment_id, upkeep)


def go_round(call: Call, upkeep: Upkeep) -> None:
    """Visit all experiments, and remove objects that are nobody's.

    An experiment that cannot be maintained does not keep the others from it.

    Raises:
        ModelwrightError: what was the matter with the first of those.
    """
    troubles: list[ModelwrightError] = []
    for workspace, start in workspaces(upkeep.tables).items():
        if upkeep.spare():
            within = replace(call, workspace=workspace)
            sweep(within, upkeep)
            reached = _visit(within, upkeep, int(start), troubles)
            if reached != start:
                go_on_at(workspace, reached, upkeep.tables)
    if troubles:
        raise troubles[0]


def _visit(call: Call, upkeep: Upkeep, start: int, troubles: list[ModelwrightError]) -> str:
    """Visit a workspace's experiments in turn; return the one at which time ran out."""
    store = TrackingStore(upkeep.tables, call, upkeep.blobs)
    numbers = [int(experiment.experiment_id) for experiment in store.experiments()]
    for number in sorted(numbers, key=lambda each: (each < start, each)):
        if not upkeep.spare():
            return str(number)
        try:
            compact(call, str(number), upkeep, least=LEAST)
        except ModelwrightError as trouble:
            troubles.append(trouble)
    return "0"
