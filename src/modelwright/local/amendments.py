"""What MiniStack 1.5.33 does otherwise than AWS, mended inside its process, one function per gap.

``apply`` is called once by ``modelwright.local.server`` before MiniStack serves. Each amendment
replaces one function of MiniStack; a release that renames it is refused at the start, by name, so
that a gap never reopens in silence. Drop an amendment when the sentence "until" comes true.
"""

import copy
import importlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from modelwright.errors import LocalStackError
from modelwright.local.unfinished import Unfinished

Function: TypeAlias = dict[str, Any]
Result: TypeAlias = dict[str, Any]


DRAIN_FIRST_LINE_S = 0.010
DRAIN_IDLE_S = 0.003
DRAIN_LIMIT_S = 0.250


def apply(*, concurrency: int, log: Path, stopping: threading.Event) -> Callable[[], None]:
    """Mend MiniStack in this process.

    Args:
        concurrency: most interpreters per function; further invocations wait for a free one.
        log: the file that gets one JSON line per invocation.
        stopping: set when the process begins to stop.

    Returns:
        What to call once MiniStack serves: it goes on with what an earlier process left unfinished.
    """
    bound_concurrency(concurrency)
    resume = keep_invocations(Unfinished(stopping))
    retry_events()
    keep_failed_stream_records()
    keep_stream_records()
    honour_schedule_parameters()
    name_uploaded_version()
    stop_waiting_for_silence()
    list_cookies()
    log_invocations(log)
    return resume


def bound_concurrency(limit: int) -> None:
    """Queue invocations of a function beyond ``limit`` (or its reserved concurrency).

    MiniStack starts an interpreter of 45 MB per concurrent event, and loses events that its own
    limits throttle. Until: it has a limit per function that queues asynchronous events.
    """
    slots: dict[str, threading.BoundedSemaphore] = {}
    creating = threading.Lock()
    held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())
    original = _existing(_lambda(), "_execute_function")
    reserved_of = _existing(_lambda(), "_reserved_concurrency")

    def slot_of(function: Function, config: Mapping[str, Any]) -> threading.BoundedSemaphore:
        reserved = reserved_of(function, config)
        most = limit if reserved is None else max(1, min(limit, reserved))
        with creating:
            return slots.setdefault(f"{_arn(config)} {most}", threading.BoundedSemaphore(most))

    def execute(function: Function, event: Any) -> Result:
        config = _config(function)
        if _arn(config) in held.get():  # MiniStack enters again under the function's own account
            return _result(original(function, event))
        with slot_of(function, config):
            token = held.set(held.get() | {_arn(config)})
            try:
                return _result(original(function, event))
            finally:
                held.reset(token)

    _replace(_lambda(), "_execute_function", execute)


def keep_invocations(unfinished: Unfinished) -> Callable[[], None]:
    """Save the asynchronous invocations that are not over, and return what begins them again.

    MiniStack forgets them at a stop. Until: its ``get_state`` of Lambda has them.
    """
    service = _lambda()
    invoke = _existing(service, "invoke_async_with_retry")
    execute, give_up = _existing(service, "_execute_function"), _existing(service, "_route_async_failure")
    save, load = _existing(service, "get_state"), _existing(service, "load_persisted_state")

    def invoke_and_keep(function: Function, event: Any) -> None:
        unfinished.begin(_arn(_config(function)), event)
        invoke(function, event)

    def execute_and_note(function: Function, event: Any) -> Result:
        result = _result(execute(function, event))
        unfinished.attempted(event, failed=bool(result.get("error")))
        return result

    def give_up_and_forget(target: str, name: str, event: Any, result: Result) -> None:
        give_up(target, name, event, result)
        unfinished.over(event)

    def restore(data: dict[str, Any]) -> None:
        load(data)
        unfinished.restore(data.get("modelwright_unfinished", ()))

    def resume() -> None:
        for arn, event in unfinished.left():
            if (record := _record_of(service, arn)) is not None:
                invoke_and_keep(record, event)

    _replace(service, "invoke_async_with_retry", invoke_and_keep)
    _replace(service, "_execute_function", execute_and_note)
    _replace(service, "_route_async_failure", give_up_and_forget)
    _replace(service, "get_state", lambda: {**save(), "modelwright_unfinished": unfinished.saved()})
    _replace(service, "load_persisted_state", restore)
    return resume


def keep_stream_records() -> None:
    """Save the records of DynamoDB's streams beside the positions of their readers.

    MiniStack saves the positions alone, so that after a restart a stream says nothing until as many
    records came as there were before. Until: its ``get_state`` of DynamoDB has them.
    """
    service = _service("dynamodb")
    save, load = _existing(service, "get_state"), _existing(service, "load_persisted_state")
    names = ("_stream_records", "_stream_trimmed")

    def save_with_records() -> dict[str, Any]:
        return {**save(), **{name: copy.deepcopy(getattr(service, name)) for name in names}}

    def load_with_records(data: dict[str, Any]) -> None:
        load(data)
        for name in names:
            getattr(service, name).update(data.get(name, {}))

    _replace(service, "get_state", save_with_records)
    _replace(service, "load_persisted_state", load_with_records)


def retry_events() -> None:
    """Deliver EventBridge's events as asynchronous invocations: two retries, then ``OnFailure``.

    MiniStack invokes once and drops a failure. Until: its EventBridge uses ``InvocationType=Event``.
    """
    service = _lambda()
    invoke = _existing(service, "invoke_async_with_retry")

    def dispatch(arn: str, payload: str) -> None:
        if (record := _record_of(service, arn)) is not None:
            invoke(record, json.loads(payload))

    _replace(_service("eventbridge"), "_dispatch_to_lambda", dispatch)


def keep_failed_stream_records() -> None:
    """Retry the records that a function reports in ``batchItemFailures``; give up as configured.

    MiniStack reads neither the report nor ``MaximumRetryAttempts`` of a DynamoDB stream: it drops
    the records of a partial failure and retries a failing batch for ever. Here the batch is
    sent again from its start (at least once, as on AWS after a crash), and after the last
    attempt the ``OnFailure`` queue gets the positions of the failed records. Until: MiniStack's
    ``_poll_dynamodb_streams`` reads the function's answer.
    """
    service = _lambda()
    original = _existing(service, "_execute_function")
    give_up = _existing(service, "_send_ddb_stream_failure_record")
    attempts: dict[str, int] = defaultdict(int)

    def execute(function: Function, event: Any) -> Result:
        result = _result(original(function, event))
        records = _stream_records(event)
        if not records:
            return result
        key = f"{_arn(_config(function))} {_sequence(records[0])}"
        failed = records if result.get("error") else _failed_records(records, result.get("body"))
        if not failed:
            attempts.pop(key, None)
            return result
        attempts[key] += 1
        mapping = _mapping_of(service, function, records[0]["eventSourceARN"])
        most = (mapping or {}).get("MaximumRetryAttempts", -1)
        if mapping is None or most is None or most < 0 or attempts[key] <= most:
            return {**result, "error": True}
        del attempts[key]
        give_up(mapping, function, failed, records[0]["eventSourceARN"], result, "RetryAttemptsExhausted")
        return {"body": None, "log": result.get("log", "")}

    _replace(service, "_execute_function", execute)


def honour_schedule_parameters() -> None:
    """Give a schedule's event the source and detail type of its ``EventBridgeParameters``.

    Also replaces ``<aws.scheduler.scheduled-time>`` and its like in the input. MiniStack sends
    ``Scheduled Event`` from ``aws.scheduler`` with the raw input. Until: its scheduler reads
    ``Target.EventBridgeParameters``.
    """
    bridge = _service("eventbridge")
    original = _existing(bridge, "_invoke_target")

    def invoke(target: Mapping[str, Any], event: Mapping[str, Any], rule: Any, view: Any = None) -> None:
        if event.get("Source") != "aws.scheduler":
            original(target, event, rule, view)
            return
        parameters = target.get("EventBridgeParameters") or {}
        filled = {**target, "Input": _fill(target["Input"], event)} if target.get("Input") else target
        named = {"Source": parameters.get("Source"), "DetailType": parameters.get("DetailType")}
        original(filled, {**event, **{k: v for k, v in named.items() if v}}, rule)

    _replace(bridge, "_invoke_target", invoke)


def name_uploaded_version() -> None:
    """Put ``version-id`` into S3's events on EventBridge, as AWS does for versioned buckets.

    Until: MiniStack's ``_fire_s3_event`` passes it on.
    """
    storage, bridge = _service("s3"), _service("eventbridge")
    fire, dispatch = _existing(storage, "_fire_s3_event"), _existing(bridge, "_dispatch_event")
    version: ContextVar[str | None] = ContextVar("version", default=None)

    def fire_with_version(*args: Any, **kwargs: Any) -> None:
        token = version.set(kwargs.get("version_id"))
        try:
            fire(*args, **kwargs)
        finally:
            version.reset(token)

    def dispatch_with_version(event: dict[str, Any], view: Any = None) -> None:
        if event.get("Source") == "aws.s3" and version.get():
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version.get()
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    _replace(storage, "_fire_s3_event", fire_with_version)
    _replace(bridge, "_dispatch_event", dispatch_with_version)


def list_cookies() -> None:
    """Give functions behind the HTTP API their cookies as the list ``cookies``, as payload 2.0 has it.

    MiniStack leaves them in the header alone. Until: its events have ``cookies``.
    """
    service = _lambda()
    original = _existing(service, "_execute_function_with_config_scope")

    def execute(function: Function, event: Any) -> Result:
        if _of_http_api(event) and "cookie" in event["headers"]:
            headers = {k: v for k, v in event["headers"].items() if k != "cookie"}
            cookies = [each.strip() for each in event["headers"]["cookie"].split(";")]
            event = {**event, "headers": headers, "cookies": cookies}
        return _result(original(function, event))

    _replace(service, "_execute_function_with_config_scope", execute)


def stop_waiting_for_silence() -> None:
    """Wait 10 ms rather than 50 for the output of a function that prints nothing.

    What comes later is logged with the next invocation. Until: MiniStack marks the end of an
    invocation's output.
    """
    worker = importlib.import_module("ministack.core.lambda_runtime").Worker
    drain = worker._drain_stderr_bounded
    if len(drain.__defaults__ or ()) != 3:
        raise LocalStackError(_changed("Worker._drain_stderr_bounded"))
    drain.__defaults__ = (DRAIN_FIRST_LINE_S, DRAIN_IDLE_S, DRAIN_LIMIT_S)


def log_invocations(path: Path) -> None:
    """Append one JSON line per invocation to ``path`` instead of to CloudWatch Logs.

    MiniStack keeps a log stream per invocation in memory, for ever, and saves them all at each
    stop. Until: it applies a log group's retention.
    """
    writing = threading.Lock()

    def emit(function: Function, request_id: str, text: str, error: bool, duration_ms: int, **_: Any) -> None:
        record = {
            "time": time.time(),
            "function": short_name(_config(function)),
            "request_id": request_id,
            "failed": error,
            "ms": duration_ms,
            "lines": text.splitlines(),
        }
        with writing, path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + os.linesep)

    _replace(_lambda(), "_emit_lambda_logs", emit)


def short_name(config: Mapping[str, Any]) -> str:
    """Return what people call a function: ``tracking`` of the handler ``tracking.handler.handler``."""
    handler = str(config.get("Handler", ""))
    return handler.split(".", 1)[0] or str(config.get("FunctionName", "unknown"))


def _fill(template: str, event: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(float(event["Time"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {
        "schedule-arn": str((event.get("Resources") or [""])[0]),
        "scheduled-time": at,
        "execution-id": str(event.get("EventId", "")),
        "attempt-number": "1",
    }
    for name, value in values.items():
        template = template.replace(f"<aws.scheduler.{name}>", value)
    return template


def _of_http_api(event: Any) -> bool:
    return isinstance(event, dict) and event.get("version") == "2.0" and "http" in event.get("requestContext", {})


def _stream_records(event: Any) -> list[dict[str, Any]]:
    records = event.get("Records") if isinstance(event, dict) else None
    if not records or records[0].get("eventSource") != "aws:dynamodb":
        return []
    return list(records)


def _sequence(record: Mapping[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])


def _failed_records(records: list[dict[str, Any]], answer: Any) -> list[dict[str, Any]]:
    """Return the records from the first reported failure on: a stream is retried from there."""
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    reported = {str(each.get("itemIdentifier")) for each in failures or ()}
    if not reported:
        return []
    first = next((i for i, record in enumerate(records) if _sequence(record) in reported), 0)
    return records[first:]


def _mapping_of(service: ModuleType, function: Function, source: str) -> dict[str, Any] | None:
    name = _config(function).get("FunctionName")
    for _account, _region, mapping in _existing(service, "_iter_all_esms")():
        if mapping.get("FunctionName") == name and mapping.get("EventSourceArn") == source:
            return dict(mapping)
    return None


def _record_of(service: ModuleType, arn: str) -> Function | None:
    """Return what executing a function takes, or None when there is no such function."""
    function, config, _name = _existing(service, "_get_func_record_for_ref")(arn)
    if not function or not config:
        return None
    record: Function = _existing(service, "_execution_record_for_config")(function, config)
    return record


def _config(function: Function) -> Mapping[str, Any]:
    config: Mapping[str, Any] = function.get("config") or function
    return config


def _arn(config: Mapping[str, Any]) -> str:
    return str(config.get("FunctionArn") or config.get("FunctionName", ""))


def _result(value: Any) -> Result:
    return value if isinstance(value, dict) else {"body": value}


def _lambda() -> ModuleType:
    return _service("lambda_svc")


def _service(name: str) -> ModuleType:
    return importlib.import_module(f"ministack.services.{name}")


def _existing(module: ModuleType, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise LocalStackError(_changed(f"{module.__name__}.{name}"))
    found: Callable[..., Any] = function
    return found


def _replace(module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    _existing(module, name)
    setattr(module, name, function)


def _changed(name: str) -> str:
    return f"MiniStack no longer has {name}: install the release that Modelwright pins"
