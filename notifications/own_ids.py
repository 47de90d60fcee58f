"""The ids that the hub gives to its own events, which nobody else may take. Pure.

They derive from what they tell of, so that nothing is told twice. An event of somebody else's that
had such an id before would be taken for the hub's own, and hide it.

`<jobId>.queued`, `.started.<run>`, `.progress.<run>.<n>`, `.retrying.<run>`, `.end`;
`budget.<month>.<share>`; `<endpointId>.disabled.<attempt>`.
"""

import re

from notifications.errors import FieldError, InvalidEvent
from notifications.events import Event

_OURS = re.compile(
    # Producers make ids of what they have and a type: `order-7-job.queued` stays theirs. All that
    # it can hide is that a job was taken whose own name ends so.
    r"(?!.*job\.queued$)"
    r"[A-Za-z0-9_-]{1,64}\.(queued|end|(started|retrying)\.[0-9]+|progress\.[0-9]+\.[0-9]+"
    r"|disabled\..+)"
    r"|budget\.[0-9]{4}-[0-9]{2}\.[0-9]+"
)


def check_not_ours(event: Event) -> None:
    """Refuse an event from outside whose id is of the hub's own forms.

    Raises:
        InvalidEvent: It is; names the field.
    """
    if _OURS.fullmatch(event.id):
        wrong = (
            "is of a form that the hub keeps for its own events, such as <jobId>.end or"
            " budget.<month>.<share>; give yours another"
        )
        raise InvalidEvent([FieldError("/id", wrong)])
