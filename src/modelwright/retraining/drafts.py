"""What a training of several steps makes on the way, kept beside the model to be: the next step may run elsewhere.

``<workspace>/trainings/<training id>/drafts/`` of the artifacts bucket; nothing reads it once the training is over.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from modelwright.errors import NotFound
from modelwright.storage import Blobs

_SECONDS = "seconds"


@dataclass(frozen=True)
class Drafts:
    """The drafts of a training.

    Attributes:
        prefix: where they lie; empty: nothing is kept.
        lap: the seconds since what was kept before.
    """

    blobs: Blobs
    prefix: str
    lap: Callable[[], float]

    def kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return what was kept under a name, or else make it and keep it."""
        if not self.prefix:
            return make()
        try:
            return self.blobs.get("artifacts", self.prefix + name).body
        except NotFound:
            body = make()
        self.blobs.put("artifacts", self.prefix + name, body, metadata={_SECONDS: repr(self.lap())})
        return body

    def seconds(self) -> float:
        """Return how long what is kept took to make."""
        if not self.prefix:
            return 0.0
        listed = [line.key for line in self.blobs.list("artifacts", self.prefix)]
        return math.fsum(float(self.blobs.get("artifacts", key).metadata.get(_SECONDS, "0")) for key in listed)
