"""Tokens: what opens what, and everything that opens nothing."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.realtime.tokens import (
    MAX_LIFE,
    ClientTokens,
    TokenError,
    UserTokens,
)
from notifications.errors import ConfigurationError, HuntazeError, InvalidInput
from tests.realtime_server import HUB, SECRET, HandClock

OTHER_SECRET = "another-sample-secret-of-32-bytes-or-more"
ORIGIN = "https://hub.example"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def users(clock: HandClock) -> UserTokens:
    return UserTokens([SECRET], clock)


@pytest.fixture
def clients(clock: HandClock) -> ClientTokens:
    return ClientTokens([SECRET], clock, hub=HUB)


def signed(claims: dict[str, Any], *, secret: str = SECRET, **options: Any) -> str:
    return jwt.encode(claims, secret, algorithm=options.pop("algorithm", "HS256"), **options)


def user_claims(clock: HandClock, **changed: Any) -> dict[str, Any]:
    claims = {"sub": "lea", "tid": "acme", "exp": clock.at.timestamp() + 60} | changed
    return {name: value for name, value in claims.items() if value is not None}


def client_claims(clock: HandClock, **changed: Any) -> dict[str, Any]:
    audience = f"{ORIGIN}/client/hubs/{HUB}"
    claims = {"aud": audience, "sub": "acme/lea", "exp": clock.at.timestamp() + 60} | changed
    return {name: value for name, value in claims.items() if value is not None}


def reason(tokens: UserTokens | ClientTokens, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        tokens.read(token)
    assert isinstance(caught.value, HuntazeError)
    return caught.value.reason


def test_a_user_token_reads_back(users: UserTokens) -> None:
    """What was issued for a user names that tenant and that user."""
    token, expires_at = users.issue("acme", "lea@example.com", 300)
    assert users.read(token) == ("acme", "lea@example.com")
    assert expires_at == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


def test_a_user_token_has_the_contract_s_claims(users: UserTokens, clock: HandClock) -> None:
    """A backend that signs its own tokens has `sub`, `tid` and `exp` to write, nothing else."""
    token, expires_at = users.issue("acme", "lea", 300)
    options: Any = {"verify_exp": False}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)
    assert claims == {"sub": "lea", "tid": "acme", "exp": int(expires_at.timestamp())}
    assert users.read(signed(user_claims(clock))) == ("acme", "lea")


@pytest.mark.fault("show a user's token whose time is over", "attackers")
def test_a_token_is_over_at_its_exp(users: UserTokens, clock: HandClock) -> None:
    """It opens until the second before `exp`, and is expired at `exp`, by the hub's clock."""
    token, _ = users.issue("acme", "lea", 300)
    clock.move(seconds=299)
    assert users.read(token) == ("acme", "lea")
    clock.move(seconds=1)
    assert reason(users, token) == "expired"


def test_the_machine_s_clock_does_not_count(clock: HandClock) -> None:
    """A token is judged by the injected clock even where the machine says otherwise."""
    clock.at = datetime(2001, 1, 1, tzinfo=UTC)
    tokens = UserTokens([SECRET], clock)
    token, _ = tokens.issue("acme", "lea", 60)
    assert tokens.read(token) == ("acme", "lea")


@pytest.mark.parametrize("seconds", [0, -1, 24 * 3600 + 1])
def test_issuing_bounds_the_life(users: UserTokens, clients: ClientTokens, seconds: int) -> None:
    """A token lives between a second and a day; anything else is refused with the field's name."""
    for issue in (
        lambda: users.issue("acme", "lea", seconds),
        lambda: clients.issue(ORIGIN, "acme", "lea", seconds),
    ):
        with pytest.raises(InvalidInput) as caught:
            issue()
        assert caught.value.errors[0].pointer == "/expiresInSeconds"


def test_a_day_is_allowed(users: UserTokens) -> None:
    """The longest life that is issued is also read."""
    token, _ = users.issue("acme", "lea", int(MAX_LIFE.total_seconds()))
    assert users.read(token) == ("acme", "lea")


def test_a_long_life_of_somebody_else_s_making_is_refused(
    users: UserTokens, clock: HandClock
) -> None:
    """A backend cannot sign a token that lives longer than a day (and a minute of skew)."""
    day = MAX_LIFE.total_seconds()
    within = user_claims(clock, exp=clock.at.timestamp() + day + 60)
    assert users.read(signed(within)) == ("acme", "lea")
    beyond = user_claims(clock, exp=clock.at.timestamp() + day + 61)
    assert reason(users, signed(beyond)) == "life"
    assert reason(users, signed(user_claims(clock, exp=10**30))) == "life"


@pytest.mark.parametrize(
    "exp", [None, "soon", True, [], float("nan"), float("inf"), {"seconds": 1}]
)
def test_exp_is_required_and_a_number(users: UserTokens, clock: HandClock, exp: Any) -> None:
    """A token without an end, or with an end that is no moment, opens nothing."""
    assert reason(users, signed(user_claims(clock, exp=exp))) == "claims"


def test_nbf_is_honoured_with_a_minute_of_skew(users: UserTokens, clock: HandClock) -> None:
    """A token for later opens nothing yet; a backend's clock may be a minute ahead."""
    later = user_claims(clock, nbf=clock.at.timestamp() + 61)
    assert reason(users, signed(later)) == "not-yet-valid"
    ahead = user_claims(clock, nbf=clock.at.timestamp() + 59)
    assert users.read(signed(ahead)) == ("acme", "lea")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"sub": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": "two words"}, "claims"),
        ({"sub": 12}, "malformed"),
        ({"tid": None}, "claims"),
        ({"tid": "not/a/tenant"}, "claims"),
        ({"tid": 7}, "claims"),
        ({"aud": "somebody"}, "audience"),
    ],
)
def test_a_user_token_needs_a_user_and_a_tenant(
    users: UserTokens, clock: HandClock, changed: dict[str, Any], expected: str
) -> None:
    """Missing or impossible claims open nothing."""
    assert reason(users, signed(user_claims(clock, **changed))) == expected


@pytest.mark.fault("forge a user's token", "attackers")
def test_forged_tokens_open_nothing(
    users: UserTokens, clients: ClientTokens, clock: HandClock
) -> None:
    """Another secret, no algorithm, another algorithm: refused, whatever the claims say."""
    for tokens, claims in ((users, user_claims(clock)), (clients, client_claims(clock))):
        assert reason(tokens, signed(claims, secret=OTHER_SECRET)) == "signature"
        assert reason(tokens, jwt.encode(claims, "", algorithm="none")) == "malformed"
        long_secret = SECRET * 2
        for algorithm in ("HS384", "HS512"):
            token = signed(claims, secret=long_secret, algorithm=algorithm)
            assert reason(tokens, token) == "malformed"


@pytest.mark.fault("forge a user's token", "attackers")
def test_a_changed_payload_breaks_the_signature(users: UserTokens, clock: HandClock) -> None:
    """The claims of one token do not go with the signature of another."""
    head, _, signature = signed(user_claims(clock)).split(".")
    payload = signed(user_claims(clock, sub="max"), secret=OTHER_SECRET).split(".")[1]
    assert reason(users, f"{head}.{payload}.{signature}") == "signature"


@pytest.mark.fault("forge a user's token", "attackers")
def test_a_token_that_is_cut_off_or_altered_opens_nothing(
    users: UserTokens, clients: ClientTokens
) -> None:
    """A right token without its end, and one with any character another, is refused."""
    for tokens, token in (
        (users, users.issue("acme", "lea", 60)[0]),
        (clients, clients.issue(ORIGIN, "acme", "lea", 60).token),
    ):
        tokens.read(token)
        for at, letter in enumerate(token):
            other = "B" if letter != "B" else "Q"
            for forged in (token[:at], token[:at] + other + token[at + 1 :]):
                with pytest.raises(TokenError):
                    tokens.read(forged)


def test_any_secret_verifies_and_the_newest_signs(clock: HandClock) -> None:
    """While a secret rotates old tokens stay good, and new ones are good after the old secret."""
    before = UserTokens([OTHER_SECRET], clock)
    during = UserTokens([SECRET, OTHER_SECRET], clock)
    after = UserTokens([SECRET], clock)
    old, _ = before.issue("acme", "lea", 60)
    assert during.read(old) == ("acme", "lea")
    new, _ = during.issue("acme", "lea", 60)
    assert after.read(new) == ("acme", "lea")
    assert reason(before, new) == "signature"


@pytest.mark.parametrize("secrets", [[], ["short"], [SECRET, "short"]])
def test_weak_secrets_stop_the_start(clock: HandClock, secrets: list[str]) -> None:
    """No secret, or one that can be guessed, is refused by the setting's name and not shown."""
    with pytest.raises(ConfigurationError, match="HUNTAZE_USER_TOKEN_SECRET") as caught:
        UserTokens(secrets, clock)
    assert "short" not in str(caught.value)


@given(st.text(max_size=400))
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    """Whatever is shown as a token is answered with the one error."""
    clock = HandClock()
    for tokens in (UserTokens([SECRET], clock), ClientTokens([SECRET], clock, hub=HUB)):
        with pytest.raises(TokenError):
            tokens.read(text)


@pytest.mark.fault("forge a user's token", "attackers")
def test_hostile_tokens_are_bad_tokens(users: UserTokens, clock: HandClock) -> None:
    """A header nested past the stack, half a character, a token of endless length: refused."""
    header = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
    assert reason(users, f"{header}.e30.AAAA") == "malformed"
    assert reason(users, "\ud800.e30.AAAA") == "malformed"
    endless = signed(user_claims(clock, pad="x" * 10_000))
    assert reason(users, endless) == "malformed"


def test_the_errors_hold_nothing_of_the_token(users: UserTokens, clock: HandClock) -> None:
    """What is logged of a refused token is why, never the token."""
    token = signed(user_claims(clock), secret=OTHER_SECRET)
    with pytest.raises(TokenError) as caught:
        users.read(token)
    assert not any(part in str(caught.value) for part in token.split("."))


# --------------------------------------------------------------------------- access tokens


def test_an_access_token_is_web_pubsub_s(clients: ClientTokens) -> None:
    """Audience, times, subject and roles are where Microsoft's service has them."""
    access = clients.issue(
        "https://Hub.Example/", "acme", "lea", 60, roles=["webpubsub.sendToGroup"]
    )
    options: Any = {"verify_exp": False, "verify_aud": False, "verify_iat": False}
    issued_at = int(HandClock().at.timestamp())
    assert jwt.decode(access.token, SECRET, algorithms=["HS256"], options=options) == {
        "aud": f"{ORIGIN}/client/hubs/{HUB}",
        "iat": issued_at,
        "exp": issued_at + 60,
        "sub": "acme/lea",
        "role": ["webpubsub.sendToGroup"],
    }
    assert access.url == f"wss://hub.example/client/hubs/{HUB}?access_token={access.token}"
    assert access.token not in repr(access)


def test_an_access_token_reads_back(clients: ClientTokens) -> None:
    """It names tenant, user and roles; a slash in a user's id stays the user's."""
    access = clients.issue("http://127.0.0.1:8080", "acme", "team/lea", 60, roles=["a", "b"])
    claims = clients.read(access.token)
    assert (claims.tenant_id, claims.user_id) == ("acme", "team/lea")
    assert claims.roles == {"a", "b"}
    assert claims.subject == "acme/team/lea"


def test_microsoft_s_shape_of_claims_is_taken(clients: ClientTokens, clock: HandClock) -> None:
    """A role may be one string or a list; groups to join at once come with the token."""
    claims = client_claims(clock, role="webpubsub.joinLeaveGroup") | {"webpubsub.group": ["g", "g"]}
    read = clients.read(signed(claims))
    assert read.roles == {"webpubsub.joinLeaveGroup"}
    assert read.groups == ("g",)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"aud": None}, "audience"),
        ({"aud": f"{ORIGIN}/client/hubs/other"}, "audience"),
        ({"aud": f"{ORIGIN}/client/hubs/{HUB}/"}, "audience"),
        ({"aud": f"{ORIGIN}/elsewhere/client/hubs/{HUB}"}, "audience"),
        ({"aud": f"client/hubs/{HUB}"}, "audience"),
        ({"aud": f"ftp://hub.example/client/hubs/{HUB}"}, "audience"),
        ({"aud": [f"{ORIGIN}/client/hubs/other"]}, "audience"),
        ({"aud": [7]}, "claims"),
        ({"aud": {}}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": "lea"}, "claims"),
        ({"sub": "acme/"}, "claims"),
        ({"sub": "/lea"}, "claims"),
        ({"sub": "not a tenant/lea"}, "claims"),
        ({"role": {"a": 1}}, "claims"),
        ({"role": [1]}, "claims"),
        ({"exp": None}, "claims"),
    ],
)
def test_an_access_token_needs_its_hub_and_its_user(
    clients: ClientTokens, clock: HandClock, changed: dict[str, Any], expected: str
) -> None:
    """Another hub's token, or one that names nobody, opens no socket."""
    assert reason(clients, signed(client_claims(clock, **changed))) == expected


def test_neither_kind_stands_in_for_the_other(
    users: UserTokens, clients: ClientTokens, clock: HandClock
) -> None:
    """A user token opens no socket and an access token no inbox, though the secret is the same."""
    user_token, _ = users.issue("acme", "acme/lea", 60)
    assert reason(clients, user_token) == "audience"
    access = clients.issue(ORIGIN, "acme", "lea", 60)
    assert reason(users, access.token) == "audience"
    both = client_claims(clock, tid="acme")
    assert reason(users, signed(both)) == "audience"


def test_the_life_of_access_tokens_is_bounded_too(clients: ClientTokens, clock: HandClock) -> None:
    """`exp` decides for sockets by the same clock and the same bound."""
    access = clients.issue(ORIGIN, "acme", "lea", 60)
    assert access.expires_at == clock.at + timedelta(seconds=60)
    clock.move(seconds=60)
    assert reason(clients, access.token) == "expired"
    far = client_claims(clock, exp=clock.at.timestamp() + 48 * 3600)
    assert reason(clients, signed(far)) == "life"
