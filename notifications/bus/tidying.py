"""What time does to a queue: locks run out, messages outlive their time."""

from notifications.bus.journal import PAGE
from notifications.bus.queues import Queue
from notifications.bus.settling import Settling
from notifications.database import Database, Transaction


async def tidy(database: Database, settling: Settling, queue: Queue, now: int) -> None:
    """Free the next page of locks that ran out, and be rid of one of what outlived its time.

    Raises:
        Unavailable: Nothing was done.
    """
    tokens = queue.expired_locks(now)[:PAGE]
    overdue = queue.overdue[:PAGE]

    def run(tx: Transaction) -> None:
        for token in tokens:
            lock = queue.locks.get(token)
            if lock is not None and lock.until <= now:  # nobody renewed it meanwhile
                settling.give_back(tx, queue, token)
        for entry in overdue:
            settling.expire(tx, queue, entry)

    await database.write(run)
    del queue.overdue[: len(overdue)]
