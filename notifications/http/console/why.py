"""What became of an event, in plain sentences: the answer to "why did this user not get it?"

Every reason that the hub writes down has a phrase of its own in `templates/console/words`; one that
has none is said as it is.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from notifications.dead_letters import DeadMessage
from notifications.deliveries import Delivery, State
from notifications.events import Channel
from notifications.http.console.looks import Looks
from notifications.records import DeliveryView, EventView
from notifications.routing import NOBODY

_STATUS = re.compile(r"http-([0-9]{3})")
_NONE: Mapping[str, DeadMessage] = MappingProxyType({})

Names = Mapping[str, str]
"""What people call targets: endpoints by their URL. A target that is not among them is its id."""

DEAD = "dead"
"""A channel's state where its message is in the dead letters: nothing goes on by itself."""

_WORST = (
    State.EXHAUSTED.value,
    DEAD,
    State.PARKED.value,
    State.PENDING.value,
    "unrouted",
    State.SKIPPED.value,
)
"""What an answer begins with: what needs somebody most. "Nobody to tell" is said last of all, since
it is true only where no channel is left to tell anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One channel and target.

    Attributes:
        channel: The way it goes.
        state: A delivery's state, or `absent`, `unrouted` or `dead`.
        target: Who; None where there is nobody.
        text: What became of it, in one or two sentences.
        view: The delivery, where there is one.
        letter: The dead letter that its message became, where there is one instead.
    """

    channel: Channel
    state: str
    target: str | None
    text: str
    view: DeliveryView | None = None
    letter: DeadMessage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an event.

    Attributes:
        state: The worst of its lines.
        headline: In a few words.
        text: What matters most.
        lines: Every channel and target.
    """

    state: str
    headline: str
    text: str
    lines: Sequence[Line]


def answer(
    view: EventView,
    carried: Collection[Channel],
    names: Names,
    looks: Looks,
    letters: Mapping[str, DeadMessage] = _NONE,
) -> Answer:
    """What became of an event.

    Args:
        view: The event with its deliveries.
        carried: By which channels its type goes.
        names: What targets are called.
        looks: Whose language and zone.
        letters: By channel: the dead letter that its message became.
    """
    lines = [_of_delivery(each, names, looks) for each in view.deliveries]
    there = {line.channel for line in lines}
    for channel in Channel:
        if channel in there:
            continue
        lines.append(_without(channel, view, carried, looks, letters.get(channel)))
    order = {channel: place for place, channel in enumerate(Channel)}
    lines.sort(key=lambda line: order[line.channel])
    return _summed_up(lines, looks)


def _without(
    channel: Channel,
    view: EventView,
    carried: Collection[Channel],
    looks: Looks,
    letter: DeadMessage | None,
) -> Line:
    """The line of a channel that has no delivery."""
    if letter is not None:
        text = looks.t(f"why.dead.{channel}", because=because(letter.reason, looks))
        return Line(channel=channel, state=DEAD, target=None, text=text, letter=letter)
    state = "unrouted" if channel in carried else "absent"
    text = looks.t(f"why.{state}.{channel}", type=view.event.type)
    return Line(channel=channel, state=state, target=None, text=text)


def _summed_up(lines: Sequence[Line], looks: Looks) -> Answer:
    states = {line.state for line in lines}
    worst = next((state for state in _WORST if state in states), State.DELIVERED.value)
    if worst == State.SKIPPED and State.DELIVERED in states:
        headline = looks.t("why.headline.partly")
    else:
        headline = looks.t(f"why.headline.{worst}")
    telling = [line.text for line in lines if line.state == worst]
    if worst == State.DELIVERED:
        telling = []
    return Answer(state=worst, headline=headline, text=" ".join(telling[:3]), lines=lines)


def _of_delivery(view: DeliveryView, names: Names, looks: Looks) -> Line:
    delivery = view.delivery
    target = None if delivery.target == NOBODY else delivery.target
    return Line(
        channel=delivery.channel,
        state=delivery.state.value,
        target=target,
        text=sentence(view, names, looks),
        view=view,
    )


def sentence(view: DeliveryView, names: Names, looks: Looks) -> str:
    """What became of a delivery."""
    delivery = view.delivery
    target = names.get(delivery.target, delivery.target)
    match delivery.state:
        case State.DELIVERED:
            return _delivered(view, target, looks)
        case State.PENDING:
            return _pending(view, target, looks)
        case State.PARKED:
            return looks.t("why.parked", because=because(delivery.reason, looks))
        case State.SKIPPED:
            return _cap(because(delivery.reason, looks)) + "."
        case State.EXHAUSTED:
            return _exhausted(view, target, looks)


def because(reason: str | None, looks: Looks) -> str:
    """A reason as half a sentence."""
    if reason is None:
        return looks.t("reason.none")
    if (status := _STATUS.fullmatch(reason)) is not None:
        return looks.t("reason.http", status=status[1])
    if looks.says(f"reason.{reason}"):
        return looks.t(f"reason.{reason}")
    return looks.t("reason.other", reason=reason)


def is_under_way(delivery: Delivery) -> bool:
    """Whether an attempt is being made right now."""
    return delivery.state is State.PENDING and delivery.claimed


def _delivered(view: DeliveryView, target: str, looks: Looks) -> str:
    delivery = view.delivery
    made = view.attempts[-1] if view.attempts else None
    values = {
        "target": target,
        "when": looks.moment(made.at + made.duration_ms if made else delivery.created_at),
        "n": looks.n(len(view.attempts)),
    }
    more = ".again" if len(view.attempts) > 1 else ""
    return looks.t(f"why.delivered.{delivery.channel}{more}", **values)


def _pending(view: DeliveryView, target: str, looks: Looks) -> str:
    delivery = view.delivery
    if is_under_way(delivery):
        return looks.t("why.pending.now", target=target)
    due = looks.moment(delivery.due_at or delivery.created_at)
    if not view.attempts:
        return looks.t("why.pending.first", target=target, when=due)
    last = because(view.attempts[-1].outcome, looks)
    return looks.t(
        "why.pending.again", target=target, when=due, because=last,
        n=looks.n(len(view.attempts)),
    )  # fmt: skip


def _exhausted(view: DeliveryView, target: str, looks: Looks) -> str:
    delivery = view.delivery
    why = because(delivery.reason, looks)
    if delivery.target == NOBODY:
        return looks.t("why.exhausted.nobody", because=why)
    values = {"target": target, "because": why}
    if not view.attempts:
        return looks.t("why.exhausted.untried", **values)
    last = view.attempts[-1]
    if last.outcome == delivery.reason or last.outcome == State.DELIVERED:
        return looks.tn("why.exhausted.final", len(view.attempts), **values)
    values["last"] = because(last.outcome, looks)
    if delivery.reason == "attempts-used":
        return looks.tn("why.exhausted.used", len(view.attempts), **values)
    return looks.tn("why.exhausted.tried", len(view.attempts), **values)


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
