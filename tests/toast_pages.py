"""Pages with `<huntaze-toasts>` in a real browser, before a real hub."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocketRoute

from tests import chromium
from tests.chromium import PATIENCE_MS, Complaints
from tests.event_samples import TYPES
from tests.hub_process import HubProcess, hub_process

TENANT = "acme"
REFUSED = "ERR_CONNECTION_RE"
"""How what Chromium itself writes down while a hub is away begins: refused, or reset."""

_numbers = itertools.count(1)


class Stage:
    """A hub, a tenant of it, and a browser.

    Attributes:
        hub: The hub's process.
        browser: Chromium.
        headers: The tenant's key.
    """

    def __init__(self, hub: HubProcess, browser: Browser) -> None:
        self.hub = hub
        self.browser = browser
        self.headers = hub.tenant_headers(TENANT)

    def user(self, locale: str = "en") -> str:
        """Somebody new."""
        user_id = f"user-{next(_numbers)}"
        self.call("PUT", f"/v1/users/{user_id}", {"email": "a@example.com", "locale": locale})
        return user_id

    def token(self, user_id: str) -> str:
        """A token of theirs."""
        body = {"userId": user_id, "expiresInSeconds": 3600}
        return str(self.call("POST", "/v1/user-tokens", body)["token"])

    def publish(self, name: str, user_id: str, *, job: str = "", **data: Any) -> str:
        """Publish a type's example for a user, with some of its data changed; its id."""
        event = self.event(name, user_id, job=job, **data)
        self.call("POST", "/v1/events", event)
        return str(event["id"])

    def event(self, name: str, user_id: str, *, job: str = "", **data: Any) -> dict[str, Any]:
        """A type's example for a user."""
        example = TYPES[name].example
        event = {**example, "id": f"evt-{next(_numbers)}", "userid": user_id}
        event["data"] = {**example["data"], **data}
        if "jobid" in example:
            event["jobid"] = event["subject"] = job or f"job-{next(_numbers)}"
        return event

    def message(self, user_id: str, who: str) -> str:
        """Somebody wrote to a user: the toast that tests know by the name in it."""
        return self.publish("message.received", user_id, **{"from": {"name": who}})

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the hub as the tenant."""
        answer = httpx.request(
            method, self.hub.url + path, json=body, headers=self.headers, timeout=30
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    @contextmanager
    def page(
        self,
        user_id: str,
        *,
        context: BrowserContext | None = None,
        locale: str = "en",
        theme: str = "light",
        waits: bool = True,
        before: Callable[[Page], object] = lambda page: None,
        besides: Sequence[str] = (),
        **options: Any,
    ) -> Iterator["ToastPage"]:
        """`/toasts` with a user's token; nothing may be complained of on its console."""
        own = context is None
        used = self.browser.new_context(**options) if context is None else context
        used.set_default_timeout(PATIENCE_MS)
        page = used.new_page()
        complaints = Complaints(page, besides=besides)
        before(page)
        fragment = f"token={self.token(user_id)}&locale={locale}&theme={theme}"
        page.goto(f"{self.hub.url}/toasts#{fragment}")
        shown = ToastPage(page)
        # No toast goes by itself: one that should not have been there is still there to be seen.
        shown.element("it.setAttribute('duration', '600000')")
        if waits:
            shown.wait_for_state("online")
            shown.wait_for("it.inbox.loaded")  # what comes before that is no news
        yield shown
        assert complaints.found == [], complaints.found
        page.close()
        if own:
            used.close()


class ToastPage:
    """What a test does with the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.bell = page.locator("huntaze-toasts .bell")
        self.badge = page.locator("huntaze-toasts .badge:not([hidden])")
        self.toasts = page.locator("huntaze-toasts .toast:not(.leaving)")
        self.panel = page.locator("huntaze-toasts .panel")
        self.rows = page.locator("huntaze-toasts .item")

    def toast(self, text: str) -> Locator:
        """The toast that has this text."""
        return self.toasts.filter(has_text=text)

    def row(self, text: str) -> Locator:
        """The row that has this text."""
        return self.rows.filter(has_text=text)

    def element(self, expression: str) -> Any:
        """What an expression is, where `it` is the element and `root` its shadow root."""
        script = (
            "(() => { const it = document.querySelector('huntaze-toasts');"
            f" const root = it.shadowRoot; return ({expression}); }})()"
        )
        return self.page.evaluate(script)

    def wait_for(self, expression: str, wanted: object = True) -> None:
        """Return when the expression is what is wanted. The page's policy forbids `eval`."""
        give_up = time.monotonic() + PATIENCE_MS / 1000
        while (found := self.element(expression)) != wanted:
            assert time.monotonic() < give_up, f"{expression} is {found!r}, not {wanted!r}"
            self.page.wait_for_timeout(30)

    def wait_for_state(self, state: str) -> None:
        """Return when the connection is in a state."""
        self.wait_for("it.state", state)

    def wait_for_unread(self, count: int) -> None:
        """Return when the bell counts so many."""
        self.wait_for("it.unread", count)

    def focus(self) -> str:
        """What has the focus within the element: its text or its label."""
        return str(
            self.element(
                "root.activeElement && (root.activeElement.getAttribute('aria-label')"
                " || root.activeElement.textContent)"
            )
        )


class Wire:
    """The page's sockets, with a hand on what comes through.

    Attributes:
        opened: How many there were.
        change: What becomes of each frame that the hub sends; None swallows it.
    """

    def __init__(self, page: Page) -> None:
        self.opened = 0
        self._deaf = 0
        self.change: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda frame: frame
        self._last: WebSocketRoute | None = None
        page.route_web_socket("**/client/hubs/**", self._on_socket)

    def swallow(self) -> None:
        """From now on nothing comes through this socket: a machine slept, nobody said goodbye."""
        self._deaf = self.opened

    def push(self, item: dict[str, Any], unread: int = 1, kind: str = "notification") -> None:
        """Say something as the hub."""
        assert self._last is not None
        data = {"kind": kind, "item": item, "unread": unread}
        frame = {"type": "message", "from": "server", "dataType": "json", "data": data}
        self._last.send(json.dumps(frame))

    def _on_socket(self, route: WebSocketRoute) -> None:
        self.opened += 1
        self._last = route
        number = self.opened
        server = route.connect_to_server()

        def from_server(text: "str | bytes") -> None:
            frame = self.change(json.loads(text))
            if frame is not None and number != self._deaf:
                route.send(json.dumps(frame))

        def from_page(text: "str | bytes") -> None:
            if number != self._deaf:
                server.send(text)

        server.on_message(from_server)
        route.on_message(from_page)


def item(number: int, **changes: Any) -> dict[str, Any]:
    """An inbox item as the hub shows it."""
    moment = "2026-01-31T11:00:00.000Z"
    return {
        "id": f"itm_{number}",
        "seq": number,
        "eventId": f"evt-{number}",
        "type": "message.received",
        "title": f"Title {number}",
        "body": "Body",
        "url": None,
        "state": "unread",
        "progress": None,
        "createdAt": moment,
        "updatedAt": moment,
        "late": False,
        **changes,
    }


@contextmanager
def stage(
    data: Path, settings: dict[str, str] | None = None, *, browser: Browser | None = None
) -> Iterator[Stage]:
    """A hub, and a browser where there is none yet, for as long as the block lasts."""
    with ExitStack() as stack:
        used = stack.enter_context(chromium.browser()) if browser is None else browser
        yield Stage(stack.enter_context(hub_process(data, settings)), used)
