"""A hub's client for programs on asyncio: `blocking.Client`, awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from notifications.client.calls import Publishable, new_http, sendable
from notifications.client.errors import Refused
from notifications.client.exchanges import RETRIES, Answer, Pause, Retries, Step, Steps
from notifications.client.records import Delivery, Endpoint, Event, InboxItem, Published
from notifications.client.resources import Listing, Resources, endpoint_wishes

T = TypeVar("T")


class AsyncClient:
    """Talks to one hub.

    Use as an asynchronous context manager, or call `aclose`. What the hub refuses is an error,
    and so is that it does not answer: see `notifications.client.errors`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tenant_id: str | None = None,
        timeout: float = 60.0,
        retries: Retries = RETRIES,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Configure; nothing is sent.

        Args:
            url: The hub, e.g. `http://127.0.0.1:8080`.
            key: An API key, `hz_…`.
            tenant_id: Whose things all calls are about, where the key is the admin's.
            timeout: Seconds that connecting, sending or waiting for an answer may each take.
            retries: How often the same is asked while there is no answer.
            tell: Is told, in one line, of each try that failed and is repeated.

        Raises:
            Misconfigured: The URL or the key is none.
        """
        self._calls = Resources(url=url.rstrip("/"), tenant_id=tenant_id, retries=retries)
        self._http = httpx.AsyncClient(**new_http(self._calls.url, key, timeout))
        self._tell = tell

    async def publish(self, event: Publishable) -> Published:
        """Publish one event; returns once the hub has it on disk.

        It is sent again, with the same id, until the hub has answered.

        Args:
            event: A `NewEvent`, a CloudEvent as a mapping, or as JSON text, sent as it is.

        Raises:
            Refused: The hub does not take it: `Invalid`, `Conflict`, `NotAllowed`.
            NoAnswer: Publish the same event again later: what the hub has is a duplicate.
        """
        return await self._run(self._calls.publish(event))

    async def publish_many(self, events: Iterable[Publishable]) -> list[Published | Refused]:
        """Publish events, in as many requests as it takes.

        Returns:
            One answer for each event, in order.

        Raises:
            NoAnswer: Publish all of them again later: those that the hub has are duplicates.
        """
        return await self._run(self._calls.publish_many(events))

    async def event(self, event_id: str) -> Event:
        """An event with everything that became of it."""
        return await self._run(self._calls.event(event_id))

    def events(
        self, *, event_type: str | None = None, user_id: str | None = None
    ) -> AsyncIterator[Event]:
        """Events, newest first, without their deliveries; by type or by user, not by both."""
        return self._each(self._calls.events(event_type, user_id))

    def endpoints(self) -> AsyncIterator[Endpoint]:
        """Webhook endpoints, oldest first."""
        return self._each(self._calls.endpoints())

    async def endpoint(self, endpoint_id: str) -> Endpoint:
        """One webhook endpoint."""
        return await self._run(self._calls.endpoint(endpoint_id))

    async def create_endpoint(
        self,
        url: str,
        *,
        event_types: Sequence[str] = ("*",),
        description: str = "",
        headers: Mapping[str, str] | None = None,
        signatures: Sequence[str] = ("v1",),
        rate_per_second: int | None = None,
    ) -> Endpoint:
        """Make a webhook endpoint. What is returned holds its `secret`, this once.

        Args:
            url: Where webhooks go: https, without credentials.
            event_types: `*`, types, or `job.*` for all that begin with `job.`.
            description: Your words.
            headers: Sent with every attempt.
            signatures: `v1` is always sent; `v1a` where asked for.
            rate_per_second: How many webhooks at most; 0 takes a limit away.
        """
        wishes = endpoint_wishes(
            url=url,
            event_types=event_types,
            description=description,
            headers=headers or {},
            signatures=signatures,
            rate_per_second=rate_per_second,
        )
        return await self._run(self._calls.create_endpoint(wishes))

    async def change_endpoint(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        signatures: Sequence[str] | None = None,
        rate_per_second: int | None = None,
    ) -> Endpoint:
        """Change what is given; see `create_endpoint`."""
        wishes = endpoint_wishes(
            url=url,
            event_types=event_types,
            description=description,
            headers=headers,
            signatures=signatures,
            rate_per_second=rate_per_second,
        )
        return await self._run(self._calls.change_endpoint(endpoint_id, wishes))

    async def delete_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint; its open deliveries end as skipped."""
        await self._run(self._calls.delete_endpoint(endpoint_id))

    async def rotate_secret(self, endpoint_id: str) -> Endpoint:
        """Give an endpoint a new `secret`; for 24 hours both sign."""
        return await self._run(self._calls.act_on_endpoint(endpoint_id, "rotate-secret"))

    async def pause_endpoint(self, endpoint_id: str) -> Endpoint:
        """Let an endpoint's deliveries wait."""
        return await self._run(self._calls.act_on_endpoint(endpoint_id, "pause"))

    async def resume_endpoint(self, endpoint_id: str) -> Endpoint:
        """Go on, from paused and from disabled; what waited begins again."""
        return await self._run(self._calls.act_on_endpoint(endpoint_id, "resume"))

    async def test_endpoint(self, endpoint_id: str) -> Delivery:
        """Send `webhook.test` to an endpoint; its delivery once it was tried."""
        return await self._run(self._calls.test_endpoint(endpoint_id))

    async def delivery(self, delivery_id: str) -> Delivery:
        """A delivery with its attempts."""
        return await self._run(self._calls.delivery(delivery_id))

    def deliveries(
        self,
        *,
        endpoint_id: str | None = None,
        state: str | None = None,
        event_id: str | None = None,
        channel: str | None = None,
    ) -> AsyncIterator[Delivery]:
        """Deliveries, newest first, without their attempts; what is given narrows them down."""
        return self._each(
            self._calls.deliveries(
                endpoint_id=endpoint_id, state=state, event_id=event_id, channel=channel
            )
        )

    async def retry_delivery(self, delivery_id: str) -> Delivery:
        """Try a delivery again that is exhausted, parked or pending: a new round, at once."""
        return await self._run(self._calls.retry_delivery(delivery_id))

    def inbox(
        self, user_id: str, *, state: str | None = None, after: int | None = None
    ) -> AsyncIterator[InboxItem]:
        """A user's notifications, newest first.

        Args:
            user_id: Whose.
            state: `unread`, `read` or `archived`; None is all of them.
            after: Only what changed after this `seq`, oldest first.
        """
        return self._each(self._calls.inbox(user_id, state, after))

    async def unread(self, user_id: str) -> int:
        """How many of a user's notifications are unread."""
        return await self._run(self._calls.unread(user_id))

    async def mark_read(self, user_id: str, item_id: str) -> InboxItem:
        """Mark a notification read."""
        return await self._run(self._calls.mark(user_id, item_id, "read"))

    async def mark_unread(self, user_id: str, item_id: str) -> InboxItem:
        """Mark a notification unread."""
        return await self._run(self._calls.mark(user_id, item_id, "unread"))

    async def archive(self, user_id: str, item_id: str) -> InboxItem:
        """Put a notification away."""
        return await self._run(self._calls.mark(user_id, item_id, "archive"))

    async def mark_all_read(self, user_id: str) -> None:
        """Mark all of a user's notifications read."""
        await self._run(self._calls.read_all(user_id))

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int | None] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Any other route of the API: its JSON, or None.

        Args:
            method: The HTTP method.
            path: From `/v1` on.
            body: Sent as JSON.
            params: The query.
            repeatable: Done twice it has the effect of once, so that it may be sent again; None
                takes everything but POST for that.
        """
        steps = self._calls.call(method, path, body=body, params=params, repeatable=repeatable)
        return await self._run(steps)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        answer: Answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self._take(step)

    async def _take(self, step: Step) -> Answer:
        if isinstance(step, Pause):
            self._tell(step.why)
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.request(**sendable(step))
        except httpx.TransportError as error:
            return error

    async def _each(self, listing: Listing[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self._run(self._calls.page_of(listing, cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return
