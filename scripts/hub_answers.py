"""A hub's API as `test-workers.sh` asks it: every answer is a hub's, or one line says what it is.

Needs Python alone.
"""

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

WHOLE = ("/readyz", "/v1/dead-letters", "/v1/event-types")
"""What belongs to no tenant."""

CALL_S = 30
LAST_S = 5
"""The least that a call is given, when all of the time is over."""

MOST_BYTES = 16 * 1024 * 1024


class Refused(Exception):
    """The hub said no, or nothing, or what no hub says."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the key is for the hub alone."""

    def redirect_request(self, *_: object) -> None:
        """None: the answer stays what it was."""


class Hub:
    """The hub's API, with one key, until all of the time is over."""

    def __init__(self, url: str, key: str, tenant: str, until: float) -> None:
        self.url = url.rstrip("/")
        self.tenant = tenant
        self._key = key
        self._until = until
        self._opener = urllib.request.build_opener(NoRedirect)

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """The answer to a request; queries of the admin name the tenant.

        Raises:
            Refused: There is none, or none of a hub's; one line.
        """
        if method in ("GET", "DELETE") and not path.startswith(WHOLE):
            query["tenantId"] = self.tenant
        target = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        left = max(self._until - time.monotonic(), LAST_S)
        try:
            request = urllib.request.Request(target, data, headers, method=method)  # noqa: S310
            with self._opener.open(request, timeout=min(CALL_S, left)) as answer:
                text = answer.read(MOST_BYTES)
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {self._no(error)}") from None
        except (OSError, ValueError, HTTPException) as error:
            why = one_line(str(getattr(error, "reason", error))) or type(error).__name__
            raise Refused(
                f"{self.url} does not answer as a hub does ({method} {path}: {why}):"
                " is it up, and HUNTAZE_URL its address?"
            ) from None
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise Refused(f"{method} {path}: {self._strange(text)}") from None

    def take(self, name: str, method: str, path: str, body: Any = None, **query: str) -> Any:
        """One field of the answer to a request."""
        answer = self.ask(method, path, body, **query)
        if not isinstance(answer, dict) or name not in answer:
            raise Refused(f"{method} {path}: {self._strange(json.dumps(answer).encode())}")
        return answer[name]

    def _no(self, error: urllib.error.HTTPError) -> str:
        if error.code in (301, 302, 303, 307, 308):
            return f"{error.code}: set HUNTAZE_URL to where it leads, {error.headers['location']}"
        try:
            said = one_line(error.read(MOST_BYTES).decode("utf-8", "replace"))
        except (OSError, ValueError, HTTPException):
            said = ""
        way = ": HUNTAZE_API_KEY has to be the admin's key" if error.code in (401, 403) else ""
        return f"{error.code} {said}{way}"

    def _strange(self, text: bytes) -> str:
        said = one_line(text[:2000].decode("utf-8", "replace"), 80)
        return f"no hub answers like that ({said}): is {self.url} the hub? HUNTAZE_URL says so"


def one_line(text: str, most: int = 300) -> str:
    """A text without line ends, and no longer than that."""
    return " ".join(text.split())[:most]
