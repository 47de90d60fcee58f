"""What Service Bus has and the door leaves out: refused by name, never half done. Pure."""

from collections.abc import Mapping

from notifications.door import durations
from notifications.entities import NEVER

LEFT_OUT: Mapping[str, str] = {
    "RequiresSession": "sessions",
    "RequiresDuplicateDetection": "duplicate detection",
    "EnablePartitioning": "partitions",
    "ForwardTo": "forwarding",
    "ForwardDeadLetteredMessagesTo": "forwarding of dead letters",
}
"""Properties of entities that ask for what is not there, by their names in both formats."""


def refused(name: str, value: object) -> str | None:
    """Why a property cannot have a value; None where it can, or is not looked at."""
    text = str(value if value is not None else "").strip()
    if name in LEFT_OUT and text.lower() not in ("", "false"):
        return f"the door has no {LEFT_OUT[name]}"
    if name == "Status" and text not in ("", "Active"):
        return "every entity of the door is Active"
    if name == "DeadLetteringOnFilterEvaluationExceptions" and text.lower() == "false":
        return "what a filter cannot be asked about always goes to the dead letters"
    if name == "AutoDeleteOnIdle" and text and not _is_forever(text):
        return "the door deletes nothing by itself"
    return None


def _is_forever(text: str) -> bool:
    try:
        return durations.read(text) == NEVER
    except ValueError:
        return False
