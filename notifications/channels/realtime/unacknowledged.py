"""What clients of the reliable protocol have not acknowledged: numbered, bounded, sent again."""

from collections import Counter
from collections.abc import Callable

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.frames import Frame, Message

Owner = tuple[str, str]
"""A tenant and a user in it."""


class Holdings:
    """The bytes that are kept for all clients together, and for each user."""

    def __init__(self, limits: Limits, relieve: Callable[[Owner | None], bool]) -> None:
        """
        Args:
            limits: What is kept at most.
            relieve: Gives up what is kept for a client that is away, of this user or of any;
                whether there was one.
        """
        self.size = 0
        self._by_owner: Counter[Owner] = Counter()
        self._limits = limits
        self._relieve = relieve

    def __len__(self) -> int:
        """For how many users something is kept."""
        return len(self._by_owner)

    def take(self, owner: Owner, size: int) -> bool:
        """Whether so much more may be kept for this user; it counts from now on."""
        limits = self._limits
        while self._by_owner[owner] + size > limits.unacknowledged_bytes_per_user:
            if not self._relieve(owner):
                return self._refuse(owner)
        while self.size + size > limits.unacknowledged_bytes_in_all:
            if not self._relieve(None):
                return self._refuse(owner)
        self.size += size
        self._by_owner[owner] += size
        return True

    def give_back(self, owner: Owner, size: int) -> None:
        """So much of it is no longer kept."""
        self.size -= size
        self._by_owner[owner] -= size
        self._tidy(owner)

    def _refuse(self, owner: Owner) -> bool:
        self._tidy(owner)
        return False

    def _tidy(self, owner: Owner) -> None:
        if not self._by_owner[owner]:
            del self._by_owner[owner]


class Unacknowledged:
    """One client's messages, from the first that it has not acknowledged to the newest.

    Sequence ids begin with 1 and have no gaps. `next` hands the messages out in order, each once
    until `rewind`.
    """

    def __init__(self, owner: Owner, limits: Limits, holdings: Holdings) -> None:
        self._owner = owner
        self._limits = limits
        self._holdings = holdings
        self._frames: dict[int, Frame] = {}
        self._size = 0
        self._newest = 0
        self._sent = 0
        self._acknowledged = 0
        self._over = False

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._frames)

    def keep(self, message: Message) -> bool:
        """Number a message and keep it; False where that would be too much, or all is over."""
        frame = message.numbered(self._newest + 1)
        if not self._fits(frame.size) or not self._holdings.take(self._owner, frame.size):
            return False
        if self._over:  # room was made by giving up this very client
            self._holdings.give_back(self._owner, frame.size)
            return False
        self._newest += 1
        self._size += frame.size
        self._frames[self._newest] = frame
        return True

    def next(self) -> Frame | None:
        """The first message that was not handed out yet, or None."""
        frame = self._frames.get(self._sent + 1)
        if frame is not None:
            self._sent += 1
        return frame

    def rewind(self) -> None:
        """Hand out everything again: it was sent over a connection that is lost."""
        self._sent = self._acknowledged

    def acknowledge(self, sequence_id: int) -> bool:
        """All up to this one have arrived; False where there never was such a message."""
        if sequence_id > self._newest:
            return False
        while self._acknowledged < sequence_id:
            self._acknowledged += 1
            self._give_up(self._acknowledged)
        self._sent = max(self._sent, self._acknowledged)
        return True

    def drop(self) -> None:
        """Keep nothing any more, for good."""
        self._over = True
        for sequence_id in tuple(self._frames):
            self._give_up(sequence_id)

    def _fits(self, size: int) -> bool:
        return (
            not self._over
            and len(self._frames) < self._limits.unacknowledged_messages
            and self._size + size <= self._limits.unacknowledged_bytes
        )

    def _give_up(self, sequence_id: int) -> None:
        frame = self._frames.pop(sequence_id, None)
        if frame is not None:
            self._size -= frame.size
            self._holdings.give_back(self._owner, frame.size)
