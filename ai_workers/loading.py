"""The way to the AI workers for hosts that must not load them before they are wanted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifications.extensions import Extension


def load_ai_workers() -> "Extension":
    """What a hub runs beside its own; loading it takes a while."""
    from ai_workers.extension import AiWorkers

    return AiWorkers()
