"""What `huntaze webhooks verify` sends, held against the hub's own verifier, and its judgement."""

import datetime as dt
from collections.abc import Callable

import pytest

from notifications.channels.webhooks.signatures import (
    SignatureError,
    private_key_text,
    public_key_text,
    read_private_key,
    read_secret,
    secret_text,
    verify,
)
from notifications.cli.webhook_checks import Check, Checks, Keys
from notifications.cli.webhook_report import likely_cause, reasons
from notifications.cli.webhook_verifier import Answer, Judged, Verdict, judge
from notifications.events import MAX_EVENT_BYTES
from tests.webhook_worlds import NOON, SECRET, CountingDice

EVENT = {"specversion": "1.0", "type": "webhook.test", "source": "/x", "data": {"message": "é"}}
BOTH = Keys(secret=SECRET.key, private_key=SECRET.private_key)


def checks(keys: Keys) -> list[Check]:
    return list(Checks(keys, EVENT, lambda: NOON, CountingDice()))


def accepts(check: Check, key: str, at: dt.datetime = NOON) -> bool:
    """Whether the hub's own verifier takes a check."""
    headers = {name: value.decode("latin-1") for name, value in check.headers.items()}
    try:
        verify(headers, check.body, [key], at)
    except SignatureError:
        return False
    return True


@pytest.mark.parametrize(
    ("keys", "trusted"),
    [
        (Keys(secret=SECRET.key), secret_text(SECRET)),
        (Keys(private_key=SECRET.private_key), public_key_text(SECRET)),
        (BOTH, secret_text(SECRET)),
        (BOTH, public_key_text(SECRET)),
    ],
    ids=["v1", "v1a", "both, by v1", "both, by v1a"],
)
def test_our_own_verifier_passes(keys: Keys, trusted: str):
    """It takes and refuses what it should, size aside, whichever scheme it verifies."""
    wrong = [each.name for each in checks(keys) if accepts(each, trusted) != each.accept]
    assert wrong == ["oversized (4 MiB), signed"]


def test_no_two_checks_look_the_same():
    """Each has a name of its own and says what is at stake."""
    found = checks(BOTH)
    assert len({each.name for each in found}) == len(found) > 30
    assert all(each.why for each in found)


def test_the_largest_is_as_large_as_an_event_gets():
    """To the byte."""
    assert MAX_EVENT_BYTES in {len(each.body) for each in checks(BOTH) if each.accept}


@pytest.mark.parametrize("read", [read_secret, read_private_key])
@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsk_", "whsec_!!", "AAAA", "whpk_AAAA", "whsk_AAAA"]
)
def test_what_is_no_key_is_refused(read, text: str):
    """Nothing is signed with half a key or with the wrong kind."""
    with pytest.raises(SignatureError):
        read(text)


def test_keys_are_read_as_they_are_written():
    """Also a private key that has its public key behind it."""
    assert read_secret(secret_text(SECRET)) == SECRET.key
    assert read_private_key(private_key_text(SECRET)) == SECRET.private_key


def check(*, accept: bool, advice: bool = False) -> Check:
    return Check(name="n", accept=accept, why="because", headers={}, body=b"", advice=advice)


@pytest.mark.parametrize(
    ("accept", "status", "verdict"),
    [
        (True, 200, Verdict.RIGHT),
        (True, 204, Verdict.RIGHT),
        (True, 302, Verdict.WRONG),
        (True, 400, Verdict.WRONG),
        (True, 500, Verdict.WRONG),
        (True, None, Verdict.WRONG),
        (False, 400, Verdict.RIGHT),
        (False, 401, Verdict.RIGHT),
        (False, 302, Verdict.DOUBTFUL),
        (False, 500, Verdict.DOUBTFUL),
        (False, None, Verdict.DOUBTFUL),
        (False, 202, Verdict.WRONG),
    ],
)
def test_an_answer_is_judged(accept: bool, status: int | None, verdict: Verdict):
    """2xx accepts, 4xx refuses; anything else is one's own error."""
    answer = Answer(status=status, problem="" if status else "connection closed")
    found = judge(check(accept=accept), answer)
    assert found.verdict is verdict
    assert bool(found.why) is (verdict is not Verdict.RIGHT)


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, Verdict.DOUBTFUL), (413, Verdict.RIGHT), (None, Verdict.RIGHT)]
)
def test_advice_is_never_wrong(status: int | None, verdict: Verdict):
    """What is merely unwise fails nobody; cutting the connection is a fair answer to it."""
    assert judge(check(accept=False, advice=True), Answer(status=status)).verdict is verdict


def answered(status_of: Callable[[Check], int | None]) -> list[Judged]:
    """All checks, judged by a receiver that answers as the function says."""
    return [judge(each, Answer(status=status_of(each))) for each in checks(BOTH)]


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (200, "everything is answered 200, valid or not: does it verify at all?"),
        (302, "everything is answered 302: is the URL right?"),
        (400, "everything is answered 400: is this the secret it verifies with?"),
        (401, "everything is answered 401: is this the secret it verifies with?"),
        (404, "everything is answered 404: is the URL right?"),
        (500, "everything is answered 500: is it running as it should?"),
    ],
)
def test_what_is_answered_alike_has_one_cause(status: int, asked: str):
    """It is told, whatever becomes of the oversized one before the receiver sees it."""
    assert likely_cause(answered(lambda _: status)).startswith(asked)
    assert likely_cause(answered(lambda each: None if each.advice else status)).startswith(asked)


def test_a_receiver_that_tells_apart_has_no_cause():
    """Nor has one with a single fault; one that refuses what is valid is asked for its secret."""
    assert likely_cause(answered(lambda each: 204 if each.accept else 400)) == ""
    assert likely_cause(answered(lambda each: 204 if each.accept else 302)) == ""
    confused = likely_cause(answered(lambda each: 400 if each.accept else 401))
    assert confused == "a valid webhook is answered 400: is this the secret it verifies with?"


def test_what_is_refused_alike_needs_no_further_words():
    """Neither that valid ones are refused nor how forged ones are is said check by check."""
    assert reasons(answered(lambda _: 302)) == []
    (oversized,) = reasons(answered(lambda each: 200 if each.advice else 500))
    assert str(oversized).startswith("oversized (4 MiB), signed: accepted, and should not be")


def test_each_reason_is_said_once():
    """With the names of what it was found by, the first three of many."""
    (reason,) = reasons(answered(lambda each: 204 if each.accept else 500))
    assert str(reason) == (
        "10 min old (expired), 10 min ahead (future), signed with another key and 19 more: refused"
        " by an error of its own (500): answer 400 or 401, and fear no input"
    )
    believed = [str(each) for each in reasons(answered(lambda _: 200))]
    assert len({each.why for each in reasons(answered(lambda _: 200))}) == len(believed) <= 10
    four = "without webhook-id, without webhook-timestamp, without webhook-signature, without any"
    assert any(each.startswith(f"{four} of them: accepted") for each in believed)
