"""What filters see of a message. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from notifications.bus.filter_values import FilterError
from notifications.messages import PropertyValue

SYSTEM_PROPERTIES = (
    "ContentType",
    "CorrelationId",
    "DeadLetterSource",
    "DeliveryCount",
    "EnqueuedSequenceNumber",
    "EnqueuedTimeUtc",
    "ExpiresAtUtc",
    "ForcePersistence",
    "Label",
    "LockedUntilUtc",
    "LockToken",
    "MessageId",
    "PartitionKey",
    "ReplyTo",
    "ReplyToSessionId",
    "ScheduledEnqueueTimeUtc",
    "SequenceNumber",
    "SessionId",
    "Size",
    "State",
    "TimeToLive",
    "To",
    "ViaPartitionKey",
)
"""What `sys.` may name. One of these that a message has not set is unknown, another is an error."""

_CANONICAL = {name.casefold(): name for name in SYSTEM_PROPERTIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """What filters see of a message: its properties, never its body. Make one per message.

    Attributes:
        properties: The application's, by name; found whatever the case of the name.
        system: The message's own, named as in `SYSTEM_PROPERTIES`, such as `MessageId`, `Label`
            (the subject); those it has not set may be left out or None. Found whatever the case,
            fastest as written there.
        folded: `properties` by case-folded name; made here, for the filters.
    """

    properties: Mapping[str, PropertyValue | None]
    system: Mapping[str, object] = field(default_factory=dict)
    folded: Mapping[str, PropertyValue | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        folded = {name.casefold(): value for name, value in self.properties.items()}
        object.__setattr__(self, "folded", folded)

    def property_value(self, name: str) -> PropertyValue | None:
        """An application property, None where it is missing or null."""
        return self.folded.get(name.casefold())

    def system_value(self, name: str) -> object:
        """A property of the message, None where it is not set.

        Raises:
            FilterError: Messages have no such property.
        """
        folded = name.casefold()
        canonical = _CANONICAL.get(folded)
        value = self.system.get(canonical) if canonical else None
        if value is not None:
            return value
        for key, other in self.system.items():
            if key.casefold() == folded:
                return other
        if canonical is None:
            hint = "; the subject is sys.Label" if folded == "subject" else ""
            raise FilterError(f"messages have no property sys.{name}{hint}")
        return None
