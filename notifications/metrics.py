"""The metrics consumer: counts each event once, however often its message comes."""

from collections.abc import Sequence

from notifications.crashpoints import Point, between
from notifications.events import Channel
from notifications.intake import Intake
from notifications.messages import Complete, DeadLetter, Received, Settlement
from notifications.ports import Counts


class MetricsHandler:
    """Handles the messages of the `metrics` subscription."""

    def __init__(self, counts: Counts, intake: Intake) -> None:
        self._counts = counts
        self._intake = intake

    async def handle(self, messages: Sequence[Received]) -> list[Settlement]:
        """Count events; one settlement each, in order."""
        reading = self._intake.read(messages, Channel.WEBHOOK)
        answers = await between(Point.COUNT_READS, reading, Point.COUNT_READ)
        counted = [
            (received, answer)
            for received, answer in zip(messages, answers, strict=True)
            if not isinstance(answer, DeadLetter)
        ]
        if counted:
            counting = self._counts.count(
                [known.key for _, known in counted], [received for received, _ in counted]
            )
            await between(Point.COUNT_BEGINS, counting, Point.COUNT_ENDS)
        return [answer if isinstance(answer, DeadLetter) else Complete() for answer in answers]
