"""Who answers the workers' questions, by what is configured: the seam between jobs and models."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ai_workers.ports import Answered, Asking, ModelFailed, Question, Usage
from notifications.extensions import Parts

OpenAsking = Callable[[Parts], AbstractAsyncContextManager[Asking]]
"""Opens whom the workers ask, for as long as the block lasts."""


class Nobody:
    """Implements `ports.Asking` where there is no model at all."""

    async def ask(
        self,
        question: Question,
        *,
        within_s: float,  # noqa: ARG002
        spent: Callable[[Usage], None] | None = None,  # noqa: ARG002
    ) -> Answered:
        """See `ports.Asking`."""
        raise ModelFailed(
            "model-unavailable", f"No model answers {question.job_type}.", retryable=False
        )


@asynccontextmanager
async def open_asking(parts: Parts) -> AsyncIterator[Asking]:  # noqa: ARG001
    """The models that the settings name."""
    yield Nobody()
