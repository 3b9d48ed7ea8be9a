"""What a training of several steps makes on the way, kept beside the model to be: the next step may run elsewhere.

``<workspace>/trainings/<training id>/drafts/`` of the artifacts bucket; nothing reads it once the training is over.
"""

from collections.abc import Callable
from dataclasses import dataclass

from modelwright.errors import NotFound
from modelwright.storage import Blobs

_SECONDS = "seconds"
_ATTEMPT = "attempt"


@dataclass(frozen=True)
class Drafts:
    """The drafts of a training.

    Attributes:
        prefix: where they lie; empty: nothing is kept.
        lap: the seconds since what was kept before.
        attempt: which keeps them.
    """

    blobs: Blobs
    prefix: str
    lap: Callable[[], float]
    attempt: str = ""

    def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return what was kept under a name, or else make it and keep it."""
        if not self.prefix:
            return make()
        try:
            return self.blobs.get("artifacts", self.prefix + name).body
        except NotFound:
            body = make()
        self.blobs.put(
            "artifacts", self.prefix + name, body, metadata={_SECONDS: repr(self.lap()), _ATTEMPT: self.attempt}
        )
        return body

    def seconds(self) -> dict[str, float]:
        """Return how long what is kept took to make, by the attempt that kept it."""
        found: dict[str, float] = {}
        for line in self.blobs.list("artifacts", self.prefix) if self.prefix else ():
            said = self.blobs.get("artifacts", line.key).metadata
            name = said.get(_ATTEMPT, "")
            found[name] = found.get(name, 0.0) + float(said.get(_SECONDS, "0"))
        return found
