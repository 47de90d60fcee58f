"""Dead letters, and looking at what waits: values, and the ports they come through. Pure.

Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from notifications.messages import DeadLetter, Message, Received

COUNTED = 1_000
"""So many of a subscription's dead letters are counted: more are as many to who has to look."""

_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A message in a subscription's dead letters.

    Attributes:
        message: What was sent.
        subscription: Whose dead letters.
        sequence_number: The bus's number for it, as it had it alive.
        reason: Short, for grouping.
        description: What exactly was wrong.
        dead_at: When it was put there.
        enqueued_at: When it had become visible.
        delivery_count: How often it was delivered.
    """

    message: Message
    subscription: str
    sequence_number: int
    reason: str
    description: str
    dead_at: int
    enqueued_at: int
    delivery_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which of a subscription's dead letters are meant: those to which all that is said applies.

    Attributes:
        subscription: Whose.
        reason: Those that died of it.
        numbers: Those with these sequence numbers.
        before: Those that died before that time.
        after: Those above this number: where a page before ended.
        upto: Those up to this number, so that what dies again meanwhile is not met again.
    """

    subscription: str
    reason: str | None = None
    numbers: frozenset[int] | None = None
    before: int | None = None
    after: int = 0
    upto: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of a page of dead letters, or would become.

    Attributes:
        reasons: How many there were of each reason.
        upto: The highest number that was looked at, or will be: what dies from now on is above it.
        rest: What is left of what was chosen, or None where that was the last page.
    """

    reasons: Mapping[str, int]
    upto: int
    rest: Chosen | None

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.reasons.values())


class Peek(Protocol):
    """Looking at what waits, without taking it."""

    async def peek(self, subscription: str, *, after: int, limit: int) -> Sequence[Received]:
        """Messages that a subscription has not dealt with, with numbers above `after`, in order.

        Locked ones are among them, scheduled ones not. Locks nothing and counts no delivery:
        `delivery_count` is how often each was delivered so far, and none can be settled.

        Raises:
            NotFound: There is no such subscription.
        """
        ...


class DeadLetters(Protocol):
    """What subscriptions could not deal with: kept for somebody to replay or purge it.

    A call does a bounded amount of work, in one commit; it says what is left to go on with.

    Raises:
        NotFound: From any method: there is no such subscription.
    """

    async def page(
        self, subscription: str | None, *, reason: str | None, after: tuple[str, int], limit: int
    ) -> tuple[Sequence[DeadMessage], tuple[str, int] | None]:
        """Up to `limit` of one subscription's, or everybody's, by subscription and number.

        `after` is where the page before ended, `("", 0)` for the first; the answer says where this
        one did, or None where it was the last. A page may be short, even empty, and not the last.
        """
        ...

    async def replay(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """Send up to `limit` again, each as a new message to its own subscription alone.

        It leaves the dead letters in the commit that puts it on the bus, and has all its
        deliveries and all its time before it.
        """
        ...

    async def purge(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """Delete up to `limit`. An event that nobody deals with any more is noted as given up."""
        ...

    async def of_event(self, event: str) -> Mapping[str, DeadMessage]:
        """By consumer: its newest dead letter that carries an event, `<tenant id>:<event id>`.

        Consumers that have none are left out. Costs what the event's dead letters cost, however
        many there are of others.
        """
        ...


class Rejections(Protocol):
    """Why messages were given back for good, where the bus cannot be told: a Functions trigger can
    only fail, and what fails too often is a dead letter whatever the reason.

    A message goes by its id, which is the same alive and dead: Service Bus gives one to whatever
    comes without. Messages of one subscription with one id are one here.

    Raises:
        Unavailable: From any method; nothing was done.
    """

    async def note(self, subscription: str, message_id: str, why: DeadLetter) -> None:
        """Keep the reason, however often it is said: the last one counts. Cut where it is long."""
        ...

    async def of(self, subscription: str, ids: Collection[str]) -> Mapping[str, DeadLetter]:
        """What was kept of these messages, by id; those of which nothing was are left out."""
        ...

    async def forget(self, subscription: str, ids: Collection[str]) -> None:
        """Keep it no longer; where there is nothing, nothing happens."""
        ...


async def count(dead_letters: DeadLetters, subscriptions: Sequence[str]) -> Mapping[str, int]:
    """How many there are of each subscription; where it is `COUNTED`, there may be more.

    Raises:
        Unavailable: They cannot be looked at.
    """
    found = {}
    for name in subscriptions:
        after: tuple[str, int] | None = ("", 0)
        found[name] = 0
        while after is not None and found[name] < COUNTED:
            page, after = await dead_letters.page(name, reason=None, after=after, limit=_PAGE)
            found[name] += len(page)
    return found
