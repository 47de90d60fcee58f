"""A program of a customer's: sends messages with Microsoft's SDK, each traced by it.

    python -m tests.traced_producer CONNECTION OTLP-URL '[{"topic":…,"body":…,"properties":{…}}, …]'

Prints each one's trace id. What the program was in the middle of is a span of its own, `ask`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.hub_process import ROOT

LASTS_AT_MOST_S = 60


def send(connection: str, collector: str, *messages: Mapping[str, Any]) -> list[str]:
    """Run the program; the trace of each message.

    Args:
        connection: Of the namespace.
        collector: What `OTEL_EXPORTER_OTLP_ENDPOINT` would be.
        messages: Each with its `topic`, its `body` as text, and its `properties`.
    """
    program = [sys.executable, "-m", "tests.traced_producer", connection, collector]
    done = subprocess.run(
        [*program, json.dumps(messages)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LASTS_AT_MOST_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def main(connection: str, collector: str, messages: str) -> None:
    """Send them, in a process that has nothing else to trace."""
    from azure.core.settings import settings
    from azure.core.tracing.ext.opentelemetry_span import OpenTelemetrySpan
    from azure.servicebus import ServiceBusClient, ServiceBusMessage
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": "producer"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector}/v1/traces")))
    trace.set_tracer_provider(provider)
    settings.tracing_implementation = OpenTelemetrySpan
    with ServiceBusClient.from_connection_string(connection) as client:
        for each in json.loads(messages):
            message = ServiceBusMessage(
                each["body"], application_properties=dict(each["properties"])
            )
            with (
                client.get_topic_sender(each["topic"]) as sender,
                trace.get_tracer("producer").start_as_current_span("ask") as span,
            ):
                sender.send_messages(message)
                print(f"{span.get_span_context().trace_id:032x}", flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
