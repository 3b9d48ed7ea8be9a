"""Where the feature store keeps what, and how times and names are spelled.

===============  ======================================  ====================  =======================================
entity           pk (table ``features``)                 sk                    access pattern
===============  ======================================  ====================  =======================================
manifest         ``WS#<ws>#SOURCE#<source>``             ``MANIFEST``          get: the partitions of the offline store
accepted object  ``WS#<ws>#SOURCE#<source>``             ``ACCEPTED#<digest>``  get: was this upload folded in?
pushed rows      ``WS#<ws>#SOURCE#<source>``             ``PUSHED#<digest>``   get: was this push taken, and when?
pushed online    ``WS#<ws>#SOURCE#<source>``             ``PUSHED#ONLINE#<digest>``  get: the same, never folded in
waiting rows     ``WS#<ws>#SOURCE#<source>``             ``PENDING#<digest>``  query by prefix: pushes to fold in
newest rows      ``WS#<ws>#ENTITY#<view>@<n>#<entity>``  ``LATEST``            batch get: a latest view's few newest
tiles            ``WS#<ws>#ENTITY#<view>@<n>#<entity>``  ``WINDOWS``           batch get: a window view's tiles
their parts      ``WS#<ws>#ENTITY#<view>@<n>#<entity>``  ``PART#<v>#<digest>``  batch get: of tiles beyond 300 KB
rows in tiles    ``WS#<ws>#ENTITY#<view>@<n>#<entity>``  ``FOLDED#<v>#<digest>``  batch get: is this row in the tiles?
saved dataset    ``WS#<ws>#DATASET#<digest>``            ``SAVED``             get: was this training set announced?
expectations     ``WS#<ws>#SOURCE#<source>``             ``EXPECTATIONS``      get: which features are not as expected?
proof of parity  ``WS#<ws>#PARITY#<service>``            ``<proof id>``        query: newest proofs; get: how is it?
freshness        ``WS#<ws>#FRESHNESS``                   ``VIEWS``             get: which views wait for rows?
adopted views    ``WS#<ws>#ADOPTED``                     ``VIEWS``             get: as what was each view filled?
===============  ======================================  ====================  =======================================

The lake holds ``offline/<ws>/<source>/<week>/<digest>.parquet`` (rows whose availability lies in that
week since 1970) beside ``<digest>.keys`` (their sorted row keys) and ``<digest>.summary`` (``summaries``), and
``pushed/<ws>/<source>/<digest>.json``.
Saved datasets lie in ``datasets/`` with what is said of each beside it (``datasets``); what a job was asked in
``jobs/`` and uploads for it in ``entities/``, until it is over (``jobs``).
What services answered lies in ``serving/`` (``serving_log``), proofs of parity in ``proofs/`` (``parity.report``).
All objects are immutable; the manifest says which ones count.

Times are integers: microseconds since 1970 in UTC; an *hour* is a number of hours since then.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from modelwright.project import View
from modelwright.storage import Key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
LATEST, WINDOWS = "LATEST", "WINDOWS"
PENDING = "PENDING#"


def micros(time: datetime) -> int:
    """Return a time as microseconds; naive means UTC."""
    return ((time.replace(tzinfo=UTC) if time.tzinfo is None else time) - EPOCH) // MICROSECOND


def moment(time_us: int) -> datetime:
    """Return microseconds as a time in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def arrival(now: datetime, identity: str) -> str:
    """Return text that sorts by when something came: domain time, then the ULID of its cause."""
    return f"{micros(now):017d}#{identity}"


def spelled(values: Sequence[object]) -> str:
    r"""Return the one spelling of a composite key: parts joined by ``|``, null is ``\\N``, times are microseconds."""
    return "|".join([_part(value) for value in values])


def row_key(values: Sequence[object]) -> int:
    """Return 64 bits that name a row by the values of its source's key columns (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(spelled(values).encode(), digest_size=8).digest(), "big")


def source_key(workspace: str, source: str, what: str) -> Key:
    """Return the key of an item about a source."""
    return Key(f"WS#{workspace}#SOURCE#{source}", what)


def entity_key(workspace: str, name: str, view: View, entity: str, what: str) -> Key:
    """Return the key of an item about an entity (in its one spelling) in a view."""
    return Key(f"WS#{workspace}#ENTITY#{name}@{view.version}#{entity}", what)


def pushed_path(workspace: str, source: str, digest: str) -> str:
    """Return where pushed rows lie in the lake."""
    return f"pushed/{workspace}/{source}/{digest}.json"


def partition_path(workspace: str, source: str, week: int, digest: str) -> str:
    """Return where a partition's rows lie in the lake; their keys have the same name with ``.keys``."""
    return f"offline/{workspace}/{source}/{week:05d}/{digest}.parquet"


def summary_path(path: str) -> str:
    """Return where what is said of a partition's values lies, beside it (``summaries``)."""
    return path.removesuffix(".parquet") + ".summary"


def dataset_path(workspace: str, digest: str) -> str:
    """Return where a saved training set lies in the lake."""
    return f"datasets/{workspace}/{digest}.parquet"


def about_path(workspace: str, digest: str) -> str:
    """Return where what is said of a saved dataset lies, beside it."""
    return f"datasets/{workspace}/{digest}.json"


def query_path(workspace: str, job_id: str) -> str:
    """Return where what a job was asked lies in the lake, until it is over."""
    return f"jobs/{workspace}/{job_id}.json"


def entities_path(workspace: str, upload: str) -> str:
    """Return where uploaded entities lie in the lake, until the job that is asked of them is over."""
    return f"entities/{workspace}/{upload}"


def _part(value: object) -> str:
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("|", "\\|") if "|" in value or "\\" in value else value
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(micros(value))
    return repr(value)
