"""OpenTelemetry's SDK as the hub uses it: three signals, bounded queues, and whoever takes them.

Nothing here is the process's own default: other libraries that look for one find none, and send
nothing. What the queues cannot hold is dropped, and counted by nobody; no caller ever waits.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NoOpTracer

from notifications.errors import ConfigurationError
from notifications.settings import Settings
from notifications.telemetry.figures import Figure, Figures
from notifications.telemetry.logs import Seldom, Taken
from notifications.telemetry.tracer import OtelTracer

SERVICE = "huntaze"
"""What the hub calls itself, where OTEL_SERVICE_NAME does not say otherwise."""

_UNNAMED = "unknown_service"
_SCOPE = "notifications"
_COMPLAINERS = ("opentelemetry", "azure.monitor")


class Exporting:
    """Everything that is sent, until `close`.

    Attributes:
        tracer: The hub's.
        disabled: The environment tells OpenTelemetry to do nothing (`OTEL_SDK_DISABLED`).
    """

    def __init__(self, settings: Settings, topics: Mapping[str, str]) -> None:
        """Open it.

        Raises:
            ConfigurationError: An exporter refuses what is set.
        """
        spans, logs, metrics = _exporters(settings)
        resource = _resource()
        sampler = ParentBased(TraceIdRatioBased(settings.trace_ratio))
        self._traces = TracerProvider(sampler, resource, shutdown_on_exit=False)
        for each in spans:
            self._traces.add_span_processor(BatchSpanProcessor(each))
        self._metrics = MeterProvider(
            [PeriodicExportingMetricReader(each) for each in metrics],
            resource,
            shutdown_on_exit=False,
        )
        self._logs = LoggerProvider(resource, shutdown_on_exit=False)
        for taker in logs:
            self._logs.add_log_record_processor(BatchLogRecordProcessor(taker))
        self._meter = self._metrics.get_meter(_SCOPE)
        self._taken = Taken(self._logs.get_logger("huntaze"))
        # Where nobody has set one, as on Functions, the log would be without what it is read for.
        unset = logging.getLogger("huntaze").level == logging.NOTSET
        self._level = settings.log_level.upper() if unset else None
        self._figures: Figures = tuple
        self._observed: set[str] = set()
        tracer = self._traces.get_tracer(_SCOPE)
        self.disabled = isinstance(tracer, NoOpTracer)
        self.tracer = OtelTracer(tracer, self._meter, topics)

    def take_logs(self) -> None:
        """From now on take the hub's log; what the SDK complains of goes into it, now and then.

        For good: its threads may have something to say when nothing is sent any more.
        """
        log = logging.getLogger("huntaze")
        log.addHandler(self._taken)
        if self._level is not None:
            log.setLevel(self._level)
        seldom = Seldom()
        for name in _COMPLAINERS:
            complainer = logging.getLogger(name)
            complainer.handlers = [seldom]
            complainer.propagate = False

    def leave_logs(self) -> None:
        """Take no more."""
        log = logging.getLogger("huntaze")
        log.removeHandler(self._taken)
        if self._level is not None:
            log.setLevel(logging.NOTSET)

    def observe(self, figures: Figures) -> None:
        """Send these along with the metrics, in place of those that were before."""
        self._figures = figures
        for figure in figures():
            if figure.name not in self._observed:
                self._observed.add(figure.name)
                _instrument(self._meter, figure, self._samples)

    def close(self) -> None:
        """Send what is left, as long as that takes."""
        for provider in (self._traces, self._logs, self._metrics):
            provider.shutdown()

    def _samples(self, name: str) -> Iterable[Observation]:
        try:
            return self._read(name)
        except RuntimeError:
            # It is read from a thread: something was counted for the first time meanwhile.
            return self._read(name)

    def _read(self, name: str) -> Iterable[Observation]:
        return [
            Observation(value, labels)
            for figure in self._figures()
            if figure.name == name
            for labels, value in figure.samples
        ]


def _instrument(
    meter: Meter, figure: Figure, samples: Callable[[str], Iterable[Observation]]
) -> None:
    name = figure.name

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return samples(name)

    if figure.kind == "counter":
        # Prometheus' ending says what OpenTelemetry knows of a counter anyway.
        plain = name.removesuffix("_total")
        meter.create_observable_counter(plain, [observe], description=figure.help)
    else:
        meter.create_observable_gauge(name, [observe], description=figure.help)


def _resource() -> Resource:
    """What the environment says of this process, and its name."""
    found = Resource.create()
    named = str(found.attributes.get(SERVICE_NAME, _UNNAMED))
    return found.merge(Resource({SERVICE_NAME: SERVICE})) if named.startswith(_UNNAMED) else found


def _exporters(
    settings: Settings,
) -> tuple[Sequence[SpanExporter], Sequence[LogRecordExporter], Sequence[MetricExporter]]:
    """Of each signal, those that the settings ask for."""
    spans: list[SpanExporter] = []
    logs: list[LogRecordExporter] = []
    metrics: list[MetricExporter] = []
    if settings.otlp_endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        at = f"{settings.otlp_endpoint}/v1"
        spans.append(OTLPSpanExporter(f"{at}/traces"))
        logs.append(OTLPLogExporter(f"{at}/logs"))
        metrics.append(OTLPMetricExporter(f"{at}/metrics"))
    if settings.insights is not None:
        from azure.monitor.opentelemetry.exporter import (
            AzureMonitorLogExporter,
            AzureMonitorMetricExporter,
            AzureMonitorTraceExporter,
        )

        where = {"connection_string": settings.insights}
        try:
            spans.append(AzureMonitorTraceExporter(**where))
            logs.append(AzureMonitorLogExporter(**where))
            metrics.append(AzureMonitorMetricExporter(**where))
        except ValueError as error:
            raise ConfigurationError(f"APPLICATIONINSIGHTS_CONNECTION_STRING: {error}") from error
    return spans, logs, metrics
