"""A program of a customer's: sends one message with Microsoft's SDK, traced by it.

    python -m tests.traced_producer CONNECTION TOPIC OTLP-URL BODY [NAME=VALUE …]

Prints the trace's id. What it was in the middle of is a span of its own, `ask`.
"""

import sys

from azure.core.settings import settings
from azure.core.tracing.ext.opentelemetry_span import OpenTelemetrySpan
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def main(connection: str, topic: str, collector: str, body: str, *named: str) -> None:
    """Send it."""
    provider = TracerProvider(resource=Resource({"service.name": "producer"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector}/v1/traces")))
    trace.set_tracer_provider(provider)
    settings.tracing_implementation = OpenTelemetrySpan
    properties = dict(each.split("=", 1) for each in named)
    with (
        ServiceBusClient.from_connection_string(connection) as client,
        client.get_topic_sender(topic) as sender,
        trace.get_tracer("producer").start_as_current_span("ask") as span,
    ):
        sender.send_messages(ServiceBusMessage(body, application_properties=properties))
        print(f"{span.get_span_context().trace_id:032x}", flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
