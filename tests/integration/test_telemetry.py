"""Telemetry that is off, sampled, sent to Application Insights, and telemetry nobody takes."""

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from notifications import tracing
from notifications.settings import Settings
from notifications.spans import sending
from notifications.telemetry.opening import ENDS_WITHIN_S, open_telemetry
from notifications.tracing import Kind, step
from tests.hub_process import ROOT
from tests.otlp_receiver import otlp_receiver

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

HUB = """
import asyncio, sys
from pathlib import Path
from ai_workers.extension import AiWorkers
from notifications.api import create_app
from notifications.bootstrap import open_local_hub
from notifications.owner import own
from notifications.settings import Settings, load_or_create_secrets

async def main():
    settings = Settings.read({})
    with own(Path(sys.argv[1])) as folder:
        secrets = load_or_create_secrets(folder.path, settings)
        async with open_local_hub(settings, secrets, folder, extension=AiWorkers()) as hub:
            create_app(hub)
            event = {"specversion": "1.0", "id": "one", "source": "/t", "type": "message.received",
                "userid": "ada", "data": {"from": {"name": "Zoé"}, "preview": "Bonjour !"}}
            (answer,) = await hub.hub.publish([event], tenant_id="acme", traceparent=None)
            print("published", answer.id)

asyncio.run(main())
print(*sys.modules)
"""
NOT_WHEN_OFF = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto",
    "google.protobuf", "azure.monitor", "notifications.telemetry.exporting")  # fmt: skip


def test_a_hub_that_sends_nothing_loads_nothing_for_it(tmp_path: Path) -> None:
    """Without the two settings neither OpenTelemetry's SDK nor an exporter is ever imported; the
    API's framework loads OpenTelemetry's API by itself."""
    command = [sys.executable, "-c", HUB, str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    said, _, loaded = done.stdout.partition("\n")
    assert said == "published one", done.stderr
    assert [name for name in loaded.split() if name.startswith(NOT_WHEN_OFF)] == []


async def test_a_trace_that_begins_here_is_kept_by_the_ratio() -> None:
    """With a ratio of 0 none is, down to its last step; what a caller keeps is kept."""
    with otlp_receiver() as seen:
        async with open_telemetry(Settings(otlp_endpoint=seen.url, trace_ratio=0.0), {}):
            tracer = tracing.active
            assert tracer is not None
            with step(tracer, tracer.begin("ours", Kind.SEND, {})) as ours:
                tracer.begin("below", Kind.PROCESS, {}).end()
            tracer.begin("apart", Kind.PROCESS, {}, parent=ours.traceparent).end()
            tracer.begin("theirs", Kind.SEND, {}, parent=SAMPLED).end()

    assert int(ours.traceparent[-2:], 16) & 1 == 0
    assert [span.name for span in seen.spans] == ["theirs"]
    assert f"00-{seen.spans[0].trace_id}-{seen.spans[0].parent_id}-01" == SAMPLED


async def test_a_hosts_step_of_the_same_trace_is_the_nearest() -> None:
    """On Functions the host is in the trace of the message that it hands over: what the hub does
    follows from the host's step; from one of another trace it does not."""
    with otlp_receiver() as seen:
        async with open_telemetry(Settings(otlp_endpoint=seen.url), {}):
            tracer = tracing.active
            assert tracer is not None
            with step(tracer, tracer.begin("host", Kind.INTERNAL, {}, parent=SAMPLED)) as host:
                sending(tracer, "t", "1", {}, SAMPLED).end()
                sending(tracer, "t", "2", {}, None).end()
                sending(tracer, "t", "3", {}, f"00-{'a' * 32}-{'b' * 16}-01").end()

    parents = {span.attributes.get("messaging.message.id"): span.parent_id for span in seen.spans}
    here = host.traceparent[36:52]
    assert (parents["1"], parents["2"], parents["3"]) == (here, here, "b" * 16)


async def test_who_does_not_answer_neither_slows_nor_stops_the_hub(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that takes connections and says nothing costs no span its time, fills no memory,
    is told of once, and holds up the end for no longer than promised."""
    queue = 64
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(queue))
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(queue))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with open_telemetry(Settings(otlp_endpoint=endpoint), {}):
            tracer = tracing.active
            assert tracer is not None
            began = time.monotonic()
            for _ in range(40 * queue):
                tracer.begin("step", Kind.INTERNAL, {}).end()
            stopping = time.monotonic()
        took = time.monotonic() - stopping

    assert tracing.active is None
    assert stopping - began < 2
    assert took < ENDS_WITHIN_S + 1
    told = [record for record in caplog.records if record.message == "telemetry.not_sent"]
    assert len(told) == 1
    assert "dropping Span" in vars(told[0])["detail"]


async def test_application_insights_gets_traces_logs_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent as Azure Monitor takes them: the trace's id is the operation's, on logs, too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for own in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
        # What the exporter tells and asks Microsoft of itself.
        monkeypatch.setenv(f"APPLICATIONINSIGHTS_{own}", "true")
    with ingestion() as (url, envelopes):
        insights = (
            f"InstrumentationKey=12345678-1234-1234-1234-123456789abc;IngestionEndpoint={url}"
        )
        async with open_telemetry(Settings(insights=insights), {}):
            tracer = tracing.active
            assert tracer is not None
            with step(tracer, tracer.begin("send huntaze-events", Kind.SEND, {})) as span:
                logging.getLogger("huntaze").warning("said", extra={"eventId": "one"})

    trace_id = span.traceparent[3:35]
    of_trace = {
        each["data"]["baseType"]: each["data"]["baseData"]
        for each in envelopes
        if each["tags"].get("ai.operation.id") == trace_id
    }
    assert set(of_trace) == {"RemoteDependencyData", "MessageData"}
    assert of_trace["RemoteDependencyData"]["name"] == "send huntaze-events"
    assert of_trace["MessageData"]["properties"]["eventId"] == "one"
    measured = [each for each in envelopes if each["data"]["baseType"] == "MetricData"]
    names = {point["name"] for each in measured for point in each["data"]["baseData"]["metrics"]}
    assert "messaging.client.operation.duration" in names


@contextmanager
def ingestion() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What Application Insights takes telemetry with, and what it took."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            items = json.loads(body)
            taken.extend(items)
            count = len(items)
            said = {"itemsReceived": count, "itemsAccepted": count, "errors": []}
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
