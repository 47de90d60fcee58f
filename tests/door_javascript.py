"""Microsoft's Service Bus client for JavaScript, in a process that tries case after case."""

import asyncio
import re
import shutil
from collections.abc import Mapping

import orjson

from tests.node_packages import FOLDER, install

SCRIPT = FOLDER / "service-bus.mjs"
_TEXT = SCRIPT.read_text()
CASES = re.findall(r'^  "([a-z ]+)": (?:async )?\(\)', _TEXT, re.MULTILINE)
TOPICS = sorted(set(re.findall(r'"(js-[a-z]+)"', _TEXT)))
PATIENCE_S = 60


async def outcomes(connection: str) -> Mapping[str, str]:
    """What went wrong in each case, by name; what the process complained of under "".

    All of them run side by side. Where there is no Node, there is no outcome.
    """
    if shutil.which("node") is None:
        return {}
    await asyncio.to_thread(install)
    process = await asyncio.create_subprocess_exec(
        *("node", SCRIPT.name, connection),
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
    found = [orjson.loads(line) for line in out.splitlines()]
    return {"": err.decode(), **{one["case"]: one["why"] or "" for one in found}}
