"""Who answers the workers' questions, by what is configured: the seam between jobs and models."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ai_workers.asking import PatientAsking
from ai_workers.models.choosing import open_models
from ai_workers.models.endpoint import Endpoint
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
        ConfigurationError: The endpoint cannot be used, or a model has no price.
    """
    prices = PriceTable.shipped()
    own = _endpoints(parts.settings)
    # What a release does not know has no models of its own: it is text, and so is chat.
    common = own.get("chat.suggest")
    async with open_models(common, own, prices=prices, clock=parts.clock) as model:
        yield PatientAsking(model, clock=parts.clock, dice=parts.dice)


def _endpoints(settings: Settings) -> Mapping[str, Endpoint]:
    """One endpoint, whose models differ by job type."""
    if settings.ai_endpoint is None:
        return {}
    if settings.ai_key is None:
        raise ConfigurationError("HUNTAZE_AI_KEY: is needed where HUNTAZE_AI_ENDPOINT is set")
    models = {
        "video.analysis": settings.ai_models_video,
        "chat.suggest": settings.ai_models_chat,
        "content.suggest": settings.ai_models_suggest,
        "content.analyze": settings.ai_models_analyze,
    }
    return {
        job_type: Endpoint(url=settings.ai_endpoint, models=names, key=settings.ai_key)
        for job_type, names in models.items()
    }
