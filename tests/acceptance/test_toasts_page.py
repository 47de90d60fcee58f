"""`<huntaze-toasts>` as its user sees it: toasts, bell, list, keyboard, languages, and harm."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.chromium import PATIENCE_MS
from tests.hub_process import wait_until
from tests.toast_pages import Stage, Wire, item, stage

expect.set_options(timeout=PATIENCE_MS)
PATIENCE_S = PATIENCE_MS / 1000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One hub and one browser for the module; each test has users of its own."""
    with stage(tmp_path_factory.mktemp("hub")) as made:
        yield made


# ------------------------------------------------------------------------------------- toasts


def test_an_event_pops_up_as_a_toast_and_counts_on_the_bell(world: Stage) -> None:
    """Title and body are shown, the badge says 1, and the bell's name says so, too."""
    user = world.user()
    with world.page(user) as shown:
        world.publish("payment.received", user, amount=4200, currency="EUR")
        expect(shown.toasts).to_have_count(1)
        expect(shown.toasts).to_contain_text("Payment received: €42.00")
        expect(shown.badge).to_have_text("1")
        expect(shown.bell).to_have_attribute("aria-label", "Notifications, 1 unread")


def test_a_job_is_one_toast_that_fills(world: Stage) -> None:
    """Of twenty steps one toast is made: its bar goes to the last value, the end closes it."""
    user = world.user()
    with world.page(user) as shown:
        shown.page.evaluate(
            """() => {
              window.made = 0;
              const root = document.querySelector('huntaze-toasts').shadowRoot;
              new MutationObserver((changes) => changes.forEach((change) =>
                change.addedNodes.forEach((node) => { window.made += node.matches('.toast'); })))
                .observe(root.querySelector('.toasts'), { childList: true });
            }"""
        )
        world.publish("job.started", user, job="job-fills")
        for progress in range(5, 101, 5):
            world.publish("job.progress", user, job="job-fills", progress=progress)
        bar = shown.toasts.get_by_role("progressbar")
        expect(bar).to_have_attribute("aria-valuenow", "100")
        world.publish("job.succeeded", user, job="job-fills")
        expect(shown.toasts).to_have_attribute("data-tone", "success")
        expect(bar).to_have_count(0)
        assert shown.page.evaluate("window.made") == 1


def test_a_job_whose_toast_was_closed_stays_quiet_until_its_end(world: Stage) -> None:
    """Progress does not bring the toast back; the end does."""
    user = world.user()
    with world.page(user) as shown:
        world.publish("job.progress", user, job="job-closed", progress=10)
        shown.toasts.get_by_role("button").click()
        expect(shown.toasts).to_have_count(0)
        world.publish("job.progress", user, job="job-closed", progress=20)
        shown.wait_for("it.items[0].progress", 20)
        expect(shown.toasts).to_have_count(0)
        world.publish("job.failed", user, job="job-closed")
        expect(shown.toasts).to_have_attribute("data-tone", "failure")


def test_what_comes_late_is_counted_and_pops_no_toast(world: Stage) -> None:
    """An item that the hub marks `late` is in the list and on the badge alone."""
    user = world.user()

    def belated(frame: dict) -> dict:
        if frame["type"] == "message":
            frame["data"]["item"]["late"] = True
        return frame

    wires: list[Wire] = []
    with world.page(user, before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].change = belated
        world.message(user, "Late Larry")
        shown.wait_for_unread(1)
        wires[0].change = lambda frame: frame
        world.message(user, "Timely Tim")
        expect(shown.toast("Timely Tim")).to_have_count(1)
        assert shown.toast("Late Larry").count() == 0


def test_more_toasts_than_fit_are_counted(world: Stage) -> None:
    """Three are shown; the button says how many more, and opens the list."""
    user = world.user()
    with world.page(user) as shown:
        for number in range(5):
            world.message(user, f"Sender {number}")
        expect(shown.toast("Sender 4")).to_have_count(1)
        expect(shown.toasts).to_have_count(3)
        shown.page.get_by_role("button", name="2 more notifications").click()
        expect(shown.rows).to_have_count(5)
        expect(shown.toasts).to_have_count(0)


def test_a_toast_goes_by_itself_and_a_failure_stays(world: Stage) -> None:
    """After `duration` the toast of a message is gone; what failed waits to be read."""
    user = world.user()
    with world.page(user) as shown:
        shown.element("it.setAttribute('duration', '1000')")
        world.publish("job.failed", user)
        world.message(user, "Brief Bea")
        expect(shown.toast("Brief Bea")).to_have_count(1)
        expect(shown.toast("Brief Bea")).to_have_count(0)
        expect(shown.toasts).to_have_count(1)


def test_a_page_may_show_a_notification_itself(world: Stage) -> None:
    """`huntaze-notification` carries the item; where it is cancelled, no toast pops up."""
    user = world.user()
    with world.page(user) as shown:
        shown.element(
            "it.addEventListener('huntaze-notification', (event) => {"
            " window.told = event.detail.item.title; event.preventDefault(); })"
        )
        world.message(user, "Quiet Quinn")
        shown.wait_for("window.told ?? null", "Quiet Quinn wrote to you")
        expect(shown.toasts).to_have_count(0)


def test_failures_are_announced_at_once_and_the_rest_politely(world: Stage) -> None:
    """Screen readers hear a failure from the assertive region, a message from the polite one."""
    user = world.user()
    with world.page(user) as shown:
        world.publish("job.failed", user)
        world.message(user, "Polite Pat")
        expect(shown.page.locator("huntaze-toasts [aria-live=assertive]")).to_contain_text(
            "Your video analysis could not be completed"
        )
        expect(shown.page.locator("huntaze-toasts [aria-live=polite]")).to_contain_text(
            "Polite Pat wrote to you"
        )


# ------------------------------------------------------------------------------------- the list


def test_items_are_read_archived_and_taken_back(world: Stage) -> None:
    """Each action changes the inbox of the hub, and undo brings an archived item back."""
    user = world.user()
    world.message(user, "Annie")
    world.message(user, "Bob")
    with world.page(user) as shown:
        shown.wait_for_unread(2)
        shown.bell.click()
        row = shown.row("Annie")
        row.hover()
        row.get_by_role("button", name="Mark as read").click()
        expect(row).to_have_attribute("data-state", "read")
        shown.wait_for_unread(1)
        row.get_by_role("button", name="Mark as unread").click()
        shown.wait_for_unread(2)
        row.get_by_role("button", name="Archive").click()
        expect(row).to_have_count(0)  # at once: the hub is told meanwhile
        wait_until(lambda: states(world, user) == ["archived", "unread"], within_s=PATIENCE_S)
        shown.panel.get_by_role("button", name="Undo").click()
        expect(shown.row("Annie")).to_have_attribute("data-state", "unread")
        shown.wait_for("it.unread", 2)
        wait_until(lambda: set(states(world, user)) == {"unread"}, within_s=PATIENCE_S)


def test_all_are_read_at_once(world: Stage) -> None:
    """The badge goes, and the hub has no unread item any more."""
    user = world.user()
    for number in range(3):
        world.message(user, f"Sender {number}")
    with world.page(user) as shown:
        shown.wait_for_unread(3)
        shown.bell.click()
        shown.panel.get_by_role("button", name="Mark all as read").click()
        expect(shown.badge).to_have_count(0)
        expect(shown.panel.locator(".item[data-state=read]")).to_have_count(3)
        shown.wait_for_unread(0)
        wait_until(lambda: set(states(world, user)) == {"read"}, within_s=PATIENCE_S)


def test_the_list_shows_what_is_asked_for(world: Stage) -> None:
    """All but the archived, the unread alone, or the archived alone."""
    user = world.user()
    for who in ("Annie", "Bob", "Cleo"):
        world.message(user, who)
    with world.page(user) as shown:
        shown.wait_for("it.items.length", 3)
        ids = shown.element("it.items.map((item) => item.id)")
        shown.element(f"it.markRead('{ids[0]}')")
        shown.element(f"it.archive('{ids[1]}')")
        shown.bell.click()
        for name, wanted in (("Unread", 1), ("Archived", 1), ("All", 2)):
            shown.panel.get_by_role("button", name=name, exact=True).click()
            expect(shown.rows).to_have_count(wanted)


def test_the_list_holds_a_bounded_number_and_pages_the_rest(world: Stage) -> None:
    """With `limit` 50 no more rows are there at once, yet all 120 can be reached."""
    user = world.user()
    batch = [world.event("message.received", user) for _ in range(120)]
    for number, each in enumerate(batch):
        each["data"] = {"from": {"name": f"Sender {number:03}"}}
    world.call("POST", "/v1/events", batch)
    with world.page(user) as shown:
        shown.wait_for_unread(120)
        shown.element("it.setAttribute('limit', '50')")
        shown.bell.click()
        expect(shown.rows).to_have_count(50)
        seen = set(shown.rows.locator(".title").all_text_contents())
        for _ in range(2):
            shown.panel.get_by_role("button", name="Show older").click()
            expect(shown.panel.get_by_role("button", name="Loading…")).to_have_count(0)
            assert shown.rows.count() <= 50
            seen |= set(shown.rows.locator(".title").all_text_contents())
        assert len(seen) == 120
        shown.panel.get_by_role("button", name="Back to the newest").click()
        expect(shown.rows.first).to_contain_text("Sender 1")
        expect(shown.rows).to_have_count(50)


def test_a_job_that_ended_is_the_newest_of_the_list(world: Stage) -> None:
    """What a job's item tells last decides its place, also after a reload."""
    user = world.user()
    world.publish("job.queued", user, job="job-newest")
    with world.page(user) as shown:
        shown.wait_for_unread(1)
        world.message(user, "Annie")
        shown.wait_for_unread(2)
        world.publish("job.succeeded", user, job="job-newest")
        shown.wait_for("it.items[0].type", "job.succeeded")
        shown.page.reload()
        shown.wait_for_state("online")
        shown.wait_for("it.items.map((item) => item.type)[0] ?? null", "job.succeeded")


# ------------------------------------------------------------------------------------- keyboard


def test_everything_can_be_done_with_the_keyboard(world: Stage) -> None:
    """Tab to the bell, Enter, arrows through the list, read, archive, Escape back to the bell."""
    user = world.user()
    for who in ("Annie", "Bob", "Cleo"):
        world.message(user, who)
    with world.page(user) as shown:
        shown.wait_for_unread(3)
        press = shown.page.keyboard.press
        press("Tab")
        assert shown.focus() == "Notifications, 3 unread"
        press("Enter")
        expect(shown.panel).to_be_visible()
        assert "Cleo" in shown.focus()
        press("ArrowDown")
        assert "Bob" in shown.focus()
        press("End")
        assert "Annie" in shown.focus()
        press("ArrowDown")
        assert "Annie" in shown.focus()
        press("Home")
        assert "Cleo" in shown.focus()
        press("ArrowDown")
        press("Tab")
        assert shown.focus() == "Mark as read"
        press("Enter")
        expect(shown.row("Bob")).to_have_attribute("data-state", "read")
        press("Tab")
        assert shown.focus() == "Archive"
        press("Enter")
        expect(shown.row("Bob")).to_have_count(0)
        assert "Annie" in shown.focus()
        press("Escape")
        expect(shown.panel).to_be_hidden()
        assert shown.focus() == "Notifications, 2 unread"


def test_nobody_is_kept_inside_the_list(world: Stage) -> None:
    """Who goes on with Tab leaves it, and it closes behind them."""
    user = world.user()
    world.message(user, "Annie")
    with world.page(user) as shown:
        shown.wait_for_unread(1)
        shown.bell.focus()
        shown.page.keyboard.press("Enter")
        expect(shown.panel).to_be_visible()
        for _ in range(12):
            shown.page.keyboard.press("Tab")
            if not shown.element("document.activeElement === it"):
                break
        expect(shown.panel).to_be_hidden()
        assert not shown.element("document.activeElement === it")


def test_escape_closes_a_toast_that_has_the_focus(world: Stage) -> None:
    """The focus goes on to the next toast, and from the last one to the bell."""
    user = world.user()
    with world.page(user) as shown:
        world.message(user, "Annie")
        world.message(user, "Bob")
        expect(shown.toasts).to_have_count(2)
        shown.toast("Annie").get_by_role("button").focus()
        shown.page.keyboard.press("Escape")
        expect(shown.toasts).to_have_count(1)
        assert shown.focus() == "Dismiss: Bob wrote to you"
        shown.page.keyboard.press("Escape")
        expect(shown.toasts).to_have_count(0)
        assert shown.focus() == "Notifications, 2 unread"


# ------------------------------------------------------------------------------------- looks


def test_it_speaks_the_language_it_is_told(world: Stage) -> None:
    """In French, every word of its own and every label is French, and marked as such."""
    user = world.user("fr")
    with world.page(user, locale="fr") as shown:
        world.message(user, "Annie")
        expect(shown.toasts).to_contain_text("Annie vous a écrit")
        expect(shown.bell).to_have_attribute("aria-label", "Notifications, 1 non lue")
        shown.bell.click()
        expect(shown.panel).to_have_attribute("lang", "fr")
        expect(shown.panel.get_by_role("button", name="Tout marquer comme lu")).to_be_visible()
        expect(shown.row("Annie").locator("time")).to_have_text("à l’instant")
        shown.element("it.setAttribute('locale', 'en')")
        expect(shown.panel.get_by_role("button", name="Mark all as read")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_systems_colours_and_can_be_told_others(world: Stage, scheme: str) -> None:
    """Without a theme it is as light or dark as the system; `theme` wins over that."""
    user = world.user()
    with world.page(user, theme="", color_scheme=scheme) as shown:
        shown.bell.click()
        colour = "getComputedStyle(root.querySelector('.panel')).backgroundColor"
        light, dark = "rgb(255, 255, 255)", "rgb(27, 29, 38)"
        assert shown.element(colour) == (light if scheme == "light" else dark)
        other = "dark" if scheme == "light" else "light"
        shown.element(f"it.setAttribute('theme', '{other}')")
        assert shown.element(colour) == (dark if scheme == "light" else light)


def test_it_can_be_themed(world: Stage) -> None:
    """A variable of the page colours the panel; a part of it can be styled."""
    with world.page(world.user()) as shown:
        shown.element(
            "(() => { const sheet = new CSSStyleSheet();"
            " sheet.replaceSync('huntaze-toasts { --huntaze-surface: rgb(1, 2, 3) }"
            " huntaze-toasts::part(heading) { letter-spacing: 5px }');"
            " document.adoptedStyleSheets.push(sheet); })()"
        )
        shown.bell.click()
        styles = "getComputedStyle(root.querySelector('{}'))"
        assert shown.element(styles.format(".panel") + ".backgroundColor") == "rgb(1, 2, 3)"
        assert shown.element(styles.format("h2") + ".letterSpacing") == "5px"


def test_nothing_moves_for_those_who_want_it_so(world: Stage) -> None:
    """With `prefers-reduced-motion` no toast is animated, and a closed one is gone at once."""
    user = world.user()
    with world.page(user, reduced_motion="reduce") as shown:
        world.message(user, "Annie")
        expect(shown.toasts).to_have_count(1)
        moving = "root.getAnimations().length"
        assert shown.element(moving) == 0
        shown.element("root.querySelector('.toast button').click()")
        assert shown.element("root.querySelectorAll('.toast').length") == 0


# ------------------------------------------------------------------------------------- harm

MARKUP = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>'
URLS = (
    "javascript:window.harmed=1",
    " javascript:window.harmed=1",
    "JaVaScRiPt:window.harmed=1",
    "data:text/html,<script>window.harmed=1</script>",
    "//evil.example/path",
    "/\\evil.example",
    "/\t/evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://trusted.example@evil.example/",
    "http://",
    "ftp://evil.example/",
    "blob:https://evil.example/1",
    "https://evil.example/\u0000",
    "vbscript:x",
    7,
    {"href": "javascript:1"},
)


@pytest.mark.fault("write markup into an event", "attackers")
def test_markup_is_text(world: Stage) -> None:
    """Markup in a name is shown letter by letter, in toast and list, and runs nothing."""
    user = world.user()
    with world.page(user) as shown:
        world.publish("message.received", user, **{"from": {"name": MARKUP}}, preview=MARKUP)
        expect(shown.toasts).to_contain_text("<img src=x")
        shown.bell.click()
        expect(shown.rows).to_contain_text("<img src=x")
        assert shown.element("root.querySelectorAll('img, script').length") == 0
        assert shown.element("window.harmed ?? null") is None


@pytest.mark.parametrize("width", [390, 1280])
def test_huge_texts_break_nothing(world: Stage, width: int) -> None:
    """A text without end stays in its toast, the toast in the window, whatever is in it."""
    user = world.user()
    wires: list[Wire] = []
    size = {"width": width, "height": 800}
    with world.page(user, before=lambda page: wires.append(Wire(page)), viewport=size) as shown:
        for number, letters in enumerate(("W", "\u202e\U0001f469\u200d\U0001f4bb", "\u0e49")):
            wires[0].push(item(number + 1, title=letters * 50_000, body=letters * 50_000))
        expect(shown.toasts).to_have_count(3)
        boxes = [toast.bounding_box() for toast in shown.toasts.all()]
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
        assert all(box and box["y"] >= 0 and box["y"] + box["height"] <= 800 for box in boxes)
        assert shown.element("document.documentElement.scrollWidth") <= width
        assert shown.element("root.querySelector('.toast .title').textContent.length") <= 300


def test_only_links_that_are_harmless_are_links(world: Stage) -> None:
    """Of odd addresses none becomes a link, in toasts or rows; a path and https do."""
    wires: list[Wire] = []
    with world.page(world.user(), before=lambda page: wires.append(Wire(page))) as shown:
        shown.element("it.setAttribute('max-toasts', '10')")
        for number, url in enumerate(URLS, start=1):
            wires[0].push(item(number, url=url, title=f"Odd {number}"))
        wires[0].push(item(100, url="/videos/1", title="Path"))
        wires[0].push(item(101, url="https://app.example/x", title="Absolute"))
        shown.wait_for("it.items.length", len(URLS) + 2)
        links = "[...root.querySelectorAll('a')].map((each) => each.getAttribute('href'))"
        assert shown.element(links) == ["/videos/1", "https://app.example/x"]
        shown.bell.click()
        expect(shown.rows).to_have_count(len(URLS) + 2)
        assert set(shown.element(links)) == {"/videos/1", "https://app.example/x"}


@pytest.mark.parametrize(
    "frame",
    [None, 7, [], {}, {"kind": "notification"}, {"kind": "notification", "item": {"id": 1}},
     {"kind": "notification", "item": {"id": "x", "seq": 1e300}}, {"kind": "nonsense", "item": {}}],
    ids=str,
)  # fmt: skip
def test_messages_of_no_known_form_are_passed_over(world: Stage, frame: object) -> None:
    """What is no notification breaks nothing: the next one pops up."""
    user = world.user()

    def spoiled(sent: dict) -> dict:
        return {**sent, "data": frame} if sent["type"] == "message" else sent

    wires: list[Wire] = []
    with world.page(user, before=lambda page: wires.append(Wire(page))) as shown:
        wires[0].change = spoiled
        world.message(user, "Spoiled")
        wires[0].change = lambda sent: sent
        world.message(user, "Whole")
        expect(shown.toast("Whole")).to_have_count(1)


def test_the_policy_lets_nothing_inline_run(world: Stage) -> None:
    """A script that got into the page would not run, nor would a string become markup."""
    expected = ("Content Security Policy", "TrustedHTML", "TrustedScript")
    with world.page(world.user(), besides=expected) as shown:
        shown.page.evaluate(
            "() => { const script = document.createElement('script');"
            " script.append('window.harmed = 1');"
            " try { document.head.append(script); } catch { window.refused = 1; } }"
        )
        refused = "(() => { try { document.body.innerHTML = '<b>x</b>'; return false; }"
        assert shown.element(refused + " catch { return true; } })()")
        assert shown.element("window.harmed ?? null") is None


def states(world: Stage, user: str) -> list[str]:
    """Those of the user's inbox."""
    return [found["state"] for found in inbox(world, user)]


def inbox(world: Stage, user: str) -> list[dict]:
    """The user's inbox as the hub has it, the last changed first."""
    return list(world.call("GET", f"/v1/inbox?userId={user}")["items"])
