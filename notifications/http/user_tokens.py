"""User tokens, and where a user's realtime client connects."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from notifications.http.auth import principal_of
from notifications.http.forms import ActingSubject, Body, BodyTenant, UserId, View, stamp
from notifications.http.routing import KeyRoute, UserRoute
from notifications.http.services import services_of

tokens = APIRouter(prefix="/v1/user-tokens", tags=["realtime"], route_class=KeyRoute)
realtime = APIRouter(prefix="/v1/realtime", tags=["realtime"], route_class=UserRoute)


class TokenIn(Body):
    """Whose token, and for how long."""

    tenant_id: BodyTenant = None
    user_id: UserId
    expires_in_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3_600


class TokenOut(View):
    """A token that opens one user's inbox and negotiate, and nothing else."""

    token: str
    expires_at: str


class ClientOut(View):
    """Where a Web PubSub client connects, and the subprotocol that it speaks."""

    url: str
    protocol: str


@tokens.post("", summary="Create a user token")
async def create_token(request: Request, body: TokenIn) -> TokenOut:
    """For the user's browser: it is signed, not stored, and ends when it expires."""
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    token, expires_at = services_of(request).user_tokens.issue(
        tenant, body.user_id, body.expires_in_seconds
    )
    return TokenOut(token=token, expires_at=stamp(expires_at))


@realtime.post("/negotiate", summary="Where a realtime client connects")
async def negotiate(request: Request, subject: ActingSubject) -> ClientOut:
    """A URL for an unmodified Web PubSub client; it carries its own access token."""
    base_url = f"{request.url.scheme}://{request.url.netloc}"
    url, protocol = await services_of(request).client_url(*subject, base_url)
    return ClientOut(url=url, protocol=protocol)


class SignalROut(View):
    """Where a SignalR client goes on, and the access token that it shows there."""

    url: str
    access_token: str


@realtime.post("/signalr/negotiate", summary="Where a SignalR client goes on")
async def negotiate_signalr(
    request: Request,
    subject: ActingSubject,
    negotiate_version: Annotated[  # noqa: ARG001 - said by clients, and the same for all
        int, Query(alias="negotiateVersion", ge=0, le=9, description="Sent by the client.")
    ] = 1,
) -> SignalROut:
    """For an unmodified SignalR client that is given `/v1/realtime/signalr` as its hub."""
    base_url = f"{request.url.scheme}://{request.url.netloc}"
    url, token = await services_of(request).signalr_access(*subject, base_url)
    return SignalROut(url=url, access_token=token)
