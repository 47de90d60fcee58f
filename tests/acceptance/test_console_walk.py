"""The console walked through in a real browser, on a real hub: by mouse, and by keys alone."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import chromium
from tests.console_world import (
    LONG_EVENT,
    LONG_TENANT,
    LONG_USER,
    WITHIN_S,
    ConsoleWorld,
    console_world,
)
from tests.hub_process import wait_until

PATIENCE_MS = WITHIN_S * 1_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """One hub for all; only where there is a browser."""
    chromium.require()
    with console_world(tmp_path_factory.mktemp("hub") / "data") as world:
        yield world


@pytest.fixture(scope="module")
def browser(world: ConsoleWorld) -> Iterator[Browser]:
    """One browser for all, after the hub: that needs an event loop, which a browser takes."""
    with chromium.browser() as running:
        yield running


@pytest.fixture
def page(world: ConsoleWorld, browser: Browser) -> Iterator[Page]:
    """A page that is signed in; nothing may be complained of in its console."""
    yield from signed_in(world, browser)


@pytest.fixture
def plain(world: ConsoleWorld, browser: Browser) -> Iterator[Page]:
    """The same, without JavaScript."""
    yield from signed_in(world, browser, java_script_enabled=False)


def signed_in(world: ConsoleWorld, browser: Browser, **options: bool) -> Iterator[Page]:
    """A page behind the form that asks for the key."""
    context = browser.new_context(
        base_url=world.hub.url,
        locale="en-GB",
        timezone_id="Asia/Tokyo",
        viewport={"width": 1280, "height": 900},
        **options,  # type: ignore[arg-type]
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/console")
    page.get_by_label("Admin key").fill(world.hub.admin_key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield page
    context.close()
    assert complaints == []


def test_why_somebody_did_not_get_an_event(page: Page) -> None:
    """From the list by its filters to the event, its sentence, the attempts and the answer."""
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("Tenant").fill("acme")
    page.get_by_label("Type").select_option("payment.received")
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row").filter(has_text="payment-1")
    expect(row).to_contain_text("given up")
    row.get_by_role("link", name="payment-1").click()

    expect(page.get_by_role("heading", name="Not everybody got it")).to_be_visible()
    answer = page.get_by_role("region", name="Not everybody got it")
    expect(answer).to_contain_text("did not get it in 2 attempts")
    expect(answer).to_contain_text("it was answered with 503")
    expect(answer).to_contain_text("There is no e-mail address.")
    line = answer.get_by_role("listitem").filter(has_text="given up")
    line.get_by_role("link", name="Attempts").click()

    expect(page.get_by_role("row").filter(has_text="our database is away").last).to_be_visible()
    expect(page.get_by_text("x-api-token: ***")).to_be_visible()


def test_the_overview_follows_what_happens(world: ConsoleWorld, page: Page) -> None:
    """An event that is published shows by itself; paused, the page stands still."""
    world.publish("seen-live", "message.received", userid="ada")
    expect(page.get_by_role("link", name="seen-live")).to_be_visible()

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-state")).to_have_text("Stands still")
    page.get_by_role("button", name="Go on").click()
    world.publish("seen-later", "message.received", userid="ada")
    expect(page.get_by_role("link", name="seen-later")).to_be_visible()


def test_times_are_in_the_browsers_zone(page: Page) -> None:
    """The title says it in UTC."""
    page.goto("/console/event?tenant=acme&id=message-1")
    shown = page.locator("main time").first
    utc = int((shown.get_attribute("title") or "")[11:13])
    there = re.search(r"(\d\d):\d\d:\d\d", shown.inner_text())

    assert there
    assert int(there[1]) == (utc + 9) % 24


def test_an_endpoint_is_paused_and_resumed(world: ConsoleWorld, page: Page) -> None:
    """What comes meanwhile is parked, and delivered after the resumption."""
    page.goto(f"/console/endpoint?tenant=acme&id={world.good}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_contain_text("The endpoint is paused.")
    world.publish("while-paused", "message.received", userid="ada")
    page.goto("/console/event?tenant=acme&id=while-paused")
    while page.get_by_text("It waits, because the endpoint is paused.").count() == 0:
        page.reload()

    page.goto(f"/console/endpoint?tenant=acme&id={world.good}")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("The endpoint is active again.")
    wait_until(
        lambda: not world.items("/v1/deliveries?tenantId=acme&state=parked"), within_s=WITHIN_S
    )


def test_a_delivery_is_retried(world: ConsoleWorld, page: Page) -> None:
    """Once the receiver is back, one click delivers what was given up."""
    world.receiver.takes = True
    try:
        page.goto("/console/deliveries?tenant=acme&state=exhausted")
        row = page.get_by_role("row").filter(has_text="job-1")
        row.get_by_role("link", name=re.compile("^dlv_")).click()
        page.get_by_role("button", name="Try again now").click()
        expect(page.get_by_role("status")).to_contain_text("A new round of attempts begins now.")
        while page.locator(".answer .chip.delivered").count() == 0:
            page.reload()
    finally:
        world.receiver.takes = False

    expect(page.get_by_text("with attempt 3.")).to_be_visible()


def test_a_replay_is_shown_before_it_is_begun(world: ConsoleWorld, page: Page) -> None:
    """How many it would be, of which kind; then it runs to its end."""
    page.goto(f"/console/endpoint?tenant=acme&id={world.good}")
    page.get_by_role("link", name="Replay a range").click()
    page.get_by_label("delivered").check()
    page.get_by_label("To", exact=True).fill("2199-01-01T00:00")
    page.get_by_role("button", name="See what it would be").click()
    expect(page.get_by_text("Nothing was done yet.")).to_be_visible()
    heading = page.get_by_role("heading", level=2).inner_text()
    assert re.search(r"\d+ events would go to this endpoint", heading)
    assert world.items("/v1/replays?tenantId=acme") == []

    page.get_by_role("button", name=re.compile("^Replay ")).click()
    expect(page.get_by_role("status")).to_contain_text("The replay has begun.")
    while page.locator(".chip.done").count() == 0:
        page.reload()


def test_a_dead_letter_is_sent_again(world: ConsoleWorld, page: Page) -> None:
    """Shown first; then the event is delivered, and the others are still there."""
    page.get_by_role("link", name="There are dead letters").click()
    row = page.get_by_role("row").filter(has_text="copy-of-lost-1")
    row.get_by_text("Body").click()
    expect(row.get_by_text('"lost-1"')).to_be_visible()
    row.get_by_role("button", name="Send again…").click()
    expect(page.get_by_text("1 dead letter would be sent again")).to_be_visible()
    page.get_by_role("button", name="Yes, send again").click()
    expect(page.get_by_role("status")).to_contain_text("1 dead letter was sent again.")

    page.goto("/console/dead-letters")
    expect(page.get_by_role("row").filter(has_text="copy-of-lost-1")).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text="junk-")).to_have_count(3)
    page.goto("/console/event?tenant=acme&id=lost-1")
    while page.locator(".answer .chip.delivered").count() == 0:
        page.reload()


def test_a_mail_is_looked_at(page: Page) -> None:
    """In its frame, which runs nothing."""
    page.goto("/console/event?tenant=acme&id=job-1")
    line = page.get_by_role("listitem").filter(has_text="The mail to camille")
    line.get_by_role("link", name="Attempts").click()
    page.get_by_role("link", name="Show the mail").click()

    frame = page.frame_locator("iframe.mail")
    expect(frame.get_by_text("Bonjour Camille Exemple").first).to_be_visible()


def test_a_job_is_seen_to_move(world: ConsoleWorld, page: Page) -> None:
    """It comes into the list by itself, with its bar; what it finds comes in by itself, too; its
    page leads to what became of each event."""
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name="acme", exact=True).click()
    page.get_by_label("Job type").select_option("video.analysis")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("There is no such job.")).to_be_visible()
    url = f"{world.receiver.url}/held.mp4"
    name = world.ask("video.analysis", "ada", {"url": url, "title": "Squares"})
    row = page.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("running")
    expect(row.get_by_role("progressbar", name="Progress")).to_have_js_property("value", 2)
    world.receiver.shows.set()
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("4 scenes")
    expect(row.get_by_role("progressbar")).to_have_count(0)

    row.get_by_role("link", name="Video analysis").click()
    expect(page.get_by_text("The offline model answered")).to_be_visible()
    expect(page.get_by_role("region", name="Result")).to_contain_text('"scenes"')
    page.get_by_role("link", name=f"{name}.end").click()
    expect(page.get_by_text("It is in the inbox of ada")).to_be_visible()


def test_a_job_is_cancelled(world: ConsoleWorld, page: Page) -> None:
    """One click tells it to stop; the page shows its end by itself."""
    world.receiver.shows.clear()
    name = world.ask("video.analysis", "ada", {"url": f"{world.receiver.url}/held.mp4"})
    page.goto(f"/console/job?tenant=acme&id={name}")
    expect(page.locator(".answer .chip.running")).to_be_visible()
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.get_by_role("status").first).to_contain_text("The job is told to stop")
    expect(page.locator(".answer .chip.cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel this job")).to_have_count(0)


def test_what_jobs_took_is_drawn_and_said(page: Page) -> None:
    """A plot for each type that ran, by a name and a description; its table has the same."""
    page.goto("/console/jobs?tenant=acme")
    page.get_by_role("link", name="Cost and run times").click()
    plot = page.get_by_role("img", name="Run time per day, by job type: Reply suggestions")
    expect(plot).to_be_visible()
    expect(plot).to_have_accessible_description(re.compile("50 % ran for .+ at most"))
    page.get_by_text("As a table").last.click()
    expect(page.get_by_role("cell", name="Reply suggestions")).to_be_visible()


def test_a_secret_is_rotated_and_shown_once(world: ConsoleWorld, page: Page) -> None:
    """It asks once more, shows the new secret, and never again."""
    page.goto(f"/console/endpoint?tenant=acme&id={world.bad}")
    page.get_by_text("Rotate the secret", exact=True).click()
    page.get_by_role("button", name="Yes: Rotate the secret").click()
    expect(page.locator("#secret-text")).to_have_text(re.compile(r"^whsec_\S{40,}$"))

    page.goto(f"/console/endpoint?tenant=acme&id={world.bad}")
    expect(page.locator("#secret-text")).to_have_count(0)


def test_it_works_with_keys_alone(world: ConsoleWorld, browser: Browser) -> None:
    """Signing in, skipping to the content, following a link, pausing and resuming an endpoint."""
    context = browser.new_context(base_url=world.hub.url, locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"/console/endpoint?tenant=acme&id={world.good}")
    page.keyboard.type(world.hub.admin_key)  # the field has the focus
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Endpoint", level=1)).to_be_visible()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "Pause")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .chip.paused")).to_be_visible()
    tab_to(page, "Resume")
    page.keyboard.press("Space")
    expect(page.locator(".answer .chip.active")).to_be_visible()
    tab_to(page, "Sign out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("You are signed out.")
    context.close()


def tab_to(page: Page, name: str) -> None:
    """Go on from control to control until one is reached; its focus can be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and focused.inner_text().strip() == name:
            outline = focused.evaluate("each => getComputedStyle(each).outlineWidth")
            assert outline == "3px"
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_it_works_without_javascript(world: ConsoleWorld, plain: Page) -> None:
    """The overview asks to be loaded again; lists, forms and questions work."""
    assert plain.locator("noscript meta[http-equiv=refresh]").count() or (
        'http-equiv="refresh" content="10"' in plain.content()
    )
    plain.goto(f"/console/endpoint?tenant=acme&id={world.good}")
    plain.get_by_role("button", name="Pause").click()
    expect(plain.locator(".answer .chip.paused")).to_be_visible()
    plain.get_by_role("button", name="Resume").click()
    expect(plain.locator(".answer .chip.active")).to_be_visible()
    plain.get_by_text("Rotate the secret", exact=True).click()
    expect(plain.get_by_role("button", name="Yes: Rotate the secret")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_page_is_wider_than_the_window(
    world: ConsoleWorld, browser: Browser, language: str
) -> None:
    """In either language nothing makes a page scroll sideways, however long names and ids are, and
    nothing is printed over what is beside it."""
    locale = {"en": "en-GB", "fr": "fr-FR"}[language]
    context = browser.new_context(base_url=world.hub.url, locale=locale)
    page = context.new_page()
    page.goto("/console")
    page.locator("input[name=key]").fill(world.hub.admin_key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")
    of_it = f"tenant={LONG_TENANT}"
    delivery = world.items(f"/v1/deliveries?tenantId={LONG_TENANT}")[0]["id"]
    wide = []
    for path in (
        "", "/events", f"/event?{of_it}&id={LONG_EVENT}", f"/deliveries?{of_it}",
        f"/delivery?{of_it}&id={delivery}", f"/endpoints?{of_it}",
        f"/endpoint?{of_it}&id={world.long}", f"/replays?{of_it}", "/dead-letters",
        "/users", f"/users?{of_it}", f"/user?{of_it}&id={quote(LONG_USER)}", "/tenants",
        f"/tenant?{of_it}", "/nowhere", f"/jobs?{of_it}",
        f"/job?{of_it}&id={world.long_job}", "/jobs/figures", f"/jobs/figures?{of_it}",
    ):  # fmt: skip
        page.goto(f"/console{path}")
        for width in (390, 800, 1280):
            page.set_viewport_size({"width": width, "height": 844})
            wide += page.evaluate(WIDER, f"{path} at {width}")
    context.close()

    assert wide == []


WIDER = """path => {
  const edge = document.documentElement.clientWidth;
  const beyond = [...document.querySelectorAll('body *')].filter(
    each => each.getBoundingClientRect().right > edge + 1
      && !each.closest('pre, .skip, .hidden, datalist, thead'));
  for (const cell of document.querySelectorAll('td, dd, dt, .card')) {
    const end = cell.getBoundingClientRect().right + 1;
    beyond.push(...[...cell.querySelectorAll('a, code, span, time')].filter(
      each => each.getBoundingClientRect().right > end && !each.closest('pre, .hidden')));
  }
  return beyond.length ? [path + ': ' + beyond[0].outerHTML.slice(0, 120)] : [];
}"""
