"""The gates we ship that need numpy, or the model itself: plugins of the group ``modelwright.gates.full``.

Only the function ``gates`` imports this module; the registry's own knows their names. They read what lay beside the
model when its version was made: ``predictions.parquet`` (what it and the champion said of held-out rows) and rows
that it can score.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelwright.artifacts import CHAMPION_KEY
from modelwright.errors import InvalidInput, Unavailable
from modelwright.events import GateResult
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry.comparisons import accuracy_difference, loss_difference
from modelwright.registry.gates import named, no, within, without_rival, yes
from modelwright.registry.trial import TIMED, attempt
from modelwright.statistics import Interval, auc_difference

_LOSSES = ("brier", "log_loss", "mae", "rmse")


class Compared(NamedTuple):
    """What two versions said of the same rows."""

    labels: NDArray[np.float64]
    challenger: NDArray[np.float64]
    champion: NDArray[np.float64]
    clusters: NDArray[np.int64] | None
    seed: int


class NotInferior:
    """Row by row, on the same held-out rows, the version is not worse than the champion beyond the tolerance.

    ``policy.comparison`` chooses the test: DeLong's for ``auc``, McNemar's for ``accuracy``, the paired bootstrap for
    ``brier``, ``log_loss``, ``mae`` and ``rmse``. Where rows come in clusters (days), all hold for rows that
    depend on each other within one. What decides is the worse end of the 95 % interval; the p-value says how
    easily a difference like this one comes by chance.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, metric = "not_inferior", policy.comparison
        if unrivalled := without_rival(candidate):
            return yes(gate, unrivalled)
        try:
            rows = _compared(candidate)
            difference, test = _difference(rows, metric)
        except InvalidInput as error:
            return no(gate, str(error))
        passed, text = within(difference.estimate(), metric, policy.tolerance)
        versus = f"v{candidate.version} against champion v{candidate.champion}"
        count = f"{len(rows.labels):,} held-out rows"
        said = f"{metric} of {versus} on {count} differs by {text} ({test}, p = {difference.p_value:.2g})"
        return GateResult(gate=gate, passed=passed, text=said)


class LatencyBudget:
    """The version's model loads as it does in serving, and scores a single row within the policy's time.

    Its file is the one that was pinned when the version was made. The figure is the median over many rows, each
    scored alone after some to warm up: of the model alone, without what the network and the feature store take.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "latency_budget", named(candidate)
        try:
            trial = attempt(candidate)
        except Unavailable as error:
            hint = "log it with a flavor that is installed here and with an input example, or train it on the platform"
            return no(gate, f"{error}: {hint}")
        text = f"{name} scores one row in {trial.ms:.2f} ms (median of {TIMED}, {trial.rows})"
        limit = f"at most {policy.max_latency_ms:g} ms are allowed"
        if not trial.ms <= policy.max_latency_ms:
            return no(gate, f"{text}; {limit}: make the model smaller, or raise max_latency_ms in the project")
        return yes(gate, f"{text}; {limit}")


# --- comparing ---------------------------------------------------------------------------


def _compared(candidate: Candidate) -> Compared:
    """Return the stored predictions; raises ``InvalidInput`` with what to do where they tell nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, again = named(candidate), "train it again, or log predictions.parquet beside the model"
    body = candidate.scored()
    if body is None:
        raise InvalidInput(f"nothing was kept of what {name} said of held-out rows: {again}")
    try:
        table = pq.read_table(pa.BufferReader(body), use_threads=False)
        columns = {each: _numbers(table, each) for each in ("label", "challenger", "champion")}
        clusters = _numbers(table, "cluster").astype(np.int64) if "cluster" in table.column_names else None
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise InvalidInput(f"predictions.parquet of {name} cannot be read ({error}): {again}") from error
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise InvalidInput(f"predictions.parquet of {name} lacks labels or scores, the champion's maybe: {again}")
    against = (table.schema.metadata or {}).get(CHAMPION_KEY.encode(), b"").decode(errors="replace")
    if not candidate.is_champion(against):
        text = f"was compared with {against[:16]}" if against else f"does not say by {CHAMPION_KEY} what it met"
        raise InvalidInput(f"{name} {text}, which champion v{candidate.champion} is not: {again}")
    distinct = None if clusters is None or len(np.unique(clusters)) < 2 else clusters
    seed = int.from_bytes(hashlib.sha256(body).digest()[:8], "big")
    return Compared(columns["label"], columns["challenger"], columns["champion"], distinct, seed)


def _numbers(table: Any, name: str) -> NDArray[np.float64]:
    import pyarrow as pa

    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _difference(rows: Compared, metric: str) -> tuple[Interval, str]:
    """Return challenger minus champion and the test's name; raises ``InvalidInput``."""
    y, a, b, clusters = rows.labels, rows.champion, rows.challenger, rows.clusters
    over = "" if clusters is None else f" over {len(np.unique(clusters))} clusters"
    if metric not in ("mae", "rmse") and not np.isin(y, (0.0, 1.0)).all():
        raise InvalidInput(f"{metric} compares labels of 0 and 1, these are others: compare by rmse or mae")
    if metric == "auc":
        return auc_difference(y, a, b, clusters), f"DeLong{over}"
    if metric == "accuracy":
        return accuracy_difference(y, a, b, clusters), f"McNemar{over}" if clusters is None else f"paired{over}"
    if metric in _LOSSES:
        return loss_difference(y, a, b, metric, clusters, seed=rows.seed), f"paired bootstrap{over}"
    raise InvalidInput(f"rows cannot be compared by {metric}: choose auc, accuracy, {', '.join(_LOSSES)}")
