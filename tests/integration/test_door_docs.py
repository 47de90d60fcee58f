"""The programs that the door's page shows, run as they are printed."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs_code import blocks
from tests.door_worlds import open_door
from tests.memory_broker import MemoryBroker
from tests.node_packages import FOLDER, install, needs_node

PAGE = "service-bus-door.md"
PATIENCE_S = 30


async def run(command: Sequence[str], folder: Path) -> str:
    """What the program prints, against a door with its topic; it leaves nothing on it."""
    broker = MemoryBroker({"orders": ["all"]})
    async with open_door(broker) as there:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "SERVICEBUS_CONNECTION": there.connection()},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0
    outlet = broker.outlet("orders/subscriptions/all")
    assert not outlet.ready
    assert not outlet.locked
    return out.decode()


async def test_python(tmp_path: Path) -> None:
    """The program for Python sends a message, gets it and completes it."""
    program, *_ = blocks(PAGE, "python")
    assert await run([sys.executable, "-c", program], tmp_path) == "one\n"


@needs_node
async def test_javascript() -> None:
    """The program for JavaScript sends a message, gets it and completes it."""
    install()
    program, *_ = blocks(PAGE, "js")
    command = ["node", "--input-type=module", "--eval", program]
    assert await run(command, FOLDER) == "{ order: 1 }\n"
