"""A collector on loopback: takes OTLP over HTTP, as protobuf, and shows what came."""

import asyncio
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span that came.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits; empty where it follows from none.
        name: e.g. `process huntaze-events`.
        kind: `INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER` or `CONSUMER`.
        failed: Its status is an error.
        attributes: What it says.
        service: Whose it is.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    failed: bool
    attributes: Mapping[str, Any]
    service: str

    @property
    def subscription(self) -> str | None:
        """Where its message was received."""
        return self.attributes.get("messaging.destination.subscription.name")


@dataclass(slots=True)
class OtlpReceiver:
    """What came so far.

    Attributes:
        url: What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
        spans: In the order they came.
        logs: The log's records: body and attributes, with `traceId` where one is in a span.
        metrics: The names of metrics, each with the attributes of its points.
    """

    url: str
    spans: list[Seen] = field(default_factory=list)
    logs: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    metrics: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def of_trace(self, trace_id: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def trace(self, trace_id: str, *, until: Collection[str]) -> list[Seen]:
        """A trace's spans, once those names are among them and each parent is there.

        Args:
            trace_id: Which.
            until: Names that must have come; one that is there twice must have come twice.
        """
        give_up = time.monotonic() + PATIENCE_S
        while True:
            spans = self.of_trace(trace_id)
            left = [span.name for span in spans]
            missing = [name for name in until if not _take(left, name)]
            if not missing and not orphans(spans):
                return spans
            assert time.monotonic() < give_up, (
                f"missing {missing}, without their parents {orphans(spans)}, there: {spans}"
            )
            await asyncio.sleep(0.02)


def _take(names: list[str], name: str) -> bool:
    if name not in names:
        return False
    names.remove(name)
    return True


def orphans(spans: Sequence[Seen]) -> list[Seen]:
    """Those whose parent is not among them, save the first: one that has none at all."""
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id and span.parent_id not in known]


def assert_whole(spans: Sequence[Seen]) -> Seen:
    """Spans are one trace: one id, one beginning, and every other one's parent is there.

    Returns:
        The beginning.
    """
    assert len({span.trace_id for span in spans}) == 1, spans
    assert orphans(spans) == []
    (root,) = [span for span in spans if not span.parent_id]
    return root


def path(spans: Sequence[Seen], leaf: Seen) -> list[str]:
    """The names from the trace's beginning to a span."""
    by_id = {span.span_id: span for span in spans}
    names = [leaf.name]
    while leaf.parent_id:
        leaf = by_id[leaf.parent_id]
        names.insert(0, leaf.name)
    return names


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A collector on a free port."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Handler.receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    receiver: ClassVar[OtlpReceiver]
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        taken = self.headers["content-type"] == "application/x-protobuf"
        if taken:
            _TAKING[self.path](self.receiver, body)
        self.send_response(200 if taken else 415)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _spans(receiver: OtlpReceiver, body: bytes) -> None:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            receiver.spans += [
                Seen(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes=_values(span.attributes),
                    service=service,
                )
                for span in scope.spans
            ]


def _logs(receiver: OtlpReceiver, body: bytes) -> None:
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in resource.scope_logs:
            receiver.logs += [
                (record.body.string_value, _values(record.attributes))
                for record in scope.log_records
            ]


def _metrics(receiver: OtlpReceiver, body: bytes) -> None:
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = getattr(metric, str(metric.WhichOneof("data"))).data_points
                receiver.metrics[metric.name] = [_values(point.attributes) for point in points]


def _values(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


_TAKING = {"/v1/traces": _spans, "/v1/logs": _logs, "/v1/metrics": _metrics}
