"""`huntaze doctor` on what pushes to browsers. Pushes nothing."""

import asyncio
from collections.abc import Iterator

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.webpubsub import SETTING as WEBPUBSUB
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.cli.findings import Finding, Mark
from notifications.deliveries import Delivered, Outcome
from notifications.settings import Settings


def examine_realtime(settings: Settings) -> Iterator[Finding]:
    """What pushes, and whether it answers."""
    if settings.realtime == "webpubsub" and settings.webpubsub is not None:
        gateway = WebPubSubGateway(settings.webpubsub, settings.realtime_hub)
        yield _found(settings.webpubsub, asyncio.run(_asked(gateway)), WEBPUBSUB)
        return
    detail = "sockets of the hub itself"
    if settings.webpubsub is None:
        yield Finding(Mark.RIGHT, "realtime", detail)
    else:
        advice = f"set HUNTAZE_REALTIME=webpubsub, or take {WEBPUBSUB} out"
        yield Finding(Mark.DOUBTFUL, "realtime", f"{detail}, although {WEBPUBSUB} is set", advice)


async def _asked(gateway: WebPubSubGateway) -> Outcome:
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
