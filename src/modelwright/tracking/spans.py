"""Spans as OpenTelemetry's clients send them, and as MLflow's clients and web interface read them.

A span is kept as the JSON form of OTLP's message (base64 ids, integers as numbers). protobuf takes 25 ms to import, so
that is done when the first spans come.
"""

import gzip
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelwright.errors import InvalidInput, TooLarge

PROTOBUF, JSON = "application/x-protobuf", "application/json"
INPUTS, OUTPUTS, TAG_PREFIX = "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.traceTag."
LIMIT: Final = 32_000_000
"""Bytes of a request that was sent compressed."""
_INTEGERS = ("start_time_unix_nano", "end_time_unix_nano", "time_unix_nano", "int_value")
_IDS = ("traceId", "spanId", "parentSpanId")
_ID_BYTES = 16

Span = Mapping[str, Any]


def received(raw: bytes, media: str, encoding: str) -> dict[str, list[Span]]:
    """Return the spans of a request by their trace's id.

    Args:
        raw: the body.
        media: its media type.
        encoding: how it is compressed; empty if it is not.

    Raises:
        InvalidInput: it is no request of OTLP, or holds no span.
        TooLarge: it is too long.
    """
    body = _decompressed(raw, encoding)
    found: dict[str, list[Span]] = {}
    for resource in _message(body, media).get("resource_spans", ()):
        for scope in resource.get("scope_spans", ()):
            for span in scope.get("spans", ()):
                found.setdefault(_trace_id(span), []).append(_with_numbers(span))
    if not found:
        raise InvalidInput("Invalid OpenTelemetry format - no spans found")
    return found


def packed(spans: Iterable[Span]) -> bytes:
    """Return spans as they are kept."""
    return zlib.compress(json.dumps(list(spans), separators=(",", ":")).encode(), 6)


def unpacked(body: bytes) -> list[Span]:
    """Return spans that were kept."""
    spans: list[Span] = json.loads(zlib.decompress(body))
    return spans


def complete(spans: Iterable[Span]) -> list[Span]:
    """Return each span once (the one that ended, if it came before its end too), roots first, then by time."""
    found: dict[str, Span] = {}
    for span in spans:
        known = found.get(span["span_id"])
        if known is None or span.get("end_time_unix_nano", 0) >= known.get("end_time_unix_nano", 0):
            found[span["span_id"]] = span
    return sorted(found.values(), key=lambda s: ("parent_span_id" in s, s.get("start_time_unix_nano", 0), s["span_id"]))


def attributes(span: Span) -> dict[str, Any]:
    """Return a span's attributes as JSON would say them."""
    return {each["key"]: _plain(each.get("value", {})) for each in span.get("attributes", ())}


def in_file(span: Span) -> dict[str, Any]:
    """Return a span as MLflow's files of traces hold it: with each attribute as JSON text."""
    status = span.get("status", {})
    return {
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "parent_span_id": span.get("parent_span_id"),
        "name": span.get("name", ""),
        "kind": span.get("kind", "SPAN_KIND_INTERNAL"),
        "start_time_unix_nano": span.get("start_time_unix_nano", 0),
        "end_time_unix_nano": span.get("end_time_unix_nano"),
        "events": [{**event, "attributes": attributes(event)} for event in span.get("events", ())],
        "status": {"code": status.get("code", "STATUS_CODE_UNSET"), "message": status.get("message", "")},
        "attributes": {key: json.dumps(value) for key, value in attributes(span).items()},
        "links": [{**link, "attributes": attributes(link)} for link in span.get("links", ())],
    }


def _decompressed(raw: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "deflate"):
        raise InvalidInput(f"Unsupported Content-Encoding: {encoding!r}: it is gzip or deflate")
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    try:
        body = reader.decompress(raw, LIMIT)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(f"the body is not compressed by {encoding}: {error}") from error
    if reader.unconsumed_tail:
        raise TooLarge(f"the body has more than {LIMIT} bytes: send fewer spans at a time")
    return body


def _message(body: bytes, media: str) -> dict[str, Any]:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        if media == JSON:
            json_format.Parse(_with_base64_ids(body), request, ignore_unknown_fields=True)
        elif media == PROTOBUF:
            request.ParseFromString(body)
        else:
            raise InvalidInput(f"Invalid Content-Type: {media}. Expected: {PROTOBUF} or {JSON}")
        said: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    except (DecodeError, json_format.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput("Invalid OpenTelemetry format") from error
    return said


def _with_base64_ids(body: bytes) -> str:
    """Return a request in JSON, whose ids are hexadecimal in OTLP and base64 in protobuf."""
    said = json.loads(body)
    spans = [
        span
        for resource in said.get("resourceSpans", ())
        for scope in resource.get("scopeSpans", ())
        for span in scope.get("spans", ())
    ]
    for each in [*spans, *(link for span in spans for link in span.get("links", ()))]:
        for name in _IDS:
            if each.get(name):
                each[name] = b64encode(bytes.fromhex(each[name])).decode()
    return json.dumps(said)


def _trace_id(span: Span) -> str:
    identity = b64decode(span.get("trace_id", ""))
    if len(identity) != _ID_BYTES or not span.get("span_id"):
        raise InvalidInput("Cannot convert OpenTelemetry span to MLflow span: it lacks the id of its trace or its own")
    return f"tr-{identity.hex()}"


def _with_numbers(value: Any) -> Any:
    """Return JSON with integers as numbers, which protobuf's own form says as text."""
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {k: int(v) if k in _INTEGERS and isinstance(v, str) else _with_numbers(v) for k, v in value.items()}


def _plain(value: Mapping[str, Any]) -> Any:
    for kind, said in value.items():
        if kind == "kvlist_value":
            return {each["key"]: _plain(each.get("value", {})) for each in said.get("values", ())}
        if kind == "array_value":
            return [_plain(each) for each in said.get("values", ())]
        return said
    return None
