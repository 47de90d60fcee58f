"""Which model a question goes to."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from ai_workers.models.endpoint import Endpoint
from ai_workers.models.offline import OfflineModel
from ai_workers.models.prices import PriceTable
from ai_workers.ports import Model, Question, Reply, Usage
from notifications.ports import Clock


class ByJobType:
    """Implements `ports.Model`: each job type has a model of its own."""

    def __init__(self, models: Mapping[str, Model], *, otherwise: Model) -> None:
        """Ask by job type; `otherwise` answers for types that have none."""
        self._models = dict(models)
        self._otherwise = otherwise

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Reply:
        """Ask the job type's model; see `ports.Model`."""
        model = self._models.get(question.job_type, self._otherwise)
        return await model.answer(question, within_s=within_s, spent=spent)


@asynccontextmanager
async def open_models(
    common: Endpoint | None, own: Mapping[str, Endpoint], *, prices: PriceTable, clock: Clock
) -> AsyncIterator[Model]:
    """The models that are configured, for as long as the block lasts.

    Args:
        common: Answers for job types that have no endpoint of their own; None is the offline
            model.
        own: Endpoints by job type.
        prices: Has all of their models.
        clock: Dates prices and patience.

    Raises:
        ConfigurationError: A model has no price.
    """
    if common is None and not own:
        yield OfflineModel()
        return
    # Loading it takes a second, which a hub without an endpoint has no reason to wait for.
    from ai_workers.models.azure import AzureModel

    async with AsyncExitStack() as stack:

        def opened(endpoint: Endpoint) -> Model:
            model = AzureModel(endpoint, prices=prices, clock=clock)
            stack.push_async_callback(model.aclose)
            return model

        models = {job_type: opened(endpoint) for job_type, endpoint in own.items()}
        otherwise = OfflineModel() if common is None else opened(common)
        yield ByJobType(models, otherwise=otherwise)
