"""What pushes to browsers, as the settings ask for it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from notifications.channels.realtime.plain import SUBPROTOCOL
from notifications.channels.realtime.service_access import ServiceAccess
from notifications.channels.realtime.service_api import ServiceApi
from notifications.channels.realtime.service_http import ServiceEndpoint, read_published
from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.ports import Clock, Dice, PushGateway
from notifications.settings import Settings

CLIENT_LIFE_S = 3_600
"""How long a client may take to connect with the URL that negotiate gave it, and to come back."""

ClientUrl = Callable[[str, str, str], Awaitable[tuple[str, str]]]
"""Tenant, user and the request's own base URL to a client's URL and subprotocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Realtime:
    """What pushes, and where clients connect.

    Attributes:
        push: The gateway that the settings ask for.
        client_url: Where its clients connect.
        sockets: The built-in sockets, which are served in any case.
        routes: Their REST APIs, by the path under which each is served.
    """

    push: PushGateway
    client_url: ClientUrl
    sockets: Sockets
    routes: Mapping[str, Callable[[Request], Awaitable[Response]]]


@asynccontextmanager
async def open_realtime(
    settings: Settings, secrets: Sequence[str], clock: Clock, dice: Dice
) -> AsyncIterator[Realtime]:
    """The realtime service, until the block ends.

    Args:
        settings: What is configured.
        secrets: Sign client tokens, newest first, and are the access keys of the built-in sockets.
        clock: For tokens.
        dice: For connection ids.
    """
    tokens = ClientTokens(secrets, clock, hub=settings.realtime_hub)
    sockets = Sockets(tokens, dice)
    routes = service_routes(sockets, tokens, ServiceAccess(secrets, clock))
    try:
        if settings.realtime == "webpubsub" and settings.webpubsub is not None:
            gateway = WebPubSubGateway(settings.webpubsub, settings.realtime_hub)
            try:
                yield Realtime(
                    push=gateway,
                    client_url=_service_url(gateway),
                    sockets=sockets,
                    routes=routes,
                )
            finally:
                await gateway.close()
        else:
            yield Realtime(
                push=sockets, client_url=_local_url(tokens), sockets=sockets, routes=routes
            )
    finally:
        await sockets.close()


def service_routes(
    sockets: Sockets, tokens: ClientTokens, access: ServiceAccess
) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
    """The REST APIs of the built-in sockets, by the path under which each is served."""
    return {
        "/api/hubs/{call:path}": ServiceEndpoint(
            prefix="",
            hub=tokens.hub,
            access=access,
            api=ServiceApi(sockets, sockets.groups, lambda _: True, tokens),
            read=read_published,
        ).answer
    }


def _local_url(tokens: ClientTokens) -> ClientUrl:
    """Clients connect to this very server, by the name under which they reached it."""

    async def client_url(tenant_id: str, user_id: str, base_url: str) -> tuple[str, str]:
        access = tokens.issue(base_url, tenant_id, user_id, CLIENT_LIFE_S)
        return access.url, SUBPROTOCOL

    return client_url


def _service_url(gateway: WebPubSubGateway) -> ClientUrl:
    async def client_url(
        tenant_id: str,
        user_id: str,
        base_url: str,  # noqa: ARG001 - the service's name is its own
    ) -> tuple[str, str]:
        return await gateway.client_url(tenant_id, user_id, CLIENT_LIFE_S)

    return client_url
