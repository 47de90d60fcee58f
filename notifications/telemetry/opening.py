"""Opening telemetry: what a hub does with its traces, metrics and logs until it ends."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from notifications import tracing
from notifications.errors import ConfigurationError
from notifications.settings import Settings
from notifications.telemetry.figures import Figures

if TYPE_CHECKING:
    from notifications.telemetry.exporting import Exporting

ENDS_WITHIN_S = 3.0
"""How long an end waits for what is still to be sent; who takes it may be away."""


_open: "Exporting | None" = None


@asynccontextmanager
async def open_telemetry(settings: Settings, topics: Mapping[str, str]) -> AsyncIterator[None]:
    """Send traces, metrics and logs to where the settings say, until the block ends.

    Does nothing where they name nobody, or where the process sends its own already.

    Args:
        settings: What is configured.
        topics: Each subscription's topic.

    Raises:
        ConfigurationError: The packages for it are not installed, or they refuse a setting.
    """
    wanted = settings.otlp_endpoint is not None or settings.insights is not None
    if not wanted or tracing.active is not None:
        yield
        return
    exporting = await asyncio.to_thread(_load, settings, topics)
    if exporting.disabled:
        yield
        return
    exporting.take_logs()
    _begin(exporting)
    try:
        yield
    finally:
        _begin(None)
        exporting.leave_logs()
        await _within(ENDS_WITHIN_S, exporting.close)


def observe(figures: Figures) -> None:
    """Send these figures along with the other metrics, where any are sent."""
    if _open is not None:
        _open.observe(figures)


def _begin(exporting: "Exporting | None") -> None:
    global _open
    _open = exporting
    tracing.set_active(None if exporting is None else exporting.tracer)


def _load(settings: Settings, topics: Mapping[str, str]) -> "Exporting":
    try:
        # Loaded where it is wanted: the SDK and its exporters take a third of a second.
        from notifications.telemetry.exporting import Exporting
    except ImportError as error:
        raise ConfigurationError(
            f"telemetry needs {error.name}: install what requirements.txt lists, or set neither"
            " OTEL_EXPORTER_OTLP_ENDPOINT nor APPLICATIONINSIGHTS_CONNECTION_STRING"
        ) from error
    return Exporting(settings, topics)


async def _within(seconds: float, close: Callable[[], None]) -> None:
    """Close, but wait no longer than that: the thread is left behind, and ends with the process."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        try:
            close()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=work, name="telemetry-ends", daemon=True).start()
    try:
        await asyncio.wait_for(closed.wait(), seconds)
    except TimeoutError:
        return
