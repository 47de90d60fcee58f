"""The conversation with a client that speaks `json.reliable.webpubsub.azure.v1`.

It is that of `plain` with numbered messages, kept until the client acknowledges them. It outlives
its connection: a client that comes back with the token it was greeted with is sent what it has
not acknowledged, and all that came meanwhile, in order.
"""

import base64
import hmac
from collections.abc import Callable

from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import CloseCode, Frame, Message, connected
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.plain import PlainSession
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims
from notifications.channels.realtime.unacknowledged import Owner, Unacknowledged

SUBPROTOCOL = "json.reliable.webpubsub.azure.v1"

_TOO_MUCH = "too much unacknowledged: connect again and read the inbox"
_NEVER_SENT = "acknowledged what was never sent"
_LONGEST_NUMBER = 12


class ReconnectionTokens:
    """The tokens of one session, a new one with each greeting.

    A greeting may be lost with its connection, so that the client comes back with an older token:
    those that were given out since the one it used last are all good.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._oldest = 1
        self._newest = 0

    def issue(self) -> str:
        """The next one."""
        self._newest += 1
        return self._token(self._newest)

    def redeem(self, token: str) -> bool:
        """Whether this is one of them; those before it are no longer."""
        number, _, _ = token.partition(".")
        if not (number.isascii() and number.isdecimal()) or len(number) > _LONGEST_NUMBER:
            return False
        if not self._oldest <= int(number) <= self._newest:
            return False
        expected = self._token(int(number))
        if not hmac.compare_digest(expected.encode(), token.encode(errors="replace")):
            return False
        self._oldest = int(number)
        return True

    def _token(self, number: int) -> str:
        digest = hmac.digest(self._key, str(number).encode(), "sha256")
        return f"{number}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


class ReliableSession(PlainSession):
    """One client, over as many connections as it takes. A `Session`.

    Attributes:
        id: Its connection id, the same over all of them.
        tokens: What it comes back with.
    """

    def __init__(
        self,
        claims: ClientClaims,
        groups: Groups[Session],
        *,
        max_groups: int,
        connection_id: str,
        tokens: ReconnectionTokens,
        unacknowledged: Unacknowledged,
        end: Callable[["ReliableSession", CloseCode, str], None],
    ) -> None:
        super().__init__(claims, groups, max_groups=max_groups)
        self.id = connection_id
        self.tokens = tokens
        self._unacknowledged = unacknowledged
        self._end_for_good = end
        self._begun = False

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return self.claims.tenant_id, self.claims.user_id

    @property
    def waiting(self) -> int:
        """How many messages the client has not acknowledged."""
        return len(self._unacknowledged)

    @property
    def manners(self) -> Manners:
        """Messages are taken from what is kept, as fast as the client takes them."""
        return Manners(more=self._next)

    def open(self, connection: Connection) -> None:
        """Begin, or go on over another connection: the greeting, then what is unacknowledged."""
        self.connection = connection
        self._unacknowledged.rewind()
        self._write(connected(self.claims.subject, self.id, self.tokens.issue()))
        if not self._begun:
            self._begun = True
            self.join_own_groups()
        connection.pump()

    def deliver(self, message: Message) -> bool:
        """Keep a message and send it, if the client is there; whether the client is behind."""
        if not self._unacknowledged.keep(message):
            self._end(CloseCode.POLICY, _TOO_MUCH)
            return False
        connection = self.connection
        if connection is None:
            return False
        connection.pump()
        return connection.behind

    def drop(self) -> None:
        """Be over: nothing is kept, and nobody comes back to it."""
        self.connection = None
        self._unacknowledged.drop()
        self.leave()

    def _next(self) -> Frame | None:
        return self._unacknowledged.next()

    def _acknowledge(self, sequence_id: int) -> None:
        if not self._unacknowledged.acknowledge(sequence_id):
            self._end(CloseCode.POLICY, _NEVER_SENT)

    def _end(self, code: CloseCode, reason: str) -> None:
        self._end_for_good(self, code, reason)
