"""MLflow's tracking protocol over HTTP, and the runs of trainings."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from modelwright.events import ModelVersionCreated, ModelVersionDeleted, RegisteredModelChanged, TrainingCompleted
from modelwright.runtime import Answer, Function, Request, Route, protocol, said_in_json
from modelwright.tracking import (
    datasets,
    evaluation_datasets,
    experiments,
    files,
    graphql,
    history,
    lineage,
    logged_models,
    logging,
    runs,
    search,
    spans,
    traces,
    trainings,
)
from modelwright.tracking import evaluation_messages as e
from modelwright.tracking import messages as m
from modelwright.tracking import trace_messages as t
from modelwright.tracking.server import NO_GATEWAY, NO_TELEMETRY, SERVER_INFO, TELEMETRY_REFUSED
from modelwright.wiring import Wiring

JSON = {"content-type": "application/json"}


def rpc(method: str, path: str, model: type[BaseModel], use_case: Callable[..., Any]) -> Route:
    """Return the route of a call of MLflow's protocol; its use case also takes blobs, and may answer JSON in text."""

    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        told = request.told(model)
        said = use_case(request.call, told, tables=wiring.tables, blobs=wiring.blobs, log=wiring.log)
        return Answer(said, headers=JSON) if isinstance(said, str) else said

    return Route(method, f"/<api>/<api_version>/mlflow/{path}", answer)


def _search_runs(request: Request, wiring: Wiring) -> Answer:
    protocol(request)
    told = request.told(m.SearchRuns)
    said = search.runs(request.call, told, tables=wiring.tables, blobs=wiring.blobs, cache=wiring.cache)
    return Answer(said, headers=JSON)


def _graphql(request: Request, wiring: Wiring) -> object:
    said_in_json(request)
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log, "cache": wiring.cache}
    return graphql.execute(request.call, request.parse(graphql.Query), **stores)


def _stub(answer: dict[str, Any]) -> Callable[[Request, Wiring], object]:
    def say(request: Request, wiring: Wiring) -> object:
        protocol(request)
        return answer

    return say


def _receive_spans(request: Request, wiring: Wiring) -> Answer:
    experiment_id = request.headers.get("x-mlflow-experiment-id") or request.first("experiment_id")
    traces.allowed(request.call, experiment_id)
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    found = spans.received(request.raw, media, request.headers.get("content-encoding", "").lower())
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log}
    traces.receive(request.call, experiment_id, found, **stores)
    if run_id := request.headers.get("x-mlflow-run-id"):
        traces.link(request.call, t.LinkTraces(trace_ids=tuple(found), run_id=run_id), **stores)
    return Answer(b"", headers={"content-type": media}) if media == spans.PROTOBUF else Answer({})


def _trace_data(request: Request, wiring: Wiring) -> object:
    protocol(request)
    said = traces.data(request.call, request.told(t.OfRequest), tables=wiring.tables, blobs=wiring.blobs)
    if not isinstance(said, str):
        return said
    proxy = (
        "../../2.0/mlflow-artifacts/artifacts"  # which sends on to the bucket; relative, as the API may have a prefix
    )
    return Answer({}, 302, {"location": f"{proxy}/{said}"})


def _run_files(request: Request, wiring: Wiring) -> object:
    protocol(request)
    return files.list_of_run(request.call, request.told(m.ListArtifacts), tables=wiring.tables, blobs=wiring.blobs)


def _model_files(request: Request, wiring: Wiring) -> object:
    protocol(request)
    return files.list_of_model(request.call, request.told(m.ModelFiles), tables=wiring.tables, blobs=wiring.blobs)


ROUTES = (
    rpc("POST", "experiments/create", m.CreateExperiment, experiments.create),
    rpc("GET", "experiments/get", m.OfExperiment, experiments.get),
    rpc("GET", "experiments/get-by-name", m.ExperimentByName, experiments.get_by_name),
    rpc("GET", "experiments/search", m.SearchExperiments, search.experiments),
    rpc("POST", "experiments/search", m.SearchExperiments, search.experiments),
    rpc("POST", "experiments/update", m.UpdateExperiment, experiments.update),
    rpc("POST", "experiments/delete", m.OfExperiment, experiments.delete),
    rpc("POST", "experiments/restore", m.OfExperiment, experiments.restore),
    rpc("POST", "experiments/set-experiment-tag", m.SetExperimentTag, experiments.set_tag),
    rpc("POST", "experiments/delete-experiment-tag", m.DeleteExperimentTag, experiments.delete_tag),
    rpc("POST", "experiments/search-datasets", datasets.SearchDatasets, datasets.search),
    rpc("POST", "runs/create", m.CreateRun, runs.create),
    rpc("GET", "runs/get", m.OfRun, runs.get),
    rpc("POST", "runs/update", m.UpdateRun, runs.update),
    rpc("POST", "runs/delete", m.OfRun, runs.delete),
    rpc("POST", "runs/restore", m.OfRun, runs.restore),
    rpc("POST", "runs/log-metric", m.LogMetric, logging.log_metric),
    rpc("POST", "runs/log-parameter", m.LogParameter, logging.log_parameter),
    rpc("POST", "runs/log-batch", m.LogBatch, logging.log_batch),
    rpc("POST", "runs/set-tag", m.SetRunTag, runs.set_tag),
    rpc("POST", "runs/delete-tag", m.DeleteRunTag, runs.delete_tag),
    rpc("POST", "runs/log-inputs", m.LogInputs, runs.log_inputs),
    rpc("POST", "runs/outputs", m.LogOutputs, runs.log_outputs),
    rpc("POST", "runs/log-model", m.LogModel, runs.log_model),
    Route("POST", "/<api>/<api_version>/mlflow/runs/search", _search_runs),
    rpc("GET", "metrics/get-history", m.GetHistory, history.history),
    rpc("GET", "metrics/get-history-bulk", m.GetHistories, history.histories),
    rpc("GET", "metrics/get-history-bulk-interval", m.SampleHistories, history.samples),
    rpc("POST", "logged-models", m.CreateLoggedModel, logged_models.create),
    rpc("POST", "logged-models/search", m.SearchLoggedModels, search.logged_models),
    rpc("GET", "logged-models/<model_id>", m.OfLoggedModel, logged_models.get),
    rpc("PATCH", "logged-models/<model_id>", m.FinalizeLoggedModel, logged_models.finalize),
    rpc("DELETE", "logged-models/<model_id>", m.OfLoggedModel, logged_models.delete),
    rpc("PATCH", "logged-models/<model_id>/tags", m.TagLoggedModel, logged_models.set_tags),
    rpc("DELETE", "logged-models/<model_id>/tags/<path:key>", m.UntagLoggedModel, logged_models.delete_tag),
    rpc("POST", "logged-models/<model_id>/params", m.LogModelParams, logged_models.log_params),
    Route("GET", "/<api>/<api_version>/mlflow/logged-models/<model_id>/artifacts/directories", _model_files),
    Route("GET", "/<api>/<api_version>/mlflow/artifacts/list", _run_files),
    Route("GET", "/<api>/<api_version>/mlflow/server-info", lambda _, __: SERVER_INFO, open=True),
    Route("GET", "/<api>/<api_version>/mlflow/gateway-proxy", _stub(NO_GATEWAY)),
    Route("POST", "/<api>/<api_version>/mlflow/gateway-proxy", _stub(NO_GATEWAY)),
    Route("GET", "/<api>/<api_version>/mlflow/ui-telemetry", _stub(NO_TELEMETRY)),
    Route("POST", "/<api>/<api_version>/mlflow/ui-telemetry", _stub(TELEMETRY_REFUSED)),
    Route("POST", "/graphql", _graphql),
    rpc("POST", "traces", t.StartTrace, traces.start),
    rpc("GET", "traces", t.OlderSearch, traces.older_search),
    rpc("GET", "traces/get", t.GetTrace, traces.get),
    rpc("GET", "traces/batchGet", t.BatchGet, traces.batch_get),
    rpc("POST", "traces/batchGetInfos", t.BatchGet, traces.batch_infos),
    rpc("POST", "traces/search", t.SearchTraces, traces.search),
    rpc("POST", "traces/delete-traces", t.DeleteTraces, traces.delete),
    rpc("POST", "traces/link-to-run", t.LinkTraces, traces.link),
    rpc("GET", "traces/<trace_id>", t.OfTrace, traces.info),
    rpc("GET", "traces/<request_id>/info", t.OfRequest, traces.older_info),
    rpc("PATCH", "traces/<trace_id>/tags", t.TagTrace, traces.set_tag),
    rpc("DELETE", "traces/<trace_id>/tags", t.UntagTrace, traces.delete_tag),
    Route("GET", "/<api>/<api_version>/mlflow/get-trace-artifact", _trace_data),
    Route("POST", "/v1/traces", _receive_spans),
    rpc("POST", "datasets/create", e.CreateDataset, evaluation_datasets.create),
    rpc("GET", "datasets/search", e.SearchEvaluationDatasets, evaluation_datasets.search),
    rpc("POST", "datasets/search", e.SearchEvaluationDatasets, evaluation_datasets.search),
    rpc("GET", "datasets/<dataset_id>", e.OfDataset, evaluation_datasets.get),
    rpc("DELETE", "datasets/<dataset_id>", e.OfDataset, evaluation_datasets.delete),
    rpc("PATCH", "datasets/<dataset_id>/tags", e.SetDatasetTags, evaluation_datasets.set_tags),
    rpc("DELETE", "datasets/<dataset_id>/tags/<path:key>", e.DeleteDatasetTag, evaluation_datasets.delete_tag),
    rpc("POST", "datasets/<dataset_id>/records", e.UpsertRecords, evaluation_datasets.upsert),
    rpc("GET", "datasets/<dataset_id>/records", e.GetRecords, evaluation_datasets.records),
    rpc("DELETE", "datasets/<dataset_id>/records", e.DeleteRecords, evaluation_datasets.delete_records),
    rpc("GET", "datasets/<dataset_id>/experiment-ids", e.OfDataset, evaluation_datasets.experiment_ids),
    rpc("POST", "datasets/<dataset_id>/add-experiments", e.OfExperiments, evaluation_datasets.add_experiments),
    rpc("POST", "datasets/<dataset_id>/remove-experiments", e.OfExperiments, evaluation_datasets.remove_experiments),
)

handler = Function(
    "tracking",
    table="tracking",
    routes=ROUTES,
    consumers={
        TrainingCompleted: lambda delivery, call, wiring: trainings.record(
            call, delivery, tables=wiring.tables, blobs=wiring.blobs, log=wiring.log
        ),
        ModelVersionCreated: lambda d, call, w: lineage.remember_version(
            call, d, tables=w.tables, blobs=w.blobs, log=w.log
        ),
        ModelVersionDeleted: lambda d, call, w: lineage.forget_version(call, d, tables=w.tables, log=w.log),
        RegisteredModelChanged: lambda d, call, w: lineage.rename_model(call, d, tables=w.tables, log=w.log),
    },
)
