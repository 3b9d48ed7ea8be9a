"""What is asked of both servers: every kind of call, and the errors that clients meet."""

from typing import Any

from peers.conversation import Step

API, AJAX = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts"
METRIC = {"run_id": "{run}", "key": "loss", "value": 0.5, "timestamp": 10, "step": 1}
DATASET = {"name": "train", "digest": "d1", "source_type": "local", "source": "f.csv", "schema": "{}"}
CONTEXT = [{"key": "mlflow.data.context", "value": "training"}]


def _post(name: str, path: str, body: Any, **more: Any) -> Step:
    return Step(name, "POST", f"{API}/{path}", body, **more)


def _get(name: str, path: str, **more: Any) -> Step:
    return Step(name, "GET", f"{API}/{path}", **more)


EXPERIMENTS = (
    _get("the default experiment is there", "experiments/get?experiment_id=0"),
    _post("create an experiment", "experiments/create", {"name": "churn"}, keep={"exp": "experiment_id"}),
    _post("create it again", "experiments/create", {"name": "churn"}),
    _post("create without a name", "experiments/create", {}),
    _post("create with a name that is no text", "experiments/create", {"name": 123}),
    _post("create with tags that are no list", "experiments/create", {"name": "x", "tags": "5"}),
    _post(
        "create one with tags and a place",
        "experiments/create",
        {"name": "placed", "artifact_location": "s3://b/c", "tags": [{"key": "a", "value": "1"}]},
        keep={"placed": "experiment_id"},
    ),
    _get("get an experiment", "experiments/get?experiment_id={exp}"),
    _get("get the placed one", "experiments/get?experiment_id={placed}"),
    Step(
        "get an experiment under version 3.0",
        "GET",
        "/api/3.0/mlflow/experiments/get?experiment_id={exp}",
        known="MLflow has each call under one version, we under both",
    ),
    Step("get an experiment as a browser does", "GET", f"{AJAX}/experiments/get?experiment_id={{exp}}"),
    _get("get an unknown experiment", "experiments/get?experiment_id=999"),
    _get("get an experiment by a wrong id", "experiments/get?experiment_id=x"),
    _get("get an experiment by no id", "experiments/get"),
    _get("get by name", "experiments/get-by-name?experiment_name=churn"),
    _get("get by an unknown name", "experiments/get-by-name?experiment_name=nope"),
    _post(
        "set an experiment's tag",
        "experiments/set-experiment-tag",
        {"experiment_id": "{exp}", "key": "k", "value": "v"},
    ),
    _post("set a tag without a key", "experiments/set-experiment-tag", {"experiment_id": "{exp}", "value": "v"}),
    _post("search experiments by tag", "experiments/search", {"filter": "tags.k = 'v'", "max_results": 5}),
    _get("search experiments as a browser does", "experiments/search?max_results=5&order_by=name%20ASC"),
    _post("search experiments by nonsense", "experiments/search", {"filter": "nope ~ 1", "max_results": 5}),
    _post("search no experiments", "experiments/search", {"max_results": 0}),
    _post("delete an experiment's tag", "experiments/delete-experiment-tag", {"experiment_id": "{exp}", "key": "k"}),
    _post("rename an experiment", "experiments/update", {"experiment_id": "{exp}", "new_name": "attrition"}),
    _post(
        "rename to a name that is taken",
        "experiments/update",
        {"experiment_id": "{exp}", "new_name": "placed"},
        known="MLflow calls it a BAD_REQUEST, we say that the name exists",
    ),
    _post("delete an experiment", "experiments/delete", {"experiment_id": "{placed}"}),
    _post("delete it again", "experiments/delete", {"experiment_id": "{placed}"}),
    _get("get a deleted experiment by name", "experiments/get-by-name?experiment_name=placed"),
    _post("create one by the name of a deleted one", "experiments/create", {"name": "placed"}),
    _post("begin a run in a deleted experiment", "runs/create", {"experiment_id": "{placed}"}),
    _post("restore an experiment", "experiments/restore", {"experiment_id": "{placed}"}),
    _post("restore it again", "experiments/restore", {"experiment_id": "{placed}"}),
    _post("create with a blank name", "experiments/create", {"name": " "}, known="MLflow takes blanks for a name"),
)
RUNS = (
    _post(
        "begin a run",
        "runs/create",
        {"experiment_id": "{exp}", "run_name": "first", "start_time": 1, "user_id": "ann", "tags": CONTEXT},
        keep={"run": "run.info.run_id"},
    ),
    _post("begin a run in an unknown experiment", "runs/create", {"experiment_id": "999", "run_name": "x"}),
    _post(
        "begin a run with two names",
        "runs/create",
        {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]},
    ),
    _get("get an unknown run", "runs/get?run_id=nope"),
    _get("get no run", "runs/get"),
    _post("log a param", "runs/log-parameter", {"run_id": "{run}", "key": "depth", "value": "3"}),
    _post("log it again", "runs/log-parameter", {"run_id": "{run}", "key": "depth", "value": "3"}),
    _post("log it changed", "runs/log-parameter", {"run_id": "{run}", "key": "depth", "value": "4"}),
    _post("log a param that is no text", "runs/log-parameter", {"run_id": "{run}", "key": "depth", "value": 4}),
    _post("log a param without a key", "runs/log-parameter", {"run_id": "{run}", "value": "4"}),
    _post("log a param with a key that climbs", "runs/log-parameter", {"run_id": "{run}", "key": "../x", "value": "4"}),
    _post("log a metric", "runs/log-metric", METRIC),
    _post("log a later one", "runs/log-metric", {**METRIC, "value": 0.25, "step": "2", "timestamp": "20"}),
    _post("log an earlier one", "runs/log-metric", {**METRIC, "value": 1, "step": -1}),
    _post("log not a number", "runs/log-metric", {**METRIC, "key": "nan", "value": "NaN"}),
    _post("log infinity", "runs/log-metric", {**METRIC, "key": "inf", "value": "-Infinity"}),
    _post("log a metric that is no number", "runs/log-metric", {**METRIC, "value": "x"}),
    _post("log a metric with a wrong step", "runs/log-metric", {**METRIC, "step": "x"}),
    _post("log a metric with no time", "runs/log-metric", {"run_id": "{run}", "key": "loss", "value": 1}),
    _post("log a metric with a key that is null", "runs/log-metric", {**METRIC, "key": None}),
    _post("log a metric to an unknown run", "runs/log-metric", {**METRIC, "run_id": "nope"}),
    _post(
        "log a batch",
        "runs/log-batch",
        {
            "run_id": "{run}",
            "metrics": [{"key": f"m{n}", "value": n, "timestamp": 1, "step": n} for n in range(3)],
            "params": [{"key": "rate", "value": "0.1"}],
            "tags": [{"key": "team", "value": "growth"}],
        },
    ),
    _post(
        "log a batch of too many metrics",
        "runs/log-batch",
        {"run_id": "{run}", "metrics": [{"key": "a", "value": 1, "timestamp": 1}] * 1001},
    ),
    _post(
        "log a batch of too many params",
        "runs/log-batch",
        {"run_id": "{run}", "params": [{"key": f"p{n}", "value": "1"} for n in range(101)]},
    ),
    _post(
        "log a param twice in a batch",
        "runs/log-batch",
        {"run_id": "{run}", "params": [{"key": "q", "value": "1"}] * 2},
    ),
    _post("log a batch that is no list", "runs/log-batch", {"run_id": "{run}", "metrics": "foo"}),
    _post(
        "log a batch that lacks a time", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "a", "value": 1}]}
    ),
    _post("set a tag", "runs/set-tag", {"run_id": "{run}", "key": "a", "value": "b"}),
    _post("rename a run by its tag", "runs/set-tag", {"run_uuid": "{run}", "key": "mlflow.runName", "value": "second"}),
    _post("delete a tag", "runs/delete-tag", {"run_id": "{run}", "key": "a"}),
    _post("delete a tag that is not there", "runs/delete-tag", {"run_id": "{run}", "key": "a"}),
    _post("log inputs", "runs/log-inputs", {"run_id": "{run}", "datasets": [{"dataset": DATASET, "tags": CONTEXT}]}),
    _post("log inputs of no run", "runs/log-inputs", {"datasets": [{"dataset": DATASET}]}),
    _get("get a run", "runs/get?run_id={run}"),
    _get("get a run by its other name", "runs/get?run_uuid={run}"),
    _get("get a history", "metrics/get-history?run_id={run}&metric_key=loss"),
    _get("get a history of nothing", "metrics/get-history?run_id={run}&metric_key=none"),
    _get("get a history of no metric", "metrics/get-history?run_id={run}"),
    _get("sample histories", "metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=320"),
    _get("sample histories of no run", "metrics/get-history-bulk-interval?metric_key=loss&max_results=320"),
    _get("sample too many points", "metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=9999"),
    Step("search datasets", "POST", f"{AJAX}/experiments/search-datasets", {"experiment_ids": ["{exp}"]}),
    Step("search datasets of nothing", "POST", f"{AJAX}/experiments/search-datasets", {"experiment_ids": []}),
    _post(
        "search runs",
        "runs/search",
        {
            "experiment_ids": ["{exp}"],
            "filter": "metrics.loss < 1 and params.depth = '3'",
            "order_by": ["metrics.loss DESC"],
        },
    ),
    _post("search runs and find none", "runs/search", {"experiment_ids": ["{exp}"], "filter": "tags.a = 'b'"}),
    _post("search runs by nonsense", "runs/search", {"experiment_ids": ["{exp}"], "filter": "metrics.loss"}),
    _post(
        "search runs by an alternative",
        "runs/search",
        {"experiment_ids": ["{exp}"], "filter": "tags.a = 'b' OR tags.c = 'd'"},
    ),
    _post("search too many runs", "runs/search", {"experiment_ids": ["{exp}"], "max_results": 50_001}),
    _post("end a run", "runs/update", {"run_id": "{run}", "status": "FINISHED", "end_time": 99}),
    _post("delete a run", "runs/delete", {"run_id": "{run}"}),
    _post("log to a deleted run", "runs/log-metric", METRIC),
    _post("search deleted runs", "runs/search", {"experiment_ids": ["{exp}"], "run_view_type": "DELETED_ONLY"}),
    _post("restore a run", "runs/restore", {"run_id": "{run}"}),
)
FILES = (
    Step(
        "upload a note",
        "POST",
        f"{AJAX}/upload-artifact?run_uuid={{run}}&path=notes/n.txt",
        b"hello",
        headers={},
        known="MLflow's answer has no body, ours an empty object",
    ),
    Step("upload to no path", "POST", f"{AJAX}/upload-artifact?run_uuid={{run}}", b"hello", headers={}),
    Step("upload nothing", "POST", f"{AJAX}/upload-artifact?run_uuid={{run}}&path=x", b"", headers={}),
    Step(
        "upload to a path that climbs",
        "POST",
        f"{AJAX}/upload-artifact?run_uuid={{run}}&path=../x",
        b"hello",
        headers={},
    ),
    Step("upload to an unknown run", "POST", f"{AJAX}/upload-artifact?run_uuid=nope&path=x", b"hello", headers={}),
    _get("list a run's files", "artifacts/list?run_id={run}"),
    _get("list a run's folder", "artifacts/list?run_id={run}&path=notes"),
    _get("list a file", "artifacts/list?run_id={run}&path=notes/n.txt"),
    _get("list what is not there", "artifacts/list?run_id={run}&path=none"),
    _get("list a path that climbs", "artifacts/list?run_id={run}&path=../.."),
    _get("list the files of an unknown run", "artifacts/list?run_id=nope"),
    _get("list the files of no run", "artifacts/list"),
    Step("get a run's file", "GET", "/get-artifact?run_id={run}&path=notes/n.txt"),
    Step("get a folder", "GET", "/get-artifact?run_id={run}&path=notes"),
    Step("get a file that is not there", "GET", "/get-artifact?run_id={run}&path=none"),
    Step("get a path that climbs", "GET", "/get-artifact?run_id={run}&path=../x"),
    Step("get a file of an unknown run", "GET", "/get-artifact?run_id=nope&path=x"),
    Step(
        "put a file by its path",
        "PUT",
        f"{PROXY}/artifacts/{{exp}}/{{run}}/artifacts/a/b.txt",
        b"bytes",
        headers={},
        known="MLflow's answer has no body, ours an empty object",
    ),
    Step("get a file by its path", "GET", f"{PROXY}/artifacts/{{exp}}/{{run}}/artifacts/a/b.txt"),
    Step("get a file by a path that is not there", "GET", f"{PROXY}/artifacts/{{exp}}/{{run}}/artifacts/none"),
    Step("list by path", "GET", f"{PROXY}/artifacts?path={{exp}}/{{run}}/artifacts"),
    Step("list a file by path", "GET", f"{PROXY}/artifacts?path={{exp}}/{{run}}/artifacts/a/b.txt"),
    Step("list a path that climbs by path", "GET", f"{PROXY}/artifacts?path=../.."),
    Step("delete a file by its path", "DELETE", f"{PROXY}/artifacts/{{exp}}/{{run}}/artifacts/a"),
    Step("list by path what is left", "GET", f"{PROXY}/artifacts?path={{exp}}/{{run}}/artifacts"),
    Step(
        "ask for a URL to upload to",
        "POST",
        f"{API}/artifacts/presigned-upload-url",
        {"run_id": "{run}", "path": "x"},
        known="MLflow signs only for roots in somebody's own bucket, we for those in the platform's",
    ),
    Step(
        "ask for a URL of two things",
        "POST",
        f"{API}/artifacts/presigned-upload-url",
        {"run_id": "{run}", "model_id": "m-1", "path": "x"},
    ),
)
MODELS = (
    _post(
        "log a model",
        "logged-models",
        {
            "experiment_id": "{exp}",
            "name": "clf",
            "model_type": "sklearn",
            "source_run_id": "{run}",
            "params": [{"key": "c", "value": "1"}],
            "tags": [{"key": "t", "value": "1"}],
        },
        keep={"model": "model.info.model_id"},
    ),
    _post("log a model to an unknown experiment", "logged-models", {"experiment_id": "999", "name": "clf"}),
    _post("log a model with a wrong name", "logged-models", {"experiment_id": "{exp}", "name": "a/b"}),
    _get("get a model", "logged-models/{model}"),
    _get("get an unknown model", "logged-models/m-nope"),
    Step(
        "finish a model",
        "PATCH",
        f"{API}/logged-models/{{model}}",
        {"model_id": "{model}", "status": "LOGGED_MODEL_READY"},
    ),
    Step("tag a model", "PATCH", f"{API}/logged-models/{{model}}/tags", {"tags": [{"key": "q", "value": "2"}]}),
    Step("untag a model", "DELETE", f"{API}/logged-models/{{model}}/tags/q"),
    Step("untag a model again", "DELETE", f"{API}/logged-models/{{model}}/tags/q"),
    _post(
        "log a model's params",
        "logged-models/{model}/params",
        {"model_id": "{model}", "params": [{"key": "d", "value": "2"}]},
    ),
    _post("log what a run made", "runs/outputs", {"run_id": "{run}", "models": [{"model_id": "{model}", "step": 1}]}),
    _post("search models", "logged-models/search", {"experiment_ids": ["{exp}"], "filter": "name = 'clf'"}),
    _post("search models of nothing", "logged-models/search", {}),
    _get("list a model's files", "logged-models/{model}/artifacts/directories"),
    Step(
        "get a model's file that is not there",
        "GET",
        f"{AJAX}/logged-models/{{model}}/artifacts/files?artifact_file_path=x",
    ),
    Step(
        "get no file of a model",
        "GET",
        f"{AJAX}/logged-models/{{model}}/artifacts/files",
        known="MLflow calls it a BAD_REQUEST, we name the parameter",
    ),
    Step("delete a model", "DELETE", f"{API}/logged-models/{{model}}"),
    _get("get a deleted model", "logged-models/{model}"),
)
SOURCE = {"name": "flights", "source": "mlflow-artifacts:/{exp}/{run}/artifacts/model", "run_id": "{run}"}
REGISTRY = (
    _post(
        "register a name",
        "registered-models/create",
        {"name": "flights", "description": "d", "tags": [{"key": "a", "value": "1"}]},
    ),
    _post("register it again", "registered-models/create", {"name": "flights"}),
    _post("register a wrong name", "registered-models/create", {"name": "a/b"}),
    _post("register no name", "registered-models/create", {}),
    _get("get a registered model", "registered-models/get?name=flights"),
    _get("get one that is not registered", "registered-models/get?name=nope"),
    _post("make a version", "model-versions/create", SOURCE),
    _post("make a version of nothing", "model-versions/create", {"name": "flights"}),
    _post("make a version of an unknown model", "model-versions/create", {**SOURCE, "name": "nope"}),
    _get("get a version", "model-versions/get?name=flights&version=1"),
    _get("get an unknown version", "model-versions/get?name=flights&version=9"),
    _get("get a version by no number", "model-versions/get?name=flights&version=x"),
    _get("get where a version's files are", "model-versions/get-download-uri?name=flights&version=1"),
    Step(
        "describe a version",
        "PATCH",
        f"{API}/model-versions/update",
        {"name": "flights", "version": "1", "description": "x"},
    ),
    _post("set an alias", "registered-models/alias", {"name": "flights", "alias": "best", "version": "1"}),
    _post(
        "set an alias that is reserved", "registered-models/alias", {"name": "flights", "alias": "v1", "version": "1"}
    ),
    _get("get by alias", "registered-models/alias?name=flights&alias=best"),
    _get("get by an unknown alias", "registered-models/alias?name=flights&alias=none"),
    _get("search versions of a run", "model-versions/search?filter=run_id%3D'{run}'"),
    _get("search registered models", "registered-models/search?filter=name%3D'flights'&max_results=5"),
    _get("search registered models by nonsense", "registered-models/search?filter=nope"),
    _post(
        "move a version to a stage",
        "model-versions/transition-stage",
        {"name": "flights", "version": "1", "stage": "Staging"},
    ),
    _post(
        "move a version to no stage",
        "model-versions/transition-stage",
        {"name": "flights", "version": "1", "stage": "x"},
    ),
    _post("get the latest versions", "registered-models/get-latest-versions", {"name": "flights"}),
    Step(
        "get a version's file that is not there",
        "GET",
        "/model-versions/get-artifact?name=flights&version=1&path=MLmodel",
    ),
    Step("get a version's path that climbs", "GET", "/model-versions/get-artifact?name=flights&version=1&path=../x"),
    Step("drop an alias", "DELETE", f"{API}/registered-models/alias", {"name": "flights", "alias": "best"}),
    Step("delete a version", "DELETE", f"{API}/model-versions/delete", {"name": "flights", "version": "1"}),
    _post("rename a registered model", "registered-models/rename", {"name": "flights", "new_name": "delays"}),
    Step("delete a registered model", "DELETE", f"{API}/registered-models/delete", {"name": "delays"}),
    Step("delete it again", "DELETE", f"{API}/registered-models/delete", {"name": "delays"}),
)
_RUN_PAGE = """query GetRun($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { apiError { code __typename }
  run { info { runName status runUuid startTime endTime userId __typename } experiment { name __typename }
    modelVersions { name }
    data { metrics { key value step timestamp __typename } params { key value } tags { key value } }
    inputs {
      datasetInputs { dataset { name digest schema profile __typename } tags { key value } } modelInputs { modelId }
    }
    outputs { modelOutputs { step } __typename } __typename } __typename } }"""
_EXPERIMENT_PAGE = """query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) {
  mlflowGetExperiment(input: $input) {
    apiError { code }
    experiment { experimentId name lifecycleStage creationTime lastUpdateTime tags { key value } __typename }
  }
}"""
OTHERS = (
    Step(
        "ask for the page of a run",
        "POST",
        "/graphql",
        {"operationName": "GetRun", "query": _RUN_PAGE, "variables": {"data": {"runId": "{run}"}}},
    ),
    Step(
        "ask for the page of an unknown run",
        "POST",
        "/graphql",
        {"operationName": "GetRun", "query": _RUN_PAGE, "variables": {"data": {"runId": "nope"}}},
    ),
    Step(
        "ask for the page of an experiment",
        "POST",
        "/graphql",
        {"query": _EXPERIMENT_PAGE, "variables": {"input": {"experimentId": "{exp}"}}},
    ),
    Step("ask for what is not in the schema", "POST", "/graphql", {"query": "{ nope }"}),
    Step(
        "ask by a query that ends too soon", "POST", "/graphql", {"query": "{"}, known="MLflow fails (500), we refuse"
    ),
    Step("ask for health", "GET", "/health"),
    Step("ask for gateways", "GET", f"{AJAX}/gateway-proxy"),
    Step("ask what is told of users", "GET", "/ajax-api/3.0/mlflow/ui-telemetry"),
    Step("tell of users", "POST", "/ajax-api/3.0/mlflow/ui-telemetry", {"records": []}),
    Step("say no content type", "POST", f"{API}/runs/log-metric", b'{"run_id": "x"}', headers={}),
    Step("say another content type", "POST", f"{API}/runs/log-metric", b"{}", headers={"content-type": "text/plain"}),
    Step(
        "send no JSON",
        "POST",
        f"{API}/runs/log-metric",
        b"x",
        headers={"content-type": "application/json"},
        known="MLflow takes it for an empty object, we say that it is no JSON",
    ),
    Step(
        "send a list",
        "POST",
        f"{API}/runs/log-metric",
        b"[1]",
        headers={"content-type": "application/json"},
        known="MLflow fails (500), we refuse",
    ),
    Step("ask for who I am", "GET", f"{AJAX}/users/current", known="MLflow's answer is a page, ours JSON; both 404"),
)
STEPS = (*EXPERIMENTS, *RUNS, *FILES, *MODELS, *REGISTRY, *OTHERS)
