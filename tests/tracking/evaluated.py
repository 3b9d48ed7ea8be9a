"""What ``mlflow.genai.datasets`` does with the stock client; run by ``test_evaluation_datasets.py``."""

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.genai import datasets

client = MlflowClient()
first, second = (mlflow.create_experiment(name) for name in ("first", "second"))
made = datasets.create_dataset(name="questions", experiment_id=[first], tags={"team": "x", "round": 1})
assert (made.experiment_ids, made.tags["team"], made.tags["round"]) == ([first], "x", "1")
assert made.to_df().empty

made.merge_records([{"inputs": {"question": str(n)}, "expectations": {"answer": n}} for n in range(1200)])
made.merge_records([{"inputs": {"question": "0"}, "outputs": "zero", "tags": {"kind": "hard"}}])
found = datasets.get_dataset(dataset_id=made.dataset_id)
assert found.profile == '{"num_records": 1200}'
table = found.to_df()
assert list(table["inputs"]) == [{"question": str(n)} for n in range(1200)]
assert (table["outputs"][0], table["expectations"][0], table["tags"][0]["kind"]) == ("zero", {"answer": 0}, "hard")
assert set(table["source_type"]) == {"HUMAN"}
with pytest.raises(MlflowException, match="granularity"):
    found.merge_records([{"inputs": {"goal": "a", "persona": "b"}}])
assert found.delete_records(list(table["dataset_record_id"][:1199])) == 1199
assert list(found.to_df()["inputs"]) == [{"question": "1199"}]

assert datasets.add_dataset_to_experiments(made.dataset_id, [second]).experiment_ids == [first, second]
assert datasets.remove_dataset_from_experiments(made.dataset_id, [first]).experiment_ids == [second]
datasets.set_dataset_tags(dataset_id=made.dataset_id, tags={"team": "y", "old": "1"})
datasets.delete_dataset_tag(dataset_id=made.dataset_id, key="old")
assert datasets.get_dataset(name="questions").dataset_id == made.dataset_id
other = client.create_dataset("answers", experiment_id=first)
assert [d.name for d in datasets.search_datasets(experiment_ids=[first, second], order_by=["name ASC"])] == [
    "answers",
    "questions",
]
assert [d.name for d in client.search_datasets(filter_string="tags.team = 'y' AND name LIKE 'ques%'")] == ["questions"]
assert [d.name for d in client.search_datasets(experiment_ids=[first])] == ["answers"]
datasets.delete_dataset(dataset_id=made.dataset_id)
with pytest.raises(MlflowException, match="not found"):
    datasets.get_dataset(dataset_id=made.dataset_id)
