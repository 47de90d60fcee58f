"""A rendered mail as a message of RFC 5322, the same bytes every time.

Seven bits throughout, with one exception: an address whose part before the @ is not ASCII stands in
its header as it is (RFC 6532), for nothing else names that mailbox.
"""

import binascii
import hashlib
import re
import unicodedata
from datetime import UTC, datetime
from email import base64mime
from email.utils import format_datetime, parseaddr
from functools import lru_cache

import idna

from notifications.errors import FieldError, InvalidInput
from notifications.records import Mail
from notifications.text import one_line

DEFAULT_NAME = "Huntaze"
"""The sender's name where the sending address has none."""

_LINE = "\r\n"
_WORD = 39
"""Bytes in an encoded word: keeps lines with its header's name within 76 characters."""
_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOMS}(?:\.{_ATOMS})*")
_LOCAL_PART_BYTES = 64
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*"
)
_NO_REFERENCE = re.compile(r"[^A-Za-z0-9._-]")
_NO_LANGUAGE = re.compile(r"[^A-Za-z0-9-]")
_PLAIN = re.compile(r"[A-Za-z0-9 .,:;!?'()/&+_-]{1,60}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 '_-]{1,60}")


def to_bytes(mail: Mail, sender: str, *, international: bool = False) -> bytes:
    """The message: text and HTML as alternatives, quoted-printable.

    Ids, date and boundary come from the mail, so that the same mail gives the same bytes. Nothing
    in it can begin another header: what becomes one is put on one line and encoded. Written here,
    not by the standard library, which makes objects of everything first, at many times the price.

    Args:
        mail: What to send.
        sender: `notify@example.com` or `Name <notify@example.com>`.
        international: Take addresses that are not ASCII before the @.

    Raises:
        InvalidInput: An address is not one that a mail server takes; says which.
    """
    name, address = read_sender(sender)
    to = read_address(mail.to, "/to", international=international)
    reference = _NO_REFERENCE.sub("_", mail.operation_id)
    boundary = "=_" + hashlib.sha256(mail.operation_id.encode()).hexdigest()[:32]
    head = (
        f"From: {_mailbox(name, address)}{_LINE}"
        f"To: {_mailbox(mail.to_name, to)}{_LINE}"
        f"Subject: {_text(mail.subject)}{_LINE}"
        f"Date: {_date(mail.created_at // 1000)}{_LINE}"
        f"Message-ID: <{reference}@{address.rpartition('@')[2]}>{_LINE}"
        f"Content-Language: {_NO_LANGUAGE.sub('', mail.locale)}{_LINE}"
        f"Auto-Submitted: auto-generated{_LINE}"
        f"X-Huntaze-Delivery: {reference}{_LINE}"
        f"MIME-Version: 1.0{_LINE}"
        f'Content-Type: multipart/alternative; boundary="{boundary}"{_LINE}'
        f"{_LINE}"
    )
    parts = (("plain", mail.text), ("html", mail.html))
    pieces = [_part(boundary, subtype, body) for subtype, body in parts]
    return b"".join([head.encode(), *pieces, f"--{boundary}--{_LINE}".encode()])


def read_address(text: str, pointer: str, *, international: bool = False) -> str:
    """One address with nothing around it; its domain in ASCII.

    Args:
        text: The address.
        pointer: Where it stands, for the error.
        international: Take letters, marks and digits of any script before the @.

    Raises:
        InvalidInput: It is none, or more than one, or its local part is not ASCII.
    """
    local, _, domain = text.rpartition("@")
    if international:
        local = unicodedata.normalize("NFC", local)
    if not domain.isascii():
        domain = _in_ascii(domain)
    if not _is_local_part(local, international) or not _DOMAIN.fullmatch(domain):
        raise InvalidInput([FieldError(pointer, "must be one e-mail address, name@example.com")])
    return f"{local}@{domain}"


def _is_local_part(text: str, international: bool) -> bool:
    if not text.isascii():
        if not international or any(not _is_letter(each) for each in _FOREIGN.findall(text)):
            return False
        if len(text.encode()) > _LOCAL_PART_BYTES:
            return False
        text = _FOREIGN.sub("x", text)
    return len(text) <= _LOCAL_PART_BYTES and _LOCAL_PART.fullmatch(text) is not None


def _in_ascii(domain: str) -> str:
    """As registries write it today. Python's own codec makes strasse.de of straße.de: another's."""
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return ""


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")


@lru_cache(maxsize=8)
def read_sender(sender: str) -> tuple[str, str]:
    """Name and address of `notify@example.com` or `Name <notify@example.com>`.

    Raises:
        InvalidInput: There is no one address in it.
    """
    name, address = parseaddr(sender)
    return name or DEFAULT_NAME, read_address(address, "/from")


def _mailbox(name: str | None, address: str) -> str:
    name = one_line(name) if name else ""
    if not name:
        return address
    if _PLAIN_NAME.fullmatch(name):
        return f"{name} <{address}>"
    return f"{_encoded(name)} <{address}>"


def _text(text: str) -> str:
    text = one_line(text)
    return text if _PLAIN.fullmatch(text) else _encoded(text)


def _encoded(text: str) -> str:
    """As encoded words of RFC 2047, one to a line."""
    words = [b""]
    for character in text:
        octets = character.encode()
        if len(words[-1]) + len(octets) > _WORD:
            words.append(b"")
        words[-1] += octets
    return f"{_LINE} ".join(base64mime.header_encode(word, "utf-8") for word in words)


@lru_cache(maxsize=64)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _part(boundary: str, subtype: str, body: str) -> bytes:
    head = (
        f"--{boundary}{_LINE}"
        f'Content-Type: text/{subtype}; charset="utf-8"{_LINE}'
        f"Content-Transfer-Encoding: quoted-printable{_LINE}"
        f"{_LINE}"
    )
    lines = _LINE.join(body.splitlines()) + _LINE
    return head.encode() + binascii.b2a_qp(lines.encode(), istext=True) + _LINE.encode()
