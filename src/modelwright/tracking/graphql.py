"""``/graphql``: what MLflow's web interface asks for pages of runs and experiments.

A query asks for fields of answers that the REST calls give as well, so each root field is a use case, and fields are
looked up in what it answers. ``graphql-core`` reads, checks and executes queries; it is imported when the first one
comes (60 ms), because no other call needs it. 64-bit numbers travel as text, NaN as null.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from modelwright.context import Call
from modelwright.errors import Conflict, InvalidInput, NotFound, TooLarge
from modelwright.log import Log
from modelwright.protocol import Message, faults
from modelwright.storage import Blobs, Tables
from modelwright.tracking import datasets, experiments, files, history, lineage, runs, search
from modelwright.tracking import messages as m
from modelwright.tracking.trainings import run_id_of

if TYPE_CHECKING:
    from graphql import DocumentNode, ExecutionResult, GraphQLResolveInfo, GraphQLSchema, SelectionSetNode

M = TypeVar("M", bound=BaseModel)

LONGEST_QUERY = 50_000
ROOTS_LIMIT, ALIASES_LIMIT, DEPTH_LIMIT, SELECTIONS_LIMIT = 10, 10, 10, 1000
"""MLflow's own limits: one request does not do the work of many."""
TRAINING_TAG = "modelwright.training_id"
_TOLD = (NotFound, InvalidInput, TooLarge, Conflict)
"""What a query's answer tells; anything else is the request's own failure, such as having no right."""

SCHEMA = """
directive @component(name: String!) on QUERY | MUTATION
scalar LongString

type Query {
  mlflowGetExperiment(input: MlflowGetExperimentInput): MlflowGetExperimentResponse
  mlflowGetMetricHistoryBulkInterval(
    input: MlflowGetMetricHistoryBulkIntervalInput
  ): MlflowGetMetricHistoryBulkIntervalResponse
  mlflowGetRun(input: MlflowGetRunInput): MlflowGetRunResponse
  mlflowListArtifacts(input: MlflowListArtifactsInput): MlflowListArtifactsResponse
  mlflowSearchRuns(input: MlflowSearchRunsInput): MlflowSearchRunsResponse
  test(inputString: String): Test
}
type Mutation {
  mlflowSearchDatasets(input: MlflowSearchDatasetsInput): MlflowSearchDatasetsResponse
  mlflowSearchRuns(input: MlflowSearchRunsInput): MlflowSearchRunsResponse
  testMutation(inputString: String): Test
}

input MlflowGetExperimentInput { experimentId: String }
input MlflowGetRunInput { runId: String runUuid: String }
input MlflowListArtifactsInput { runId: String runUuid: String path: String pageToken: String }
input MlflowSearchDatasetsInput { experimentIds: [String] }
input MlflowGetMetricHistoryBulkIntervalInput {
  runIds: [String] metricKey: String startStep: Int endStep: Int maxResults: Int
}
input MlflowSearchRunsInput {
  experimentIds: [String] filter: String runViewType: MlflowViewType maxResults: Int orderBy: [String] pageToken: String
}
enum MlflowViewType { ACTIVE_ONLY DELETED_ONLY ALL }

type MlflowGetExperimentResponse { experiment: MlflowExperiment apiError: ApiError }
type MlflowGetRunResponse { run: MlflowRunExtension apiError: ApiError }
type MlflowSearchRunsResponse { runs: [MlflowRunExtension!] nextPageToken: String apiError: ApiError }
type MlflowGetMetricHistoryBulkIntervalResponse { metrics: [MlflowMetricWithRunId!] apiError: ApiError }
type MlflowSearchDatasetsResponse { datasetSummaries: [MlflowDatasetSummary!] apiError: ApiError }
type MlflowListArtifactsResponse {
  rootUri: String files: [MlflowFileInfo!] nextPageToken: String apiError: ApiError
}
type ApiError { code: String message: String helpUrl: String traceId: String }

type MlflowExperiment {
  experimentId: String name: String artifactLocation: String lifecycleStage: String lastUpdateTime: LongString
  creationTime: LongString tags: [MlflowExperimentTag!] effectiveTraceArchivalRetention: String workspace: String
}
type MlflowRunExtension {
  info: MlflowRunInfo data: MlflowRunData inputs: MlflowRunInputs outputs: MlflowRunOutputs
  experiment: MlflowExperiment modelVersions: [MlflowModelVersion!]
}
type MlflowRunInfo {
  runId: String runUuid: String runName: String experimentId: String userId: String status: MlflowRunStatus
  startTime: LongString endTime: LongString artifactUri: String lifecycleStage: String
}
enum MlflowRunStatus { RUNNING SCHEDULED FINISHED FAILED KILLED }
type MlflowRunData { metrics: [MlflowMetricExtension!] params: [MlflowParam!] tags: [MlflowRunTag!] }
type MlflowRunInputs { datasetInputs: [MlflowDatasetInput!] modelInputs: [MlflowModelInput!] }
type MlflowRunOutputs { modelOutputs: [MlflowModelOutput!] }
type MlflowMetricExtension {
  key: String value: Float timestamp: LongString step: LongString
  datasetName: String datasetDigest: String modelId: String runId: String
}
type MlflowMetricWithRunId { key: String value: Float timestamp: LongString step: LongString runId: String }
type MlflowExperimentTag { key: String value: String }
type MlflowParam { key: String value: String }
type MlflowRunTag { key: String value: String }
type MlflowInputTag { key: String value: String }
type MlflowDatasetInput { tags: [MlflowInputTag!] dataset: MlflowDataset }
type MlflowDataset {
  name: String digest: String sourceType: String source: String schema: String profile: String
}
type MlflowDatasetSummary { experimentId: String name: String digest: String context: String }
type MlflowModelInput { modelId: String }
type MlflowModelOutput { modelId: String step: LongString }
type MlflowModelVersion {
  name: String version: String creationTimestamp: LongString source: String runId: String
  status: MlflowModelVersionStatus
}
enum MlflowModelVersionStatus { PENDING_REGISTRATION FAILED_REGISTRATION READY }
type MlflowFileInfo { path: String isDir: Boolean fileSize: LongString }
type Test { output: String }
"""


class Query(Message):
    """The body of ``POST /graphql``."""

    query: str = Field(max_length=LONGEST_QUERY)
    variables: dict[str, Any] = Field(default_factory=dict)
    operation_name: str | None = Field(default=None, alias="operationName")


@dataclass(frozen=True)
class Asked:
    """What resolvers are told, and the experiments that this query has looked up already."""

    call: Call
    tables: Tables
    blobs: Blobs
    log: Log
    cache: dict[str, Any]
    experiments: dict[str, Any] = field(default_factory=dict)

    @property
    def stores(self) -> dict[str, Any]:
        """The collaborators of a use case."""
        return {"tables": self.tables, "blobs": self.blobs, "log": self.log}


def execute(
    call: Call, message: Query, *, tables: Tables, blobs: Blobs, log: Log, cache: dict[str, Any]
) -> dict[str, Any]:
    """Return what a query asks for as ``data``, and what is wrong as ``errors``.

    Raises:
        InvalidInput: the query is none.
        Forbidden: it asks for something that the caller may not have.
    """
    from graphql import GraphQLError, parse, validate
    from graphql.execution import execute_sync

    try:
        document = parse(message.query)
    except GraphQLError as error:
        raise InvalidInput(f"Invalid value for parameter 'query' supplied: {error.message}") from error
    except RecursionError as error:
        raise InvalidInput("Invalid value for parameter 'query' supplied: it is nested too deeply") from error
    refused = _over_limits(document) or [error.message for error in validate(_schema(), document)]
    if refused:
        return {"data": None, "errors": refused}
    result = execute_sync(
        _schema(),
        document,
        context_value=Asked(call, tables, blobs, log, cache),
        variable_values=message.variables,
        operation_name=message.operation_name,
        field_resolver=_resolve,
    )
    return {"data": result.data, "errors": _told(result)}


def _told(result: "ExecutionResult") -> list[str] | None:
    for error in result.errors or ():
        if error.original_error is not None and not isinstance(error.original_error, _TOLD):
            raise error.original_error
    return [error.message for error in result.errors] if result.errors else None


@cache
def _schema() -> "GraphQLSchema":
    from graphql import GraphQLScalarType, build_schema

    schema = build_schema(SCHEMA)
    long_string = schema.type_map["LongString"]
    assert isinstance(long_string, GraphQLScalarType)
    long_string.serialize = str  # type: ignore[method-assign, assignment]
    return schema


# --- fields --------------------------------------------------------------------------------


def _resolve(source: Any, info: "GraphQLResolveInfo", **arguments: Any) -> Any:
    own = _OWN.get((info.parent_type.name, info.field_name))
    if own is not None:
        return _parsed(own(info.context, source, arguments))
    value = source.get(_snake(info.field_name))
    return _default(info) if value is None else None if value == "NaN" and _kind(info) == "Float" else value


def _parsed(said: Any) -> Any:
    """Return a use case's answer, which may be JSON in text."""
    return json.loads(said) if isinstance(said, str) else said


def _kind(info: "GraphQLResolveInfo") -> str:
    from graphql import get_named_type

    return get_named_type(info.return_type).name


def _default(info: "GraphQLResolveInfo") -> Any:
    """Return what a field has that was not set: protobuf's default."""
    from graphql import is_list_type

    return [] if is_list_type(info.return_type) else _DEFAULTS.get(_kind(info), {})


_DEFAULTS: Mapping[str, Any] = {"String": "", "LongString": 0, "Boolean": False, "Float": 0.0, "ApiError": None}


@cache
def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _said(model: type[M], arguments: Mapping[str, Any]) -> M:
    said = {_snake(name): value for name, value in (arguments.get("input") or {}).items() if value is not None}
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise InvalidInput(faults(error)) from error


def _get_experiment(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    return experiments.get(asked.call, _said(m.OfExperiment, arguments), **asked.stores)


def _get_run(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    return runs.get(asked.call, _said(m.OfRun, arguments), **asked.stores)


def _search_runs(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    message = _said(m.SearchRuns, arguments)
    return search.runs(asked.call, message, tables=asked.tables, blobs=asked.blobs, cache=asked.cache)


def _sample_histories(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    return history.samples(asked.call, _said(m.SampleHistories, arguments), **asked.stores)


def _list_artifacts(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    message = _said(m.ListArtifacts, arguments)
    return files.list_of_run(asked.call, message, tables=asked.tables, blobs=asked.blobs)


def _search_datasets(asked: Asked, _: Any, arguments: Mapping[str, Any]) -> Any:
    return datasets.search(asked.call, _said(datasets.SearchDatasets, arguments), **asked.stores)


def _echo(_: Asked, __: Any, arguments: Mapping[str, Any]) -> Any:
    return {"output": arguments.get("inputString")}


def _experiment_of(asked: Asked, run: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    identity = run["info"]["experiment_id"]
    if identity not in asked.experiments:
        message = m.OfExperiment(experiment_id=identity)
        asked.experiments[identity] = _parsed(experiments.get(asked.call, message, **asked.stores))["experiment"]
    return asked.experiments[identity]


def _versions_of(asked: Asked, run: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    trainings = [tag["value"] for tag in run["data"].get("tags", []) if tag["key"] == TRAINING_TAG]
    run_ids = [run["info"]["run_id"], *map(run_id_of, trainings)]
    return lineage.versions_of(asked.call, run_ids, tables=asked.tables)


_OWN: Mapping[tuple[str, str], Callable[[Asked, Any, Mapping[str, Any]], Any]] = {
    ("Query", "mlflowGetExperiment"): _get_experiment,
    ("Query", "mlflowGetRun"): _get_run,
    ("Query", "mlflowSearchRuns"): _search_runs,
    ("Query", "mlflowGetMetricHistoryBulkInterval"): _sample_histories,
    ("Query", "mlflowListArtifacts"): _list_artifacts,
    ("Query", "test"): _echo,
    ("Mutation", "mlflowSearchRuns"): _search_runs,
    ("Mutation", "mlflowSearchDatasets"): _search_datasets,
    ("Mutation", "testMutation"): _echo,
    ("MlflowRunExtension", "experiment"): _experiment_of,
    ("MlflowRunExtension", "modelVersions"): _versions_of,
}


# --- limits --------------------------------------------------------------------------------


def _over_limits(document: "DocumentNode") -> list[str]:
    from graphql import FieldNode

    roots = aliases = 0
    for count, (depth, selection) in enumerate(_selections(document), 1):
        if depth > DEPTH_LIMIT:
            return [f"Query exceeds maximum depth of {DEPTH_LIMIT}"]
        if count > SELECTIONS_LIMIT:
            return [f"Query exceeds maximum total selections of {SELECTIONS_LIMIT}"]
        roots += depth == 1 and isinstance(selection, FieldNode)
        aliases += isinstance(selection, FieldNode) and selection.alias is not None
    counts = (("root fields", roots, ROOTS_LIMIT), ("aliases", aliases, ALIASES_LIMIT))
    texts = (f"GraphQL queries should have at most {most} {what}, got {count} {what}." for what, count, most in counts)
    return [text for text, (_, count, most) in zip(texts, counts, strict=True) if count > most][:1]


def _selections(document: "DocumentNode") -> Iterator[tuple[int, Any]]:
    """Yield every selection with its depth; fragments again wherever they are spread, so cycles have no end."""
    from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, OperationDefinitionNode

    definitions = document.definitions
    fragments = {d.name.value: d.selection_set for d in definitions if isinstance(d, FragmentDefinitionNode)}
    operations = [d for d in definitions if isinstance(d, OperationDefinitionNode)]
    stack: list[tuple[int, SelectionSetNode]] = [(1, operation.selection_set) for operation in operations]
    while stack:
        depth, selected = stack.pop()
        for selection in selected.selections:
            yield depth, selection
            if isinstance(selection, FragmentSpreadNode):
                inner = fragments.get(selection.name.value)
            else:
                inner = getattr(selection, "selection_set", None)
            if inner is not None:
                stack.append((depth + isinstance(selection, FieldNode), inner))
