"""Bus messages: what is sent, what is received, and what becomes of it. Pure values.

Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from notifications.events import Known
from notifications.values import quick

JOBS_TOPIC = "huntaze-jobs"
EVENTS_TOPIC = "huntaze-events"

PropertyValue = str | int | float | bool
"""What an application property may hold. Integers are sent as int32: that is what the SDK takes."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is put on a topic.

    Attributes:
        id: At most 128 characters.
        body: At most 256 KB with the properties.
        properties: What rules look at.
        subject: `sys.Label`, or None.
        content_type: Or None.
        due_at: When it becomes visible; None is at once.
        decoded: What the publisher in this process already knows of the event in `body`.
        wire: The bare AMQP message that a client of the door sent, all sections from its
            properties on: it goes out of the door again as it came in. None where the hub itself
            made the message, or it came from Service Bus.
        system: What rules see of its system properties beyond id, subject and content type, by
            their names in Service Bus's SQL, e.g. `CorrelationId`; None where there is nothing.
    """

    id: str
    body: bytes
    properties: Mapping[str, PropertyValue]
    subject: str | None = None
    content_type: str | None = "application/json"
    due_at: int | None = None
    decoded: Known | None = field(default=None, compare=False, repr=False)
    wire: bytes | None = field(default=None, repr=False)
    system: Mapping[str, PropertyValue] | None = None

    @property
    def size(self) -> int:
        """Bytes of what is long in it."""
        return len(self.body) if self.wire is None else len(self.body) + len(self.wire)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message in hand, under a lock where the bus holds one.

    Attributes:
        message: What was sent.
        subscription: Where it was received.
        sequence_number: The bus's number for it.
        delivery_count: From 1.
        enqueued_at: When it became visible.
        token: Names the lock; None on Functions, where returning completes.
        ours: The bus is the hub's own: what the properties that begin with `hub` say is true.
    """

    message: Message
    subscription: str
    sequence_number: int
    delivery_count: int
    enqueued_at: int
    token: int | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The message has been dealt with."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give it back at once; counts as a delivery."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Nobody can ever deal with it."""

    reason: str
    description: str


Settlement = Complete | Abandon | DeadLetter
"""What happens to a bus message."""
