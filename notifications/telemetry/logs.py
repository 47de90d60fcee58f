"""The hub's log as OpenTelemetry's, and what the SDK has to say in the hub's."""

import logging
import time
from collections.abc import Mapping

from opentelemetry._logs import Logger, SeverityNumber

from notifications.tracing import Value

log = logging.getLogger("huntaze")

TELLS_EVERY_S = 60.0
"""How often the log says that nobody takes what the hub would send: once for thousands of it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class Taken(logging.Handler):
    """Hands the hub's records on, each with the span it was made in."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, without the lock: the logger has its own, and a second one could hang."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; its name is the body, its fields are attributes."""
        try:
            self._logger.emit(
                timestamp=int(record.created * 1e9),
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                severity_text=record.levelname,
                body=record.getMessage(),
                attributes=_fields(record),
                exception=record.exc_info[1] if record.exc_info else None,
            )
        except Exception:  # noqa: BLE001 - whoever wrote a line must not fail with it
            self.handleError(record)


class Seldom(logging.Handler):
    """Takes what the SDK and its exporters complain of, and says so once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told_at = -TELLS_EVERY_S

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record; without the lock, as above."""
        if record.levelno >= self.level:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless something was said within the last minute."""
        now = time.monotonic()
        if now - self._told_at >= TELLS_EVERY_S:
            self._told_at = now
            log.warning("telemetry.not_sent", extra={"detail": record.getMessage()[:300]})


def _fields(record: logging.LogRecord) -> Mapping[str, Value]:
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in vars(record).items()
        if name not in _STANDARD
    }
