"""MLflow's tracking protocol over HTTP, and the runs of trainings."""

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel

from modelwright.http import Answer, Request, Route, protocol, said_in_json
from modelwright.runtime import Consumers, Function
from modelwright.tracking import (
    datasets,
    experiments,
    history,
    logged_models,
    logging,
    runs,
)
from modelwright.tracking import messages as m
from modelwright.tracking.server import NO_GATEWAY, NO_TELEMETRY, SERVER_INFO, TELEMETRY_REFUSED
from modelwright.wiring import Wiring

JSON = {"content-type": "application/json"}
_TRACKING = "modelwright.tracking"


def rpc(method: str, path: str, model: type[BaseModel], use_case: Callable[..., Any]) -> Route:
    """Return the route of a call of MLflow's protocol; its use case also takes blobs, and may answer JSON in text."""
    return Route(method, f"/<api>/<api_version>/mlflow/{path}", partial(_answer, model=model, use_case=use_case))


def later(method: str, path: str, message: str, use_case: str) -> Route:
    """Return such a route by the names of its message and use case, whose modules are imported when a call comes."""
    late = partial(_answer_later, message=f"{_TRACKING}.{message}", use_case=f"{_TRACKING}.{use_case}")
    return Route(method, f"/<api>/<api_version>/mlflow/{path}", late)


def _answer(request: Request, wiring: Wiring, *, model: type[BaseModel], use_case: Callable[..., Any]) -> Any:
    protocol(request)
    told = request.told(model)
    said = use_case(request.call, told, tables=wiring.tables, blobs=wiring.blobs, log=wiring.log)
    return Answer(said, headers=JSON) if isinstance(said, str) else said


def _answer_later(request: Request, wiring: Wiring, *, message: str, use_case: str) -> Any:
    return _answer(request, wiring, model=resolve_name(message), use_case=resolve_name(use_case))


def _search_runs(request: Request, wiring: Wiring) -> Answer:
    from modelwright.tracking import search

    protocol(request)
    told = request.told(m.SearchRuns)
    said = search.runs(request.call, told, tables=wiring.tables, blobs=wiring.blobs, cache=wiring.cache)
    return Answer(said, headers=JSON)


def _graphql(request: Request, wiring: Wiring) -> object:
    from modelwright.tracking import graphql

    said_in_json(request)
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log, "cache": wiring.cache}
    return graphql.execute(request.call, request.parse(graphql.Query), **stores)


def _stub(answer: dict[str, Any]) -> Callable[[Request, Wiring], object]:
    def say(request: Request, wiring: Wiring) -> object:
        protocol(request)
        return answer

    return say


def _receive_spans(request: Request, wiring: Wiring) -> Answer:
    from modelwright.tracking import spans, traces
    from modelwright.tracking.trace_messages import LinkTraces

    experiment_id = request.headers.get("x-mlflow-experiment-id") or request.first("experiment_id")
    traces.allowed(request.call, experiment_id)
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    found = spans.received(request.raw, media, request.headers.get("content-encoding", "").lower())
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log}
    traces.receive(request.call, experiment_id, found, **stores)
    if run_id := request.headers.get("x-mlflow-run-id"):
        traces.link(request.call, LinkTraces(trace_ids=tuple(found), run_id=run_id), **stores)
    return Answer(b"", headers={"content-type": media}) if media == spans.PROTOBUF else Answer({})


def _trace_data(request: Request, wiring: Wiring) -> object:
    from modelwright.tracking import traces
    from modelwright.tracking.trace_messages import OfRequest

    protocol(request)
    said = traces.data(request.call, request.told(OfRequest), tables=wiring.tables, blobs=wiring.blobs)
    if not isinstance(said, str):
        return said
    proxy = (
        "../../2.0/mlflow-artifacts/artifacts"  # which sends on to the bucket; relative, as the API may have a prefix
    )
    return Answer({}, 302, {"location": f"{proxy}/{said}"})


def _run_files(request: Request, wiring: Wiring) -> object:
    from modelwright.tracking import files

    protocol(request)
    return files.list_of_run(request.call, request.told(m.ListArtifacts), tables=wiring.tables, blobs=wiring.blobs)


def _model_files(request: Request, wiring: Wiring) -> object:
    from modelwright.tracking import files

    protocol(request)
    return files.list_of_model(request.call, request.told(m.ModelFiles), tables=wiring.tables, blobs=wiring.blobs)


def _consumers() -> Consumers:
    from modelwright.events import ModelVersionCreated, ModelVersionDeleted, RegisteredModelChanged, TrainingCompleted
    from modelwright.tracking import lineage, trainings

    return {
        TrainingCompleted: lambda delivery, call, wiring: trainings.record(
            call, delivery, tables=wiring.tables, blobs=wiring.blobs, log=wiring.log
        ),
        ModelVersionCreated: lambda d, call, w: lineage.remember_version(
            call, d, tables=w.tables, blobs=w.blobs, log=w.log
        ),
        ModelVersionDeleted: lambda d, call, w: lineage.forget_version(call, d, tables=w.tables, log=w.log),
        RegisteredModelChanged: lambda d, call, w: lineage.rename_model(call, d, tables=w.tables, log=w.log),
    }


ROUTES = (
    rpc("POST", "experiments/create", m.CreateExperiment, experiments.create),
    rpc("GET", "experiments/get", m.OfExperiment, experiments.get),
    rpc("GET", "experiments/get-by-name", m.ExperimentByName, experiments.get_by_name),
    later("GET", "experiments/search", "messages:SearchExperiments", "search:experiments"),
    later("POST", "experiments/search", "messages:SearchExperiments", "search:experiments"),
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
    later("POST", "logged-models/search", "messages:SearchLoggedModels", "search:logged_models"),
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
    later("POST", "traces", "trace_messages:StartTrace", "traces:start"),
    later("GET", "traces", "trace_messages:OlderSearch", "traces:older_search"),
    later("GET", "traces/get", "trace_messages:GetTrace", "traces:get"),
    later("GET", "traces/batchGet", "trace_messages:BatchGet", "traces:batch_get"),
    later("POST", "traces/batchGetInfos", "trace_messages:BatchGet", "traces:batch_infos"),
    later("POST", "traces/search", "trace_messages:SearchTraces", "traces:search"),
    later("POST", "traces/delete-traces", "trace_messages:DeleteTraces", "traces:delete"),
    later("POST", "traces/link-to-run", "trace_messages:LinkTraces", "traces:link"),
    later("GET", "traces/<trace_id>", "trace_messages:OfTrace", "traces:info"),
    later("GET", "traces/<request_id>/info", "trace_messages:OfRequest", "traces:older_info"),
    later("PATCH", "traces/<trace_id>/tags", "trace_messages:TagTrace", "traces:set_tag"),
    later("DELETE", "traces/<trace_id>/tags", "trace_messages:UntagTrace", "traces:delete_tag"),
    Route("GET", "/<api>/<api_version>/mlflow/get-trace-artifact", _trace_data),
    Route("POST", "/v1/traces", _receive_spans),
    later("POST", "datasets/create", "evaluation_messages:CreateDataset", "evaluation_datasets:create"),
    later("GET", "datasets/search", "evaluation_messages:SearchEvaluationDatasets", "evaluation_datasets:search"),
    later("POST", "datasets/search", "evaluation_messages:SearchEvaluationDatasets", "evaluation_datasets:search"),
    later("GET", "datasets/<dataset_id>", "evaluation_messages:OfDataset", "evaluation_datasets:get"),
    later("DELETE", "datasets/<dataset_id>", "evaluation_messages:OfDataset", "evaluation_datasets:delete"),
    later("PATCH", "datasets/<dataset_id>/tags", "evaluation_messages:SetDatasetTags", "evaluation_datasets:set_tags"),
    later(
        "DELETE",
        "datasets/<dataset_id>/tags/<path:key>",
        "evaluation_messages:DeleteDatasetTag",
        "evaluation_datasets:delete_tag",
    ),
    later("POST", "datasets/<dataset_id>/records", "evaluation_messages:UpsertRecords", "evaluation_datasets:upsert"),
    later("GET", "datasets/<dataset_id>/records", "evaluation_messages:GetRecords", "evaluation_datasets:records"),
    later(
        "DELETE",
        "datasets/<dataset_id>/records",
        "evaluation_messages:DeleteRecords",
        "evaluation_datasets:delete_records",
    ),
    later(
        "GET",
        "datasets/<dataset_id>/experiment-ids",
        "evaluation_messages:OfDataset",
        "evaluation_datasets:experiment_ids",
    ),
    later(
        "POST",
        "datasets/<dataset_id>/add-experiments",
        "evaluation_messages:OfExperiments",
        "evaluation_datasets:add_experiments",
    ),
    later(
        "POST",
        "datasets/<dataset_id>/remove-experiments",
        "evaluation_messages:OfExperiments",
        "evaluation_datasets:remove_experiments",
    ),
)

handler = Function(
    "tracking",
    table="tracking",
    routes=ROUTES,
    consumers=_consumers,
)
