"""Standard Webhooks 1.0: signing, rotating and verifying."""

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.webhooks.signatures import (
    MAX_SECRETS,
    SignatureError,
    Verified,
    live_secrets,
    new_secret,
    public_key_text,
    rotate,
    secret_text,
    sign,
    verify,
)
from notifications.directory import SigningSecret
from notifications.retries import DAY, HOUR
from tests.webhook_worlds import NOON, SECRET, CountingDice, endpoint

BODY = b'{"test": 2432232314}'
NOON_S = int(NOON.timestamp())
NOON_MS = NOON_S * 1000
ID = "evt_0123456789abcdef0123456789abcdef"
BOTH = ("v1", "v1a")


def signed(
    *secrets: SigningSecret, schemes: tuple[str, ...] = ("v1",), at: int = NOON_S
) -> dict[str, str]:
    one = endpoint(secrets=secrets or (SECRET,), signatures=schemes)
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(one, ID, at, BODY, NOON_MS),
    }


# --------------------------------------------------------------------------- signing


def test_published_vector() -> None:
    """The vector that is published for Standard Webhooks comes out to the byte."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    one = endpoint(secrets=(SigningSecret(key=key, private_key=bytes(32)),))
    header = sign(one, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY, NOON_MS)
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(key=st.binary(min_size=24, max_size=64), body=st.binary(max_size=200))
def test_v1_is_plain_hmac_sha256(key: bytes, body: bytes) -> None:
    """For any key and body `v1` is HMAC-SHA256 of id, timestamp and body, joined by full stops."""
    one = endpoint(secrets=(SigningSecret(key=key, private_key=bytes(32)),))
    expected = hmac.digest(key, f"{ID}.{NOON_S}.".encode() + body, hashlib.sha256)
    assert sign(one, ID, NOON_S, body, NOON_MS) == "v1," + base64.b64encode(expected).decode()


def test_v1a_is_ed25519_under_the_public_key_shown() -> None:
    """`v1a` verifies with the bare ed25519 of `cryptography` and the key behind `whpk_`."""
    parts = signed(schemes=BOTH)["webhook-signature"].split(" ")
    assert [part.partition(",")[0] for part in parts] == ["v1", "v1a"]
    text = public_key_text(SECRET)
    assert text.startswith("whpk_")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("whpk_")))
    public.verify(base64.b64decode(parts[1][4:]), f"{ID}.{NOON_S}.".encode() + BODY)


def test_v1_alone_unless_v1a_is_asked_for() -> None:
    """An endpoint that did not ask for `v1a` gets none."""
    assert signed()["webhook-signature"].count("v1a") == 0


@pytest.mark.parametrize("schemes", [("v1",), BOTH])
def test_published_python_library_accepts_it(schemes: tuple[str, ...]) -> None:
    """The published Python verifier takes `v1`, and the pair `v1 v1a`, as of now."""
    headers = signed(schemes=schemes, at=int(dt.datetime.now(dt.UTC).timestamp()))
    published = standardwebhooks.Webhook(secret_text(SECRET))
    assert published.verify(BODY, headers) == json.loads(BODY)


@pytest.mark.parametrize("generation", [0, 1])
def test_published_python_library_accepts_both_generations_of_a_rotation(generation: int) -> None:
    """While a secret rotates, a receiver with the old secret and one with the new both verify."""
    secrets = rotate((SECRET,), new_secret(CountingDice()), NOON_MS)
    headers = signed(*secrets, schemes=BOTH, at=int(dt.datetime.now(dt.UTC).timestamp()))
    published = standardwebhooks.Webhook(secret_text(secrets[generation]))
    assert published.verify(BODY, headers) == json.loads(BODY)


# --------------------------------------------------------------------------- secrets


def test_new_secret_takes_its_keys_from_the_dice() -> None:
    """The two keys of a secret are 32 bytes each and differ."""
    secret = new_secret(CountingDice())
    assert (len(secret.key), len(secret.private_key)) == (32, 32)
    assert secret.key != secret.private_key
    assert secret.expires_at is None


def test_rotation_lets_the_former_secret_sign_for_a_day() -> None:
    """After a rotation two secrets sign, and a day later only the new one."""
    new = new_secret(CountingDice())
    secrets = rotate((SECRET,), new, NOON_MS)
    assert [secret.expires_at for secret in secrets] == [None, NOON_MS + DAY]
    one = endpoint(secrets=secrets)
    during = sign(one, ID, NOON_S, BODY, NOON_MS + DAY - 1).split(" ")
    after = sign(one, ID, NOON_S, BODY, NOON_MS + DAY).split(" ")
    assert (len(during), len(after)) == (2, 1)
    assert during[0] == after[0] == sign(endpoint(secrets=(new,)), ID, NOON_S, BODY, NOON_MS)


def test_rotation_drops_what_has_run_out_and_prolongs_nothing() -> None:
    """A second rotation drops the expired generation and leaves an earlier expiry as it is."""
    dice = CountingDice()
    first = rotate((SECRET,), new_secret(dice), NOON_MS)
    soon = rotate(first, new_secret(dice), NOON_MS + HOUR)
    assert [s.expires_at for s in soon] == [None, NOON_MS + HOUR + DAY, NOON_MS + DAY]
    late = rotate(first, new_secret(dice), NOON_MS + DAY)
    assert [s.expires_at for s in late] == [None, NOON_MS + 2 * DAY]


def test_rotation_overlap_can_be_set() -> None:
    """An overlap of nothing ends the former secret at once."""
    new = new_secret(CountingDice())
    assert rotate((SECRET,), new, NOON_MS, overlap=0) == (new,)


def test_rotating_in_a_loop_keeps_a_bounded_number_of_secrets() -> None:
    """However often a secret is rotated, no more than the bound sign at once."""
    dice, secrets = CountingDice(), (SECRET,)
    for _ in range(30):
        secrets = rotate(secrets, new_secret(dice), NOON_MS)
    assert len(secrets) == MAX_SECRETS
    assert live_secrets(secrets, NOON_MS) == secrets


def test_secrets_show_no_keys() -> None:
    """Neither a secret's repr nor its endpoint's contains key material."""
    shown = repr(SECRET) + repr(endpoint(headers={"Authorization": "hidden"}))
    assert repr(SECRET.key) not in shown
    assert "hidden" not in shown


# --------------------------------------------------------------------------- verifying


@pytest.mark.parametrize("scheme", BOTH)
def test_verifier_accepts_what_we_sign(scheme: str) -> None:
    """A receiver that trusts either key of the newest secret verifies and learns the id."""
    key = secret_text(SECRET) if scheme == "v1" else public_key_text(SECRET)
    assert verify(signed(schemes=BOTH), BODY, [key], NOON) == Verified(
        webhook_id=ID, timestamp=NOON_S, scheme=scheme
    )


def test_verifier_accepts_what_the_published_library_signs() -> None:
    """A signature made by the published Python library verifies with ours."""
    published = standardwebhooks.Webhook(secret_text(SECRET))
    headers = {**signed(), "webhook-signature": published.sign(ID, NOON, BODY.decode())}
    assert verify(headers, BODY, [secret_text(SECRET)], NOON).scheme == "v1"


def test_header_names_count_in_any_case() -> None:
    """Receivers that keep header names as sent, or in capitals, verify too."""
    headers = {name.title(): value for name, value in signed().items()}
    assert verify(headers, BODY, [secret_text(SECRET)], NOON).webhook_id == ID


@pytest.mark.parametrize("form", ["prefixed", "bare", "unpadded"])
def test_secret_forms_that_the_libraries_take(form: str) -> None:
    """A secret is taken with and without prefix, and without padding."""
    text = secret_text(SECRET)
    forms = {"prefixed": text, "bare": text[6:], "unpadded": text.rstrip("=")}
    assert verify(signed(), BODY, [forms[form]], NOON).scheme == "v1"


def test_one_fitting_key_and_one_fitting_signature_are_enough() -> None:
    """Unknown schemes, broken and foreign signatures beside a good one do no harm."""
    good = signed()["webhook-signature"]
    foreign = "v1," + base64.b64encode(bytes(32)).decode()
    headers = signed() | {"webhook-signature": f"v9,x v1,a v2 {foreign}  {good} v1a,!!"}
    stranger = secret_text(new_secret(CountingDice()))
    assert verify(headers, BODY, [stranger, secret_text(SECRET)], NOON).scheme == "v1"


@pytest.mark.parametrize("away", [-300, 300])
def test_timestamp_within_tolerance(away: int) -> None:
    """Five minutes to either side are accepted."""
    assert verify(signed(at=NOON_S + away), BODY, [secret_text(SECRET)], NOON).timestamp


@pytest.mark.parametrize(("away", "word"), [(-301, "old"), (301, "new")])
@pytest.mark.fault("replay a webhook whose time is over", "attackers")
def test_timestamp_beyond_tolerance(away: int, word: str) -> None:
    """A second more is refused, saying on which side."""
    with pytest.raises(SignatureError, match=word):
        verify(signed(at=NOON_S + away), BODY, [secret_text(SECRET)], NOON)


def test_tolerance_can_be_set() -> None:
    """A receiver may be stricter."""
    with pytest.raises(SignatureError, match="old"):
        verify(signed(at=NOON_S - 11), BODY, [secret_text(SECRET)], NOON, tolerance_s=10)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_header(name: str, value: str | None) -> None:
    """Each header that is missing or empty is named."""
    headers = {k: v for k, v in signed().items() if k != name}
    with pytest.raises(SignatureError, match=name):
        verify(
            headers if value is None else headers | {name: value}, BODY, [secret_text(SECRET)], NOON
        )


@pytest.mark.parametrize(
    "signature",
    [
        "garbage",
        "v1,a,b",
        "v1,a",
        "v1,",
        ",",
        " ",
        "v1",
        "v1,é",
        "v1a,AAAA",
        "v1," + "A" * 43 + "=",
        "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,\x00",
        "\ud800",
    ],
)
@pytest.mark.parametrize("key", [secret_text(SECRET), public_key_text(SECRET)])
@pytest.mark.fault("forge or truncate a webhook's signature", "attackers")
def test_bad_signature(signature: str, key: str) -> None:
    """What crashes a published library, and other rubbish, is the one error here."""
    with pytest.raises(SignatureError):
        verify(signed() | {"webhook-signature": signature}, BODY, [key], NOON)


@pytest.mark.parametrize(
    "timestamp",
    ["x", "-1", "1.5", f"{NOON_S}.0", f" {NOON_S}", "1e9", "9" * 13, "9" * 5000, "٣٤٥", "nan", "0"],
)
def test_bad_timestamp(timestamp: str) -> None:
    """Only whole seconds in ASCII digits are a timestamp; others are the one error."""
    with pytest.raises(SignatureError):
        verify(signed() | {"webhook-timestamp": timestamp}, BODY, [secret_text(SECRET)], NOON)


@pytest.mark.parametrize("body", [b"", BODY + b" ", b"\xff\xfe", BODY.replace(b"2", b"3")])
@pytest.mark.fault("change a signed webhook", "attackers")
def test_altered_body(body: bytes) -> None:
    """Any other body, one that is not UTF-8 among them, does not verify."""
    for key in (secret_text(SECRET), public_key_text(SECRET)):
        with pytest.raises(SignatureError):
            verify(signed(schemes=BOTH), body, [key], NOON)


@pytest.mark.fault("change a signed webhook", "attackers")
def test_timestamp_and_id_are_signed() -> None:
    """Another timestamp or id under the same signature does not verify."""
    for change in ({"webhook-timestamp": str(NOON_S + 1)}, {"webhook-id": ID[:-1] + "0"}):
        with pytest.raises(SignatureError, match="no signature"):
            verify(signed() | change, BODY, [secret_text(SECRET)], NOON)


def test_id_with_a_full_stop_is_refused() -> None:
    """What is signed is split by full stops, so an id that holds one could be read two ways."""
    with pytest.raises(SignatureError, match="full stop"):
        verify(signed() | {"webhook-id": "evt_1.2"}, BODY, [secret_text(SECRET)], NOON)


@pytest.mark.parametrize(
    "key", ["", "whsec_", "whpk_", "whpk_AAAA", "whsec_é", "whsec_!", "whsec_A"]
)
def test_key_that_is_none(key: str) -> None:
    """An empty or malformed key is refused, and never trusted."""
    with pytest.raises(SignatureError):
        verify(signed(), BODY, [key], NOON)


def test_no_key_trusts_nothing() -> None:
    """Without any key nothing verifies."""
    with pytest.raises(SignatureError):
        verify(signed(), BODY, [], NOON)


def test_symmetric_key_is_never_taken_for_a_public_one() -> None:
    """A `v1` signature made with the public key as its HMAC key is not accepted for `whpk_`."""
    public = public_key_text(SECRET)
    known = SigningSecret(key=base64.b64decode(public[5:]), private_key=bytes(32))
    with pytest.raises(SignatureError):
        verify(signed(known), BODY, [public], NOON)


@given(
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "x"]),
        st.one_of(
            st.text(max_size=80),
            st.sampled_from([ID, str(NOON_S), "v1,AAAA v1a,AAAA"]),
            st.from_regex(r"(v1a?,[A-Za-z0-9+/=, ]{0,90})+", fullmatch=True),
            st.binary(max_size=9),
            st.none(),
        ),
    ),
    body=st.binary(max_size=50),
    key=st.one_of(
        st.text(max_size=50), st.just(secret_text(SECRET)), st.just(public_key_text(SECRET))
    ),
)
def test_verifier_raises_nothing_else(headers: dict[str, str], body: bytes, key: str) -> None:
    """Whatever headers, body and key hold, the verifier raises its one error."""
    with pytest.raises(SignatureError):
        verify(headers, body, [key], NOON)
