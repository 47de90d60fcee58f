"""`HUNTAZE_SMTP_URL`: what it takes, and that it never gives its password away."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import ConfigurationError
from notifications.settings import Settings
from notifications.smtp_url import Relay, Tls, read_relay
from tests.webhook_receivers import self_signed

STARTTLS, IMPLICIT, NONE = Tls.STARTTLS, Tls.IMPLICIT, Tls.NONE


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtp://mail.example.com", Relay(host="mail.example.com", port=587, tls=STARTTLS)),
        ("smtps://mail.example.com", Relay(host="mail.example.com", port=465, tls=IMPLICIT)),
        ("SMTP://Mail.Example.com:25/", Relay(host="mail.example.com", port=25, tls=STARTTLS)),
        ("smtp://localhost:1025", Relay(host="localhost", port=1025, tls=NONE)),
        ("smtp://127.0.0.1:1025", Relay(host="127.0.0.1", port=1025, tls=NONE)),
        ("smtp://[::1]:1025", Relay(host="::1", port=1025, tls=NONE)),
        (
            "smtp://localhost:1025?starttls=required",
            Relay(host="localhost", port=1025, tls=STARTTLS),
        ),
        ("smtp://mailpit:1025?starttls=never", Relay(host="mailpit", port=1025, tls=NONE)),
        (
            "smtp://hub%40example.com:p%2Fa%3Fs%23s%40%25%3A+%C3%A9@mail.example.com",
            Relay(host="mail.example.com", username="hub@example.com", password="p/a?s#s@%:+é"),
        ),
        (
            "smtp://hub@example.com:sesame@mail.example.com",
            Relay(host="mail.example.com", username="hub@example.com", password="sesame"),
        ),
        (
            "smtp://u:p@localhost:25",
            Relay(host="localhost", port=25, tls=NONE, username="u", password="p"),
        ),
        (
            "smtps://m.example.com?timeout=45s&connections=2&name=h.example.com&bounces=b%2Bx@e.com",
            Relay(
                host="m.example.com",
                port=465,
                tls=IMPLICIT,
                timeout=45.0,
                connections=2,
                name="h.example.com",
                bounces="b+x@e.com",
            ),
        ),
    ],
)
def test_a_url_says_how_the_server_is_spoken_to(url: str, relay: Relay) -> None:
    """Scheme, credentials, host, port and options, with defaults that encrypt."""
    assert read_relay(url) == relay


def test_a_ca_file_is_looked_at(tmp_path: Path) -> None:
    """A file with a certificate is taken, and one without is refused at the start."""
    certificate = self_signed(tmp_path)
    assert read_relay(f"smtps://m.example.com?ca={certificate.path}").ca_file == certificate.path
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ValueError, match=r"ca: .*no certificate"):
        read_relay(f"smtps://m.example.com?ca={tmp_path / 'empty.pem'}")


WRONG = [
    ("", "is no URL"),
    ("mail.example.com", "is no URL"),
    ("http://mail.example.com", "is no URL"),
    ("smtp://", "is no URL"),
    ("smtp://mail.example.com:0", "is no URL"),
    ("smtp://mail.example.com:99999", "is no URL"),
    ("smtp://mail_.example.com-", "no host name"),
    ("smtp://user:pa/leaked@mail.example.com", "%2F"),
    ("smtp://user:12/leaked@mail.example.com", "%2F"),
    ("smtp://user:pa?leaked@mail.example.com", "%3F"),
    ("smtp://user:12?timeout=leaked@mail.example.com", "%40"),
    ("smtp://user:12?leaked=1@mail.example.com", "an option that is none"),
    ("smtp://user:12#leaked@mail.example.com", "%23"),
    ("smtp://user:pa leaked@mail.example.com", "a character that no URL has"),
    ("smtp://user:leakedé@mail.example.com", "a character that no URL has"),
    ("smtp://user:leaked%ff@mail.example.com", "no UTF-8"),
    ("smtp://user:leaked%0a@mail.example.com", "control character"),
    ("smtp://user:leaked%00@mail.example.com", "control character"),
    ("smtp://leaked@mail.example.com", "a user name and a password"),
    ("smtp://:leaked@mail.example.com", "a user name and a password"),
    ("smtp://@mail.example.com", "a user name and a password"),
    ("smtp://user:leaked@mail.example.com?starttls=never", "would travel unencrypted"),
    ("smtp://user:leaked@10.0.0.1?starttls=never", "would travel unencrypted"),
    ("smtps://mail.example.com?starttls=required", "encrypted from the start"),
    ("smtp://mail.example.com?starttls=maybe", "starttls: "),
    ("smtp://mail.example.com?timeout=0s", "timeout: "),
    ("smtp://mail.example.com?timeout=2m", "timeout: "),
    ("smtp://mail.example.com?connections=0", "connections: "),
    ("smtp://mail.example.com?connections=65", "connections: "),
    ("smtp://mail.example.com?name=two words", "a character that no URL has"),
    ("smtp://mail.example.com?name=a%0d%0aMAIL", "name: "),
    ("smtp://mail.example.com?bounces=nobody", "bounces: "),
    ("smtp://mail.example.com?bounces=a@b.example%0d%0aDATA", "bounces: "),
    ("smtp://mail.example.com?timeout=5s&timeout=6s", "twice"),
    ("smtp://mail.example.com?timeout", "no list such as"),
    ("smtp://mail.example.com?verify=no", "there are starttls, ca, timeout"),
]


@pytest.mark.parametrize(("url", "said"), WRONG)
def test_what_is_wrong_is_said_without_the_password(url: str, said: str) -> None:
    """Each wrong URL has a reason and what would be right, and none repeats a password."""
    with pytest.raises(ValueError) as raised:
        read_relay(url)
    assert said in str(raised.value)
    assert "leaked" not in str(raised.value)


@given(st.text(max_size=60), st.sampled_from(["smtp://", "smtps://", "smtp://u:", ""]))
def test_whatever_is_written_is_taken_or_refused(text: str, before: str) -> None:
    """No text makes anything but a relay or a `ValueError`."""
    try:
        relay = read_relay(before + text)
    except ValueError:
        return
    assert relay.host


def test_neither_repr_nor_what_is_shown_has_the_password() -> None:
    """A relay can be logged and printed."""
    relay = read_relay("smtp://hub:sesame@mail.example.com")
    assert "sesame" not in repr(relay)
    assert "sesame" not in repr(Settings(smtp=relay))
    assert relay.shown == "smtp://hub@mail.example.com:587"
    assert read_relay("smtps://[2001:db8::1]").shown == "smtps://[2001:db8::1]:465"


def test_smtp_needs_a_server() -> None:
    """Asking for SMTP without saying where stops the start, by the name of what is missing."""
    with pytest.raises(ConfigurationError, match=r"^HUNTAZE_SMTP_URL: is needed"):
        Settings.read({"HUNTAZE_EMAIL": "smtp"})
    settings = Settings.read({"HUNTAZE_EMAIL": "smtp", "HUNTAZE_SMTP_URL": "smtp://localhost:1025"})
    assert settings.smtp == Relay(host="localhost", port=1025, tls=NONE)
