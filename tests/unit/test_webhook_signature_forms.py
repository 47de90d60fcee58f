"""Signature headers over what they can hold: what we sign verifies, whatever else does not."""

import base64
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.webhooks.signatures import (
    MAX_SECRETS,
    SignatureError,
    public_key_text,
    rotate,
    secret_text,
    sign,
    verify,
)
from notifications.directory import Endpoint, SigningSecret
from notifications.retries import DAY
from tests.webhook_worlds import NOON, endpoint

NOON_S = int(NOON.timestamp())
NOON_MS = NOON_S * 1000

keys = st.binary(min_size=32, max_size=32)
secrets = st.builds(lambda key, private: SigningSecret(key=key, private_key=private), keys, keys)
ids = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."),
    min_size=1,
    max_size=256,
)
bodies = st.binary(max_size=300)
schemes = st.sampled_from([("v1",), ("v1", "v1a")])


def signed(target: Endpoint, webhook_id: str, body: bytes, now_ms: int = NOON_MS) -> dict[str, str]:
    """The headers of a request to an endpoint."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(NOON_S),
        "webhook-signature": sign(target, webhook_id, NOON_S, body, now_ms),
    }


def fits(headers: Mapping[str, str], body: bytes, key: str) -> bool:
    """Whether a receiver with that key takes the request."""
    try:
        verify(headers, body, [key], NOON)
    except SignatureError:
        return False
    return True


@given(secret=secrets, webhook_id=ids, body=bodies)
def test_what_is_signed_verifies_by_either_scheme(
    secret: SigningSecret, webhook_id: str, body: bytes
) -> None:
    """Any id and any body, text or not, verify under the secret and under the public key."""
    headers = signed(endpoint(secrets=(secret,), signatures=("v1", "v1a")), webhook_id, body)
    for key, scheme in ((secret_text(secret), "v1"), (public_key_text(secret), "v1a")):
        found = verify(headers, body, [key], NOON)
        assert (found.webhook_id, found.timestamp, found.scheme) == (webhook_id, NOON_S, scheme)


@given(secret=secrets, body=st.binary(min_size=1, max_size=300), data=st.data())
def test_any_flipped_bit_of_a_body_is_noticed(
    secret: SigningSecret, body: bytes, data: st.DataObject
) -> None:
    """A body that differs in one bit verifies by neither scheme."""
    headers = signed(endpoint(secrets=(secret,), signatures=("v1", "v1a")), "evt_1", body)
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    altered = flipped(body, bit)
    assert not fits(headers, altered, secret_text(secret))
    assert not fits(headers, altered, public_key_text(secret))


@given(secret=secrets, asymmetric=st.booleans(), bit=st.integers(0, 64 * 8 - 1))
@pytest.mark.fault("forge or truncate a webhook's signature", "attackers")
def test_any_flipped_bit_of_a_signature_is_noticed(
    secret: SigningSecret, asymmetric: bool, bit: int
) -> None:
    """A signature that differs in one bit is none, however it is written."""
    headers = signed(endpoint(secrets=(secret,), signatures=("v1", "v1a")), "evt_1", b"{}")
    scheme = "v1a" if asymmetric else "v1"
    parts = dict(part.split(",") for part in headers["webhook-signature"].split(" "))
    raw = base64.b64decode(parts[scheme])
    altered = base64.b64encode(flipped(raw, bit % (len(raw) * 8))).decode()
    key = public_key_text(secret) if asymmetric else secret_text(secret)
    assert fits({**headers, "webhook-signature": f"{scheme},{parts[scheme]}"}, b"{}", key)
    assert not fits({**headers, "webhook-signature": f"{scheme},{altered}"}, b"{}", key)


@given(secret=secrets, stranger=secrets)
def test_only_its_own_key_fits(secret: SigningSecret, stranger: SigningSecret) -> None:
    """Another's secret or public key takes nothing, unless it is the same."""
    headers = signed(endpoint(secrets=(secret,), signatures=("v1", "v1a")), "evt_1", b"{}")
    same = secret.key == stranger.key
    assert fits(headers, b"{}", secret_text(stranger)) == same
    same = secret.private_key == stranger.private_key
    assert fits(headers, b"{}", public_key_text(stranger)) == same


@given(
    secret=secrets,
    junk=st.lists(
        st.one_of(
            st.text(max_size=40).map(lambda text: text.replace(" ", "")),
            st.from_regex(r"v[0-9a-z]{0,3},[A-Za-z0-9+/=]{0,90}", fullmatch=True),
        ),
        max_size=6,
    ),
    place=st.integers(0, 6),
)
def test_whatever_stands_beside_a_good_signature_does_no_harm(
    secret: SigningSecret, junk: list[str], place: int
) -> None:
    """Unknown schemes, broken ones and text of any script among the signatures are passed over."""
    headers = signed(endpoint(secrets=(secret,)), "evt_1", b"{}")
    parts = [*junk[:place], headers["webhook-signature"], *junk[place:]]
    assert fits({**headers, "webhook-signature": " ".join(parts)}, b"{}", secret_text(secret))


@given(
    header=st.text(max_size=200),
    which=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    secret=secrets,
)
def test_any_junk_in_a_header_is_the_one_error(
    header: str, which: str, secret: SigningSecret
) -> None:
    """A receiver that catches `SignatureError` catches everything that a stranger can cause."""
    headers = signed(endpoint(secrets=(secret,), signatures=("v1", "v1a")), "evt_1", b"{}")
    if header == headers[which]:
        return
    for key in (secret_text(secret), public_key_text(secret)):
        with pytest.raises(SignatureError):
            verify({**headers, which: header}, b"{}", [key], NOON)


@given(
    first=secrets,
    steps=st.lists(st.tuples(secrets, st.integers(0, 3 * DAY)), max_size=2 * MAX_SECRETS),
    schemes=schemes,
)
def test_however_often_a_secret_rotates_who_has_the_last_day_s_keys_verifies(
    first: SigningSecret, steps: list[tuple[SigningSecret, int]], schemes: tuple[str, ...]
) -> None:
    """The newest key always fits; the one before it fits until its day is over; one that ran out
    signs no more; and the header stays bounded."""
    held, now = (first,), NOON_MS
    for new, pause in steps:
        now += pause
        held = rotate(held, new, now)
        headers = signed(endpoint(secrets=held, signatures=schemes), "evt_1", b"{}", now)
        assert fits(headers, b"{}", secret_text(new))
        assert fits(headers, b"{}", secret_text(held[1]))
        later = signed(endpoint(secrets=held, signatures=schemes), "evt_1", b"{}", now + DAY)
        assert len(later["webhook-signature"].split(" ")) == len(schemes)
        assert len(headers["webhook-signature"].split(" ")) <= MAX_SECRETS * len(schemes)


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit turned over."""
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)
