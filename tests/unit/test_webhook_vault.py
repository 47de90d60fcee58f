"""Encryption at rest."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import ConfigurationError
from notifications.vault import SealError, Vault, key_id, parse_key
from tests.webhook_worlds import CountingDice

OLD, NEW = b"o" * 32, b"n" * 32


def vault(*keys: bytes) -> Vault:
    return Vault(keys or (NEW, OLD), CountingDice())


@given(plain=st.binary(max_size=300), context=st.text(st.characters(codec="utf-8"), max_size=40))
def test_opens_what_it_sealed(plain: bytes, context: str) -> None:
    """Any bytes come back under the context they were sealed in."""
    safe = vault()
    assert safe.open(safe.seal(plain, context=context), context=context) == plain


def test_ciphertext_names_its_key_and_hides_the_plain_text() -> None:
    """A sealed value is `v1.<id of the newest key>.<base64>` and does not contain what it hides."""
    version, name, blob = vault().seal(b"whsec_hidden", context="acme/ep_1").split(".")
    assert (version, name) == ("v1", key_id(NEW))
    assert b"hidden" not in base64.b64decode(blob)
    assert len(key_id(NEW)) == 8


def test_same_plain_text_never_looks_the_same() -> None:
    """Sealing twice gives two ciphertexts: each has a nonce of its own."""
    safe = vault()
    assert safe.seal(b"x", context="c") != safe.seal(b"x", context="c")


def test_older_key_still_opens_and_newest_seals() -> None:
    """After a new key is put in front, old values open and new ones name the new key."""
    before = vault(OLD).seal(b"x", context="c")
    after = vault(NEW, OLD)
    assert after.open(before, context="c") == b"x"
    assert after.seal(b"x", context="c").split(".")[1] == key_id(NEW)


def test_unknown_key_is_a_configuration_error_that_names_key_and_setting() -> None:
    """A value sealed with a key that is gone says which key, and which setting lacks it."""
    sealed = vault(OLD).seal(b"x", context="c")
    with pytest.raises(ConfigurationError) as caught:
        vault(NEW).open(sealed, context="c")
    assert key_id(OLD) in str(caught.value)
    assert "HUNTAZE_ENCRYPTION_KEYS" in str(caught.value)


def test_missing_keys_are_found_at_once() -> None:
    """The keys that stored values name and the setting lacks are found without opening any."""
    values = [vault(OLD).seal(b"x", context="c"), vault(NEW).seal(b"y", context="c"), "damaged"]
    assert vault(NEW).missing_keys(values) == {key_id(OLD)}
    assert vault(NEW, OLD).missing_keys(values) == set()


def test_value_does_not_open_in_another_context() -> None:
    """A ciphertext copied to another tenant's row does not open there."""
    safe = vault()
    with pytest.raises(SealError, match="belongs elsewhere"):
        safe.open(safe.seal(b"x", context="acme/ep_1"), context="globex/ep_1")


@given(place=st.integers(0, 46), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(place: int, bit: int) -> None:
    """Changing any bit of nonce, ciphertext or tag makes opening fail with the one error."""
    safe = vault()
    head, name, blob = safe.seal(b"a 19-byte plaintext", context="c").split(".")
    altered = bytearray(base64.b64decode(blob))
    assert len(altered) == 47
    altered[place] ^= 1 << bit
    sealed = f"{head}.{name}.{base64.b64encode(altered).decode()}"
    with pytest.raises(SealError):
        safe.open(sealed, context="c")


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "v1",
        "v1..",
        f"v1.{key_id(NEW)}.",
        f"v1.{key_id(NEW)}.A",
        f"v2.{key_id(NEW)}.AAAA",
        "é",
        f"v1.{key_id(NEW)}.AAAA",
        f"v1.{key_id(NEW)}.AAAA\n",
    ],
)
def test_what_is_no_ciphertext_is_one_clear_error(sealed: str) -> None:
    """Damaged or foreign text is a SealError, never another exception."""
    with pytest.raises(SealError):
        vault().open(sealed, context="c")


@pytest.mark.parametrize("keys", [(), (b"short",), (NEW, b"x" * 33)])
def test_keys_of_wrong_number_or_length_stop_the_start(keys: tuple[bytes, ...]) -> None:
    """No key, or one that has not 32 bytes, is refused naming the setting."""
    with pytest.raises(ConfigurationError, match="HUNTAZE_ENCRYPTION_KEYS"):
        Vault(keys, CountingDice())


def test_key_is_read_from_base64() -> None:
    """The text form of a key is base64 of its 32 bytes; blanks around it do not count."""
    assert parse_key(f" {base64.b64encode(NEW).decode()}\n") == NEW


@pytest.mark.parametrize(
    "text", ["", "abc", "é" * 44, base64.b64encode(b"x" * 31).decode(), "!" * 44]
)
def test_key_in_wrong_form_is_refused_without_repeating_it(text: str) -> None:
    """A key that is none is refused naming the setting, and the message does not contain it."""
    with pytest.raises(ConfigurationError, match="HUNTAZE_ENCRYPTION_KEYS") as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)
