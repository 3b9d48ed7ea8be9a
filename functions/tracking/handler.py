"""MLflow's tracking protocol over HTTP, and the runs of trainings."""

from modelwright.events import TrainingCompleted
from modelwright.runtime import Function, Request, Route, Wiring, protocol, rpc
from modelwright.tracking import experiments, files, logged_models, logging, runs, search, trainings
from modelwright.tracking import messages as m
from modelwright.tracking.server import SERVER_INFO


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
    rpc("GET", "experiments/search", m.SearchExperiments, experiments.search),
    rpc("POST", "experiments/search", m.SearchExperiments, experiments.search),
    rpc("POST", "experiments/update", m.UpdateExperiment, experiments.update),
    rpc("POST", "experiments/delete", m.OfExperiment, experiments.delete),
    rpc("POST", "experiments/restore", m.OfExperiment, experiments.restore),
    rpc("POST", "experiments/set-experiment-tag", m.SetExperimentTag, experiments.set_tag),
    rpc("POST", "experiments/delete-experiment-tag", m.DeleteExperimentTag, experiments.delete_tag),
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
    rpc("POST", "runs/search", m.SearchRuns, search.runs),
    rpc("GET", "metrics/get-history", m.GetHistory, logging.history),
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
)

handler = Function(
    "tracking",
    table="tracking",
    routes=ROUTES,
    consumers={
        TrainingCompleted: lambda delivery, call, wiring: trainings.record(
            call, delivery, tables=wiring.tables, log=wiring.log
        )
    },
)
