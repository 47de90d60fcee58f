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
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from typing import cast

import idna

from notifications.errors import FieldError, InvalidInput
from notifications.records import Mail
from notifications.text import one_line

DEFAULT_NAME = "Huntaze"
"""The sender's name where the sending address has none."""

# Headers are put in already encoded and folded: the policy's own way parses each of them into a
# tree and folds it again, which costs more than everything else about a mail.
_POLICY = SMTP.clone(refold_source="none")
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
_PLAIN = re.compile(r"[A-Za-z0-9 .,:;!?'()/&+_-]{1,60}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 '_-]{1,60}")


def to_message(mail: Mail, sender: str, *, international: bool = False) -> EmailMessage:
    """The message: text and HTML as alternatives, quoted-printable.

    Ids, date and boundary come from the mail, so that the same mail gives the same bytes. Nothing
    in it can begin another header: what becomes one is put on one line and encoded.

    Args:
        mail: What to send.
        sender: `notify@example.com` or `Name <notify@example.com>`.
        international: Take addresses that are not ASCII before the @.

    Raises:
        InvalidInput: An address is not one that a mail server takes; says which.
    """
    name, address = read_sender(sender)
    to = read_address(mail.to, "/to", international=international)
    reference = re.sub(r"[^A-Za-z0-9._-]", "_", mail.operation_id)
    boundary = "=_" + hashlib.sha256(mail.operation_id.encode()).hexdigest()[:32]
    message = EmailMessage(policy=_POLICY)
    for header, value in (
        ("From", _mailbox(name, address)),
        ("To", _mailbox(mail.to_name, to)),
        ("Subject", _text(mail.subject)),
        ("Date", format_datetime(datetime.fromtimestamp(mail.created_at // 1000, UTC))),
        ("Message-ID", f"<{reference}@{address.rpartition('@')[2]}>"),
        ("Content-Language", re.sub(r"[^A-Za-z0-9-]", "", mail.locale)),
        ("Auto-Submitted", "auto-generated"),
        ("X-Huntaze-Delivery", reference),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
    ):
        message.set_raw(header, value)
    message.set_payload([_part("plain", mail.text), _part("html", mail.html)])
    return message


def to_bytes(message: EmailMessage) -> bytes:
    """What `message.as_bytes()` gives for a message of `to_message`, at a tenth of its cost."""
    boundary = dict(message.raw_items())["Content-Type"].partition('"')[2].rstrip('"')
    text = _headers(message)
    for part in cast("list[MIMEPart]", message.get_payload()):
        text += f"--{boundary}{_LINE}{_headers(part)}{part.get_payload()}{_LINE}"
    return f"{text}--{boundary}--{_LINE}".encode()


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


def _part(subtype: str, body: str) -> MIMEPart:
    part = MIMEPart(policy=_POLICY)
    part.set_raw("Content-Type", f'text/{subtype}; charset="utf-8"')
    part.set_raw("Content-Transfer-Encoding", "quoted-printable")
    lines = _LINE.join(body.splitlines()) + _LINE
    part.set_payload(binascii.b2a_qp(lines.encode(), istext=True).decode("ascii"))
    return part


def _headers(part: MIMEPart) -> str:
    return "".join(f"{name}: {value}{_LINE}" for name, value in part.raw_items()) + _LINE
