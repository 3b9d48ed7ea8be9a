"""What strangers say: values by the name of a field, half of them sensible, so that requests get far."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

WILD_TEXTS = (
    "", " ", "a", "0", "-1", "1e400", "NaN", "null", "..", "../..", "/", "//x", "a/../b", "%2e%2e", "%",
    "a%00b", "\ud800".encode("utf-8", "replace").decode(), "\x00", "é" * 300, "x" * 501, "x" * 9000, "日本語",
    "'", '"', "`", "\\", "a:b", "#", "WS#other#RUN", "~", "🦆", "a\nb", "٣", "²", "99999999999999999999999",
    "m-", "models:/", "runs:/x/y", "s3://b/k", "mlflow-artifacts:/0/../x", "file:///etc/passwd",
    "http://127.0.0.1/", "dbfs:/x", "-0", "0x10", "1_000",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 5, 100, 1000, 25_000, 50_000, 50_001, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64,
    10**40, 10**400, 1_760_000_000_000,
)  # fmt: skip
FLOATS = (0.0, -0.0, 0.5, 1.5, -2.25, 1e308, 5e-324, 1e-400, "NaN", "Infinity", "-Infinity", "nan", "1e999", "0.1", "x")
FILTERS = (
    "",
    *"""\
metrics.acc > 0.5
metrics.acc >= 'x'
metrics.`a b` < 1e5
params.lr = '0.1'
params.lr LIKE '%1%'
tags.team ILIKE 'A%'
tags."x y" != 'z'
tags.mlflow.parentRunId IS NULL
params.x IS NOT NULL
attributes.status = 'FINISHED'
attributes.start_time > 0
run_id IN ('a','b')
run_id = 'a'
name = 'churn'
name ILIKE '%'
datasets.name = 'd'
dataset.digest LIKE '_'
Created > 1
creation_time > 0 AND name != 'x'
tags.team = 'a' AND metrics.acc > 0 AND params.lr = '0.1'
metrics.acc > 0.5 OR 1 = 1
metrics.acc
= 'x'
((
'
metrics.acc > NaN
metrics.acc = inf
run_id IN ()
run_id IN ('a'
name = 'x' -- y
/* */
;
version_number > 0
source_path LIKE 's3%'
model_id = 'm'
attributes.nothing = '1'
params. = '1'
tags.`` = '1'
""".splitlines(),
)
ORDERS = (
    "",
    *"""\
metrics.acc DESC
params.lr
start_time ASC
attributes.start_time DESC
tags.`a b` ASC
name DESC
creation_time
last_updated_timestamp ASC
metrics.acc DESC NULLS
x
metrics.acc, params.lr
run_id DESC
version_number ASC
datasets.name
""".splitlines(),
)
GRAPHS = (
    'query testQuery {mlflowGetExperiment(input: {experimentId: "1"}) { experiment { name } }}',
    'query testQuery {test(inputString: "abc") { output }}',
    "query GetRun($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { run { info { status } } } }",
    'query Q {mlflowSearchRuns(input: {experimentIds: ["1"]}) { runs { info { runId } data { metrics { value } } } } }',
    "{", "{}", "query {a{b{c{d{e{f{g{h{i{j{k{l}}}}}}}}}}}}", "mutation M { x }", "", "fragment F on X { a }",
)  # fmt: skip
NAMES = ("churn", "churn", "churn", "flights", "a", "other", "Default")
KEYS = (
    "acc",
    "acc",
    "lr",
    "team",
    "loss",
    "lr",
    "team",
    "mlflow.runName",
    "mlflow.user",
    "a/b",
    "k.1",
    "mlflow.modelVersions",
)
WORDS: Mapping[str, Sequence[str]] = {
    "view_type": ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"),
    "run_view_type": ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"),
    "status": ("RUNNING", "FINISHED", "KILLED", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"),
    "stage": ("None", "Staging", "Production", "Archived", "production", "staging"),
    "stages": ("None", "Staging", "Production"),
    "to": ("staging", "canary", "production", "archived"),
    "version": ("1", "1", "1", "2"),
    "alias": ("champion", "challenger", "latest", "v1"),
    "aliases": ("champion", "challenger"),
    "role": ("admin", "reader"),
    "effect": ("allow", "deny"),
    "path": ("0", "model", "model/MLmodel", "a.txt", "models"),
    "artifact_directory_path": ("", "model", "a/b"),
    "artifact_file_path": ("MLmodel", "model/MLmodel"),
    "field_name": ("metrics.acc", "creation_timestamp", "name"),
    "model_type": ("", "sklearn"),
    "source": ("s3://b/k", "models:/churn/1", "runs:/x/model", "mlflow-artifacts:/0/x", "{}"),
    "artifact_location": ("", "s3://bucket/x", "mlflow-artifacts:/x"),
    "arn": ("arn:aws:iam::111122223333:role/eve", "arn:aws:sts::111122223333:assumed-role/eve/s"),
    "query": GRAPHS,
    "operationName": ("GetRun", "MlflowGetExperimentQuery", "testQuery", ""),
    "upload_id": ("u",),
    "num_parts": ("1", "2"),
    "filter": FILTERS,
    "filter_string": FILTERS,
    "order_by": ORDERS,
    "name": NAMES,
    "new_name": NAMES,
    "experiment_name": NAMES,
    "key": KEYS,
    "metric_key": KEYS,
}


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any], times: int) -> st.SearchStrategy[Any]:
    """Return what is usual so many times as often as what is odd (``one_of`` counts the same thing once)."""
    return st.sampled_from((usual,) * times + (odd,)).flatmap(lambda chosen: chosen)


@cache
def anything() -> st.SearchStrategy[Any]:
    """Return any JSON, some of it odd."""
    leaf = st.one_of(
        st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(WILD_TEXTS), st.text(max_size=5)
    )
    small = st.recursive(
        leaf, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3)
    )
    return mostly(small, st.sampled_from((200, 900)).map(_deep), 9)


@dataclass(frozen=True)
class Name:
    """The name of something that exists, which is known only when the request is sent."""

    kind: str
    number: int

    def among(self, known: Mapping[str, Sequence[str]]) -> str:
        """Return the name that is meant."""
        names = known[self.kind]
        return names[self.number % len(names)]


KINDS = {
    "experiment_id": "experiments", "experiment_ids": "experiments", "run_id": "runs", "run_uuid": "runs",
    "run_ids": "runs", "source_run_id": "runs", "model_id": "models", "page_token": "tokens", "<path>": "paths",
}  # fmt: skip
_FORGED: tuple[Any, ...] = ({"offset": -1}, {"offset": 10**30}, {"offset": "x"}, [], {"pk": "a"}, [1, 2, 3], "x", None)


@cache
def text(name: str) -> st.SearchStrategy[Any]:
    """Return texts for a field, by its name; a ``Name`` stands for what exists."""
    wild = st.one_of(st.sampled_from(WILD_TEXTS), st.text(max_size=12))
    if name == "page_token":
        forged = [base64.urlsafe_b64encode(json.dumps(token).encode()).decode() for token in _FORGED]
        wild = st.one_of(wild, st.sampled_from(forged))
    sensible: st.SearchStrategy[Any] = st.sampled_from(WORDS.get(name, ("a", "b", "0.1")))
    if name in KINDS:
        sensible = st.integers(0, 7).map(lambda number: Name(KINDS[name], number))
    return mostly(sensible, wild, 15)
