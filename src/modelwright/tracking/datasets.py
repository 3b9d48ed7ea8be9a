"""Which datasets an experiment's runs read, and as what: the list that the runs table of the UI filters by.

=============  ===========================  =======================  ==================
entity         pk                           sk                       access pattern
=============  ===========================  =======================  ==================
dataset's use  ``WS#<ws>#EXPERIMENT#<id>``  ``DATASET_USE#<hash>``   list
=============  ===========================  =======================  ==================

A use is a dataset in a context, however many runs read it so; the list is as long as there are such pairs, and does not
get longer by runs. It is never made shorter: a dataset whose runs are gone stays known, as in MLflow.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.log import Log
from modelwright.protocol import Message, Texts
from modelwright.storage import Anything, Blobs, Item, Put, Tables, every
from modelwright.tracking.messages import DatasetInput
from modelwright.tracking.store import TABLE
from modelwright.tracking.validation import checked_experiment_id

CONTEXT: Final = "mlflow.data.context"
_EXPERIMENTS_LIMIT, _SUMMARIES_LIMIT = 20, 1000


class SearchDatasets(Message):
    """``experiments/search-datasets``."""

    experiment_ids: Texts = ()


def remember(call: Call, experiment_id: str, inputs: Iterable[DatasetInput], *, tables: Tables) -> None:
    """Remember the uses that a run makes of datasets; again is the same."""
    items = {item["sk"]: item for item in (_item(call, experiment_id, each) for each in inputs)}
    for item in items.values():
        tables.write([Put(TABLE, item, Anything())])


def search(call: Call, message: SearchDatasets, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return the uses of datasets in some experiments, by name, digest and context."""
    if not message.experiment_ids:
        raise InvalidInput("SearchDatasets request must specify at least one experiment_id.")
    if (count := len(message.experiment_ids)) > _EXPERIMENTS_LIMIT:
        raise InvalidInput(
            f"SearchDatasets request cannot specify more than {_EXPERIMENTS_LIMIT} experiment_ids. "
            f"Received {count} experiment_ids."
        )
    experiments = [checked_experiment_id(identity) for identity in dict.fromkeys(message.experiment_ids)]
    for identity in experiments:
        call.authorise("runs:read", f"experiment/{identity}")
    found = (summary for identity in experiments for summary in _summaries(call, identity, tables))
    return {"dataset_summaries": list(islice(found, _SUMMARIES_LIMIT))}


def _summaries(call: Call, experiment_id: str, tables: Tables) -> Iterator[dict[str, str]]:
    items = every(tables, TABLE, _pk(call, experiment_id), prefix="DATASET_USE#")
    names = ("name", "digest", "context")
    for use in sorted(tuple(str(item[name]) for name in names) for item in items):
        yield {"experiment_id": experiment_id} | {k: v for k, v in zip(names, use, strict=True) if v}


def _item(call: Call, experiment_id: str, used: DatasetInput) -> Item:
    context = next((tag.value for tag in used.tags if tag.key == CONTEXT), "")
    use = {"name": used.dataset.name, "digest": used.dataset.digest, "context": context}
    digest = hashlib.sha256(json.dumps(list(use.values())).encode()).hexdigest()[:32]
    return {"pk": _pk(call, experiment_id), "sk": f"DATASET_USE#{digest}", **use}


def _pk(call: Call, experiment_id: str) -> str:
    return f"WS#{call.workspace}#EXPERIMENT#{experiment_id}"
