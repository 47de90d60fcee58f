"""The workers for replies, ideas and analyses, with models that do otherwise than told."""

import json
from typing import Any

import pytest

from ai_workers.ports import JobFailed, ModelFailed
from ai_workers.workers import chat, content_analyze, content_suggest
from tests.job_runs import LoneRun, is_valid, schema_of
from tests.scripted_model import ScriptedModel, usage_of

CHAT = {"messages": [{"from": "fan", "text": "Hello"}]}
IDEAS = {"niche": "Yoga", "platform": "instagram", "goals": ["engage", "sell"]}
ANALYSIS = {
    "posts": [
        {
            "id": f"p{n}",
            "title": f"Post {n}",
            "figures": [{"at": "2026-03-01T00:00:00Z", "views": n}],
        }
        for n in range(1, 101)
    ]
}
WORKERS = {
    each.job_type: each for each in (chat.WORKER, content_suggest.WORKER, content_analyze.WORKER)
}
INPUTS = {"chat.suggest": CHAT, "content.suggest": IDEAS, "content.analyze": ANALYSIS}


def reply(text: str, **more: Any) -> dict[str, Any]:
    """One suggestion."""
    return {"text": text, "tone": "warm", "why": "Because.", **more}


def chat_answer(*texts: str) -> str:
    """What a model suggests."""
    return json.dumps(
        {
            "summary": "They say hello.",
            "mood": "happy",
            "suggestions": [reply(text) for text in texts],
            "cautions": [],
        }
    )


def idea(**changed: Any) -> dict[str, Any]:
    """One idea."""
    return {
        "title": "T", "format": "post", "goal": "engage", "hook": "H", "caption": "C",
        "hashtags": [], "callToAction": "A", "why": "W", **changed,
    }  # fmt: skip


def ideas_answer(*ideas: dict[str, Any]) -> str:
    """What a model has in mind."""
    return json.dumps({"summary": "Ideas.", "ideas": list(ideas)})


def analysis_answer(**changed: Any) -> str:
    """What a model makes of figures."""
    return json.dumps(
        {
            "summary": "It goes well.",
            "insights": [{"title": "T", "detail": "D", "postIds": ["p1"]}],
            "recommendations": [{"action": "A", "why": "W", "effort": "low"}],
            "notes": [],
            **changed,
        }
    )


async def done(job_type: str, input_: dict[str, Any], *lines: str) -> tuple[LoneRun, Any]:
    """A run with a model that says these lines, and its result, valid by its schema."""
    run = LoneRun(input_, model=ScriptedModel(lines))
    result = await WORKERS[job_type].run(run)
    assert is_valid(result, job_type, "v1.result")
    return run, result


@pytest.mark.parametrize("job_type", sorted(WORKERS))
async def test_a_run_says_how_far_it_is(job_type: str) -> None:
    """Its steps are those that have names for users, and go forward."""
    run = LoneRun(INPUTS[job_type])
    await WORKERS[job_type].run(run)
    assert [step for _, step in run.steps] == ["reading", "model", "checking"]
    assert run.steps == sorted(run.steps)


@pytest.mark.parametrize("job_type", sorted(WORKERS))
async def test_a_model_that_says_nothing_of_use_fails_the_run(job_type: str) -> None:
    """There is no result, and both questions are paid for."""
    run = LoneRun(INPUTS[job_type], model=ScriptedModel(["I would rather not."]))
    with pytest.raises(ModelFailed) as failed:
        await WORKERS[job_type].run(run)
    assert failed.value.code == "model-reply-invalid"
    assert failed.value.usage == (usage_of(1), usage_of(2))


@pytest.mark.parametrize("locale", ["fr", "en"])
@pytest.mark.parametrize("job_type", sorted(WORKERS))
async def test_a_result_is_in_the_runs_language(job_type: str, locale: str) -> None:
    """What a job says of its language has been read already: nobody decides that twice."""
    other = {"fr": "en", "en": "fr"}[locale]
    run = LoneRun(INPUTS[job_type] | {"language": other}, locale=locale)
    result = await WORKERS[job_type].run(run)
    assert (result["language"], run.asked[0].locale) == (locale, locale)


# --------------------------------------------------------------------------- replies


async def test_replies_too_many_too_long_and_twice_are_put_right() -> None:
    """Each is there once, those that keep the length come first, and no more than asked for."""
    _, result = await done(
        "chat.suggest",
        CHAT | {"count": 3, "maxLength": 20},
        chat_answer("x" * 50, "one", "one ", "two", "three", "four"),
    )
    assert [each["text"] for each in result["suggestions"]] == ["one", "two", "three"]


async def test_a_reply_that_is_too_long_is_cut_where_there_is_no_other() -> None:
    """Better a shortened suggestion than none."""
    _, result = await done("chat.suggest", CHAT | {"maxLength": 20}, chat_answer("x" * 50))
    assert [each["text"] for each in result["suggestions"]] == ["x" * 19 + "…"]


async def test_a_blank_reply_is_asked_for_again() -> None:
    """Spaces are nothing to send."""
    run, result = await done("chat.suggest", CHAT, chat_answer("  "), chat_answer("Hi!"))
    assert result["suggestions"][0]["text"] == "Hi!"
    assert run.usage == [usage_of(1), usage_of(2)]


async def test_a_long_conversation_is_read_from_its_end() -> None:
    """What a model gets to see is bounded, and holds the last message whatever its length."""
    messages = [{"from": "fan", "text": f"{n:02d} " + "x" * 1_990} for n in range(50)]
    run, _ = await done("chat.suggest", {"messages": messages}, chat_answer("Hi"))
    user = run.asked[0].user
    assert len(user) < 14_000
    assert '"49 x' in user
    assert '"40 x' not in user
    assert run.asked[0].material["input"]["messages"] == messages


# --------------------------------------------------------------------------- ideas


async def test_hashtags_are_put_right() -> None:
    """In whatever form they come: one word each, without #, none twice, as many as asked for."""
    said = ["#Yoga", "yoga", "mal de dos", "", "#", "##calm", "e", "#" + "x" * 80]
    _, result = await done(
        "content.suggest", IDEAS | {"hashtags": 4}, ideas_answer(idea(hashtags=said))
    )
    assert result["ideas"][0]["hashtags"] == ["Yoga", "maldedos", "calm", "e"]


async def test_only_formats_and_goals_of_the_job_are_taken() -> None:
    """An idea that cannot be made, or serves nothing that was asked for, is asked for again."""
    asked = IDEAS | {"formats": ["post"], "goals": ["sell"]}
    for wrong in (idea(goal="sell", format="live"), idea(goal="grow")):
        run, result = await done(
            "content.suggest", asked, ideas_answer(wrong), ideas_answer(idea(goal="sell"))
        )
        assert len(result["ideas"]) == 1
        assert len(run.usage) == 2


async def test_ideas_too_many_are_left_out() -> None:
    """The first are the best."""
    many = [idea(title=str(n)) for n in range(9)]
    _, result = await done("content.suggest", IDEAS | {"count": 2}, ideas_answer(*many))
    assert [each["title"] for each in result["ideas"]] == ["0", "1"]


# --------------------------------------------------------------------------- analyses


async def test_figures_are_ours_whatever_the_model_says() -> None:
    """A model cannot change a number, invent a post, or comment on one that is not there."""
    said = analysis_answer(
        totals={"views": 1},
        notes=[{"id": "p7", "note": "Nice."}, {"id": "p999", "note": "Nice."}],
        insights=[{"title": "T", "detail": "D", "postIds": ["p1", "p999"]}],
    )
    _, result = await done("content.analyze", ANALYSIS, said)
    assert result["totals"]["views"] == 5_050
    assert [each["id"] for each in result["posts"] if "note" in each] == ["p7"]
    assert result["insights"][0]["postIds"] == ["p1"]


async def test_of_many_posts_a_model_sees_the_best_and_the_weakest() -> None:
    """The question is bounded; the result has them all."""
    run, result = await done("content.analyze", ANALYSIS, analysis_answer())
    user = run.asked[0].user
    assert [f'"Post {n}"' in user for n in (100, 76, 75, 16, 15, 1)] == [
        True, True, False, False, True, True,
    ]  # fmt: skip
    assert len(result["posts"]) == 100


async def test_an_input_that_contradicts_itself_is_the_users_to_put_right() -> None:
    """A day that is in no calendar ends the job at once, with a sentence that says so."""
    posts = [{"id": "p", "figures": [{"at": "2026-02-30T00:00:00Z", "views": 1}]}]
    assert is_valid({"posts": posts}, "content.analyze")
    with pytest.raises(JobFailed, match="day is out of range for month") as failed:
        await content_analyze.WORKER.run(LoneRun({"posts": posts}))
    assert (failed.value.code, failed.value.retryable) == ("invalid-input", False)


async def test_the_largest_inputs_make_questions_that_a_model_can_take() -> None:
    """Every list full and every text at its limit: still far from the 131,072 tokens of Phi-4."""
    text = "mot " * 500
    largest = {
        "chat.suggest": schema_of("chat.suggest", "v1.example")
        | {
            "messages": [{"from": "fan", "text": text[:2_000]}] * 50,
            "persona": text[:1_000],
            "avoid": [text[:100]] * 20,
        },
        "content.suggest": schema_of("content.suggest", "v1.example")
        | {
            "voice": text[:1_000],
            "recent": [{"title": text[:200]}] * 20,
            "themes": [text[:100]] * 10,
            "avoid": [text[:100]] * 20,
        },
        "content.analyze": {
            "posts": [
                {"id": f"{n:03d}" + "i" * 125, "title": text[:200],
                 "figures": [{"at": f"2026-03-{day:02d}T00:00:00Z", "views": 10**11 + day}
                             for day in range(1, 32)]}
                for n in range(100)
            ]
        },
    }  # fmt: skip
    for job_type, input_ in largest.items():
        assert is_valid(input_, job_type)
        run = LoneRun(input_)
        await WORKERS[job_type].run(run)
        assert len(run.asked[0].system) + len(run.asked[0].user) < 60_000
