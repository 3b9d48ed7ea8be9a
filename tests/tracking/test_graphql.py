"""``/graphql``, asked as MLflow's web interface asks, and otherwise."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright.events import ModelVersionCreated, ModelVersionDeleted, RegisteredModelChanged
from modelwright.governance.access import Grant
from modelwright.tracking.trainings import run_id_of

RUN = """
query GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.ExperimentRunTracking") {
  mlflowGetRun(input: $data) {
    apiError { helpUrl code message __typename }
    run {
      info { runName status runUuid experimentId artifactUri endTime lifecycleStage startTime userId __typename }
      experiment { experimentId name tags { key value } artifactLocation lifecycleStage lastUpdateTime __typename }
      modelVersions { status version name source __typename }
      data { metrics { key value step timestamp __typename } params { key value __typename } tags { key value } }
      inputs {
        datasetInputs {
          dataset { digest name profile schema source sourceType __typename }
          tags { key value __typename }
        }
        modelInputs { modelId }
      }
      outputs { modelOutputs { modelId step } __typename }
      __typename
    }
    __typename
  }
}
"""
EXPERIMENT = """
query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) {
  mlflowGetExperiment(input: $input) {
    apiError { code message }
    experiment {
      artifactLocation creationTime effectiveTraceArchivalRetention experimentId lastUpdateTime lifecycleStage name
      tags { key value }
      __typename
    }
  }
}
"""


def ask(desk: Desk, query: str, **variables: Any) -> Any:
    """Ask as the interface does; the answer has no errors."""
    said = desk.tracking.ok("POST", "/graphql", {"query": query, "variables": variables, "operationName": None})
    assert said["errors"] is None, said
    return said["data"]


def refused(desk: Desk, query: str, **variables: Any) -> list[str]:
    """Ask what has no answer, and return what was wrong."""
    said: dict[str, Any] = desk.tracking.ok("POST", "/graphql", {"query": query, "variables": variables})
    errors: list[str] = said["errors"]
    return errors


@pytest.fixture
def run(desk: Desk) -> str:
    identity = desk.run(desk.experiment(), run_name="first", tags=[{"key": "team", "value": "growth"}])
    metrics = [("auc", 0.5, 1, 3), ("odd", "NaN", 2, 0), ("big", "Infinity", 2, 2**40)]
    desk.log_batch(identity, metrics=metrics, params={"depth": "3"})
    dataset = {"name": "train", "digest": "d1", "source_type": "local", "source": "f.csv"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    body = {"run_id": identity, "datasets": [{"dataset": dataset, "tags": tags}], "models": [{"model_id": "m-1"}]}
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", body)
    desk.tracking.ok("POST", f"{API}/runs/outputs", {"run_id": identity, "models": [{"model_id": "m-2", "step": 7}]})
    return identity


def test_the_page_of_a_run_gets_all_that_it_asks_for(desk: Desk, run: str) -> None:
    said = ask(desk, RUN, data={"runId": run})["mlflowGetRun"]
    assert (said["__typename"], said["apiError"]) == ("MlflowGetRunResponse", None)
    found = said["run"]
    assert found["__typename"] == "MlflowRunExtension"
    assert found["info"] == {
        "runName": "first", "status": "RUNNING", "runUuid": run, "experimentId": "1", "endTime": "0",
        "artifactUri": f"mlflow-artifacts:/1/{run}/artifacts", "lifecycleStage": "active", "startTime": "1000",
        "userId": "", "__typename": "MlflowRunInfo",
    }  # fmt: skip
    assert (found["experiment"]["name"], found["experiment"]["tags"]) == ("churn", [])
    assert found["experiment"]["lastUpdateTime"].isdigit()
    assert {m["key"]: (m["value"], m["step"], m["timestamp"]) for m in found["data"]["metrics"]} == {
        "auc": (0.5, "3", "1"), "odd": (None, "0", "2"), "big": (1.7976931348623157e308, str(2**40), "2"),
    }  # fmt: skip
    assert found["data"]["params"] == [{"key": "depth", "value": "3", "__typename": "MlflowParam"}]
    assert {"key": "team", "value": "growth"} in found["data"]["tags"]
    assert found["inputs"]["datasetInputs"] == [
        {
            "dataset": {
                "digest": "d1", "name": "train", "profile": "", "schema": "", "source": "f.csv", "sourceType": "local",
                "__typename": "MlflowDataset",
            },
            "tags": [{"key": "mlflow.data.context", "value": "training", "__typename": "MlflowInputTag"}],
        }
    ]  # fmt: skip
    assert found["inputs"]["modelInputs"] == [{"modelId": "m-1"}]
    assert found["outputs"]["modelOutputs"] == [{"modelId": "m-2", "step": "7"}]
    assert found["modelVersions"] == []


def test_the_page_of_an_experiment_gets_all_that_it_asks_for(desk: Desk) -> None:
    said = ask(desk, EXPERIMENT, input={"experimentId": desk.experiment()})["mlflowGetExperiment"]["experiment"]
    assert (said["experimentId"], said["name"], said["lifecycleStage"]) == ("1", "churn", "active")
    assert (said["artifactLocation"], said["tags"]) == ("mlflow-artifacts:/1", [])
    assert (said["creationTime"].isdigit(), said["effectiveTraceArchivalRetention"]) == (True, "")


def test_a_sample_payload_is_answered(desk: Desk) -> None:
    answer = desk.functions["tracking"](sample("http-tracking-graphql.json"))
    assert json.loads(answer["body"])["data"]["mlflowGetExperiment"]["experiment"]["name"] == "Default"


def test_runs_are_searched_and_each_knows_its_experiment(desk: Desk, run: str) -> None:
    query = """query SearchRuns($data: MlflowSearchRunsInput!) { mlflowSearchRuns(input: $data) {
        runs { info { runUuid } experiment { name } modelVersions { name } } nextPageToken } }"""
    said = {"experimentIds": ["1"], "filter": "metrics.auc > 0.4", "runViewType": "ALL", "orderBy": ["start_time"]}
    found = ask(desk, query, data=said)["mlflowSearchRuns"]
    expected = {"info": {"runUuid": run}, "experiment": {"name": "churn"}, "modelVersions": []}
    assert found == {"runs": [expected], "nextPageToken": ""}
    inline = (
        f'mutation x {{ mlflowSearchRuns(input: {{experimentIds: ["1"]}}) {{ runs {{ info {{ runId }} }} }} }} # {run}'
    )
    assert ask(desk, inline)["mlflowSearchRuns"]["runs"] == [{"info": {"runId": run}}]


def test_charts_get_the_history_of_a_metric_with_nan_as_null(desk: Desk, run: str) -> None:
    query = """query GetMetricHistoryBulkInterval($data: MlflowGetMetricHistoryBulkIntervalInput!) {
        mlflowGetMetricHistoryBulkInterval(input: $data) {
            metrics { timestamp step runId key value } apiError { code } } }"""
    told = {"runIds": [run], "metricKey": "odd", "startStep": None, "endStep": None, "maxResults": 320}
    said = ask(desk, query, data=told)["mlflowGetMetricHistoryBulkInterval"]
    point = {"timestamp": "2", "step": "0", "runId": run, "key": "odd", "value": None}
    assert said == {"metrics": [point], "apiError": None}


def test_datasets_and_files_are_listed(desk: Desk, run: str) -> None:
    asked = "datasetSummaries { name digest context }"
    query = f'mutation m {{ mlflowSearchDatasets(input: {{experimentIds: ["1"]}}) {{ {asked} }} }}'
    assert ask(desk, query)["mlflowSearchDatasets"]["datasetSummaries"] == [
        {"name": "train", "digest": "d1", "context": "training"}
    ]
    desk.blobs.put("artifacts", f"default/1/{run}/artifacts/a.txt", b"12")
    desk.blobs.put("artifacts", f"default/1/{run}/artifacts/b/c.txt", b"12")
    query = f'{{ files: mlflowListArtifacts(input: {{runId: "{run}"}}) {{ files {{ path isDir fileSize }} }} }}'
    assert ask(desk, query)["files"]["files"] == [
        {"path": "a.txt", "isDir": False, "fileSize": "2"},
        {"path": "b", "isDir": True, "fileSize": "0"},
    ]


def test_only_what_is_asked_for_is_answered_under_the_name_it_is_asked_by(desk: Desk, run: str) -> None:
    query = """query q($id: String, $no: Boolean!) {
        one: mlflowGetRun(input: {runId: $id}) { run { ...names ... on MlflowRunExtension { info { runId } } } }
        test(inputString: "abc") { output }
    }
    fragment names on MlflowRunExtension { info { runName status @include(if: $no) } }"""
    said = ask(desk, query, id=run, no=False)
    assert said == {"one": {"run": {"info": {"runName": "first", "runId": run}}}, "test": {"output": "abc"}}


def test_what_does_not_exist_is_told_beside_what_does(desk: Desk) -> None:
    query = '{ mlflowGetRun(input: {runId: "nope"}) { run { info { runId } } } test(inputString: "a") { output } }'
    said = desk.tracking.ok("POST", "/graphql", {"query": query})
    assert said["data"] == {"mlflowGetRun": None, "test": {"output": "a"}}
    assert said["errors"] == ["Run with id=nope not found"]


def test_wrong_questions_are_answered_by_what_is_wrong(desk: Desk) -> None:
    assert refused(desk, "{ nope }") == ["Cannot query field 'nope' on type 'Query'."]
    assert "required parameter 'experiment_id'" in refused(desk, "{ mlflowGetExperiment { experiment { name } } }")[0]
    assert "Variable '$data'" in refused(desk, RUN)[0]
    (fault,) = refused(desk, '{ mlflowSearchRuns(input: {experimentIds: ["1"], filter: "x"}) { nextPageToken } }')
    assert fault


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "'query'"),
        ({"query": 5}, "'query'"),
        ({"query": "{"}, "'query'"),
        ({"query": "{a" * 10_000}, "'query'"),
        ({"query": " " * 60_000}, "'query'"),
        ({"query": "{ test { output } }", "variables": 3}, "'variables'"),
        (b"x", "JSON"),
    ],
)
def test_what_is_no_query_is_refused(desk: Desk, body: Any, field: str) -> None:
    status, said = desk.tracking("POST", "/graphql", body)
    assert (status, field in said["message"]) == (400, True), said
    assert desk.tracking("POST", "/graphql", body, content_type="text/plain")[0] == 400


def test_one_request_does_not_do_the_work_of_many(desk: Desk) -> None:
    many = " ".join(f"k{n}: test {{ output }}" for n in range(12))
    assert "at most 10 root fields" in refused(desk, f"{{ {many} }}")[0]
    aliases = " ".join(f"k{n}: experiment {{ name }}" for n in range(12))
    assert "at most 10 aliases" in refused(desk, f"{{ mlflowGetExperiment {{ {aliases} }} }}")[0]
    deep = "name { " * 12 + "name" + " }" * 12
    assert "maximum depth of 10" in refused(desk, f"{{ mlflowGetExperiment {{ experiment {{ {deep} }} }} }}")[0]
    wide = " ".join(f"f{n}" for n in range(1002))
    assert "selections of 1000" in refused(desk, f"{{ mlflowGetExperiment {{ experiment {{ {wide} }} }} }}")[0]
    cycle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"
    assert "selections of 1000" in refused(desk, cycle)[0]
    doubling = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(20))
    assert (
        "selections of 1000"
        in refused(desk, f"{{ ...f0 }} {doubling} fragment f20 on Query {{ test {{ output }} }}")[0]
    )


def test_who_may_not_read_an_experiment_is_refused(desk: Desk, run: str) -> None:
    stranger = desk.as_caller("tracking", grants=(Grant(role="reader", resources="experiment/2"),))
    for query, said in ((RUN, {"data": {"runId": run}}), (EXPERIMENT, {"input": {"experimentId": "1"}})):
        status, answer = stranger("POST", "/graphql", {"query": query, "variables": said})
        assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert desk.as_caller("tracking", workspace="other")(
        "POST", "/graphql", {"query": RUN, "variables": {"data": {"runId": run}}}
    )[1]["errors"] == [f"Run with id={run} not found"]


EMPTY = Desk()
WORDS = (
    "query ",
    "mlflowGetRun",
    "mlflowGetExperiment",
    "(input: {",
    "runId: ",
    '"a"',
    "1",
    "on ",
    "fragment f ",
    "...f",
)


@given(text=st.lists(st.sampled_from([*WORDS, *"{}()[]:!$@.' \\#"])).map("".join))
@settings(max_examples=300, deadline=None)
def test_no_text_is_a_query_that_the_function_cannot_answer(text: str) -> None:
    status, said = EMPTY.tracking("POST", "/graphql", {"query": text})
    assert status in (200, 400)
    assert said.get("errors") or said.get("message") or said["data"]


# --- versions of models ------------------------------------------------------------------


def versions(desk: Desk, run: str) -> list[tuple[str, str]]:
    found = ask(desk, RUN, data={"runId": run})["mlflowGetRun"]["run"]["modelVersions"]
    assert {v["status"] for v in found} <= {"READY"}
    return [(v["name"], v["version"]) for v in found]


def created(run: str, version: int = 1) -> ModelVersionCreated:
    event: ModelVersionCreated = event_of("tracking-model-version-created.json", run_id=run, version=version)
    return event


def test_the_page_of_a_run_shows_the_versions_that_came_out_of_it(desk: Desk, run: str) -> None:
    desk.tell("tracking", created(run))
    desk.tell("tracking", created(run, 2))
    desk.tell("tracking", created("", 3))
    assert versions(desk, run) == [("flights", "1"), ("flights", "2")]
    desk.tell("tracking", ModelVersionDeleted(model="flights", version=1))
    assert versions(desk, run) == [("flights", "2")]
    desk.tell("tracking", RegisteredModelChanged(model="flights", change="renamed", new_name="delays"))
    assert versions(desk, run) == [("delays", "2")]


def test_versions_do_not_depend_on_the_order_in_which_events_come(desk: Desk, run: str) -> None:
    events = [
        (1, created(run)),
        (2, created(run, 2)),
        (3, RegisteredModelChanged(model="flights", change="renamed", new_name="delays")),
        (4, ModelVersionDeleted(model="delays", version=1)),
        (5, RegisteredModelChanged(model="delays", change="renamed", new_name="late")),
    ]
    for sequence, event in reversed(events):
        desk.tell("tracking", event, sequence=sequence)
        desk.tell("tracking", event, sequence=sequence)
    assert versions(desk, run) == [("late", "2")]
    desk.tell("tracking", RegisteredModelChanged(model="late", change="deleted"), sequence=6)
    assert versions(desk, run) == []


def test_versions_are_shown_to_who_may_read_their_model(desk: Desk, run: str) -> None:
    desk.tell("tracking", created(run))
    reader = desk.as_caller("tracking", grants=(Grant(role="reader", resources="experiment/*"),))
    said = reader.ok("POST", "/graphql", {"query": RUN, "variables": {"data": {"runId": run}}})
    assert said["data"]["mlflowGetRun"]["run"]["modelVersions"] == []


@pytest.mark.parametrize("version_first", [True, False])
def test_the_run_of_a_training_shows_its_version_by_either_id(desk: Desk, *, version_first: bool) -> None:
    event = event_of("tracking-training-completed.json")
    alias = run_id_of(event.training_id)
    told = [created(alias), event] if version_first else [event, created(alias)]
    for each in (*told, *told):
        desk.tell("tracking", each)
    assert versions(desk, alias) == versions(desk, desk.get_run(alias)["info"]["run_id"]) == [("flights", "1")]


def test_a_version_that_names_a_trainings_run_by_its_own_id_is_shown_too(desk: Desk) -> None:
    event = event_of("tracking-training-completed.json")
    desk.tell("tracking", event)
    alias = run_id_of(event.training_id)
    own = desk.get_run(alias)["info"]["run_id"]
    desk.tell("tracking", created(own))
    assert versions(desk, alias) == versions(desk, own) == [("flights", "1")]


def test_who_asks_no_query_does_not_wait_for_the_engine() -> None:
    script = "import sys, tracking.handler; sys.exit('graphql' in sys.modules)"
    functions = Path(__file__).parents[2] / "functions"
    done = subprocess.run([sys.executable, "-c", script], cwd=functions, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
