"""What the sweep of a hub does, whatever its ledger and bus are on."""

from notifications.bus.topology import CONSUMERS
from notifications.policies import keeping
from notifications.settings import Settings
from notifications.storage import Storage
from notifications.stores.leftovers import SqlLeftovers
from notifications.stores.lost import SqlLostEvents
from notifications.stores.upkeep import SqlUpkeep
from notifications.sweep import Step, upkeep_steps


def moving(storage: Storage, upkeep: SqlUpkeep) -> dict[str, Step]:
    """What moves what should have moved."""
    carrier = storage.carrier
    lost = SqlLostEvents(
        storage.database, carrier.look, storage.ledger, storage.clock, consumers=CONSUMERS
    )
    relayed = {} if storage.outbox is None else {"relayed": storage.outbox.relay}
    return {**relayed, **upkeep_steps(upkeep), "resent": lost.resend}


def tidying(storage: Storage, upkeep: SqlUpkeep, settings: Settings) -> dict[str, Step]:
    """What removes what is kept no longer."""
    leftovers = SqlLeftovers(
        storage.database, storage.carrier.file, storage.clock, keep=keeping(settings).events
    )
    return {"forgotten": upkeep.forget, "tidied": leftovers.tidy, **storage.carrier.tidying}
