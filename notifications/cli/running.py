"""Running something until the process is told to stop. Loads nothing of a hub."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("huntaze")


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it on the fastest event loop there is."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


@contextmanager
def stop_signals(drain_seconds: int) -> Iterator[asyncio.Event]:
    """Set the event at the first SIGTERM or SIGINT; end the block early when time is up.

    Time is up `drain_seconds` after the first signal, or at the second one. The ledger knows what
    was left, so that ending early loses nothing.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    stop = asyncio.Event()
    deadline: list[asyncio.TimerHandle] = []

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
            return
        stop.set()
        deadline.append(loop.call_later(drain_seconds, task.cancel))

    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, on_signal)
    try:
        yield stop
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        task.uncancel()
        log.warning("hub.drain_cut_short", extra={"afterSeconds": drain_seconds})
    finally:
        for handle in deadline:
            handle.cancel()
        for each in signals:
            loop.remove_signal_handler(each)


def calm_the_collector() -> None:
    """Look for garbage cycles as seldom as suits a process that holds thousands of messages.

    Python's default looks through everything that is alive far too often for that: a webhook cost
    a third less processor time with these (docs/decisions/0007).
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
