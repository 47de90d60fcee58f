"""The text workers with a model behind a real endpoint: prompts, requests, replies, money."""

import pytest

from ai_workers.models.azure import AzureModel
from ai_workers.models.endpoint import Endpoint
from ai_workers.models.prices import PriceTable
from ai_workers.ports import JobWorker
from ai_workers.workers import chat, content_analyze, content_suggest
from notifications.testing import ManualClock
from tests.job_runs import LoneRun, is_valid, schema_of
from tests.model_server import ModelServer, right, say

PRICES = PriceTable.shipped()
WORKERS = [chat.WORKER, content_suggest.WORKER, content_analyze.WORKER]


@pytest.mark.parametrize("name", ["Phi-4-mini-instruct", "DeepSeek-V4-Flash"])
@pytest.mark.parametrize("worker", WORKERS, ids=lambda each: each.job_type)
async def test_a_job_goes_the_whole_way(worker: JobWorker, name: str) -> None:
    """Prose first, then a right answer: the result is valid, both are paid as the server counted,
    and the second question holds the first reply."""
    job_type = worker.job_type
    clock = ManualClock()
    async with ModelServer([say("Certainly! Let me think about it."), right()]) as server:
        endpoint = Endpoint(url=server.url, models=(name,), key="k")
        model = AzureModel(endpoint, prices=PRICES, clock=clock)
        run = LoneRun(schema_of(job_type, "v1.example"), locale="fr", model=model)
        result = await worker.run(run)
        await model.aclose()

        assert is_valid(result, job_type, "v1.result")
        paid = sum(each.cost_nano_usd for each in run.usage)
        assert paid == server.cost_nano_usd(PRICES, on=clock.wall().date()) > 0
        assert [each.model for each in run.usage] == [name, name]
        first, second = server.asked
        assert second.user.startswith(first.user)
        assert "Certainly! Let me think about it." in second.user
        assert first.schema["required"] == run.asked[0].schema["required"]
