"""Sending a receiver what it should accept and what it should refuse, and judging its answers."""

import ssl
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import Enum

import httpx

from notifications.cli.webhook_checks import Check
from notifications.errors import Unavailable

USER_AGENT = "Huntaze-Webhooks-Verify/1.0"


class Verdict(Enum):
    """What to think of an answer."""

    RIGHT = "right"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request.

    Attributes:
        status: The HTTP status; None where none came.
        problem: Why none came.
        duration_ms: How long it took.
    """

    status: int | None = None
    problem: str = ""
    duration_ms: int = 0

    def __str__(self) -> str:
        return self.problem if self.status is None else str(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A check, its answer, and what to think of it.

    Attributes:
        check: What was sent.
        answer: What came of it.
        verdict: See `Verdict`.
        why: What is wrong or doubtful; empty where nothing is.
    """

    check: Check
    answer: Answer
    verdict: Verdict
    why: str = ""


async def verify(
    url: str, checks: Iterable[Check], *, timeout: float, tls: ssl.SSLContext
) -> AsyncIterator[Judged]:
    """Send each check, one after the other.

    Args:
        url: The receiver.
        checks: The first is a plain, valid webhook.
        timeout: Seconds that an answer may take.
        tls: Whose certificates are trusted.

    Raises:
        Unavailable: Nothing answers there at all.
    """
    async with httpx.AsyncClient(
        timeout=timeout, verify=tls, trust_env=False, follow_redirects=False
    ) as client:
        for number, check in enumerate(checks):
            answer = await _send(client, url, check)
            if number == 0 and answer.status is None:
                raise Unavailable(f"{url} gives no answer to a valid webhook: {answer.problem}")
            yield judge(check, answer)


async def _send(client: httpx.AsyncClient, url: str, check: Check) -> Answer:
    headers = [
        (b"content-type", b"application/cloudevents+json"),
        (b"user-agent", USER_AGENT.encode()),
        *((name.encode(), value) for name, value in check.headers.items()),
    ]
    begun = time.perf_counter()
    try:
        response = await client.post(url, headers=headers, content=check.body)
    except httpx.TimeoutException:
        problem, status = "no answer in time", None
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        problem, status = "connection closed", None
    except httpx.TransportError as error:
        problem, status = str(error) or type(error).__name__, None
    else:
        problem, status = "", response.status_code
    duration_ms = round((time.perf_counter() - begun) * 1000)
    return Answer(status=status, problem=problem, duration_ms=duration_ms)


def judge(check: Check, answer: Answer) -> Judged:
    """What to think of an answer."""

    def judged(verdict: Verdict, why: str = "") -> Judged:
        return Judged(check=check, answer=answer, verdict=verdict, why=why)

    status = answer.status
    accepted = status is not None and 200 <= status < 300
    if accepted != check.accept:
        if not accepted:
            return judged(Verdict.WRONG, f"not accepted ({answer}): {check.why}")
        verdict = Verdict.DOUBTFUL if check.advice else Verdict.WRONG
        return judged(verdict, f"accepted, and should not be: {check.why}")
    # Who cuts off what is too large does well; elsewhere no answer is a crash.
    if accepted or (status is None and check.advice) or (status or 0) // 100 == 4:
        return judged(Verdict.RIGHT)
    if status is None or status >= 500:
        how = f"by an error of its own ({answer}): answer 400 or 401, and fear no input"
    else:
        how = f"by a redirect ({status}): answer 400 or 401"
    return judged(Verdict.DOUBTFUL, f"refused {how}")
