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
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.signalr import SignalRGateway
from notifications.channels.realtime.signalr_service import healthy, read_invocation
from notifications.channels.realtime.signalr_session import SignalRSession
from notifications.channels.realtime.signalr_tokens import PREFIX, SignalRTokens
from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.errors import NotFound
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
        signalr_access: The same for SignalR clients: where they are redirected to, and a token.
        clients_at: The origin of the sockets that clients connect to, where it is not the hub's.
        sockets: The built-in sockets, which are served in any case.
        routes: Their REST APIs, by the path under which each is served.
    """

    push: PushGateway
    client_url: ClientUrl
    signalr_access: ClientUrl
    sockets: Sockets
    routes: Mapping[str, Callable[[Request], Awaitable[Response]]]
    clients_at: str | None = None


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
    signalr = SignalRTokens(secrets, clock, hub=settings.realtime_hub)
    sockets = Sockets(tokens, dice, signalr=signalr)
    routes = service_routes(sockets, tokens, ServiceAccess(secrets, clock))
    try:
        if settings.realtime == "webpubsub" and settings.webpubsub is not None:
            gateway = WebPubSubGateway(settings.webpubsub, settings.realtime_hub)
            try:
                yield Realtime(
                    push=gateway,
                    client_url=_service_url(gateway),
                    clients_at=f"ws{settings.webpubsub.endpoint.removeprefix('http')}",
                    signalr_access=_elsewhere("Web PubSub: negotiate at /v1/realtime/negotiate"),
                    sockets=sockets,
                    routes=routes,
                )
            finally:
                await gateway.close()
        elif settings.realtime == "signalr" and settings.signalr is not None:
            there = SignalRGateway(settings.signalr, settings.realtime_hub, clock)
            try:
                yield Realtime(
                    push=there,
                    client_url=_elsewhere(
                        "SignalR Service: negotiate at /v1/realtime/signalr/negotiate"
                    ),
                    signalr_access=_signalr_there(there),
                    sockets=sockets,
                    routes=routes,
                )
            finally:
                await there.close()
        else:
            yield Realtime(
                push=sockets,
                client_url=_local_url(tokens),
                signalr_access=_signalr_here(signalr),
                sockets=sockets,
                routes=routes,
            )
    finally:
        await sockets.close()


def service_routes(
    sockets: Sockets, tokens: ClientTokens, access: ServiceAccess
) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
    """The REST APIs of the built-in sockets, by the path under which each is served."""
    routes: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/api/hubs/{call:path}": ServiceEndpoint(
            prefix="",
            hub=tokens.hub,
            access=access,
            api=ServiceApi(sockets, sockets.groups, _not_signalr, tokens),
            read=read_published,
        ).answer
    }
    if sockets.negotiation is not None:
        routes |= {
            f"{PREFIX}/api/health": healthy,
            f"{PREFIX}/client/negotiate": sockets.negotiation.answer,
            f"{PREFIX}/api/hubs/{{call:path}}": ServiceEndpoint(
                prefix=PREFIX,
                hub=tokens.hub,
                access=access,
                api=ServiceApi(sockets, sockets.signalr_groups, _is_signalr),
                read=read_invocation,
            ).answer,
        }
    return routes


SOCKETS: Sequence[str] = ("/client/hubs/{hub}", "/client/", "/client")
SIGNALR_SOCKETS: Sequence[str] = (f"{PREFIX}/client/", f"{PREFIX}/client")
"""Where the sockets of each service are served."""


def _elsewhere(where: str) -> ClientUrl:
    """Nobody who connects there would be told anything."""

    async def refuse(tenant_id: str, user_id: str, base_url: str) -> tuple[str, str]:  # noqa: ARG001
        raise NotFound(f"this hub pushes through {where}")

    return refuse


def _is_signalr(session: Session) -> bool:
    return isinstance(session, SignalRSession)


def _not_signalr(session: Session) -> bool:
    return not isinstance(session, SignalRSession)


def _signalr_here(tokens: SignalRTokens) -> ClientUrl:
    async def access(tenant_id: str, user_id: str, base_url: str) -> tuple[str, str]:
        return tokens.issue(f"{base_url}{PREFIX}", tenant_id, user_id, CLIENT_LIFE_S)

    return access


def _signalr_there(gateway: SignalRGateway) -> ClientUrl:
    async def access(
        tenant_id: str,
        user_id: str,
        base_url: str,  # noqa: ARG001 - the service's name is its own
    ) -> tuple[str, str]:
        return await gateway.client_access(tenant_id, user_id, CLIENT_LIFE_S)

    return access


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
