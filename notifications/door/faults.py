"""What goes wrong on the wire, in AMQP's and Service Bus's words."""

import logging

from notifications.errors import (
    Conflict,
    HuntazeError,
    InvalidInput,
    NotAllowed,
    NotFound,
    OverLimit,
    Unavailable,
)

log = logging.getLogger("huntaze")

DECODE_ERROR = "amqp:decode-error"
INTERNAL_ERROR = "amqp:internal-error"
INVALID_FIELD = "amqp:invalid-field"
NOT_ALLOWED = "amqp:not-allowed"
NOT_FOUND = "amqp:not-found"
NOT_IMPLEMENTED = "amqp:not-implemented"
RESOURCE_LIMIT = "amqp:resource-limit-exceeded"
UNAUTHORIZED = "amqp:unauthorized-access"
FRAMING = "amqp:connection:framing-error"
FORCED = "amqp:connection:forced"
HANDLE_IN_USE = "amqp:session:handle-in-use"
UNATTACHED_HANDLE = "amqp:session:unattached-handle"
MESSAGE_SIZE = "amqp:link:message-size-exceeded"
DETACH_FORCED = "amqp:link:detach-forced"
ARGUMENT = "com.microsoft:argument-error"
SERVER_BUSY = "com.microsoft:server-busy"
LOCK_LOST = "com.microsoft:message-lock-lost"
MESSAGE_NOT_FOUND = "com.microsoft:message-not-found"
ALREADY_EXISTS = "com.microsoft:entity-already-exists"

LOCK_IS_LOST = (
    "The lock supplied is invalid. Either the lock expired, or the message has already been "
    "settled or removed."
)

_MAX_DESCRIPTION = 1024
_MISSING = "The messaging entity"


class Fault(HuntazeError):
    """Something to be told to the client as an AMQP error.

    Attributes:
        condition: AMQP's symbol for it.
        description: For the person who reads the client's log.
    """

    def __init__(self, condition: str, description: str) -> None:
        self.condition = condition
        self.description = description[:_MAX_DESCRIPTION]
        super().__init__(f"{condition}: {self.description}")


class LinkFault(Fault):
    """It ends the link, and nothing else."""


class SessionFault(Fault):
    """It ends the session, and nothing else."""


def malformed(why: str) -> Fault:
    """Bytes that are not what they ought to be."""
    return Fault(DECODE_ERROR, why)


_CONDITIONS: tuple[tuple[type[HuntazeError], str], ...] = (
    (NotFound, NOT_FOUND),
    (Conflict, ALREADY_EXISTS),
    (InvalidInput, ARGUMENT),
    (NotAllowed, NOT_ALLOWED),
    (OverLimit, RESOURCE_LIMIT),
    (Unavailable, SERVER_BUSY),
)


def of(error: Exception) -> Fault:
    """How a client is told what was raised. What nobody foresaw is logged, and stays ours."""
    if isinstance(error, Fault):
        return error
    for kind, condition in _CONDITIONS:
        if isinstance(error, kind):
            return Fault(condition, _said(error))
    log.error("door.request_failed", exc_info=error)
    return Fault(INTERNAL_ERROR, "The service was unable to process the request; please retry.")


def _said(error: HuntazeError) -> str:
    """In the words by which the SDKs tell an entity that is missing from a lost connection."""
    text = str(error)
    if isinstance(error, NotFound) and not text.startswith(_MISSING):
        return f"{_MISSING} asked for could not be found: {text}"
    return text
