"""What every connection of a door shares."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from notifications.broker import Broker
from notifications.door.limits import Limits
from notifications.ports import Clock, Dice

log = logging.getLogger("huntaze")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a door opens on, and by which rules.

    Attributes:
        broker: What is behind it.
        clock: For heartbeats and the expiry of tokens.
        dice: For ids of messages that come without.
        keys: The policies' keys, by their names.
        limits: What one client may take up.
        own_bus: Behind it is a hub's own bus: what clients say in properties that begin with
            `hub` is not believed.
        tasks: What is under way, whichever connection began it.
    """

    broker: Broker
    clock: Clock
    dice: Dice
    keys: Mapping[str, str]
    limits: Limits
    own_bus: bool
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin something that may outlive the connection that asked for it."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("door.request_failed", exc_info=error)
