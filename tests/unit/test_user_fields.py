"""What a user's fields may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.http.users import is_email, is_timezone


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com",
        "ada.lovelace+hub@mail.example.co.uk",
        "o'neil@example.com",
        "zoé@exemple.fr",
        "ada@exämple.de",
        "a@localhost",
    ],
)
def test_addresses_are_taken(text: str) -> None:
    """What people have for addresses is taken."""
    assert is_email(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@example.com@example.org",
        "ada@example.com, eve@example.org",
        "ada@example.com;eve@example.org",
        "Ada <ada@example.com>",
        "ada@example.com\r\nBcc: eve@example.org",
        "ada@example.com\n",
        "ada @example.com",
        "ada@exam ple.com",
        "ada@example.com\x00",
        "ada@.example.com",
        "ada@example.com.",
        "ada@example..com",
        "ada@-example.com",
        '"ada"@example.com',
        "ada\u202e@example.com",
        "ada\u200b@example.com",
    ],
)
def test_what_could_be_something_else_is_refused(text: str) -> None:
    """What holds more than one address, or could break out of a mail's header, is refused."""
    assert not is_email(text)


@given(st.text(max_size=30), st.sampled_from(["\r", "\n", "\x00", "\x85", "\u2028", "<", ",", " "]))
def test_no_address_holds_what_ends_a_header(text: str, wrong: str) -> None:
    """No address that is taken holds a character that ends or begins anything in a mail."""
    assert not is_email(f"{text}{wrong}@example.com")
    assert not is_email(f"ada@example.com{wrong}{text}")


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires"])
def test_zones_are_taken(name: str) -> None:
    """Zones of the IANA database are taken."""
    assert is_timezone(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe",
        "Europe/Nowhere",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "europe/paris\x00",
        "GMT+1:00",
        "Paris",
        "a" * 64,
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    """What names no zone, or a file elsewhere, is refused."""
    assert not is_timezone(name)
