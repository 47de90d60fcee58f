"""Microsoft's SignalR client for JavaScript, unmodified, in a process of its own."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import orjson

from tests.node_packages import FOLDER, install
from tests.realtime_server import PATIENCE_S


class NodeClient:
    """Microsoft's client in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def said(self) -> Any:
        """What it says next."""
        assert self.process.stdout
        return orjson.loads(await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S))


@contextlib.asynccontextmanager
async def node_client(url: str, token: str) -> AsyncIterator[NodeClient]:
    """A client that was told where the hub negotiates."""
    await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(
        "node",
        "signalr.mjs",
        url,
        token,
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
    )
    try:
        yield NodeClient(process)
        assert process.stdin
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
