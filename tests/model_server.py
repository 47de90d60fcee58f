"""A server that speaks OpenAI's protocol on loopback, programmable down to the fault.

    async with ModelServer() as server:      # answers every question rightly
        Endpoint(url=server.url, models=["Phi-4-mini-instruct"], key="k")
        server.reported                      # the usage it told, one each

It counts what it reported, so that money can be compared. As a program it prints its URL and
serves until it is stopped; `GET /reported` has the counts:

    python -m tests.model_server --port 0 --delay 0.2
"""

import argparse
import asyncio
import base64
import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Self

from aiohttp import web

from ai_workers.models.filling import filled
from ai_workers.models.prices import Counts, PriceTable
from ai_workers.reading import objects_in
from ai_workers.text_work import part_of
from notifications.shipped import SCHEMAS

_MEASURED = ("technical", "notes")
"""What a video's result has that no model is asked for."""

_WAV_BYTES_PER_TOKEN = 2_560
"""80 ms of 16 kHz, 16 bits, mono."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question as it arrived.

    Attributes:
        path: Where it was sent.
        headers: By lower-case name.
        body: The request's JSON.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def system(self) -> str:
        return str(self.body["messages"][0]["content"])

    @property
    def parts(self) -> list[dict[str, Any]]:
        """What the user's message is made of."""
        content = self.body["messages"][1]["content"]
        return [{"type": "text", "text": content}] if isinstance(content, str) else content

    @property
    def user(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    @property
    def schema(self) -> dict[str, Any]:
        """The schema that the answer is to satisfy, as the instructions say it.

        Instructions about pictures describe theirs in words: it is the result's, without what the
        hub measures.
        """
        found = [each for each in objects_in(self.system) if "properties" in each]
        if found:
            return found[0]
        path = SCHEMAS / "jobs" / "video.analysis" / "v1.result.json"
        if not any(part["type"] == "image_url" for part in self.parts) or not path.exists():
            return {"type": "object"}
        result = json.loads(path.read_bytes())
        return part_of(result, [each for each in result["required"] if each not in _MEASURED])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Usage that was told to whoever asked, in an answer that was sent whole."""

    model: str
    input: int
    output: int
    audio: int


Behaviour = Callable[["ModelServer", Asked, web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class ModelServer:
    """Serves one behaviour per question, the last one again and again.

    Attributes:
        behaviours: What to do with the 1st, 2nd, ... question.
        delay_s: How long a model takes.
        asked: The questions so far.
        reported: The usage told so far.
    """

    behaviours: Sequence[Behaviour] = field(default_factory=lambda: [right()])
    delay_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def cost_nano_usd(self, prices: PriceTable, *, on: date) -> int:
        """What it reported, at these prices, in billionths of a dollar."""
        return sum(
            prices.cost(
                each.model,
                Counts(input=each.input, output=each.output, audio=each.audio),
                on=on,
            )
            for each in self.reported
        )

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{prefix:.*}chat/completions", self._completions)
        app.router.add_get("/reported", self._told)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.json(),
        )
        place = min(len(self.asked), len(self.behaviours) - 1)
        self.asked.append(asked)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return await self.behaviours[place](self, asked, request)

    async def _told(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(each) for each in self.reported])

    def report(self, asked: Asked, text: str) -> dict[str, Any]:
        """Count a question and its answer, and say so as an endpoint does."""
        audio = sum(_heard(part) for part in asked.parts)
        pictures = sum(part["type"] == "image_url" for part in asked.parts)
        sent = (len(asked.system) + len(asked.user)) // 4 + 1_000 * pictures + audio
        back = len(text) // 4 + 1
        self.reported.append(Reported(model=asked.model, input=sent, output=back, audio=audio))
        return {
            "prompt_tokens": sent,
            "completion_tokens": back,
            "total_tokens": sent + back,
            "prompt_tokens_details": {"audio_tokens": audio, "cached_tokens": 0},
        }


def _heard(part: dict[str, Any]) -> int:
    if part["type"] == "input_audio":
        data = part["input_audio"]["data"]
    elif part["type"] == "audio_url":
        data = part["audio_url"]["url"].partition("base64,")[2]
    else:
        return 0
    return len(base64.b64decode(data)) // _WAV_BYTES_PER_TOKEN


# --------------------------------------------------------------------------- behaviours


def right() -> Behaviour:
    """A minimal answer that satisfies the schema in the instructions."""

    async def behave(server: ModelServer, asked: Asked, _: web.Request) -> web.Response:
        return _completion(server, asked, json.dumps(filled(asked.schema)))

    return behave


def say(
    text: str | None, *, finish: str = "stop", usage: object = ..., **message: Any
) -> Behaviour:
    """This text. `usage` replaces what is counted, None leaves it out; `message` adds fields."""

    async def behave(server: ModelServer, asked: Asked, _: web.Request) -> web.Response:
        return _completion(server, asked, text, finish=finish, usage=usage, **message)

    return behave


def refuse(status: int, error: object = None, headers: dict[str, str] | None = None) -> Behaviour:
    """An error: a JSON object is sent as `{"error": …}`, text as it is."""

    async def behave(_: ModelServer, __: Asked, ___: web.Request) -> web.Response:
        if isinstance(error, str):
            return web.Response(status=status, text=error, headers=headers)
        return web.json_response({"error": error}, status=status, headers=headers)

    return behave


def body(content: bytes, *, content_type: str = "application/json") -> Behaviour:
    """200 with this body."""

    async def behave(_: ModelServer, __: Asked, ___: web.Request) -> web.Response:
        return web.Response(body=content, content_type=content_type)

    return behave


def packed(content: bytes) -> Behaviour:
    """200 with this body, packed although nobody asked for it."""

    async def behave(_: ModelServer, __: Asked, ___: web.Request) -> web.Response:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        return web.Response(body=gzip.compress(content), headers=headers)

    return behave


async def hang(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """No answer, for as long as anybody waits."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def reset(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """The connection is gone."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_body(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """The answer begins, and the connection is gone."""
    response = web.StreamResponse(headers={"content-length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return response


async def endless_body(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """An answer without an end."""
    return await _endless(200, request)


async def endless_error(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """An error without an end."""
    return await _endless(500, request)


async def _endless(status: int, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def drip(_: ModelServer, __: Asked, request: web.Request) -> web.StreamResponse:
    """An answer that comes byte by byte, so that no single wait is long."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


def only(shape: Callable[[Asked], Behaviour | None]) -> Behaviour:
    """What `shape` says to a question; a right answer where it says nothing."""

    async def behave(server: ModelServer, asked: Asked, request: web.Request) -> web.StreamResponse:
        return await (shape(asked) or right())(server, asked, request)

    return behave


def _completion(
    server: ModelServer,
    asked: Asked,
    text: str | None,
    *,
    finish: str = "stop",
    usage: object = ...,
    **message: Any,
) -> web.Response:
    document = {
        "id": f"chatcmpl-{len(server.asked)}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": asked.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
    }
    if usage is ...:
        document["usage"] = server.report(asked, text or "")
    elif usage is not None:
        document["usage"] = usage
    return web.json_response(document)


async def _serve(port: int, delay_s: float) -> None:
    async with ModelServer(port=port, delay_s=delay_s) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A model's endpoint on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a model takes")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.delay))
