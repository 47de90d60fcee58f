"""What the console says: in both languages, about every reason there is, from data of any kind."""

import re
import string
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from notifications.browsing import Leg, Recent
from notifications.dead_letters import DeadMessage
from notifications.deliveries import Delivery, State
from notifications.events import Channel, read_event
from notifications.http.console.looks import Looks, looks, words
from notifications.http.console.overview import paces, per_minute, went
from notifications.http.console.timeline import steps
from notifications.http.console.visits import DONE, link, local, templates
from notifications.http.console.why import answer, because, sentence
from notifications.messages import Message
from notifications.records import AttemptView, DeliveryView, EventView
from notifications.shipped import TEMPLATES
from tests.hub_world import document
from tests.ledger_world import NOON

FOLDER = TEMPLATES / "console"
WORDS = words(FOLDER / "words")
SOURCES = TEMPLATES.parent / "notifications"


def reader(language: str = "en") -> Looks:
    """Somebody who reads a language, in Paris."""
    return looks(FOLDER / "words", language=language, accepted=None, zone="Europe/Paris")


def fields(text: str) -> set[str]:
    """The values that are put into a phrase."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same() -> None:
    """Each phrase is there in both, with the same values in it, and is not empty."""
    english, french = WORDS["en"], WORDS["fr"]

    assert list(english) == list(french)
    assert all(fields(english[key]) == fields(french[key]) for key in english)
    assert all(text.strip() for each in WORDS.values() for text in each.values())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.html")), ids=lambda path: path.name)
def test_what_pages_say_is_there(path: Path) -> None:
    """Every phrase that a page names is written; the page compiles."""
    templates(FOLDER).get_template(path.name)
    text = path.read_text("utf-8")
    named = set(re.findall(r"\bt\('([a-z_.-]+)'[,)]", text))
    counted = set(re.findall(r"\btn\('([a-z_.-]+)'[,)]", text))

    assert named - WORDS["en"].keys() == set()
    assert {f"{key}.{end}" for key in counted for end in ("one", "other")} <= WORDS["en"].keys()


def test_every_state_and_everything_done_has_a_word() -> None:
    """No chip and no note without."""
    states = [*State, "failed", "absent", "unrouted", "dead", "active", "paused", "disabled",
              "running", "done", "cancelled", "unread", "read", "archived"]  # fmt: skip
    keys = [*(f"state.{each}" for each in states), *(f"done.{each}" for each in DONE)]

    assert [key for key in keys if key not in WORDS["en"]] == []


def test_every_reason_of_the_hub_has_a_phrase() -> None:
    """Whatever the code gives as a reason is said in words, not in code."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(SOURCES.rglob("*.py")))
    given = set(re.findall(r"""(?:Failed|Skipped|Route)\(\s*reason="([a-z0-9-]+)\"""", text))
    given |= set(re.findall(r"""(?:DeadLetter|RejectedMessage)\(\s*"([A-Za-z0-9-]+)\"""", text))
    given.remove("drain-without-lane")  # a drain carries no event that somebody could ask about

    assert {"no-user", "timeout", "user-deleted", "render", "conflict", "envelope"} <= given
    assert [each for each in sorted(given) if f"reason.{each}" not in WORDS["en"]] == []


def test_an_unheard_of_reason_is_said_as_it_is() -> None:
    """Nothing is hidden, and nothing breaks."""
    assert because("quite-new", reader()) == "“quite-new”"
    assert because("http-418", reader()) == "it was answered with 418"


# --------------------------------------------------------------------------- why


def delivery(state: State, *outcomes: str, **changes: object) -> DeliveryView:
    """A webhook delivery that was tried so often."""
    attempts = [
        AttemptView(
            round=1, number=number, at=NOON + number * 1_000, duration_ms=5,
            outcome=outcome, status=None, detail=None,
        )
        for number, outcome in enumerate(outcomes, start=1)
    ]  # fmt: skip
    values = {
        "tenant_id": "acme", "id": 1, "event_key": 1, "channel": Channel.WEBHOOK,
        "target": "ep_1", "state": state, "attempt": len(outcomes), "due_at": NOON,
        "deadline": NOON + 60_000, "created_at": NOON, **changes,
    }  # fmt: skip
    return DeliveryView(
        delivery=Delivery(**values),  # type: ignore[arg-type]
        event_id="event-1",
        attempts=attempts,
    )


SENTENCES = [
    (delivery(State.DELIVERED, "delivered"), "https://x took it on Jan 31, 13:00:01."),
    (
        delivery(State.DELIVERED, "timeout", "delivered"),
        "https://x took it on Jan 31, 13:00:02, with attempt 2.",
    ),
    (delivery(State.PENDING), "It waits for its turn to go to https://x, due Jan 31, 13:00:00."),
    (
        delivery(State.PENDING, claimed=True),
        "An attempt to https://x is under way right now.",
    ),
    (
        delivery(State.PENDING, "http-500"),
        ("https://x has not taken it yet: it was answered with 500. Attempts so far: 1; the next is"
        " due Jan 31, 13:00:00."),
    ),
    (
        delivery(State.PARKED, reason="endpoint-paused"),
        ("It waits, because the endpoint is paused. It goes on by itself when the endpoint is"
        " resumed."),
    ),
    (delivery(State.SKIPPED, reason="no-endpoint", target="-"),
     "No endpoint of the tenant asks for this type."),
    (
        delivery(State.EXHAUSTED, "timeout", "dns", reason="attempts-used"),
        "https://x did not get it in 2 attempts. The last time: the host name was not found.",
    ),
    (
        delivery(State.EXHAUSTED, "gone", reason="gone"),
        ("https://x did not get it: the endpoint answered 410: it is gone for good. It was tried"
        " once, and trying again could not help."),
    ),
    (
        delivery(State.EXHAUSTED, "timeout", reason="deadline"),
        ("https://x did not get it: its time was up, after 1 attempt. The last time: there was no"
        " answer in time."),
    ),
    (
        delivery(State.EXHAUSTED, reason="parked-too-long"),
        ("It was given up for https://x without an attempt: its endpoint stayed paused or disabled"
        " for too long."),
    ),
    (
        delivery(State.EXHAUSTED, reason="purged", target="-"),
        "It was given up: its message was deleted from the dead letters.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("view", "text"), SENTENCES)
def test_a_delivery_is_told_in_a_sentence(view: DeliveryView, text: str) -> None:
    """What became of it, why, and what comes next."""
    assert sentence(view, {"ep_1": "https://x"}, reader()) == text


def event_view(*deliveries: DeliveryView) -> EventView:
    """An event with these deliveries."""
    event = read_event(document(), tenant_id=None, now=datetime.fromtimestamp(NOON / 1000, UTC))
    return EventView(key=1, event=event, accepted_at=NOON, routed=True, deliveries=deliveries)


@pytest.mark.parametrize(
    ("deliveries", "headline"),
    [
        ([delivery(State.DELIVERED, "delivered")], "Everybody it concerns got it"),
        (
            [delivery(State.DELIVERED, "delivered"), delivery(State.SKIPPED, reason="no-endpoint")],
            "Whoever could be told got it",
        ),
        ([delivery(State.SKIPPED, reason="no-endpoint")], "There was nobody to tell"),
        (
            [delivery(State.PENDING), delivery(State.DELIVERED, "delivered")],
            "It is on its way",
        ),
        (
            [delivery(State.PENDING), delivery(State.PARKED, reason="endpoint-paused")],
            "It waits for a paused or disabled endpoint",
        ),
        (
            [delivery(State.PARKED), delivery(State.EXHAUSTED, reason="gone")],
            "Not everybody got it",
        ),
        ([], "It was accepted and is about to be routed"),
    ],
)
def test_an_answer_begins_with_what_needs_somebody_most(
    deliveries: list[DeliveryView], headline: str
) -> None:
    """Given up before parked before under way before nobody to tell."""
    carried = {Channel.WEBHOOK}

    assert answer(event_view(*deliveries), carried, {}, reader()).headline == headline


def letter(reason: str = "handler-failed") -> DeadMessage:
    """A dead letter of the toasts' consumer."""
    message = Message(id="acme:event-1", body=b"{}", properties={})
    return DeadMessage(
        message=message, subscription="notify-signalr", sequence_number=1, reason=reason,
        description="boom", dead_at=NOON, enqueued_at=NOON, delivery_count=1,
    )  # fmt: skip


@pytest.mark.parametrize("state", [State.DELIVERED, State.SKIPPED])
@pytest.mark.parametrize("carried", [{Channel.REALTIME}, set()], ids=["carried", "not any more"])
def test_a_dead_letter_is_the_answer(state: State, carried: set[Channel]) -> None:
    """That a channel's message was set aside is not hidden behind what went well, or had nobody."""
    view = event_view(delivery(state, reason="no-endpoint"))
    found = answer(view, carried, {}, reader(), {"realtime": letter()})

    assert (found.state, found.headline) == ("dead", "Not everybody got it: it was set aside")
    assert found.text == (
        "The toast was not made: its message was set aside, because the hub failed at it each"
        " time. It goes on when the dead letter is sent again."
    )
    assert found.lines[0].letter == letter()


def test_what_is_not_routed_yet_comes_before_nobody_to_tell() -> None:
    """Who is to be told on another channel is not known yet."""
    view = event_view(delivery(State.SKIPPED, reason="no-endpoint"))
    found = answer(view, {Channel.REALTIME, Channel.WEBHOOK}, {}, reader())

    assert found.headline == "It was accepted and is about to be routed"


def test_a_dead_letter_is_in_the_timeline() -> None:
    """When it was set aside, and why."""
    (accepted, dead) = steps(event_view(), reader(), {"realtime": letter("conflict")})

    assert (accepted.state, dead.state, dead.channel) == ("accepted", "dead", Channel.REALTIME)
    assert dead.text == "Set aside: another event has the same id"


def test_a_channel_that_does_not_carry_the_type_says_so() -> None:
    """Every channel has a line, in their order."""
    found = answer(event_view(), {Channel.REALTIME, Channel.WEBHOOK}, {}, reader("fr"))

    assert [(line.channel, line.state) for line in found.lines] == [
        (Channel.REALTIME, "unrouted"),
        (Channel.EMAIL, "absent"),
        (Channel.WEBHOOK, "unrouted"),
    ]
    assert found.lines[1].text == (
        "Les événements de type message.received ne sont pas envoyés par e-mail."
    )


# --------------------------------------------------------------------------- figures


def recent(key: int, accepted_at: int) -> Recent:
    """An event."""
    return Recent(key=key, tenant_id="acme", id=str(key), type="t", user_id=None,
                  accepted_at=accepted_at)  # fmt: skip


def leg(state: str = "delivered", first_at: int | None = NOON, ms: int = 10, *, ok: bool = True,
        channel: Channel = Channel.WEBHOOK) -> Leg:  # fmt: skip
    """A delivery in short."""
    return Leg(channel=channel, state=state, attempt=1, first_at=first_at, first_ms=ms, first_ok=ok)


def test_the_rate_is_that_of_the_last_minute() -> None:
    """Counted where the sample goes back so far, else extended from what it holds."""
    few = [recent(n, NOON - n * 10_000) for n in range(12)]
    many = [recent(n, NOON - n * 10) for n in range(101)]

    assert per_minute(few, NOON) == 6
    assert per_minute(many, NOON, sample=101) == pytest.approx(6_060)
    assert per_minute([], NOON) == 0


def test_latency_is_from_acceptance_to_the_first_success() -> None:
    """What failed at first counts as tried, not as fast."""
    events = [recent(n, NOON) for n in range(4)]
    legs = {
        0: [leg(first_at=NOON + 5)],
        1: [leg(first_at=NOON + 25)],
        2: [leg("pending", NOON + 1, ok=False)],
        3: [leg("pending", None)],
    }
    webhook = paces(events, legs)[2]

    assert (webhook.attempted, webhook.at_once, webhook.open) == (3, 2, 2)
    assert (webhook.median, webhook.p95) == (15, 35)


def test_a_channel_shows_its_worst() -> None:
    """With how many of how many."""
    (found,) = went([leg(), leg("parked"), leg("exhausted"), leg("exhausted")])

    assert (found.state, found.count, found.of) == ("exhausted", 2, 4)


# --------------------------------------------------------------------------- links


@pytest.mark.parametrize("name", ["a b", "a&b=c", "a/../b", "é", "#x?y", "\u202e", "100%"])
def test_ids_of_any_kind_make_links_that_lead_back_to_them(name: str) -> None:
    """Ids go into the query: none ends a path or begins another parameter."""
    split = urlsplit(link("/event", tenant="acme", id=name, cursor=None))

    assert split.path == "/console/event"
    assert parse_qs(split.query) == {"tenant": ["acme"], "id": [name]}


@pytest.mark.parametrize(
    "path", ["/console", "/console?tenant=a", "/console/event?tenant=a&id=b%20c"]
)
def test_pages_of_the_console_are_led_to(path: str) -> None:
    """Who was asked to sign in comes to where they wanted to be."""
    assert local(path) == path


@pytest.mark.parametrize(
    "path", [None, "", "//x", "/consolex", "https://x/console", "/console/\r\nx", "/v1/events"]
)
def test_no_other_place_is_led_to(path: str | None) -> None:
    """Nothing outside of the console."""
    assert local(path) == "/console"
