"""The way to the AI workers for hosts that must not load them before they are wanted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifications.extensions import Extension


_PLACE_WITHIN_S = 3 * 60
"""How long a message may wait for a place on Functions, where it is in hand for 25 minutes at most,
and its run needs most of them. It waits twice: it is handed in once more before it goes back."""


def load_ai_workers() -> "Extension":
    """What a hub runs beside its own; loading it takes a while."""
    from ai_workers.extension import AiWorkers

    return AiWorkers()


def load_for_functions() -> "Extension":
    """The same where a host ends what is in hand for too long: a message waits for a place in the
    process for a while, and then goes back on the bus."""
    from ai_workers.extension import AiWorkers

    return AiWorkers(place_within_s=_PLACE_WITHIN_S)
