"""A model behind an endpoint, asked over real HTTP."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from ai_workers.asking import PatientAsking
from ai_workers.models.azure import AzureModel
from ai_workers.models.choosing import open_models
from ai_workers.models.endpoint import Endpoint
from ai_workers.models.prices import PriceTable
from ai_workers.models.shapes import AudioShape
from ai_workers.ports import Image, ModelFailed, Question, Reply, Sound, Usage
from notifications.errors import ConfigurationError
from notifications.testing import ManualClock, SeededDice
from tests import model_server
from tests.model_server import Asked, Behaviour, ModelServer, only, refuse, right, say

ROOT = Path(__file__).parents[2]
KEY = "k-3f7a0c55d1"
PHI = "Phi-4-mini-instruct"
MULTIMODAL = "Phi-4-multimodal-instruct"
DEEPSEEK = "DeepSeek-V4-Flash"
PRICES = PriceTable.shipped()
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
QUESTION = Question(
    job_type="chat.suggest",
    locale="en",
    system=f"Answer by this schema: {json.dumps(SCHEMA)}",
    user="What was said stands here.",
    material={},
    schema=SCHEMA,
    most_tokens=500,
)
SOUND = Question(
    job_type="video.analysis",
    locale="en",
    system=QUESTION.system,
    user=QUESTION.user,
    material={},
    schema=SCHEMA,
    images=(Image(at_ms=0, jpeg=b"\xff\xd8one"), Image(at_ms=9, jpeg=b"\xff\xd8two")),
    sound=Sound(wav=b"\0" * 32_000, duration_ms=1_000),
)


@asynccontextmanager
async def asked_of(
    *behaviours: Behaviour, models: Sequence[str] = (PHI,), **more: Any
) -> AsyncIterator[tuple[ModelServer, AzureModel, ManualClock]]:
    """A server that behaves so, and a model that asks it."""
    clock = ManualClock()
    async with ModelServer(behaviours or (right(),)) as server:
        endpoint = Endpoint(url=server.url, models=models, **({"key": KEY} | more))
        model = AzureModel(endpoint, prices=PRICES, clock=clock)
        try:
            yield server, model, clock
        finally:
            await model.aclose()


async def failure(
    *behaviours: Behaviour,
    question: Question = QUESTION,
    within_s: float = 10,
    models: Sequence[str] = (PHI,),
) -> ModelFailed:
    """How one question fails; it was one request."""
    async with asked_of(*behaviours, models=models) as (server, model, _):
        with pytest.raises(ModelFailed) as failed:
            await model.answer(question, within_s=within_s)
        assert len(server.asked) == len(models)
        return failed.value


async def reply(behaviour: Behaviour, *, question: Question = QUESTION) -> Reply:
    """What one question is answered with."""
    async with asked_of(behaviour, models=(MULTIMODAL,)) as (_, model, _):
        return await model.answer(question, within_s=10)


# --------------------------------------------------------------------------- answers


async def test_a_question_is_one_request_and_its_usage_is_paid_by_the_table() -> None:
    """The request is a plain chat completion; the cost is the endpoint's count times the price."""
    async with asked_of() as (server, model, clock):
        answer = await model.answer(QUESTION, within_s=10)
        assert json.loads(answer.text) == {"text": "–"}
        [asked], [counted] = server.asked, server.reported
        assert asked.path == "/v1/chat/completions"
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.body == {
            "model": PHI,
            "messages": [
                {"role": "system", "content": QUESTION.system},
                {"role": "user", "content": QUESTION.user},
            ],
            "max_tokens": 500,
        }
        assert answer.usage == Usage(
            model=PHI,
            input_tokens=counted.input,
            output_tokens=counted.output,
            cost_nano_usd=counted.input * 75 + counted.output * 300,
        )
        assert server.cost_nano_usd(PRICES, on=clock.wall().date()) == answer.usage.cost_nano_usd


async def test_pictures_and_sound_go_along_as_data() -> None:
    """Pictures are data URLs in their order, sound is base64; the sound is paid as sound."""
    async with asked_of(models=(MULTIMODAL,)) as (server, model, _):
        answer = await model.answer(SOUND, within_s=10)
        text, one, two, sound = server.asked[0].parts
        assert text == {"type": "text", "text": SOUND.user}
        assert one["image_url"]["url"] == "data:image/jpeg;base64,/9hvbmU="
        assert two["image_url"]["url"] == "data:image/jpeg;base64,/9h0d28="
        assert sound["type"] == "input_audio"
        assert sound["input_audio"]["format"] == "wav"
        heard = server.reported[0].audio
        assert heard == 12
        plain = server.reported[0].input - heard
        assert answer.usage.cost_nano_usd == (
            plain * 80 + heard * 4_000 + server.reported[0].output * 320
        )


async def test_a_refused_sound_is_sent_in_the_other_shape_from_then_on() -> None:
    """422 for `input_audio` is answered with `audio_url`, once and for all later questions."""

    def unless_url(asked: Asked) -> Behaviour | None:
        fits = all(part["type"] != "input_audio" for part in asked.parts)
        return None if fits else refuse(422, {"message": "Invalid input", "status": 422})

    async with asked_of(only(unless_url), models=(MULTIMODAL,)) as (server, model, _):
        await model.answer(SOUND, within_s=10)
        await model.answer(SOUND, within_s=10)
        kinds = [asked.parts[-1]["type"] for asked in server.asked]
        assert kinds == ["input_audio", "audio_url", "audio_url"]
        url = server.asked[1].parts[-1]["audio_url"]["url"]
        assert url.startswith("data:audio/wav;base64,AAAA")


async def test_a_422_that_no_shape_helps_is_the_end() -> None:
    """Both shapes are tried once, then the refusal stands; without sound there is no second."""
    async with asked_of(refuse(422, {}), models=(MULTIMODAL,)) as (server, model, _):
        with pytest.raises(ModelFailed) as failed:
            await model.answer(SOUND, within_s=10)
        assert (failed.value.code, failed.value.retryable) == ("model-rejected", False)
        assert len(server.asked) == 2
    assert (await failure(refuse(422, {}))).code == "model-rejected"


async def test_sound_can_be_sent_as_a_url_from_the_start() -> None:
    """Who knows the endpoint says so."""
    settings = {"models": (MULTIMODAL,), "audio": AudioShape.AUDIO_URL}
    async with asked_of(**settings) as (server, model, _):
        await model.answer(SOUND, within_s=10)
        assert server.asked[0].parts[-1]["type"] == "audio_url"


@pytest.mark.parametrize(
    ("model", "json_mode", "field", "most"),
    [
        (PHI, False, "max_tokens", 500),
        (MULTIMODAL, False, "max_tokens", 500),
        (DEEPSEEK, True, "max_completion_tokens", 500 + 8_192),
    ],
)
async def test_models_are_asked_as_they_want(
    model: str, json_mode: bool, field: str, most: int
) -> None:
    """JSON mode where the model has it, room to think where it thinks, its own name for it."""
    async with asked_of(models=(model,)) as (server, asker, _):
        await asker.answer(QUESTION, within_s=10)
        body = server.asked[0].body
        assert ("response_format" in body) is json_mode
        assert {name: body[name] for name in body if name.startswith("max_")} == {field: most}


@pytest.mark.parametrize(
    ("parameter", "model", "then"),
    [
        ("max_tokens", PHI, {"max_completion_tokens"}),
        ("max_completion_tokens", DEEPSEEK, {"max_tokens", "response_format"}),
        ("response_format", DEEPSEEK, {"max_completion_tokens"}),
    ],
)
async def test_a_parameter_that_is_refused_is_learnt(
    parameter: str, model: str, then: set[str]
) -> None:
    """A deployment that takes a parameter badly is asked otherwise, at once and later."""
    error = {"code": "unsupported_parameter", "param": parameter, "message": "no"}

    def unless_there(asked: Asked) -> Behaviour | None:
        return refuse(400, error) if parameter in asked.body else None

    async with asked_of(only(unless_there), models=(model,)) as (server, asker, _):
        await asker.answer(QUESTION, within_s=10)
        await asker.answer(QUESTION, within_s=10)
        assert len(server.asked) == 3
        assert set(server.asked[2].body) == {"model", "messages"} | then


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (say('<think>hm, {"no": 1}</think>\n{"a": 1}'), '{"a": 1}'),
        (say('{"a": 1}', reasoning_content="first I thought"), '{"a": 1}'),
        (say("prose"), "prose"),
        (say(""), ""),
        (say(None), ""),
        (say('{"a":', finish="length"), '{"a":'),
        (model_server.body(b'{"choices": [{"message": {"content": [{"text": "a"}, 7]}}]}'), "a"),
    ],
)
async def test_a_reply_is_what_was_said(behaviour: Behaviour, text: str) -> None:
    """Thoughts are left out, parts are put together, nothing said is empty, and all is paid."""
    answer = await reply(behaviour)
    assert answer.text == text
    assert answer.usage.cost_nano_usd > 0


@pytest.mark.parametrize(
    "usage",
    [None, {}, "many", {"prompt_tokens": -1, "completion_tokens": "7"}, {"prompt_tokens": True}],
)
async def test_usage_that_is_missing_is_estimated(usage: object) -> None:
    """Four characters are a token, a picture is 2,400, 80 ms of sound are one."""
    answer = await reply(say("x" * 400, usage=usage), question=SOUND)
    text = -(-(len(SOUND.system) + len(SOUND.user)) // 4)
    assert answer.usage.output_tokens == 100
    assert answer.usage.input_tokens == text + 2 * 2_400 + 13
    assert answer.usage.cost_nano_usd == (text + 4_800) * 80 + 13 * 4_000 + 100 * 320


async def test_sound_is_not_paid_as_text_where_the_endpoint_does_not_tell_them_apart() -> None:
    """Endpoints that give three totals alone: the sound's share goes by its length."""
    answer = await reply(
        say("x", usage={"prompt_tokens": 100, "completion_tokens": 1}), question=SOUND
    )
    assert answer.usage.input_tokens == 100
    assert answer.usage.cost_nano_usd == 87 * 80 + 13 * 4_000 + 320


# --------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("behaviour", "code", "retryable"),
    [
        (refuse(400, {"code": "bad"}), "model-rejected", False),
        (refuse(400, {"code": "context_length_exceeded"}), "model-rejected", False),
        (refuse(400, {"code": "content_filter"}), "content-filter", False),
        (
            refuse(400, {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
            "content-filter",
            False,
        ),
        (refuse(401, {"code": "401"}), "model-unauthorized", False),
        (refuse(403, "no"), "model-unauthorized", False),
        (refuse(404, {"code": "DeploymentNotFound"}), "model-gone", False),
        (refuse(410), "model-gone", False),
        (refuse(400, {"code": "unknown_model"}), "model-gone", False),
        (refuse(408), "model-timeout", True),
        (refuse(409), "model-unavailable", True),
        (refuse(413), "model-rejected", False),
        (refuse(429, {"code": "RateLimitReached"}), "model-busy", True),
        (refuse(500, "<html>oops</html>"), "model-unavailable", True),
        (refuse(503), "model-unavailable", True),
        (refuse(302, headers={"location": "http://127.0.0.1:9/"}), "model-rejected", False),
        (model_server.body(b"<html>", content_type="text/html"), "model-unavailable", True),
        (model_server.body(b"[1]"), "model-unavailable", True),
        (model_server.body(b"{}"), "model-unavailable", True),
        (model_server.body(b'{"choices": []}'), "model-unavailable", True),
    ],
)
async def test_what_a_fault_means(behaviour: Behaviour, code: str, retryable: bool) -> None:
    """Each fault has a code and says whether later may help; none was paid for; one request."""
    failed = await failure(behaviour)
    assert (failed.code, failed.retryable, failed.usage) == (code, retryable, ())
    assert failed.message.endswith(".")
    assert KEY not in failed.message


SENT = -(-(len(QUESTION.system) + len(QUESTION.user)) // 4)
UNHEARD = Usage(
    model=PHI, input_tokens=SENT, output_tokens=0, cost_nano_usd=SENT * 75, estimated=True
)
"""What a question is reckoned to cost that was read and neither answered nor refused."""


@pytest.mark.parametrize(
    ("behaviour", "code", "retryable"),
    [
        (model_server.reset, "model-unavailable", True),
        (model_server.cut_body, "model-unavailable", True),
        (model_server.endless_body, "model-reply-invalid", False),
        (model_server.endless_error, "model-reply-invalid", False),
        (model_server.packed(b"[" + b"0," * 5_000_000 + b"0]"), "model-unavailable", True),
        (model_server.body(b'{"choices": [{"mess'), "model-unavailable", True),
    ],
)
async def test_a_question_that_was_read_is_paid_without_an_answer(
    behaviour: Behaviour, code: str, retryable: bool
) -> None:
    """Whoever got it and told nothing of it is reckoned to have counted it."""
    failed = await failure(behaviour)
    assert (failed.code, failed.retryable) == (code, retryable)
    assert failed.usage == (UNHEARD,)


async def test_an_answer_without_a_reply_is_paid_as_it_says() -> None:
    """What the endpoint counted is the question's cost, though it gave nothing for it."""
    counted = b'{"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 50}}'
    failed = await failure(model_server.body(counted))
    assert (failed.code, failed.retryable) == ("model-unavailable", True)
    assert [each.cost_nano_usd for each in failed.usage] == [1_000 * 75 + 50 * 300]


async def test_a_question_that_nobody_waits_for_any_more_is_paid() -> None:
    """Whoever is cancelled while a model answers learns what the question is reckoned to cost; one
    that another model refused unread costs nothing."""
    told: list[Usage] = []
    async with asked_of(refuse(404), model_server.hang, models=(DEEPSEEK, PHI)) as (
        server,
        model,
        _,
    ):
        asking = asyncio.create_task(model.answer(QUESTION, within_s=30, spent=told.append))
        async with asyncio.timeout(10):
            while len(server.asked) < 2:
                await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert told == [UNHEARD]


async def test_a_question_that_never_left_is_free() -> None:
    """One that waited for a connection until its time was up has been read by nobody."""
    async with asked_of(model_server.hang, connections=1) as (server, model, _):
        first = asyncio.create_task(model.answer(QUESTION, within_s=30))
        async with asyncio.timeout(10):
            while not server.asked:
                await asyncio.sleep(0.005)
        with pytest.raises(ModelFailed) as failed:
            await model.answer(QUESTION, within_s=0.2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(server.asked) == 1
    assert (failed.value.code, failed.value.usage) == ("model-timeout", ())


@pytest.mark.parametrize("behaviour", [model_server.hang, model_server.drip])
async def test_nobody_waits_longer_than_the_time_there_is(behaviour: Behaviour) -> None:
    """Neither silence nor an answer that never comes to its end outlasts the limit."""
    started = asyncio.get_running_loop().time()
    failed = await failure(behaviour, within_s=0.5)
    assert (failed.code, failed.retryable) == ("model-timeout", True)
    assert failed.usage == (UNHEARD,)
    assert asyncio.get_running_loop().time() - started < 5


async def test_no_question_takes_all_the_time_of_its_job() -> None:
    """An endpoint has a limit of its own, so that a job has time left to ask anew."""
    async with asked_of(model_server.hang, longest_s=0.3) as (_, model, _):
        with pytest.raises(ModelFailed, match="model-timeout"):
            async with asyncio.timeout(30):
                await model.answer(QUESTION, within_s=600)


async def test_an_endpoint_that_is_not_there_may_be_there_later() -> None:
    """A refused connection is no fault of the question's."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        endpoint = Endpoint(url=url, models=(PHI,), key=KEY)
        model = AzureModel(endpoint, prices=PRICES, clock=ManualClock())
        with pytest.raises(ModelFailed) as failed:
            await model.answer(QUESTION, within_s=5)
        await model.aclose()
    assert (failed.value.code, failed.value.retryable) == ("model-unavailable", True)
    assert failed.value.usage == ()


DATE = format_datetime(ManualClock().wall() + timedelta(seconds=90), usegmt=True)
PAST = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": DATE}, 90.0),
        ({"Retry-After": PAST}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "1e300"}, 86_400.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_says_how_long_to_wait(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    """In seconds, in milliseconds or as a date; nonsense is nothing, and a day is the most."""
    assert (await failure(refuse(status, headers=headers))).retry_after_s == seconds


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (say("half", finish="content_filter"), "content-filter"),
        (say(None, refusal="I can't help with that."), "content-filter"),
        (say("<think>and then", finish="length"), "model-reply-cut"),
    ],
)
async def test_a_reply_that_comes_to_nothing_is_paid_all_the_same(
    behaviour: Behaviour, code: str
) -> None:
    """What the endpoint counted is on the failure."""
    failed = await failure(behaviour)
    assert (failed.code, failed.retryable, len(failed.usage)) == (code, False, 1)
    assert failed.usage[0].cost_nano_usd > 0


async def test_nothing_of_what_an_endpoint_says_reaches_the_user_but_its_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error that quotes the key and the question is told by its code, in the log too."""
    caplog.set_level(logging.INFO, "huntaze")
    quoting = {"code": "BadKey", "message": f"key {KEY} is wrong for {QUESTION.user}"}
    for status in (400, 401, 500):
        failed = await failure(refuse(status, quoting))
        assert "BadKey" in failed.message
        for told in (str(failed), repr(failed), *(str(vars(each)) for each in caplog.records)):
            assert KEY not in told
            assert QUESTION.user not in told
    assert len([each for each in caplog.records if each.msg == "model.refused"]) == 3


# --------------------------------------------------------------------------- the list


async def test_the_next_model_is_asked_where_one_is_gone() -> None:
    """It answers under its own name and price; the one that is gone is left alone for a while."""

    def unless_deepseek(asked: Asked) -> Behaviour | None:
        return None if asked.model == DEEPSEEK else refuse(404, {"code": "DeploymentNotFound"})

    models = ("DeepSeek-R1", "DeepSeek-V3.1", DEEPSEEK)
    async with asked_of(only(unless_deepseek), models=models) as (server, model, clock):
        assert (await model.answer(QUESTION, within_s=10)).usage.model == DEEPSEEK
        await model.answer(QUESTION, within_s=10)
        assert [each.model for each in server.asked] == [*models, DEEPSEEK]
        await clock.advance(600_000)
        await model.answer(QUESTION, within_s=10)
        assert [each.model for each in server.asked[4:]] == list(models)


async def test_a_model_that_is_merely_busy_is_not_replaced() -> None:
    """When to ask again is the job's affair, and whom: the first of the list."""
    async with asked_of(refuse(429), models=(PHI, DEEPSEEK)) as (server, model, _):
        with pytest.raises(ModelFailed, match="model-busy"):
            await model.answer(QUESTION, within_s=10)
        assert [each.model for each in server.asked] == [PHI]


async def test_a_list_with_nobody_left_is_told_by_names() -> None:
    """Every model was tried, and is tried again when asked anew."""
    async with asked_of(refuse(410), models=(PHI, DEEPSEEK)) as (server, model, _):
        for _ in range(2):
            with pytest.raises(ModelFailed, match=f"{PHI}, {DEEPSEEK}"):
                await model.answer(QUESTION, within_s=10)
        assert [each.model for each in server.asked] == [PHI, DEEPSEEK] * 2


async def test_job_types_have_models_of_their_own() -> None:
    """A question goes to the model of its job type, any other type's to the common one."""
    async with ModelServer() as server:
        common = Endpoint(url=server.url, models=(MULTIMODAL,), key=KEY)
        own = {"chat.suggest": Endpoint(url=server.url, models=(PHI,), key=KEY)}
        async with open_models(common, own, prices=PRICES, clock=ManualClock()) as model:
            await model.answer(QUESTION, within_s=10)
            await model.answer(SOUND, within_s=10)
        assert [each.model for each in server.asked] == [PHI, MULTIMODAL]


async def test_the_offline_model_answers_where_no_endpoint_is_configured() -> None:
    """Nothing is asked of anybody, and the usage says who answered."""
    async with open_models(None, {}, prices=PRICES, clock=ManualClock()) as model:
        question = replace(QUESTION, job_type="another.one")
        assert (await model.answer(question, within_s=10)).usage.model == "offline"


def test_a_hub_without_an_endpoint_does_not_load_the_client() -> None:
    """The `openai` package takes a second to load: only who asks it waits for it."""
    program = (
        "import sys, ai_workers.models.choosing, ai_workers.workers.chat;"
        "sys.exit('openai' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


# --------------------------------------------------------------------------- who asks


async def test_an_identity_gives_a_token_for_each_question() -> None:
    """Tokens are asked for anew each time, so that none is out of date."""
    given: list[str] = []

    async def token() -> str:
        given.append(f"token-{len(given)}")
        return given[-1]

    async with asked_of(key=None, token=token) as (server, model, _):
        for _ in range(2):
            await model.answer(QUESTION, within_s=10)
        sent = [each.headers["authorization"] for each in server.asked]
        assert sent == ["Bearer token-0", "Bearer token-1"]


async def test_an_identity_that_gives_no_token_is_an_outage() -> None:
    """Nothing is sent, and later may help."""

    async def token() -> str:
        raise OSError("the identity service is away: secret-client-id")

    async with asked_of(key=None, token=token) as (server, model, _):
        with pytest.raises(ModelFailed) as failed:
            await model.answer(QUESTION, within_s=10)
        assert (failed.value.code, failed.value.retryable) == ("model-unavailable", True)
        assert "secret" not in failed.value.message
        assert server.asked == []


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that other programs use add no header, no other key, no proxy."""
    variables = {
        "OPENAI_API_KEY": "other",
        "OPENAI_ORG_ID": "other-organisation",
        "OPENAI_PROJECT_ID": "other-project",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/",
        "OPENAI_CUSTOM_HEADERS": "X-Other: other\nAuthorization: Bearer other",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with asked_of() as (server, model, _):
        await model.answer(QUESTION, within_s=10)
        [asked] = server.asked
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert "other" not in str(asked.headers)
        assert set(asked.headers) <= {
            "host", "accept", "accept-encoding", "authorization", "connection",
            "content-length", "content-type", "user-agent",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": "ftp://x"}, "http or https"),
        ({"url": "https://"}, "http or https"),
        ({"url": "https://me:secret@x"}, "no user"),
        ({"url": "https://x/?api-version=1"}, "no user, query"),
        ({"models": ()}, "at least one model"),
        ({"key": None}, "a key or an identity"),
        ({"key": "two words"}, "printable ASCII"),
        ({"key": ""}, "printable ASCII"),
        ({"key": "clé"}, "printable ASCII"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused(settings: Any, complaint: str) -> None:
    """What is wrong is said before anything is asked, without the key."""
    with pytest.raises(ConfigurationError, match=complaint) as told:
        Endpoint(**({"url": "https://x", "models": (PHI,), "key": KEY} | settings))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/"),
        ("https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1/"),
        ("https://r.openai.azure.com/openai/v1", "https://r.openai.azure.com/openai/v1/"),
        (
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/",
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/",
        ),
        ("http://localhost:11434/v1", "http://localhost:11434/v1/"),
    ],
)
def test_an_azure_resource_is_enough_of_a_url(url: str, base: str) -> None:
    """A resource's bare address leads to its v1 route; any other path is taken as it is."""
    assert Endpoint(url=url, models=(PHI,), key=KEY).base_url == base


async def test_a_model_without_a_price_is_refused_at_the_start() -> None:
    """Nothing is asked of whom nobody can pay."""
    endpoint = Endpoint(url="https://x", models=("ours-1",), key=KEY)
    with pytest.raises(ConfigurationError, match="no price is known for ours-1"):
        AzureModel(endpoint, prices=PRICES, clock=ManualClock())


def test_a_key_is_in_no_description() -> None:
    """Printing an endpoint shows no secret."""
    assert KEY not in repr(Endpoint(url="https://x", models=(PHI,), key=KEY))


async def test_money_adds_up_over_faults_and_repairs() -> None:
    """Over right, wrong, filtered and failing answers, what was paid is what was reported."""
    behaviours = (
        right(), say("prose"), say('{"text": 7}'), refuse(500), say("x", finish="content_filter"),
        say("<think>"), say('{"text": "a"}'), refuse(429), say("", finish="length"), right(),
    )  # fmt: skip
    async with asked_of(*behaviours) as (server, model, clock):
        asking = PatientAsking(model, clock=clock, dice=SeededDice())
        paid = 0
        while len(server.asked) < len(behaviours):
            try:
                usage = (await asking.ask(QUESTION, within_s=10)).usage
            except ModelFailed as failed:
                usage = failed.usage
            paid += sum(each.cost_nano_usd for each in usage)
        assert paid == server.cost_nano_usd(PRICES, on=clock.wall().date()) > 0
