"""Events of the feature store: joins, backfills, proofs of parity, freshness, erasure."""

from datetime import datetime

from modelwright.events.envelope import Event, Value, Window


class HistoricalFeaturesRequested(Event):
    """Somebody wants features of many entities as of their times, and does not wait for the answer.

    Attributes:
        query_key: object in the lake with what is asked.
        rows: how many entity rows there are; 0 where nobody counted.
        engine: name of the plugin that joins.
    """

    job_id: str
    query_key: str
    rows: int
    engine: str


class HistoricalFeaturesSaved(Event):
    """The answer lies in the lake under its content's digest.

    Attributes:
        features: names of its columns that are features.
        as_of: what became known later is not in it.
    """

    job_id: str
    digest: str
    key: str
    rows: int
    features: tuple[str, ...]
    as_of: datetime


class HistoricalFeaturesFailed(Event):
    """There is no answer.

    Attributes:
        reason: why, without a word of the entities or rows; the job itself tells more.
    """

    job_id: str
    reason: str


class BackfillRequested(Event):
    """Views of a source are to be computed again from the offline store, and put online.

    Attributes:
        views: which; empty for all of the source.
        window: of event times; None for everything.
    """

    backfill_id: str
    source: str
    views: tuple[str, ...]
    window: Window | None


class BackfillCompleted(Event):
    """A backfill is over; ``reason`` says why if it failed."""

    backfill_id: str
    source: str
    rows: int
    online_items: int
    reason: str = ""


class RowsHeld(Event):
    """Rows of an accepted upload whose features could not be computed: they are kept, and served to nobody.

    Attributes:
        key: object in the lake with the rows and what was wrong with each.
        reasons: kinds of faults, each with the columns and where in that object, from 1; no values.
    """

    source: str
    upload_key: str
    rows: int
    key: str
    reasons: tuple[str, ...]


class ParityRequested(Event):
    """Serving and training of a feature service are to be compared; ``ParityProven`` or ``ParityFailed`` follow.

    Attributes:
        pairs: how many random (entity, time) pairs of the history are served again.
        since: logged answers and times from here on; None: of the last week.
    """

    proof_id: str
    service: str
    pairs: int
    since: datetime | None


class ParityDifference(Value):
    """Values that differ between serving and training.

    Attributes:
        cause: what explains them, or ``unexplained``.
    """

    feature: str
    cause: str
    count: int


class ParityProven(Event):
    """What was served and what is trained on are equal to the bit, in every value that was compared.

    Attributes:
        service: feature service or model.
        digest: of the report, which lies under it.
        rows: how many were compared.
        values: how many values that was.
        project: digest of the project whose features they are.
        features: which were compared.
    """

    service: str
    digest: str
    key: str
    rows: int
    values: int
    window: Window
    project: str = ""
    features: tuple[str, ...] = ()


class ParityFailed(Event):
    """What was served and what is trained on differ; see ``ParityProven``."""

    service: str
    digest: str
    key: str
    rows: int
    values: int
    window: Window
    differences: tuple[ParityDifference, ...]
    project: str = ""
    features: tuple[str, ...] = ()


class FreshnessBroken(Event):
    """No row of a view became known for longer than it declares.

    Attributes:
        newest: when the last one did; None if there never was one.
        limit: what is declared, such as ``2h``.
    """

    view: str
    newest: datetime | None
    limit: str


class FreshnessRestored(Event):
    """A view that was not fresh is so again; ``newest`` is None where nobody waits for its rows any more."""

    view: str
    newest: datetime | None


class ExpectationBroken(Event):
    """A feature's values are not what its view expects."""

    view: str
    feature: str
    text: str
    window: Window


class ExpectationMet(Event):
    """A feature's values, that were not what its view expects, are so again, or nobody expects it any more."""

    view: str
    feature: str
    window: Window


class DatasetRewritten(Value):
    """A saved dataset that held a subject, and the one without it; empty where nothing was left."""

    digest: str
    replaced_by: str


class ErasureRequested(Event):
    """A subject's data is to be removed.

    Attributes:
        entity: name of the join keys, joined by ``,``.
        subject: HMAC-SHA256 of the key's spelling under the salt of this erasure, which goes with the receipt.
    """

    erasure_id: str
    entity: str
    subject: str


class SubjectErased(Event):
    """A subject's data is removed from everything that lives; backups expire at ``backups_until``.

    Attributes:
        receipt_key: the receipt in the lake.
        rows: how many were removed, by place.
        datasets: which were rewritten.
        models: versions that were trained with the subject, as ``model/version``.
    """

    erasure_id: str
    entity: str
    subject: str
    receipt_key: str
    rows: dict[str, int]
    datasets: tuple[DatasetRewritten, ...]
    models: tuple[str, ...]
    backups_until: datetime
