"""The node `$cbs`: clients show their tokens there."""

import logging

from notifications.door import encoding as put
from notifications.door.client import Client
from notifications.door.faults import Fault
from notifications.door.requests import Answer, Request
from notifications.door.sas import Refused, check, path_of

log = logging.getLogger("huntaze")

_LONGEST_PATH = 1024
_ACCEPTED, _BAD_REQUEST, _UNAUTHORIZED = 202, 400, 401


class Authorizer:
    """Keeps what a client's tokens allow with its connection.

    A token is told by its own beginning, not by the type the client says it has: one of the SDKs
    calls every token a JWT.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def answer(self, request: Request) -> Answer:
        """Take a token, or say why not."""
        world = self._client.world
        if request.text("operation") != "put-token":
            return _said(_BAD_REQUEST, "The operation has to be put-token.")
        if not isinstance(request.body, str):
            return _said(_BAD_REQUEST, "The body has to be the token, a string.")
        try:
            path = path_of(request.text("name"))
            if len(path) > _LONGEST_PATH:
                return _said(_BAD_REQUEST, "The audience (name) is too long.")
            grant = check(request.body, world.keys, world.clock.wall().timestamp(), path=path)
            self._client.grant(path, grant)
        except (Refused, ValueError) as error:
            log.info("door.token_refused", extra={"detail": str(error)})
            return _said(_UNAUTHORIZED, f"InvalidSignature: {error}.")
        except Fault as fault:
            return _said(_BAD_REQUEST, fault.description)
        return _said(_ACCEPTED, "Accepted")


def _said(status: int, description: str) -> Answer:
    return Answer(
        properties={
            "status-code": put.int32(status),
            "status-description": put.string(description),
        }
    )
