"""How long the event loop stands still."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

STALL_S = 0.25
"""The longest that it may."""


def kept_waiting_s() -> float:
    """How long this thread could have run while others had the processor: the machine's doing."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except FileNotFoundError:  # only Linux tells
        return 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """How long the event loop stood still at a time, in seconds."""
    gaps: list[float] = []

    async def watch() -> None:
        last = time.perf_counter() - kept_waiting_s()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter() - kept_waiting_s()
            gaps.append(now - last)
            last = now

    # As a hub at its start: else the collector looks through all that the tests before have left.
    gc.collect()
    gc.freeze()
    watching = asyncio.create_task(watch())
    try:
        yield gaps
    finally:
        gc.unfreeze()
        watching.cancel()
        await asyncio.wait({watching})
