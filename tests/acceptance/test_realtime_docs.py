"""What `docs/realtime.md` prints for apps does what the page says, as it is printed."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.test_realtime_hub import WITHIN_S, Acme
from tests.hub_process import ROOT, hub_process
from tests.node_packages import FOLDER, install, needs_node
from tests.realtime_server import until

PAGE = (ROOT / "docs" / "realtime.md").read_text()
PYTHON = """
import asyncio, sys
from follow import follow
asyncio.run(follow(*sys.argv[1:], lambda item: print(item["eventId"], flush=True)))
"""
NODE = """
import { follow } from "./follow.mjs";
await follow(...process.argv.slice(2), (item) => console.log(item.eventId));
"""


def printed(heading: str) -> str:
    """The program under a heading of the page."""
    found = re.search(rf"^### {heading}$.*?^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def program(heading: str, folder: Path) -> list[str]:
    """The command that follows with the printed program and prints what it is shown."""
    if heading == "Python":
        (folder / "follow.py").write_text(printed(heading))
        (folder / "main.py").write_text(PYTHON)
        return [sys.executable, str(folder / "main.py")]
    install()
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    (folder / "follow.mjs").write_text(printed(heading))
    (folder / "main.mjs").write_text(NODE)
    flags = ["--experimental-websocket", "--no-warnings"]
    return ["node", *flags, str(folder / "main.mjs")]


@contextlib.asynccontextmanager
async def shown_by(command: list[str]) -> AsyncIterator[list[str]]:
    """The events whose items the program was shown so far."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    found: list[str] = []

    async def read(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            found.append(line.decode().strip())  # noqa: PERF401 (it is looked at meanwhile)

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield found
    finally:
        process.kill()
        await process.wait()
        await reading


@pytest.mark.parametrize(
    "heading",
    [
        "Python",
        pytest.param("Node, or a page with a bundler", marks=needs_node),
        pytest.param("A page without a bundler", marks=needs_node),
    ],
)
@pytest.mark.long
async def test_a_printed_program_shows_each_item_once(heading: str, tmp_path: Path) -> None:
    """What was there before it, what comes, and what comes before and after it is back from a
    restart of the hub."""
    with hub_process(tmp_path / "data") as hub:
        acme = Acme(hub)
        published = await acme.publish(2)
        token = acme.lea["authorization"].removeprefix("Bearer ")
        command = await asyncio.to_thread(program, heading, tmp_path)
        async with shown_by([*command, hub.url, token]) as shown:
            await until(lambda: len(shown) >= 2, within_s=WITHIN_S)
            published += await acme.publish(2)
            await until(lambda: len(shown) >= 4, within_s=WITHIN_S)
            hub.kill()
            await asyncio.to_thread(hub.start)
            published += await acme.publish(1)
            await until(lambda: len(shown) >= 5, within_s=WITHIN_S)
            published += await acme.publish(1)
            await until(lambda: len(shown) >= 6, within_s=WITHIN_S)
            assert sorted(shown) == sorted(published)
