"""Asking a hub until it answers, written once for programs that wait and programs that await.

What is to happen is a generator: it yields requests and pauses, is sent answers, and returns the
result. `Client` carries it out with blocking calls, `AsyncClient` with asynchronous ones.
"""

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from notifications.client.errors import NoAnswer, NoHub, OverLimit, Refused, refusal

T = TypeVar("T")

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_DONE_NOTHING = (429, 503)
_MAY_HAVE_DONE_IT = (500, 502, 504)
_PROBLEM = "urn:huntaze:problem:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often the same is asked, with growing pauses in between.

    Attributes:
        tries: The first included.
        first_pause: Seconds; doubles each time, give or take a fifth.
        longest_pause: Seconds; a hub that asks to be left alone for longer is not asked again.
    """

    tries: int = 6
    first_pause: float = 0.5
    longest_pause: float = 30.0


RETRIES = Retries()
"""Fifteen seconds of patience with a hub that is not there; longer with one that is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something to ask.

    Attributes:
        method: The HTTP method.
        path: Under the hub's address.
        params: The query; None is left out.
        content: The body, JSON.
        repeatable: Done twice it has the effect of once: it is sent again whatever happened.
            What is not is sent again only where the hub cannot have done anything.
    """

    method: str
    path: str
    params: Mapping[str, str | int | None] = field(default_factory=dict)
    content: bytes | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait.

    Attributes:
        seconds: For how long.
        why: What went wrong, and which try comes next.
    """

    seconds: float
    why: str


Step = Request | Pause
Answer = httpx.Response | httpx.TransportError | None
"""What came of a step; None of a pause."""

Steps = Generator[Step, Answer, T]
"""Something to do with a hub, to be carried out step by step."""


def ask(request: Request, retries: Retries, url: str) -> Steps[httpx.Response]:
    """Send a request until there is an answer other than that the hub is busy or away.

    Raises:
        NoAnswer: There was none.
        OverLimit: The tenant has to wait for longer than that.
    """
    pause, problem, asked_for = retries.first_pause, "", 0.0
    error: NoAnswer | Refused = NoAnswer("nothing was asked")
    for number in range(retries.tries):
        if number:
            why = f"{problem}; trying again ({number} of {retries.tries - 1})"
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 - nothing to guess
            yield Pause(max(pause * jitter, asked_for), why)
            pause = min(pause * 2, retries.longest_pause)
        answer = yield request
        if isinstance(answer, httpx.Response):
            if not _is_away(answer.status_code, request):
                return answer
            told = refusal(answer.status_code, json_of(answer), answer.reason_phrase)
            problem, asked_for = f"{url} answers {told}", _asked_for(answer)
            if isinstance(told, OverLimit):
                told.retry_after = max(asked_for, 1.0)
                error = told
            else:
                error = NoAnswer(problem, retry_after=max(asked_for, 1.0))
            if asked_for > retries.longest_pause:
                break
            continue
        problem, asked_for = f"no answer from {url} ({_why(answer)})", 0.0
        if not request.repeatable and not isinstance(answer, _UNSENT):
            raise NoAnswer(f"{problem}: it may have been done, or not")
        error = NoAnswer(problem)
    raise error


def document_of(answer: httpx.Response, url: str) -> Any:
    """The JSON of an answer that says yes; None where there is none.

    Raises:
        Refused: It says no.
        NoHub: It is none of a hub's.
    """
    document = json_of(answer)
    if answer.is_success:
        if document is None and answer.content:
            raise NoHub(f"{url} is no hub: its answer is none of a hub's")
        return document
    raise no(answer, document, url)


def no(answer: httpx.Response, document: Any, url: str) -> Refused | NoHub:
    """The error that an answer is which does not say yes."""
    problem = document if isinstance(document, dict) else {}
    known = str(problem.get("type", "")).startswith(_PROBLEM)
    if not known and (answer.status_code in (404, 405) or answer.status_code < 400):
        path = answer.request.url.path
        return NoHub(f"{url} is no hub: {path} answers {answer.status_code}")
    return refusal(answer.status_code, document, answer.reason_phrase)


def json_of(answer: httpx.Response) -> Any:
    """An answer's JSON; None where it is none."""
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _is_away(status: int, request: Request) -> bool:
    return status in _DONE_NOTHING or (status in _MAY_HAVE_DONE_IT and request.repeatable)


def _asked_for(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _why(error: object) -> str:
    return str(error) or type(error).__name__
