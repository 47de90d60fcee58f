"""An endpoint that speaks the mail API of Azure Communication Services, into the mail folder.

    POST /emails:send                    202 with Operation-Location; the same Operation-Id again
                                         is the same mail, which is not sent twice
    GET  /emails/operations/{id}         what became of it

For tests and for trying things out on one machine. Who calls shows a key as the service wants it:
an HMAC over method, path, date, host and body. The keys are the secrets of user tokens: a secret
that is base64, as generated ones are, is the key as it stands; of another the key is its base64.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid5

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from notifications.channels.email.acs import LOCALE, REFERENCE
from notifications.channels.email.message import read_address, read_sender
from notifications.deliveries import Delivered
from notifications.errors import InvalidInput
from notifications.ports import Clock, Dice, Mailer
from notifications.records import Mail

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_RECIPIENTS = 50
REMEMBERED = 10_000
"""Operations whose ids are known again."""

_SKEW_S = 300
_BODY_WITHIN_S = 30.0
_SIGNED = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
_HERE = UUID("5a2f7a0c-7d0e-5d55-9f3c-0a6f1a1f6a10")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _Refused(Exception):
    """An answer in the service's form for errors."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class AcsService:
    """Takes mails as the service does, and hands them to a mailer."""

    def __init__(
        self, mailer: Mailer, sender: str, secrets: Sequence[str], clock: Clock, dice: Dice
    ) -> None:
        """Wire it.

        Args:
            mailer: Where mails land.
            sender: The one sender that is provisioned.
            secrets: What the keys are made of.
            clock: Dates calls and mails.
            dice: Names operations that come without an id.

        Raises:
            InvalidInput: The sender's address is none.
        """
        _, self._sender = read_sender(sender)
        self._mailer = mailer
        self._keys = tuple(access_key(secret) for secret in secrets)
        self._clock = clock
        self._dice = dice
        self._operations: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    async def send(self, request: Request) -> Response:
        """`POST /emails:send`."""
        try:
            document = await self._called(request)
            operation = request.headers.get("operation-id") or self._fresh_id()
            if _ID.fullmatch(operation) is None:
                raise _bad("InvalidOperationId", "Operation-Id must be a GUID")
            await self._once(operation.lower(), document)
        except _Refused as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        origin = f"{request.url.scheme}://{request.url.netloc}"
        where = f"{origin}/emails/operations/{operation}?api-version=2025-09-01"
        return JSONResponse(
            {"id": operation, "status": "Running"},
            status_code=HTTPStatus.ACCEPTED,
            headers={"operation-location": where, "retry-after": "30"},
        )

    async def status(self, request: Request) -> Response:
        """`GET /emails/operations/{id}`."""
        try:
            await self._called(request)
        except _Refused as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        operation = str(request.path_params["id"])
        if operation.lower() not in self._operations:
            code, message = "NotFound", "there is no such operation"
            return _refusal(_Refused(HTTPStatus.NOT_FOUND, code, message))
        return JSONResponse({"id": operation, "status": "Succeeded", "error": None})

    # ----------------------------------------------------------------------- who calls

    async def _called(self, request: Request) -> Any:
        """The body of a call that was signed with one of the keys."""
        headers = request.headers
        body = await _body(request)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        path = unquote(request.scope.get("raw_path", b"").decode("latin-1") or request.url.path)
        query = unquote(request.scope["query_string"].decode("latin-1"))
        date, host = headers.get("x-ms-date", ""), headers.get("host", "")
        signed = f"{request.method}\n{path}{'?' if query else ''}{query}\n{date};{host};{digest}"
        shown = headers.get("authorization", "").encode(errors="replace")
        right = [
            hmac.compare_digest(shown, _authorization(key, signed).encode()) for key in self._keys
        ]
        if not any(right) or not self._is_now(date):
            message = "the signature is wrong, or its date is not now"
            raise _Refused(HTTPStatus.UNAUTHORIZED, "Denied", message)
        if request.method != "POST":
            return None
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise _bad("InvalidJson", "the body is not JSON") from None

    def _is_now(self, date: str) -> bool:
        try:
            at: datetime = parsedate_to_datetime(date)
            return abs((self._clock.wall() - at).total_seconds()) <= _SKEW_S
        except (ValueError, TypeError):
            return False

    # ----------------------------------------------------------------------- what is sent

    async def _once(self, operation: str, document: Any) -> None:
        """Send a mail, unless that was done; whoever comes meanwhile waits for the outcome."""
        under_way = self._operations.get(operation)
        if under_way is not None:
            await asyncio.wait([under_way])
            if operation in self._operations:
                return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._operations[operation] = done
        try:
            await self._hand_over(operation, document)
        except BaseException:
            self._operations.pop(operation, None)
            raise
        finally:
            done.set_result(None)
        while len(self._operations) > REMEMBERED:
            self._operations.popitem(last=False)

    async def _hand_over(self, operation: str, document: Any) -> None:
        for mail in self._mails(operation, document):
            outcome = await self._mailer.send(mail)
            if not isinstance(outcome, Delivered):
                message = getattr(outcome, "detail", None) or outcome.reason
                raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)

    def _mails(self, operation: str, document: Any) -> list[Mail]:
        message = _object(document, "")
        content = _object(message.get("content"), "content")
        headers = _object(message.get("headers") or {}, "headers")
        if str(message.get("senderAddress", "")).lower() != self._sender.lower():
            raise _bad("InvalidSenderUserName", "the sender is not one of this resource's")
        addressed = _object(message.get("recipients"), "recipients")
        recipients = [
            each for kind in ("to", "cc", "bcc") for each in _list(addressed.get(kind) or [], kind)
        ]
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise _bad("InvalidRecipients", f"a mail has 1 to {MAX_RECIPIENTS} recipients")
        mails = []
        for place, recipient in enumerate(recipients):
            one = _object(recipient, "recipient")
            try:
                address = read_address(str(one.get("address", "")), "", international=True)
            except InvalidInput:
                raise _bad("InvalidRecipients", "a recipient's address is none") from None
            reference = str(headers.get(REFERENCE) or operation)
            name = one.get("displayName")
            mails.append(
                Mail(
                    operation_id=reference if place == 0 else f"{reference}-{place}",
                    to=address,
                    to_name=str(name) if name else None,
                    subject=str(content.get("subject") or ""),
                    text=str(content.get("plainText") or ""),
                    html=str(content.get("html") or ""),
                    locale=str(headers.get(LOCALE) or "en"),
                    created_at=int(self._clock.wall().timestamp() * 1000),
                )
            )
        return mails

    def _fresh_id(self) -> str:
        return str(uuid5(_HERE, self._dice.token(16).hex()))


def access_key(secret: str) -> bytes:
    """The key that a secret stands for: its base64, or where it is none, itself."""
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


def _authorization(key: bytes, signed: str) -> str:
    return _SIGNED + base64.b64encode(hmac.digest(key, signed.encode(), "sha256")).decode()


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    raise _Refused(status, "RequestTooLarge", "a request has at most 10 MiB")
                parts.append(part)
    except TimeoutError:
        status = HTTPStatus.REQUEST_TIMEOUT
        raise _Refused(status, "RequestTimeout", "the body did not come in time") from None
    return b"".join(parts)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad("InvalidRequest", f"{name or 'the body'} must be an object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad("InvalidRequest", f"{name} must be a list")
    return value


def _bad(code: str, message: str) -> _Refused:
    return _Refused(HTTPStatus.BAD_REQUEST, code, message)


def _refusal(error: _Refused) -> Response:
    return JSONResponse(
        {"error": {"code": error.code, "message": str(error)}}, status_code=error.status
    )
