"""What `huntaze webhooks verify` sends to a receiver, and what a receiver should make of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from notifications.channels.webhooks.signatures import (
    KEY_BYTES,
    new_secret,
    sign_v1,
    sign_v1a,
    signed_content,
)
from notifications.directory import SigningSecret
from notifications.events import MAX_EVENT_BYTES
from notifications.ports import Dice

OVERSIZED_BYTES = 4 * 1024 * 1024
OLD_S = 600
SKEWED_S = 200
"""A difference of clocks that receivers must put up with: the tolerance is 300 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One request, and what should come of it.

    Attributes:
        name: What is sent, for people.
        accept: Whether a receiver should answer 2xx.
        why: What is at stake, said where it does otherwise.
        headers: The `webhook-…` headers, in bytes, for not all of them are text.
        body: The body.
        advice: Doing otherwise is unwise, not wrong.
    """

    name: str
    accept: bool
    why: str
    headers: Mapping[str, bytes] = field(repr=False)
    body: bytes = field(repr=False)
    advice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the receiver verifies with: one of the two, or both.

    Attributes:
        secret: Signs `v1`; None: a stranger's does, as for a receiver that verifies `v1a`.
        private_key: Signs `v1a`.
    """

    secret: bytes | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Message:
    """A webhook in the making."""

    webhook_id: str
    timestamp: str
    body: bytes

    def headers(self, signature: str | bytes) -> dict[str, bytes]:
        return {
            "webhook-id": self.webhook_id.encode(),
            "webhook-timestamp": self.timestamp.encode(),
            "webhook-signature": signature if isinstance(signature, bytes) else signature.encode(),
        }


class Checks:
    """Makes the requests, each when it is its turn, so that time stamps are fresh."""

    def __init__(
        self, keys: Keys, event: Mapping[str, Any], now: Callable[[], datetime], dice: Dice
    ) -> None:
        """Configure.

        Args:
            keys: What the receiver verifies with.
            event: What valid webhooks carry.
            now: The time.
            dice: Makes ids and keys of strangers.
        """
        self._event = event
        self._now = now
        self._dice = dice
        # A scheme that the receiver does not verify with is signed as by the hub: by its own key.
        self._ours = SigningSecret(
            key=keys.secret or dice.token(KEY_BYTES),
            private_key=keys.private_key or dice.token(KEY_BYTES),
        )
        self._asymmetric = keys.private_key is not None

    def __iter__(self) -> Iterator[Check]:
        """The checks, in the order in which they are sent; the first is a plain, valid webhook."""
        yield from self._valid()
        yield from self._times()
        yield from self._forged()
        yield from self._missing()
        yield from self._malformed()
        yield self._oversized()

    # ---- what must be accepted

    def _valid(self) -> Iterator[Check]:
        message = self._message()
        signed = message.headers(self._sign(message))
        yield _good("valid", "every webhook is refused", signed, message.body)
        yield _good(
            "the same again",
            "what was received twice must be answered alike, else it is sent for a day",
            signed,
            message.body,
        )
        retry = replace(message, timestamp=self._time(1))
        yield _good(
            "the same id, signed anew (a retry)",
            "a retry whose first answer was lost is refused, and sent for a day",
            retry.headers(self._sign(retry)),
            message.body,
        )
        stranger = new_secret(self._dice)
        for name, order in (("first", 1), ("last", -1)):
            rotating = self._message()
            both = [self._sign(rotating), self._sign(rotating, stranger)][::order]
            yield _good(
                f"two signatures, yours {name} (a secret rotates)",
                "while a secret is rotated, webhooks are refused for 24 hours",
                rotating.headers(" ".join(both)),
                rotating.body,
            )
        future = self._message()
        yield _good(
            "beside a signature of an unknown scheme",
            "the day another scheme is added, webhooks are refused",
            future.headers(f"v9,AAAA {self._sign(future)}"),
            future.body,
        )
        shouted = self._message()
        yield _good(
            "names of headers in capitals",
            "names of headers have no case: a proxy may change it",
            {n.upper(): v for n, v in shouted.headers(self._sign(shouted)).items()},
            shouted.body,
        )
        for name, why, body in (
            (
                "JSON written in another way",
                "the signature is over the bytes as they came, not over JSON made of them anew",
                self._unusual(),
            ),
            (
                f"the largest event ({MAX_EVENT_BYTES // 1024} KiB)",
                "large events are refused: raise the limit of bodies to 256 KiB",
                self._of_size(MAX_EVENT_BYTES),
            ),
        ):
            each = replace(self._message(), body=body)
            yield _good(name, why, each.headers(self._sign(each)), body)

    def _times(self) -> Iterator[Check]:
        for seconds, name in ((-SKEWED_S, "old"), (SKEWED_S, "ahead")):
            each = replace(self._message(), timestamp=self._time(seconds))
            yield _good(
                f"{SKEWED_S} s {name} (clocks differ)",
                "webhooks are refused when clocks differ a little: allow 300 s",
                each.headers(self._sign(each)),
                each.body,
            )
        for seconds, name in ((-OLD_S, "old (expired)"), (OLD_S, "ahead (future)")):
            each = replace(self._message(), timestamp=self._time(seconds))
            yield _bad(
                f"{OLD_S // 60} min {name}",
                "who once saw a webhook can send it again for ever: compare webhook-timestamp"
                " with the time, to either side",
                each.headers(self._sign(each)),
                each.body,
            )

    # ---- what must be refused

    def _forged(self) -> Iterator[Check]:
        message = self._message()
        stranger = self._sign(message, new_secret(self._dice))
        yield _bad(
            "signed with another key",
            "anybody can send webhooks: the signature is not checked",
            message.headers(stranger),
            message.body,
        )
        right = message.headers(self._sign(message))
        anybody = "what is signed is webhook-id, webhook-timestamp and body, joined by full stops"
        yield _bad(
            "body changed", f"contents can be changed: {anybody}", right, message.body + b" "
        )
        yield _bad("body missing", f"contents can be taken away: {anybody}", right, b"")
        other = {**right, "webhook-id": self._message().webhook_id.encode()}
        yield _bad("id changed", f"a webhook can be repeated: {anybody}", other, message.body)
        old = replace(self._message(), timestamp=self._time(-OLD_S))
        renewed = {**old.headers(self._sign(old)), "webhook-timestamp": self._time().encode()}
        yield _bad(
            "timestamp renewed", f"old webhooks can be repeated: {anybody}", renewed, old.body
        )

    def _missing(self) -> Iterator[Check]:
        message = self._message()
        right = message.headers(self._sign(message))
        for name in right:
            yield _bad(
                f"without {name}",
                "what is not signed is taken",
                {each: value for each, value in right.items() if each != name},
                message.body,
            )
        yield _bad("without any of them", "what is not signed is taken", {}, message.body)

    def _malformed(self) -> Iterator[Check]:
        message = self._message()
        # The last is the one that the receiver verifies, be it v1 or v1a.
        scheme, _, encoded = self._sign(message).rpartition(" ")[2].partition(",")
        why = "a signature is its scheme, a comma, and base64; anything else is none"
        for name, value in (
            ("signature empty", ""),
            ("signature without its scheme", encoded),
            ("scheme without its signature", f"{scheme},"),
            ("signature of another scheme's name", f"v2,{encoded}"),
            ("signature cut short", f"{scheme},{encoded[:8]}"),
            ("signature that is no base64", f"{scheme},!!!"),
            ("signature in bytes that are no text", b"v1,\xff\xfe\xfd"),
        ):
            yield _bad(name, why, message.headers(value), message.body)
        for name, text in (
            ("timestamp that is no number", "yesterday"),
            ("timestamp that is not a number (NaN)", "nan"),
            ("timestamp beyond all numbers", "9" * 400),
        ):
            each = replace(message, timestamp=text)
            yield _bad(
                name,
                "webhook-timestamp is a whole number of seconds",
                each.headers(self._sign(each)),
                each.body,
            )

    def _oversized(self) -> Check:
        each = replace(self._message(), body=self._of_size(OVERSIZED_BYTES))
        return Check(
            name=f"oversized ({OVERSIZED_BYTES // 1024 // 1024} MiB), signed",
            accept=False,
            why="bodies are read before they are verified, so a limit of them keeps strangers from"
            " filling your memory: no webhook is over 192 KiB",
            headers=each.headers(self._sign(each)),
            body=each.body,
            advice=True,
        )

    # ---- parts

    def _message(self) -> _Message:
        webhook_id = f"evt_{self._dice.token(16).hex()}"
        return _Message(webhook_id, self._time(), orjson.dumps(self._document()))

    def _document(self) -> dict[str, Any]:
        return {**self._event, "id": f"check-{self._dice.token(6).hex()}"}

    def _time(self, seconds: int = 0) -> str:
        return str(int(self._now().timestamp()) + seconds)

    def _sign(self, message: _Message, secret: SigningSecret | None = None) -> str:
        content = signed_content(message.webhook_id, message.timestamp, message.body)
        keys = secret or self._ours
        signature = sign_v1(keys, content)
        return f"{signature} {sign_v1a(keys, content)}" if self._asymmetric else signature

    def _unusual(self) -> bytes:
        """What a decoder and an encoder do not give back as it was."""
        text = orjson.dumps(self._document(), option=orjson.OPT_INDENT_2).decode()
        odd = r'"checks": ["\u00e9", "é", "😀", "\/", 1.0, 1e2, 0.10, 12345678901234567890]'
        return f"{text[:-2]},\n  {odd}\n}}\n".encode()

    def _of_size(self, size: int) -> bytes:
        document = {**self._document(), "filling": ""}
        document["filling"] = "x" * (size - len(orjson.dumps(document)))
        return orjson.dumps(document)


def _good(name: str, why: str, headers: Mapping[str, bytes], body: bytes) -> Check:
    return Check(name=name, accept=True, why=why, headers=headers, body=body)


def _bad(name: str, why: str, headers: Mapping[str, bytes], body: bytes) -> Check:
    return Check(name=name, accept=False, why=why, headers=headers, body=body)
