"""What `huntaze webhooks verify` sends, held against the hub's own verifier, and its judgement."""

import datetime as dt

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
from notifications.cli.webhook_verifier import Answer, Verdict, judge
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
