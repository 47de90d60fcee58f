"""The way in to the socket service's REST API: who calls, what, with which body."""

import asyncio
import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from notifications.channels.realtime.frames import Message, published
from notifications.channels.realtime.service_access import ServiceAccess
from notifications.channels.realtime.service_api import BadCall, Call, ServiceApi
from notifications.channels.realtime.tokens import TokenError

log = logging.getLogger("huntaze")

MAX_BODY_BYTES = 1024 * 1024
"""What Azure takes as well."""

_BODY_WITHIN_S = 30.0
_UNAUTHORIZED = {"www-authenticate": "Bearer"}

SERVICE_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

MakeMessage = Callable[[str | None], Message]
ReadBody = Callable[[str, bytes], MakeMessage]
"""Media type and body to what makes the message; raises `BadCall`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEndpoint:
    """Answers every call under `<prefix>/api/hubs/`.

    Attributes:
        prefix: What stands before `/api`.
        hub: The one hub there is.
        access: Who may call.
        api: Does it.
        read: Reads what is to be sent.
    """

    prefix: str
    hub: str
    access: ServiceAccess
    api: ServiceApi
    read: ReadBody

    async def answer(self, request: Request) -> Response:
        """Answer one call."""
        path = request.scope.get("raw_path", b"").decode("latin-1") or request.url.path
        try:
            self.access.check(request.headers.get("authorization", ""), path)
        except TokenError as error:
            log.info("service.refused", extra={"reason": error.reason})
            return _problem(HTTPStatus.UNAUTHORIZED, str(error), headers=_UNAUTHORIZED)
        hub, *place = (
            unquote(each) for each in path.removeprefix(f"{self.prefix}/api/hubs/").split("/")
        )
        if hub.lower() != self.hub.lower():
            return _problem(HTTPStatus.NOT_FOUND, "no such hub")
        try:
            message: MakeMessage = _nothing
            if place and place[-1] == ":send":
                message = self.read(_media_type(request), await _body(request))
            found = self.api.answer(
                Call(
                    method=request.method,
                    place=tuple(place),
                    query=request.query_params,
                    origin=f"{request.url.scheme}://{request.url.netloc}",
                    path=path,
                    message=message,
                )
            )
        except BadCall as error:
            return _problem(error.status, str(error))
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        # Clients that are behind get a turn to take what they were sent.
        await asyncio.sleep(0)
        if found.document is not None:
            return JSONResponse(found.document, status_code=found.status)
        return Response(status_code=found.status)


def read_published(media_type: str, body: bytes) -> MakeMessage:
    """What Web PubSub's servers send: JSON, text or bytes, told apart by the media type."""
    match media_type:
        case "application/json":
            data_type, data = "json", decoded(body)
        case "text/plain":
            data_type, data = "text", _text(body)
        case "application/octet-stream":
            data_type, data = "binary", base64.b64encode(body).decode()
        case _:
            raise BadCall(
                "send application/json, text/plain or application/octet-stream",
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
    return lambda group: published(data_type, data, group=group)


def decoded(body: bytes) -> Any:
    """A body's JSON.

    Raises:
        BadCall: It is none.
    """
    try:
        document = orjson.loads(body)
        orjson.dumps([[[document]]])  # what is nested too deep to be written cannot be sent on
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise BadCall("the body is not JSON, or nested too deep") from None
    return document


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadCall("the body is not UTF-8") from None


def _nothing(group: str | None) -> Message:  # noqa: ARG001 - what makes a message is given a group
    raise BadCall("there is nothing to send")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise BadCall(
                        f"a message has at most {MAX_BODY_BYTES} bytes",
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    )
                parts.append(part)
    except TimeoutError:
        raise BadCall("the body did not come in time", HTTPStatus.REQUEST_TIMEOUT) from None
    return b"".join(parts)


def _problem(
    status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None
) -> JSONResponse:
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    return JSONResponse(
        document, status_code=status, headers=headers, media_type="application/problem+json"
    )
