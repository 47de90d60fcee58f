"""`huntaze doctor` on what pushes to browsers. Pushes nothing."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.signalr import SETTING as SIGNALR
from notifications.channels.realtime.signalr import SignalRGateway
from notifications.channels.realtime.webpubsub import SETTING as WEBPUBSUB
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.cli.findings import Finding, Mark
from notifications.deliveries import Delivered, Outcome
from notifications.settings import Settings
from notifications.timing import SystemClock


class _Gateway(Protocol):
    async def examine(self) -> Outcome: ...
    async def close(self) -> None: ...


def examine_realtime(settings: Settings) -> Iterator[Finding]:
    """What pushes, and whether it answers."""
    hub = settings.realtime_hub
    given: tuple[tuple[str, str, AzureResource | None, Callable[..., _Gateway]], ...] = (
        ("webpubsub", WEBPUBSUB, settings.webpubsub, WebPubSubGateway),
        ("signalr", SIGNALR, settings.signalr, partial(SignalRGateway, clock=SystemClock())),
    )
    for kind, setting, resource, gateway in given:
        if settings.realtime == kind and resource is not None:
            yield _found(resource, asyncio.run(_asked(gateway, resource, hub)), setting)
            return
    detail = "sockets of the hub itself"
    for kind, setting, resource, _ in given:
        if resource is not None:
            advice = f"set HUNTAZE_REALTIME={kind}, or take {setting} out"
            said = f"{detail}, although {setting} is set"
            yield Finding(Mark.DOUBTFUL, "realtime", said, advice)
            return
    yield Finding(Mark.RIGHT, "realtime", detail)


async def _asked(make: Callable[..., _Gateway], resource: AzureResource, hub: str) -> Outcome:
    gateway = make(resource, hub)
    try:
        return await gateway.examine()
    finally:
        await gateway.close()


def _found(resource: AzureResource, outcome: Outcome, setting: str) -> Finding:
    how = "a key" if resource.key is not None else "the machine's identity"
    if isinstance(outcome, Delivered):
        return Finding(Mark.RIGHT, "realtime", f"{resource.host} answers and takes {how}")
    detail = getattr(outcome, "detail", None) or outcome.reason
    return Finding(
        Mark.WRONG,
        "realtime",
        f"{resource.host}: {outcome.reason} ({detail})",
        f"pushes are lost meanwhile, the inbox keeps them; check {setting}",
    )
