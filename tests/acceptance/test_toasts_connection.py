"""`<huntaze-toasts>` and what lies between it and the hub: tabs, restarts, sleep, gaps, tokens."""

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Page, expect

from tests.chromium import PATIENCE_MS, Complaints
from tests.toast_pages import REFUSED, TENANT, Stage, ToastPage, Wire, item, stage

expect.set_options(timeout=PATIENCE_MS)

UNAUTHORIZED = "401 (Unauthorized)"
NO_SOCKETS = (
    "window.WebSocket = class extends EventTarget { static OPEN = 1; readyState = 0; close() {} }"
)
"""A page whose network lets no sockets through: they never open."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One hub and one browser for the module; each test has users of its own."""
    with stage(tmp_path_factory.mktemp("hub")) as made:
        yield made


# ------------------------------------------------------------------------------------- tabs


def test_two_tabs_keep_in_step(world: Stage) -> None:
    """What is read in one is read in the other, and the bell of both says so."""
    user = world.user()
    context = world.browser.new_context()
    with world.page(user, context=context) as one, world.page(user, context=context) as other:
        world.message(user, "Annie")
        expect(one.badge).to_have_text("1")
        expect(other.badge).to_have_text("1")
        one.element("it.markRead(it.items[0].id)")
        expect(one.badge).to_have_count(0)
        expect(other.badge).to_have_count(0)
        other.wait_for("it.items[0].state", "read")
    context.close()


def test_two_browsers_keep_in_step(world: Stage) -> None:
    """The hub tells the other device, also when all was read at once."""
    user = world.user()
    with world.page(user) as laptop, world.page(user) as phone:
        for who in ("Annie", "Bob"):
            world.message(user, who)
        phone.wait_for_unread(2)
        laptop.element("it.readAll()")
        phone.wait_for_unread(0)
        phone.wait_for("it.items.map((item) => item.state).join()", "read,read")


def test_tabs_keep_in_step_without_a_socket(world: Stage) -> None:
    """A tab that cannot open one loads the inbox, and hears of changes from its neighbour."""
    user = world.user()
    world.message(user, "Annie")
    context = world.browser.new_context()
    blind = world.page(
        user, context=context, waits=False, before=lambda page: page.add_init_script(NO_SOCKETS)
    )
    with world.page(user, context=context) as one, blind as other:
        one.wait_for_unread(1)
        other.wait_for_unread(1)
        one.element("it.archive(it.items[0].id)")
        other.wait_for_unread(0)
        other.wait_for("it.items.length", 0)
        assert other.element("it.state") != "online"
    context.close()


def test_a_toast_closed_in_one_tab_is_closed_in_the_other(world: Stage) -> None:
    """Nobody has to close it twice."""
    user = world.user()
    context = world.browser.new_context()
    with world.page(user, context=context) as one, world.page(user, context=context) as other:
        world.publish("job.failed", user)  # it would stay for ever
        expect(other.toasts).to_have_count(1)
        one.toasts.get_by_role("button").click()
        expect(other.toasts).to_have_count(0)
    context.close()


def test_a_neighbours_tab_hears_nothing(world: Stage) -> None:
    """Two users in one browser share no channel: what one does leaves the other's page alone."""
    ann, ben = world.user(), world.user()
    context = world.browser.new_context()
    with world.page(ann, context=context) as hers, world.page(ben, context=context) as his:
        world.message(ann, "Annie")
        hers.wait_for_unread(1)
        hers.element("it.readAll()")
        world.message(ben, "Bob")
        his.wait_for_unread(1)
        assert his.element("it.items.length") == 1
    context.close()


# ------------------------------------------------------------------------------------- the line


def test_a_page_comes_back_after_the_hub_was_killed(world: Stage, tmp_path: Path) -> None:
    """Killed and restarted, the hub has the page again, with what came before it was back."""
    with stage(tmp_path, browser=world.browser) as own:
        user = own.user()
        with own.page(user, besides=(REFUSED, "WebSocket connection")) as shown:
            own.hub.kill()
            shown.wait_for_state("offline")
            own.hub.start()
            own.message(user, "Annie")
            shown.wait_for_state("online")
            expect(shown.toast("Annie")).to_have_count(1)
            own.message(user, "Bob")
            expect(shown.toast("Bob")).to_have_count(1)
            assert shown.element("it.items.length") == 2


def test_a_line_that_died_in_its_sleep_is_replaced_when_the_page_is_back(world: Stage) -> None:
    """No goodbye came; back from sleep the page asks, hears nothing, and connects anew."""
    user = world.user()
    wires: list[Wire] = []
    with world.page(user, before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].swallow()
        world.message(user, "Annie")
        shown.page.evaluate("dispatchEvent(new Event('online'))")
        shown.wait_for("it.items.length", 1)
        shown.wait_for_state("online")
        assert wires[0].opened == 2


def test_what_was_missed_for_long_pops_no_toast(world: Stage) -> None:
    """After hours away the missed are counted and announced; none of them pops up."""
    user = world.user()
    wires: list[Wire] = []
    with world.page(user, before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].swallow()
        world.message(user, "Annie")
        shown.page.evaluate(
            "() => { const now = Date.now.bind(Date); Date.now = () => now() + 7200000;"
            " dispatchEvent(new Event('online')); }"
        )
        shown.wait_for_unread(1)
        expect(shown.page.locator("huntaze-toasts [aria-live=polite]")).to_contain_text(
            "1 new notification while you were away"
        )
        expect(shown.toasts).to_have_count(0)


def test_a_push_that_was_lost_is_fetched(world: Stage) -> None:
    """A number is missing in what comes: the page asks for it without having been cut off."""
    user = world.user()
    wires: list[Wire] = []
    with world.page(user, before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].change = lambda frame: None if "Lost Lou" in str(frame) else frame
        world.message(user, "Lost Lou")
        world.message(user, "Annie")
        expect(shown.toast("Annie")).to_have_count(1)
        expect(shown.toast("Lost Lou")).to_have_count(1)
        shown.wait_for_unread(2)
        assert wires[0].opened == 1


def test_what_comes_twice_is_shown_once(world: Stage) -> None:
    """The same push again changes nothing, and brings no closed toast back."""
    wires: list[Wire] = []
    with world.page(world.user(), before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].push(item(1, title="Once"))
        shown.toast("Once").get_by_role("button").click()
        expect(shown.toasts).to_have_count(0)
        wires[0].push(item(1, title="Once"))
        wires[0].push(item(2, title="Next"))
        expect(shown.toast("Next")).to_have_count(1)
        expect(shown.toasts).to_have_count(1)
        assert shown.element("it.items.length") == 2


def test_an_older_state_never_replaces_a_newer_one(world: Stage) -> None:
    """Pushes that overtook each other leave the item as the higher number says."""
    wires: list[Wire] = []
    with world.page(world.user(), before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].push(item(1, seq=3, title="Newer"), unread=1)
        wires[0].push(item(1, seq=2, title="Older"), unread=7)
        wires[0].push(item(2, seq=4, title="Last"), unread=2)
        expect(shown.toast("Last")).to_have_count(1)
        assert shown.element("it.items.map((item) => item.title).sort().join()") == "Last,Newer"
        expect(shown.toast("Newer")).to_have_count(1)


def test_an_action_that_the_hub_refuses_is_taken_back(world: Stage) -> None:
    """The item is unread again, and both eyes and ears are told that it did not work."""
    user = world.user()
    world.message(user, "Annie")
    with world.page(user, besides=("500",)) as shown:
        shown.wait_for_unread(1)
        shown.page.route("**/read?*", lambda route: route.fulfill(status=500))
        shown.page.route("**/read", lambda route: route.fulfill(status=500))
        shown.bell.click()
        shown.row("Annie").hover()
        shown.row("Annie").get_by_role("button", name="Mark as read").click()
        expect(shown.panel.get_by_text("That did not work. Please try again.")).to_be_visible()
        expect(shown.row("Annie")).to_have_attribute("data-state", "unread")
        shown.wait_for_unread(1)


# ------------------------------------------------------------------------------------- tokens


def worn_out(world: Stage, user: str) -> str:
    """A token of the user that has expired."""
    secret = (world.hub.data / "user-token.secret").read_text().strip()
    claims = {"sub": user, "tid": TENANT, "exp": int(time.time()) - 60}
    return jwt.encode(claims, secret, algorithm="HS256")


def test_a_fresh_token_is_asked_for_by_the_callback(world: Stage) -> None:
    """`getToken` gives one when the first has expired, and the page is connected with it."""
    user = world.user()
    old, new = worn_out(world, user), world.token(user)
    with bare_page(world) as shown:
        shown.element(
            "(() => { it.getToken = async (why) => {"
            f" window.why = why; return why === 'missing' ? null : '{new}'; }};"
            f" it.token = '{old}'; }})()"
        )
        shown.wait_for_state("online")
        assert shown.element("window.why") == "expiring"


def test_a_fresh_token_is_asked_for_by_the_event(world: Stage) -> None:
    """Without a callback `huntaze-token` asks; its `provide` takes a token or a promise of one."""
    user = world.user()
    with bare_page(world) as shown:
        shown.element(
            "it.addEventListener('huntaze-token', ({ detail }) =>"
            f" detail.provide(Promise.resolve('{world.token(user)}')))"
        )
        shown.element("it.refresh()")
        shown.wait_for_state("online")


def test_a_token_in_the_attribute_goes_on_where_the_last_one_ended(world: Stage) -> None:
    """Signed out when the hub refuses its token, the element is back with the next."""
    user = world.user()
    with bare_page(world, besides=(UNAUTHORIZED,)) as shown:
        shown.element(f"it.token = '{worn_out(world, user)}'")
        shown.wait_for_state("signed-out")
        shown.element(f"it.token = '{world.token(user)}'")
        shown.wait_for_state("online")


def test_another_users_token_leaves_nothing_of_the_first(world: Stage) -> None:
    """List, badge and toasts of the one are gone before anything of the other is shown."""
    ann, ben = world.user(), world.user()
    world.message(ben, "Bob")
    with world.page(ann) as shown:
        world.message(ann, "Annie")
        expect(shown.toast("Annie")).to_have_count(1)
        shown.element(f"it.token = '{world.token(ben)}'")
        expect(shown.toasts).to_have_count(0)
        shown.wait_for("it.items.map((item) => item.title).join()", "Bob wrote to you")
        shown.element("it.removeAttribute('token')")
        shown.wait_for_state("signed-out")
        assert shown.element("it.items.length") == 0
        assert shown.element("it.unread") == 0


def test_the_page_asks_for_a_token_and_takes_one(world: Stage) -> None:
    """Without one it says how to get it; pasted, it stands in the fragment and works."""
    user = world.user()
    context = world.browser.new_context()
    page = context.new_page()
    complaints = Complaints(page)
    page.goto(f"{world.hub.url}/toasts")
    expect(page.get_by_text("/v1/user-tokens")).to_be_visible()
    page.get_by_label("User token").fill("nonsense")
    page.get_by_role("button", name="Show notifications").click()
    expect(page.get_by_role("alert").first).to_contain_text("not a user token")
    page.get_by_label("User token").fill(world.token(user))
    page.get_by_role("button", name="Show notifications").click()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_text(user).first).to_be_visible()
    assert complaints.found == [], complaints.found
    context.close()


@contextmanager
def bare_page(world: Stage, besides: tuple[str, ...] = ()) -> Iterator[ToastPage]:
    """The page without a token."""
    context = world.browser.new_context()
    page = context.new_page()
    complaints = Complaints(page, besides=besides)
    page.goto(f"{world.hub.url}/toasts")
    page.wait_for_load_state()
    yield ToastPage(page)
    assert complaints.found == [], complaints.found
    context.close()


# ------------------------------------------------------------------------------------- your pages


class _Site(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """A site of somebody else's, on another port: another origin."""
    handler = functools.partial(_Site, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_it_works_on_a_page_of_another_origin(world: Stage, tmp_path: Path) -> None:
    """Loaded from the hub into an app of an allowed origin, it connects, shows and marks."""
    folder = tmp_path / "app"
    folder.mkdir()
    with (
        site(folder) as origin,
        stage(tmp_path / "hub", {"HUNTAZE_ALLOWED_ORIGINS": origin}, browser=world.browser) as own,
    ):
        user = own.user()
        (folder / "favicon.ico").touch()
        (folder / "index.html").write_text(
            "<!doctype html><title>App</title>"
            f'<script type="module" src="{own.hub.url}/toasts/huntaze-toasts.js"></script>'
            f'<huntaze-toasts locale="en" token="{own.token(user)}"></huntaze-toasts>'
        )
        page: Page = own.browser.new_page()
        complaints = Complaints(page)
        page.goto(origin)
        shown = ToastPage(page)
        shown.wait_for("it.state ?? null", "online")
        own.publish("payment.received", user, url="/payments/1")
        expect(shown.toasts).to_have_count(1)
        assert shown.element("root.querySelector('.toast a').href") == f"{origin}/payments/1"
        shown.element("it.markRead(it.items[0].id)")
        shown.wait_for_unread(0)
        shown.wait_for("it.items[0].state", "read")
        assert complaints.found == [], complaints.found
