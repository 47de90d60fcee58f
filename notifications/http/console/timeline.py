"""What happened to an event, in the order it happened, over all channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notifications.dead_letters import DeadMessage
from notifications.deliveries import State
from notifications.events import Channel
from notifications.http.console.looks import Looks
from notifications.http.console.why import DEAD, because, is_under_way
from notifications.ids import public_number
from notifications.records import DeliveryView, EventView
from notifications.routing import NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happened, or is to happen.

    Attributes:
        at: When.
        channel: Where; None for the event itself.
        target: To whom.
        state: `accepted`, `delivered`, `failed`, `waiting`, `dead`, or a delivery's state.
        text: What.
        after_ms: How long after the event was accepted.
        delivery: The delivery's public id, where it is one's.
    """

    at: int
    channel: Channel | None = None
    target: str | None = None
    state: str
    text: str
    after_ms: int = 0
    delivery: str | None = None


def steps(view: EventView, looks: Looks, letters: Mapping[str, DeadMessage]) -> Sequence[Step]:
    """All of them, oldest first; what is to come is last. `letters` are by channel."""
    found = [Step(at=view.accepted_at, state="accepted", text=looks.t("step.accepted"))]
    for delivery in view.deliveries:
        found += _attempts(delivery, view.accepted_at, looks)
        found += _standing(delivery, view.accepted_at, looks)
    for channel, letter in letters.items():
        found.append(
            Step(
                at=letter.dead_at,
                channel=Channel(channel),
                state=DEAD,
                text=looks.t("step.dead", because=because(letter.reason, looks)),
                after_ms=max(0, letter.dead_at - view.accepted_at),
            )
        )
    return sorted(found, key=lambda step: step.at)


def _attempts(view: DeliveryView, accepted_at: int, looks: Looks) -> Sequence[Step]:
    found = []
    for attempt in view.attempts:
        took = attempt.outcome == State.DELIVERED
        number = looks.n(attempt.number)
        if took:
            text = looks.t("step.took", n=number, took=looks.dur(attempt.duration_ms))
        else:
            text = looks.t("step.failed", n=number, because=because(attempt.outcome, looks))
        found.append(
            Step(
                at=attempt.at,
                channel=view.delivery.channel,
                target=view.delivery.target,
                state="delivered" if took else "failed",
                text=text,
                after_ms=max(0, attempt.at - accepted_at),
                delivery=public_number(view.delivery.id),
            )
        )
    return found


def _standing(view: DeliveryView, accepted_at: int, looks: Looks) -> Sequence[Step]:
    """What the attempts do not say: nobody to tell, given up, or when it goes on."""
    delivery = view.delivery
    if delivery.state is State.DELIVERED:
        return ()
    at = max([delivery.created_at, *(each.at for each in view.attempts)])
    state: str = delivery.state.value
    if delivery.state is State.PENDING:
        state = "waiting"
        if not is_under_way(delivery):
            at = max(at, delivery.due_at or 0)
        text = looks.t("step.now" if is_under_way(delivery) else "step.due")
    else:
        text = looks.t(f"step.{state}", because=because(delivery.reason, looks))
    return (
        Step(
            at=at,
            channel=delivery.channel,
            target=None if delivery.target == NOBODY else delivery.target,
            state=state,
            text=text,
            after_ms=max(0, at - accepted_at),
            delivery=public_number(delivery.id),
        ),
    )
