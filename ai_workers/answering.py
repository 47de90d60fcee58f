"""Who answers the workers' questions, by what is configured: the seam between jobs and models."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from ai_workers.asking import PatientAsking
from ai_workers.models.choosing import open_models
from ai_workers.models.endpoint import Endpoint, TokenProvider
from ai_workers.models.identity import MachineIdentity, is_azures
from ai_workers.models.prices import PriceTable
from ai_workers.ports import Asking
from notifications.errors import ConfigurationError
from notifications.extensions import Parts
from notifications.settings import Settings

OpenAsking = Callable[[Parts], AbstractAsyncContextManager[Asking]]
"""Opens whom the workers ask, for as long as the block lasts."""


@asynccontextmanager
async def open_asking(parts: Parts) -> AsyncIterator[Asking]:
    """The models that the settings name; without an endpoint the offline model.

    Raises:
        ConfigurationError: The endpoint cannot be used, has nothing to be shown, or a model has
            no price.
    """
    settings = parts.settings
    async with AsyncExitStack() as stack:
        token = None
        if settings.ai_endpoint is not None and settings.ai_key is None:
            token = _identity(settings.ai_endpoint, stack)
        own = _endpoints(settings, token)
        prices = _prices(settings) if own else PriceTable({})  # nobody is paid offline
        # What a release does not know has no models of its own: it is text, and so is chat.
        common = own.get("chat.suggest")
        model = await stack.enter_async_context(
            open_models(common, own, prices=prices, clock=parts.clock)
        )
        yield PatientAsking(model, clock=parts.clock, dice=parts.dice)


def _prices(settings: Settings) -> PriceTable:
    """The operator's price file, else the one of this release."""
    if settings.ai_prices is None:
        return PriceTable.shipped()
    try:
        return PriceTable.read(settings.ai_prices)
    except ConfigurationError as error:
        raise ConfigurationError(f"HUNTAZE_AI_PRICES: {error}") from error


def _identity(url: str, stack: AsyncExitStack) -> TokenProvider:
    if not is_azures(url):
        raise ConfigurationError(
            "HUNTAZE_AI_KEY: is needed where HUNTAZE_AI_ENDPOINT is not an https address of Azure,"
            " which is shown the machine's identity"
        )
    identity = MachineIdentity(url)
    stack.push_async_callback(identity.aclose)
    return identity.token


def _endpoints(settings: Settings, token: TokenProvider | None) -> Mapping[str, Endpoint]:
    """One endpoint, whose models differ by job type."""
    if settings.ai_endpoint is None:
        return {}
    models = {
        "video.analysis": settings.ai_models_video,
        "chat.suggest": settings.ai_models_chat,
        "content.suggest": settings.ai_models_suggest,
        "content.analyze": settings.ai_models_analyze,
    }
    return {
        job_type: Endpoint(
            url=settings.ai_endpoint,
            models=names,
            key=settings.ai_key,
            token=token,
            connections=settings.ai_concurrency,
        )
        for job_type, names in models.items()
    }
