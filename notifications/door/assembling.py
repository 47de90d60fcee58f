"""Messages put together out of the transfers they come in."""

from collections.abc import Callable
from dataclasses import dataclass

from notifications.door import performatives as kind
from notifications.door.faults import NOT_ALLOWED, NOT_IMPLEMENTED, LinkFault
from notifications.door.outcomes import is_transactional

_ENVELOPE = 1_024
"""What a batch may have around its messages: the Python client counts only these when it fills
one, and adds an id of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message as a client sent it, whole.

    Attributes:
        number: The delivery's.
        payload: Its bytes; empty where they are too many.
        format: What its bytes are: 0 is a message.
        settled: The client does not want to hear what becomes of it.
        is_too_large: It was not kept.
    """

    number: int
    payload: bytes
    format: int
    settled: bool
    is_too_large: bool = False


class Assembly:
    """Puts one link's messages together, one after the other.

    Args:
        most: Bytes of the largest message; a larger one is dropped as it comes.
        gathered: Is told how many bytes more, or fewer, it holds of a message that is not whole.
    """

    def __init__(self, most: int, gathered: Callable[[int], None]) -> None:
        self._most = most
        self._gathered = gathered
        self._first: kind.Transfer | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._kept = 0

    def add(self, transfer: kind.Transfer, payload: bytes) -> Sent | None:
        """Take a message or a part of one; the message, where it is whole now.

        Raises:
            LinkFault: It is none that could be taken.
        """
        first = self._first or transfer
        if first.delivery_id is None:
            raise LinkFault(NOT_ALLOWED, "A transfer begins with a delivery-id.")
        if is_transactional(transfer.state):
            raise LinkFault(NOT_IMPLEMENTED, "Transactions are not supported.")
        self._size += len(payload)
        is_too_large = self._size > self._most + (_ENVELOPE if first.message_format else 0)
        if transfer.more and not transfer.aborted:
            self._first = first
            if is_too_large:
                self._drop_parts()
            else:
                self._keep(payload)
            return None
        whole = b"".join([*self._parts, payload]) if self._parts else payload
        self.drop()
        if transfer.aborted:
            return None
        return Sent(
            number=first.delivery_id,
            payload=b"" if is_too_large else whole,
            format=first.message_format or 0,
            settled=first.settled or transfer.settled,
            is_too_large=is_too_large,
        )

    def drop(self) -> None:
        """Forget what there is of a message."""
        self._drop_parts()
        self._first = None
        self._size = 0

    def _keep(self, payload: bytes) -> None:
        self._parts.append(payload)
        self._kept += len(payload)
        self._gathered(len(payload))

    def _drop_parts(self) -> None:
        self._gathered(-self._kept)
        self._parts, self._kept = [], 0
