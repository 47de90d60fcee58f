"""Microsoft's Service Bus client for JavaScript, unmodified, and the door in front of a file."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from tests.door_worlds import durable, open_door
from tests.node_packages import FOLDER, install, needs_node

pytestmark = [needs_node, pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

SCRIPT = FOLDER / "service-bus.mjs"
TEXT = SCRIPT.read_text()
CASES = re.findall(r'^  "([a-z ]+)": (?:async )?\(\)', TEXT, re.MULTILINE)
TOPICS = sorted(set(re.findall(r'"(js-[a-z]+)"', TEXT)))
PATIENCE_S = 60


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def outcomes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[str, str]]:
    """What went wrong in each case, by name; all of them run side by side in one process."""
    install()
    folder: Path = tmp_path_factory.mktemp("door")
    async with durable(folder, TOPICS) as alone, open_door(alone.broker) as there:
        command = ("node", SCRIPT.name, there.connection())
        process = await asyncio.create_subprocess_exec(
            *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
        found = [orjson.loads(line) for line in out.splitlines()]
        yield {"": err.decode(), **{one["case"]: one["why"] or "" for one in found}}


@pytest.mark.parametrize("case", CASES)
async def test_javascript(outcomes: Mapping[str, str], case: str) -> None:
    """What the case's name says holds, as the SDK sees it."""
    assert case in outcomes, outcomes[""]
    if outcomes[case]:
        pytest.fail(outcomes[case])
