"""What clients make of messages, in AMQP's outcomes. Pure."""

from collections.abc import Sequence
from typing import Any

from notifications.broker import Defer, End, Release
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.decoding import Described
from notifications.messages import Abandon, Complete, DeadLetter

_TRANSACTIONAL = 0x34
_MAX_REASON = 4096


def is_transactional(state: Any) -> bool:
    """Whether the outcome is to hold only when a transaction is committed."""
    return isinstance(state, Described) and state.descriptor == _TRANSACTIONAL


def end_of(state: Any) -> End | None:
    """What the client makes of a message, by AMQP's outcome; None where that is none."""
    if not isinstance(state, Described):
        return None
    fields = state.value if isinstance(state.value, list | tuple) else ()
    if state.descriptor == kind.ACCEPTED:
        return Complete()
    if state.descriptor == kind.RELEASED:
        return Release()
    if state.descriptor == kind.MODIFIED:
        # One of the SDKs abandons without saying that the delivery failed.
        return Defer() if len(fields) > 1 and fields[1] is True else Abandon()
    return _dead(fields) if state.descriptor == kind.REJECTED else None


def _dead(fields: Sequence[Any]) -> DeadLetter:
    error = fields[0] if fields else None
    parts = error.value if isinstance(error, Described) else ()
    parts = parts if isinstance(parts, list | tuple) else ()
    info = parts[2] if len(parts) > 2 and isinstance(parts[2], dict) else {}
    said = parts[1] if len(parts) > 1 else None
    reason = info.get("DeadLetterReason")
    description = info.get("DeadLetterErrorDescription", said)
    return DeadLetter(_text(reason), _text(description))


def _text(value: Any) -> str:
    return value[:_MAX_REASON] if isinstance(value, str) else ""


def echo(state: Any) -> bytes:
    """The same outcome back; `rejected` without the error, which would mean that it failed."""
    descriptor = state.descriptor if isinstance(state, Described) else kind.RELEASED
    if descriptor == kind.MODIFIED:
        fields = state.value
        flags = [len(fields) > index and fields[index] is True for index in (0, 1)]
        return say.modified(failed=flags[0], undeliverable=flags[1])
    if descriptor == kind.REJECTED:
        return say.rejected(None)
    return say.ACCEPTED if descriptor == kind.ACCEPTED else say.RELEASED
