"""How a model folder is read, asked and written: MLflow's layout, one plugin per flavor.

A folder holds ``MLmodel`` (YAML) and the files it names. Of the flavors that ``MLmodel`` lists, the
first that is installed (group ``modelwright.flavors``) loads it; ``sklearn`` is ours, and so is what
our own trainer writes. A loaded model is a function from a frame (one column per input, in order) to
one probability per row, which must depend on that row alone, **to the bit**: batched matrix
products do not (a row's sum is taken in another order at the edge of a batch), so ``sklearn`` scores
in blocks of one size, the last one filled up, and in one thread: small parallel loops also wait for their
slowest thread at each tree, which on a busy machine costs a hundred times what they save.

pandas, scikit-learn and PyYAML are imported when a model is opened, not before.
"""

import hashlib
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelwright.errors import NotFound, PluginError, Unavailable
from modelwright.storage import Blobs

if TYPE_CHECKING:
    import pandas as pd

BLOCK_ROWS = 512
MODEL_FILE = "model.pkl"

Folder = Callable[[str], bytes]
"""Returns the bytes of a file of the model folder; raises ``NotFound``."""

SingleThread = Callable[[], AbstractContextManager[Any]]

Scorer = Callable[["pd.DataFrame"], list[float]]
"""Returns the probability of each row of a frame, or, wrapped as ``Numbers``, a number of any size."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A scorer whose answers are no probabilities: of a regression, a forecast or a ranking."""

    scorer: Scorer

    def __call__(self, frame: "pd.DataFrame") -> list[float]:
        """Return a number for each row of a frame."""
        return self.scorer(frame)


class Flavor(Protocol):
    """Loads the models of one flavor; made without arguments."""

    def load(self, read: Folder, options: dict[str, Any]) -> Scorer:
        """Return the scorer.

        Args:
            read: the folder.
            options: what ``MLmodel`` says under the flavor's name.

        Raises:
            PluginError: the folder is not what the flavor expects.
        """
        ...


Flavors = Callable[[str], Flavor]
"""Returns a flavor by name; raises ``PluginError``."""


class Sklearn:
    """Pickled estimators: with ``predict_proba`` the probability of the second class is the score.

    What has no classes either, only ``predict``, gives numbers.
    """

    def load(self, read: Folder, options: dict[str, Any]) -> Scorer:
        """See ``Flavor``."""
        try:
            # A version's artifacts are written by those who may train; ``read`` refuses what was put there later.
            estimator = pickle.loads(read(str(options.get("pickled_model", MODEL_FILE))))  # noqa: S301
        except (pickle.UnpicklingError, ImportError, AttributeError, EOFError, ValueError, TypeError) as error:
            raise PluginError(f"its pickle does not load: {type(error).__name__}: {error}") from error
        if hasattr(estimator, "predict_proba"):
            return _in_blocks(lambda block: estimator.predict_proba(block)[:, 1].tolist(), single_thread())
        if hasattr(estimator, "classes_") or not hasattr(estimator, "predict"):
            raise PluginError(f"a {type(estimator).__name__} has no predict_proba")
        numbers = _in_blocks(lambda block: [float(value) for value in estimator.predict(block)], single_thread())
        return Numbers(numbers)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model in memory.

    Attributes:
        digest: of its pickle or, for other flavors, of ``MLmodel``.
    """

    name: str
    digest: str
    scorer: Scorer

    @property
    def probabilities(self) -> bool:
        """Whether its scores are probabilities."""
        return not isinstance(self.scorer, Numbers)

    def score(self, frame: "pd.DataFrame") -> list[float]:
        """Return one probability, or number, per row.

        Raises:
            Unavailable: the model cannot score this frame, or what it says are no probabilities (finite numbers).
        """
        try:
            scores = self.scorer(frame)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise Unavailable(f"{self.name} cannot score: {type(error).__name__}: {error}") from error
        if len(scores) != len(frame) or not all(map(self._fits, scores)):
            meant = "probabilities" if self.probabilities else "finite numbers"
            raise Unavailable(f"{self.name} gave {len(scores)} scores for {len(frame)} rows, or no {meant}")
        return scores

    def _fits(self, score: float) -> bool:
        return math.isfinite(score) and (not self.probabilities or 0.0 <= score <= 1.0)


def open_model(name: str, artifact_key: str, *, digest: str, blobs: Blobs, flavors: Flavors) -> OpenModel:
    """Load a model folder.

    Args:
        name: for messages, e.g. ``flights v3``.
        artifact_key: the folder's prefix in the artifacts bucket, ending in ``/``.
        digest: SHA-256 that the registry knows of ``model.pkl``. No file but ``MLmodel`` is then read that has
            another, so that nothing is executed that was put there later, under whatever name. Empty: unknown.
        blobs: where it lies.
        flavors: the plugins.

    Raises:
        Unavailable: it does not load; the text says which model and why.
    """

    def folder(file: str) -> bytes:
        return blobs.get("artifacts", artifact_key + file).body

    return open_folder(name, folder, digest=digest, flavors=flavors)


def open_folder(name: str, folder: Folder, *, digest: str, flavors: Flavors) -> OpenModel:
    """Load a model from its folder, wherever that lies; as ``open_model``."""
    import yaml

    digests = {}

    def read(file: str) -> bytes:
        body = folder(file)
        found = digests[file] = hashlib.sha256(body).hexdigest()
        if digest and file != "MLmodel" and found != digest:
            raise Unavailable(f"{name} does not load: {file} has the digest {found}, the registry knows {digest}")
        return body

    try:
        listed = (yaml.safe_load(read("MLmodel")) or {}).get("flavors") or {}
        flavor, options = _choose(listed, flavors)
        scorer = flavor.load(read, options)
    except (NotFound, PluginError, yaml.YAMLError, AttributeError) as error:
        raise Unavailable(f"{name} does not load: {error}") from error
    return OpenModel(name, digests.get(MODEL_FILE, digests["MLmodel"]), scorer)


def single_thread() -> SingleThread:
    """Return what makes a block of code use one thread in all numeric libraries that are loaded by now."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    controller = ThreadpoolController()
    return lambda: controller.limit(limits=1)


def pickled(estimator: Any) -> bytes:
    """Return an estimator's bytes: the same for the same estimator, whatever was pickled before."""
    return pickle.dumps(estimator, protocol=5)


def mlmodel(
    run_id: str, *, inputs: Sequence[str], training_id: str, signature: Mapping[str, str] | None = None
) -> bytes:
    """Return the ``MLmodel`` file of a pickled scikit-learn estimator."""
    import platform

    import sklearn
    import yaml

    document = {
        "flavors": {
            "sklearn": {
                "code": None,
                "pickled_model": MODEL_FILE,
                "serialization_format": "pickle",
                "sklearn_version": sklearn.__version__,
            },
        },
        "metadata": {"modelwright_inputs": list(inputs), "modelwright_training_id": training_id},
        "python_version": platform.python_version(),
        "run_id": run_id,
        **({"signature": dict(signature)} if signature else {}),
    }
    return str(yaml.safe_dump(document, sort_keys=True)).encode()


def _choose(listed: dict[str, Any], flavors: Flavors) -> tuple[Flavor, dict[str, Any]]:
    reasons = []
    for name in sorted(listed):
        try:
            return flavors(name), dict(listed[name] or {})
        except PluginError as error:
            reasons.append(str(error))
    raise PluginError("; ".join(reasons) or "MLmodel lists no flavor")


def _in_blocks(score: Callable[["pd.DataFrame"], list[float]], alone: SingleThread) -> Scorer:
    def whole(frame: "pd.DataFrame") -> list[float]:
        scores: list[float] = []
        with alone():
            for start in range(0, len(frame), BLOCK_ROWS):
                rows = min(BLOCK_ROWS, len(frame) - start)
                positions = [start + (n if n < rows else 0) for n in range(BLOCK_ROWS)]
                scores += score(frame.iloc[positions])[:rows]
        return scores

    return whole
