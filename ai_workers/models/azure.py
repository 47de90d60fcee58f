"""Models behind an OpenAI-compatible endpoint, such as Azure's, through the `openai` package.

One question is one request: the job's retry table says when to ask again. Further requests follow
at once only where an endpoint says that a model is gone or wants its request in another shape;
both are remembered.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2
import openai
import orjson

from ai_workers.models import faults, shapes
from ai_workers.models.client import Client
from ai_workers.models.endpoint import Endpoint
from ai_workers.models.prices import PriceTable
from ai_workers.models.shapes import Shape
from ai_workers.models.transport import ReplyTooLarge, Sending, http_client, sending
from ai_workers.ports import ModelFailed, Question, Reply, Usage
from ai_workers.reading import LONGEST, without_thoughts
from notifications.ports import Clock

log = logging.getLogger("huntaze")

_CONNECT_S = 10.0
_GONE_MS = 600_000
"""How long a model that is gone is passed over before it is looked for again."""

_MOST_SHAPES = 4
"""Shapes that one question is asked in: each of what can be learnt, once."""


class AzureModel:
    """Implements `ports.Model` over one endpoint. Close it when done."""

    def __init__(self, endpoint: Endpoint, *, prices: PriceTable, clock: Clock) -> None:
        """Be ready to ask; nothing is sent yet.

        Raises:
            ConfigurationError: One of the models has no price.
        """
        prices.require(endpoint.models)
        self._endpoint = endpoint
        self._prices = prices
        self._clock = clock
        self._shapes = {
            model: shapes.shape_of(model, audio=endpoint.audio) for model in endpoint.models
        }
        self._gone: dict[str, int] = {}
        self._http = http_client(connections=endpoint.connections)
        self._client = Client(base_url=endpoint.base_url, http_client=self._http)

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Reply:
        """Ask once; see `ports.Model`. No question takes longer than the endpoint's limit."""
        within_s = min(within_s, self._endpoint.longest_s)
        unheard: list[Usage] = []
        try:
            async with asyncio.timeout(within_s):
                return await self._ask_the_first(question, within_s, unheard)
        except TimeoutError:
            raise faults.timed_out(unheard) from None
        except asyncio.CancelledError:
            if spent is not None:
                for usage in unheard:
                    spent(usage)
            raise

    async def _ask_the_first(
        self, question: Question, within_s: float, unheard: list[Usage]
    ) -> Reply:
        """Ask the first model that is there.

        `unheard` gets what a question is reckoned to cost that was left while it was under way.
        """
        now = self._clock.now()
        models = self._endpoint.models
        there = [name for name in models if self._gone.get(name, 0) <= now]
        for model in there or models:
            reply = await self._ask(model, question, within_s, unheard)
            if reply is not None:
                self._gone.pop(model, None)
                return reply
            self._gone[model] = self._clock.now() + _GONE_MS
            log.warning("model.gone", extra={"model": model})
        raise faults.none_left(models)

    async def _ask(
        self, model: str, question: Question, within_s: float, unheard: list[Usage]
    ) -> Reply | None:
        """Ask one model, in the shape it wants; None where there is no such model."""
        for _ in range(_MOST_SHAPES):
            shape = self._shapes[model]
            entry = await self._entry()
            on_its_way = Sending()
            sending.set(on_its_way)
            try:
                body = await self._send(shapes.request(model, shape, question), entry, within_s)
            except asyncio.CancelledError:
                unheard += self._unheard(model, question, on_its_way)
                raise
            except openai.APIConnectionError as error:  # timeouts among them
                paid = self._unheard(model, question, on_its_way)
                raise _broken(error, paid) from None
            except openai.APIStatusError as error:
                better = shapes.learnt(shape, question, error.status_code, error.body)
                if better is not None:
                    self._shapes[model] = better
                    log.info("model.shape_learnt", extra={"model": model, **_told(better)})
                    continue
                if faults.is_gone(error.status_code, error.body):
                    return None
                raise self._refused(model, error) from None
            return self._read(body, model, question)
        raise faults.no_completion()

    async def _send(
        self, request: Mapping[str, Any], entry: Mapping[str, str], within_s: float
    ) -> bytes:
        """One request; the body of its 2xx.

        Raises:
            openai.APIStatusError: Any other answer.
            openai.APIConnectionError: No answer.
        """
        timeout = httpx2.Timeout(within_s, connect=min(within_s, _CONNECT_S))
        return await self._client.complete(orjson.dumps(request), entry, timeout)

    def _unheard(self, model: str, question: Question, sent: Sending) -> Sequence[Usage]:
        """What a question is reckoned to cost whose answer nobody saw; nothing if it never left."""
        return (self._usage(None, model, question, ""),) if sent.left else ()

    def _refused(self, model: str, error: openai.APIStatusError) -> ModelFailed:
        failed = faults.refused(
            error.status_code, error.body, error.response.headers, wall=self._clock.wall()
        )
        log.warning(
            "model.refused",
            extra={"model": model, "status": error.status_code, "code": failed.code},
        )
        return failed

    async def _entry(self) -> Mapping[str, str]:
        """What opens the endpoint. As a header of the request it outdoes the environment's."""
        if self._endpoint.key is not None:
            return {"authorization": f"Bearer {self._endpoint.key}"}
        assert self._endpoint.token is not None, "it is a key or a token"
        try:
            return {"authorization": f"Bearer {await self._endpoint.token()}"}
        except Exception as error:
            log.warning("model.no_token", extra={"error": type(error).__name__})
            raise faults.no_token() from error

    # ------------------------------------------------------------------ the answer

    def _read(self, body: bytes, model: str, question: Question) -> Reply:
        document = self._document(body, model, question)
        choices = document.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            counted = document.get("usage")
            told = isinstance(counted, dict)
            raise faults.no_completion((self._usage(counted, model, question, ""),) if told else ())
        message = first.get("message")
        message = message if isinstance(message, dict) else {}
        said = _text(message.get("content"))
        usage = self._usage(document.get("usage"), model, question, said)
        finish = first.get("finish_reason")
        if finish == "content_filter" or message.get("refusal"):
            raise faults.filtered((usage,))
        text = without_thoughts(said)[:LONGEST]
        if not text and finish == "length":
            raise faults.cut((usage,))
        return Reply(text=text, usage=usage)

    def _document(self, body: bytes, model: str, question: Question) -> dict[str, Any]:
        """What an answer says.

        Raises:
            ModelFailed: It is no JSON object. What begins as one was cut on its way, and is paid as
                where the connection breaks.
        """
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            begun = body.lstrip().startswith(b"{")
            raise faults.no_completion(
                (self._usage(None, model, question, ""),) if begun else ()
            ) from None
        if not isinstance(document, dict):
            raise faults.no_completion()
        return document

    def _usage(self, said: object, model: str, question: Question, reply: str) -> Usage:
        counts = shapes.counts(said, question, reply)
        today = self._clock.wall().date()
        return Usage(
            model=model,
            input_tokens=counts.input,
            output_tokens=counts.output,
            cost_nano_usd=self._prices.cost(model, counts, on=today),
            estimated=not shapes.tells(said),
        )


def _broken(error: openai.APIConnectionError, unheard: Sequence[Usage]) -> ModelFailed:
    """What it means that there is no answer."""
    if isinstance(error, openai.APITimeoutError):
        return faults.timed_out(unheard)
    if isinstance(error.__cause__, ReplyTooLarge):
        return faults.too_large(unheard)
    return faults.unreachable(unheard)


def _text(content: object) -> str:
    """A message's text; some endpoints send it in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _told(shape: Shape) -> dict[str, Any]:
    return {
        "json_mode": shape.json_mode,
        "tokens": shape.tokens.value,
        "audio": shape.audio.value,
    }
