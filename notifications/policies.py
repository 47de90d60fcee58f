"""How patient the channels of each host are, and how long rows are kept."""

from dataclasses import replace

from notifications.channels.email.mailers import mail_time_limit
from notifications.dispatcher import Policy
from notifications.retries import DAY, SECOND
from notifications.settings import Settings
from notifications.stores.upkeep import Keeping
from notifications.worker import OUTAGE_PATIENCE_MS

IN_HAND_S = 0.1
"""How long a message is kept in hand for its attempts on one machine."""

_CLAIM_MARGIN_MS = 30 * SECOND
"""How much longer than an attempt its claim lasts."""


def local_policy(settings: Settings) -> Policy:
    """One machine: attempts go on without their message; what is in hand is never given up."""
    return Policy(
        table=settings.retry_notifications,
        grace=IN_HAND_S,
        claim=max(
            int(settings.webhook_timeout * SECOND) + _CLAIM_MARGIN_MS,
            int(mail_time_limit(settings) * SECOND) + _CLAIM_MARGIN_MS // 2,
        ),
        patience=DAY / SECOND,
        shared=settings.database_url is not None,
    )


def functions_policy(settings: Settings) -> Policy:
    """On Functions nothing goes on once a handler has returned: it waits for its attempts."""
    local = local_policy(settings)
    return replace(local, grace=local.claim / SECOND, patience=OUTAGE_PATIENCE_MS / SECOND)


def keeping(settings: Settings) -> Keeping:
    """How long rows are kept."""
    return Keeping(parked=settings.park_days * DAY, events=settings.retention_days * DAY)
