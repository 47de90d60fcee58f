"""The REST API of the built-in SignalR service: what its servers send, and its health."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from notifications.channels.realtime.service_api import BadCall
from notifications.channels.realtime.service_http import MakeMessage, decoded
from notifications.channels.realtime.signalr_session import invocation

_LONGEST_TARGET = 256


def read_invocation(media_type: str, body: bytes) -> MakeMessage:
    """What SignalR's servers send: `{"target", "arguments"}`."""
    if media_type != "application/json":
        raise BadCall("send application/json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    document = decoded(body)
    if not isinstance(document, dict):
        raise BadCall("the body must be an object")
    target, arguments = document.get("target"), document.get("arguments", [])
    if not isinstance(target, str) or not 1 <= len(target) <= _LONGEST_TARGET:
        raise BadCall(f"target must be 1-{_LONGEST_TARGET} characters")
    if not isinstance(arguments, list):
        raise BadCall("arguments must be a list")
    message = invocation(target, arguments)
    return lambda _: message


async def healthy(request: Request) -> Response:  # noqa: ARG001 - the router's signature
    """`HEAD /signalr/api/health`."""
    return Response()
