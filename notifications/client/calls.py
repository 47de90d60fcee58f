"""What can be asked of a hub: each call as steps that a client carries out."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from notifications.client.errors import Misconfigured, NoHub, Refused, refusal
from notifications.client.exchanges import (
    RETRIES,
    Request,
    Retries,
    Steps,
    ask,
    document_of,
    json_of,
    no,
)
from notifications.client.records import NewEvent, Published, read

T = TypeVar("T")

Publishable = NewEvent | Mapping[str, Any] | str
"""An event: as a value, as a CloudEvent, or as a CloudEvent's JSON text, which is sent as it is."""

MAX_EVENTS = 1_000
MAX_BYTES = 8 * 1024 * 1024
"""What a hub takes in one request."""

_BRACKETS = 2


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, and where it goes on."""

    items: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls to one hub.

    Attributes:
        url: Where it is, without a slash at the end.
        tenant_id: Whose things, where the key is the admin's.
        retries: How often the same is asked.
    """

    url: str
    tenant_id: str | None = None
    retries: Retries = RETRIES

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int | None] | None = None,
        repeatable: bool | None = None,
    ) -> Steps[Any]:
        """Any route: its JSON, or None where it answers none. The tenant is added."""
        in_query = {"tenantId": self.tenant_id} if body is None else {}
        if body is not None:
            body = {"tenantId": self.tenant_id, **body} if self.tenant_id else body
        answer = yield from ask(
            Request(
                method=method,
                path=path,
                params={**in_query, **(params or {})},
                content=None if body is None else json.dumps(body).encode(),
                repeatable=method != "POST" if repeatable is None else repeatable,
            ),
            self.retries,
            self.url,
        )
        return document_of(answer, self.url)

    def fetch(self, kind: type[T], method: str, path: str, **options: Any) -> Steps[T]:
        """Any route whose answer is a value of this kind."""
        return self._read(kind, (yield from self.call(method, path, **options)))

    def page(
        self, kind: type[T], path: str, params: Mapping[str, str | int | None]
    ) -> Steps[Page[T]]:
        """A page of a list."""
        found = yield from self.call("GET", path, params=params)
        items = found.get("items") if isinstance(found, dict) else None
        if not isinstance(items, list):
            raise self._not_read(f"there are no items in {path}")
        return Page([self._read(kind, item) for item in items], found.get("nextCursor"))

    def publish(self, event: Publishable) -> Steps[Published]:
        """One event.

        Raises:
            Refused: The hub does not take it.
        """
        (answer,) = yield from self.publish_many([event])
        if isinstance(answer, Refused):
            raise answer
        return answer

    def publish_many(self, events: Iterable[Publishable]) -> Steps[list[Published | Refused]]:
        """Events, in as many requests as it takes; one answer each, in order."""
        answers: list[Published | Refused] = []
        for batch in in_batches(map(self._text, events), lambda text: len(text.encode())):
            answers += yield from self._publish(batch)
        return answers

    def _text(self, event: Publishable) -> str:
        if isinstance(event, str):
            return event
        document = event.document() if isinstance(event, NewEvent) else event
        if self.tenant_id is not None:
            document = {"tenantid": self.tenant_id, **document}
        return json.dumps(document, ensure_ascii=False)

    def _publish(self, texts: Sequence[str]) -> Steps[list[Published | Refused]]:
        body = ("[" + ",".join(texts) + "]").encode("utf-8", "surrogatepass")
        request = Request(method="POST", path="/v1/events", content=body)
        response = yield from ask(request, self.retries, self.url)
        document = json_of(response)
        items = document.get("items") if isinstance(document, dict) else None
        if isinstance(items, list) and len(items) == len(texts):
            return [self._published(item) for item in items]
        if response.is_success:
            raise self._not_read("it does not say what became of the events")
        refused = no(response, document, self.url)
        if isinstance(refused, NoHub) or response.status_code in (401, 403):
            raise refused
        if len(texts) == 1:
            return [refused]
        # One of them spoils the request as a whole: halve it until only the culprit is refused.
        middle = len(texts) // 2
        first = yield from self._publish(texts[:middle])
        return first + (yield from self._publish(texts[middle:]))

    def _published(self, item: Any) -> Published | Refused:
        found: dict[str, Any] = item if isinstance(item, dict) else {}
        if found.get("problem") is not None:
            return refusal(int(found.get("status") or 422), found["problem"])
        return Published(id=str(found.get("id")), duplicate=found.get("duplicate") is True)

    def _read(self, kind: type[T], document: object) -> T:
        try:
            return read(kind, document)
        except ValueError as error:
            raise self._not_read(str(error)) from error

    def _not_read(self, why: str) -> NoHub:
        return NoHub(f"{self.url} is no hub, or one that this client cannot read: {why}")


def in_batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in groups that fit one request.

    Args:
        items: What is sent.
        size: The bytes that one takes.
    """
    batch: list[T] = []
    total = _BRACKETS
    for item in items:
        length = size(item) + 1
        if batch and (len(batch) == MAX_EVENTS or total + length > MAX_BYTES):
            yield batch
            batch, total = [], _BRACKETS
        batch.append(item)
        total += length
    if batch:
        yield batch


def sendable(request: Request) -> dict[str, Any]:
    """A request as httpx takes it."""
    return {
        "method": request.method,
        "url": request.path,
        "params": {name: value for name, value in request.params.items() if value is not None},
        "content": request.content,
        "headers": {} if request.content is None else {"content-type": "application/json"},
    }


def new_http(url: str, key: str, timeout: float) -> dict[str, Any]:
    """How httpx is set up for a hub: no redirects, nothing taken from the environment.

    Raises:
        Misconfigured: The URL or the key is none.
    """
    _check(url, key)
    return {
        "base_url": url,
        "headers": {"authorization": f"Bearer {key}"},
        "timeout": httpx.Timeout(timeout),
        "trust_env": False,
    }


def _check(url: str, key: str) -> None:
    try:
        parts = httpx.URL(url)
        usable = parts.scheme in ("http", "https") and parts.host and urlsplit(url).port != 0
    except (httpx.InvalidURL, ValueError):
        usable = False
    # What is wrong is not repeated: a password may be in the one, and the other is a secret.
    if not usable or " " in url:
        raise Misconfigured("the URL is no hub's address: write it as https://hub.example.com")
    if parts.userinfo or parts.query or parts.fragment:
        raise Misconfigured("a hub's URL has no user name, password, query or fragment")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Misconfigured(
            "the key is none: it is printable ASCII without blanks or line ends, as the hub gave it"
        )
