"""Who answers the workers' questions, by what is configured."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ai_workers.answering import open_asking
from ai_workers.ports import Question
from notifications.extensions import Parts
from notifications.settings import Settings
from notifications.testing import ManualClock
from notifications.timing import SystemDice
from tests.model_server import ModelServer, say

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"summary": {"type": "string"}},
    "required": ["summary"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("job_type", ["chat.suggest", "caption.write"])
async def test_a_type_without_models_of_its_own_is_asked_as_chats_are(job_type: str) -> None:
    """Where an endpoint is configured, no job type is left to the offline model."""
    asked = Question(
        job_type=job_type, locale="en", system="Write.", user="", material={}, schema=SCHEMA
    )
    async with ModelServer([say('{"summary": "Done."}')]) as server:
        settings = Settings(ai_endpoint=server.url, ai_key="k")
        parts = SimpleNamespace(settings=settings, clock=ManualClock(), dice=SystemDice())
        async with open_asking(cast("Parts", parts)) as asking:
            answered = await asking.ask(asked, within_s=10)

        assert [each.model for each in server.asked] == [settings.ai_models_chat[0]]
        assert answered.usage[0].model == settings.ai_models_chat[0]
