"""Many connected clients in one process, which tell when each event's last frame came.

Reads its orders from standard input as JSON: `{"urls": [...]}`, one connection each. Says `go` when
all are greeted; from then on, each time every client has got one more frame, prints when the last
of them came, in seconds as `perf_counter`. It ends when its standard input does.
"""

import asyncio
import sys
import time

import orjson
from wire import Socket

_AT_ONCE = 50


async def main() -> None:
    """Connect, and listen."""
    loop = asyncio.get_running_loop()
    urls = orjson.loads(await loop.run_in_executor(None, sys.stdin.readline))["urls"]
    frames = 0

    def heard(_: bytes) -> None:
        nonlocal frames
        frames += 1
        if frames % len(urls) == 0:
            print(time.perf_counter(), flush=True)

    for first in range(0, len(urls), _AT_ONCE):
        page = urls[first : first + _AT_ONCE]
        await asyncio.gather(*(Socket(url, heard).connect(url) for url in page))
    print("go", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
