"""Events of jobs and their money, put into the ledger within the transaction that they tell of."""

import logging
from collections.abc import Sequence

from notifications.catalogue import Catalogue
from notifications.database import Transaction
from notifications.events import Event
from notifications.extensions import EventsWithin

log = logging.getLogger("huntaze")


class Announcing:
    """Puts events into the ledger, to go where the catalogue says."""

    def __init__(self, catalogue: Catalogue, ledger: EventsWithin) -> None:
        self._catalogue = catalogue
        self._ledger = ledger

    def put(self, tx: Transaction, events: Sequence[Event]) -> None:
        """Store them with their messages; one that is there already is left as it is."""
        channels = self._catalogue.channels
        offers = [(event, channels(event.type), True) for event in events]
        answers = self._ledger.accept_within(tx, offers)
        for event, answer in zip(events, answers, strict=True):
            if answer.conflict:  # somebody published another one under its id
                log.warning("job.event_taken", extra=event.log_context())
