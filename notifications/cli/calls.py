"""Asking a hub over HTTP, again and again until it has answered."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx

from notifications.cli.access import Access
from notifications.errors import ConfigurationError, Unavailable

TRIES = 6
"""How often a request is sent until the hub answers."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 60.0
_BUSY = frozenset((429, 500, 502, 503, 504))
_PROBLEM = "application/problem+json"


def new_client() -> httpx.AsyncClient:
    """A client for talking to a hub."""
    return httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)


class Caller:
    """Asks one hub."""

    def __init__(
        self, access: Access, client: httpx.AsyncClient, tell: Callable[[str], None]
    ) -> None:
        """Configure.

        Args:
            access: The hub and the key.
            client: Sends the requests.
            tell: Is told, in a few words, of each try that failed.
        """
        self.url = access.url
        self._key = access.key
        self._client = client
        self._tell = tell

    async def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request that may be sent twice; the hub's answer, be it a refusal.

        Raises:
            Unavailable: The hub did not answer, however often it was asked.
            ConfigurationError: It does not take the key, or is no hub.
        """
        problem = ""
        headers = {"authorization": f"Bearer {self._key}"}
        if content is not None:
            headers["content-type"] = "application/json"
        async for number in _tries():
            if number:
                self._tell(f"{problem}; trying again ({number} of {TRIES - 1})")
            try:
                response = await self._client.request(
                    method, self.url + path, content=content, params=params, headers=headers
                )
            except httpx.TransportError as error:
                problem = f"no answer from {self.url} ({str(error) or type(error).__name__})"
                continue
            self._check(response, path)
            if response.status_code not in _BUSY:
                return response
            problem = f"{self.url} answers {reason_of(response, json_of(response))}"
            await asyncio.sleep(_asked_to_wait(response))
        raise Unavailable(problem)

    def _check(self, response: httpx.Response, path: str) -> None:
        told = response.headers.get("content-type", "").startswith(_PROBLEM)
        if response.status_code == 401 or (response.status_code == 403 and not told):
            raise ConfigurationError(
                f"{self.url} does not take this key: give the hub's with --key,"
                " HUNTAZE_API_KEY, or --data"
            )
        if response.status_code == 403:
            why = reason_of(response, json_of(response))
            raise ConfigurationError(f"{self.url} does not take this key here: {why}")
        if response.status_code in (404, 405) and not told:
            raise ConfigurationError(f"{self.url} is no hub: it has no {path}")


def json_of(response: httpx.Response) -> Any:
    """What was answered, None where it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def reason_of(response: httpx.Response, document: Any) -> str:
    """Why it was refused, in one line."""
    return told(document) or f"{response.status_code} {response.reason_phrase}".strip()


def told(problem: Any) -> str:
    """A problem document (RFC 9457) in one line; empty where it says nothing."""
    if not isinstance(problem, dict):
        return problem if isinstance(problem, str) else ""
    errors = problem.get("errors")
    places = [
        f"{each.get('pointer') or '/'} {each.get('detail')}"
        for each in (errors if isinstance(errors, list) else [])
        if isinstance(each, dict)
    ]
    said = "; ".join(places) or problem.get("detail") or problem.get("title") or ""
    return " ".join(str(said).split())


async def _tries() -> AsyncIterator[int]:
    """Count tries, with growing pauses in between."""
    pause = _FIRST_PAUSE_S
    for number in range(TRIES):
        if number:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        yield number


def _asked_to_wait(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isascii() and text.isdigit() else 0.0
