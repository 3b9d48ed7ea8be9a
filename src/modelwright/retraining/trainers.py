"""Who trains: plugins of the group ``modelwright.trainers``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

GROUP = "modelwright.trainers"


@dataclass(frozen=True, slots=True)
class Job:
    """A training to start.

    Attributes:
        training_id: names it; to start a training twice must do no harm.
    """

    workspace: str
    training_id: str
    model: str


class Trainer(Protocol):
    """Starts trainings; made with the function's ``MODELWRIGHT_*`` variables."""

    def start(self, job: Job) -> str:
        """Start a job and return what names it there; it is not waited for.

        Raises:
            Unavailable: the job was not taken.
        """
        ...


Trainers = Callable[[str], Trainer]
"""Returns a trainer by name; raises ``PluginError``."""

TrainerClass = Callable[[Mapping[str, str]], Trainer]
"""What an entry point of the group names."""
