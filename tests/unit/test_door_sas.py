"""Shared access signatures: what opens what, until when, and how others are refused."""

import base64
import contextlib
import hmac
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.door.sas import Grant, Refused, check, path_of

NOW = 1_772_366_400
KEYS = {"send": "key of sending", "a b&c": "schlüssel"}


def signed(
    resource: str = "sb://localhost/Orders", *, policy: str = "send", key: str = "", ends: int = 60
) -> str:
    """A token as the SDKs make it."""
    uri, expiry = quote(resource, safe=""), str(NOW + ends)
    secret = (key or KEYS.get(policy, "k")).encode()
    signature = base64.b64encode(hmac.digest(secret, f"{uri}\n{expiry}".encode(), "sha256"))
    parts = f"sr={uri}&sig={quote(signature, safe='')}&se={expiry}&skn={quote(policy, safe='')}"
    return f"SharedAccessSignature {parts}"


@pytest.mark.parametrize("policy", KEYS)
@pytest.mark.parametrize("path", ["", "orders", "orders/subscriptions/all/$management"])
def test_what_a_token_opens(policy: str, path: str) -> None:
    """A token opens its path and what is below, until it expires."""
    grant = check(signed(policy=policy), KEYS, NOW, path=path)
    assert grant == Grant(path="orders", expires_at=NOW + 60)


@pytest.mark.parametrize(
    ("token", "path"),
    [
        (signed(key="another"), "orders"),
        (signed(policy="nobody"), "orders"),
        (signed(policy="nobody", key="k"), "orders"),
        (signed(ends=0), "orders"),
        (signed(), "orders2"),
        (signed("sb://localhost/orders/subscriptions/all"), "orders"),
        (signed().replace("se=", "se=9"), "orders"),
        (signed().replace("%2F", "%2f"), "orders"),
        (signed().replace("sig=", "sgi="), "orders"),
        (signed().replace("SharedAccessSignature ", "Bearer "), "orders"),
        (signed("sb://["), "orders"),
        (signed().replace("se=", "se=" + "9" * 400), "orders"),
        ("SharedAccessSignature " + "x" * 5000, "orders"),
    ],
)
@pytest.mark.fault("forge a signature of the door", "attackers")
def test_what_opens_nothing(token: str, path: str) -> None:
    """A token that is another's, expired, for something else or malformed is refused."""
    with pytest.raises(Refused):
        check(token, KEYS, NOW, path=path)


@pytest.mark.fault(
    "show a signature of the door whose time is over, or for what is another's", "attackers"
)
def test_a_token_is_good_for_its_time_and_its_place_alone() -> None:
    """Shown again at its last second or later, or for another queue, a right token is refused."""
    token = signed()
    assert check(token, KEYS, NOW + 59.9, path="orders") == Grant(
        path="orders", expires_at=NOW + 60
    )
    for now, path in (
        (NOW + 60, "orders"),
        (NOW + 86_400, "orders"),
        (NOW, "invoices"),
        (NOW, "order"),
    ):
        with pytest.raises(Refused):
            check(token, KEYS, now, path=path)


@pytest.mark.fault("forge a signature of the door", "attackers")
def test_a_token_that_is_cut_off_or_altered_opens_nothing() -> None:
    """A right token without its end, and one with any character another, is refused."""
    token = signed()
    check(token, KEYS, NOW, path="orders")
    for at, letter in enumerate(token):
        other = "0" if letter != "0" else "1"
        for forged in (token[:at], token[:at] + other + token[at + 1 :]):
            with pytest.raises(Refused):
                check(forged, KEYS, NOW, path="orders")


def test_an_empty_key() -> None:
    """A policy whose key is empty opens nothing, though a signature by it fits."""
    uri, expiry = quote("sb://h/orders", safe=""), str(NOW + 60)
    made = base64.b64encode(hmac.digest(b"", f"{uri}\n{expiry}".encode(), "sha256"))
    signature = quote(made, safe="")
    with pytest.raises(Refused):
        check(f"SharedAccessSignature sr={uri}&sig={signature}&se={expiry}&skn=x", {"x": ""}, NOW)


@given(st.text(max_size=80))
def test_anything(text: str) -> None:
    """Any text is refused, and nothing else happens."""
    for token in (text, f"SharedAccessSignature {text}", signed() + text):
        found = None
        with contextlib.suppress(Refused):
            found = check(token, KEYS, NOW)
        assert found is None or found.path == "orders"


def test_paths() -> None:
    """Addresses are compared without scheme, host, slashes around and case."""
    for address in ("Orders", "/orders/", "amqps://h:5673/ORDERS", "sb://h/orders?x=1"):
        assert path_of(address) == "orders"
