"""The address guard, without a network."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.addresses import (
    MAX_URL_LENGTH,
    check_url,
    is_allowed,
    read_literal,
    refusal,
)
from tests.webhook_addresses import ALL_REFUSED_HOSTS, PUBLIC_HOSTS
from tests.webhook_worlds import LOOPBACK

# Judged by what they wrap; Python's tables, which differ between releases, know only the outside.
TRANSLATED = [ip_network(n) for n in ("::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16")]
PRIVATE = (ip_network("10.0.0.0/8"),)


def complaint(url: str, allowed: tuple = ()) -> str | None:
    errors = check_url(url, allowed)
    assert all(error.pointer == "/url" for error in errors)
    return errors[0].detail if errors else None


# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "an unspecified address"),
        ("10.1.2.3", "a private address"),
        ("100.64.0.1", "a shared address"),
        ("127.0.0.1", "a loopback address"),
        ("168.63.129.16", "a metadata address"),
        ("169.254.169.254", "a metadata address"),
        ("169.254.1.1", "a link-local address"),
        ("192.0.0.192", "a reserved address"),
        ("192.0.2.1", "a documentation address"),
        ("198.18.0.1", "a benchmark address"),
        ("224.0.0.1", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a broadcast address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::127.0.0.1", "a reserved address"),
        ("::ffff:127.0.0.1", "a loopback address in another form"),
        ("64:ff9b::10.0.0.1", "a private address in another form"),
        ("64:ff9b:1::1", "a locally translated address"),
        ("2002:a9fe:a9fe::1", "a metadata address in another form"),
        ("2001:0:7f00:1::f7f7:f7f7", "a loopback address in another form"),
        ("2001:0:808:808::80ff:fffe", "a loopback address in another form"),
        ("fd00::1", "a private address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "an address with a zone"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("2001:db8::1", "a documentation address"),
        ("2001:2::1", "a benchmark address"),
        ("4000::1", "a reserved address"),
    ],
)
def test_refused_for_what_it_is(address: str, why: str) -> None:
    """Each kind of address is refused under its own name, wrapped ones for what they wrap."""
    assert refusal(ip_address(address), ()) == why


@given(st.ip_addresses())
def test_what_python_calls_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    """Nothing passes that the standard library's own tables hold to be other than global."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        translated = any(address in network for network in TRANSLATED)
        assert translated or refusal(address, ()) is not None


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_changes_nothing(address: IPv4Address) -> None:
    """An IPv4 address passes in mapped, NAT64 and 6to4 form exactly if it passes itself."""
    number = int(address)
    forms = (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
    )
    passes = {refusal(form, ()) is None for form in forms}
    assert passes == {refusal(address, ()) is None}


@given(st.ip_addresses(v=6, network="::/3"))
def test_only_global_unicast_passes_below_2000(address: IPv6Address) -> None:
    """Below 2000::/3 nothing but mapped and NAT64 forms of public addresses passes."""
    if refusal(address, ()) is None:
        assert int(address) >> 32 in (0xFFFF, 0x64FF9B << 64)


def test_allowed_networks_pass_whatever_they_are() -> None:
    """What the operator allows passes, also in mapped form, and nothing beside it does."""
    assert refusal(ip_address("10.1.2.3"), PRIVATE) is None
    assert refusal(ip_address("::ffff:10.1.2.3"), PRIVATE) is None
    assert refusal(ip_address("192.168.0.1"), PRIVATE) == "a private address"
    assert refusal(ip_address("::1"), PRIVATE) == "a loopback address"
    assert refusal(ip_address("fe80::1%eth0"), (ip_network("fe80::/10"),)) is None


def test_public_addresses_are_not_allowed_ones() -> None:
    """Passing the guard is not being in an allowed network: http needs the latter."""
    assert not is_allowed(ip_address("8.8.8.8"), PRIVATE)
    assert not is_allowed(ip_address("2002:a00:1::1"), PRIVATE)
    assert is_allowed(ip_address("10.0.0.1"), PRIVATE)


# --------------------------------------------------------------------------- notations


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.data())
def test_literals_are_read_as_the_resolver_reads_them(
    number: int, parts: int, data: st.DataObject
) -> None:
    """Every notation of an IPv4 address gives the address that the system's resolver takes."""
    left = [number >> 8 * (3 - i) & 255 for i in range(parts - 1)]
    values = [*left, number & (1 << 8 * (5 - parts)) - 1]
    styles = data.draw(
        st.lists(
            st.sampled_from(["%d", "0x%x", "0X%X", "0%o", "000%o"]), min_size=parts, max_size=parts
        )
    )
    text = ".".join(style % value for style, value in zip(styles, values, strict=True))
    assert read_literal(text) == IPv4Address(socket.inet_aton(text)) == IPv4Address(number)


@given(st.from_regex(r"[0-9a-fxX.]{1,14}", fullmatch=True))
def test_no_notation_of_the_resolver_is_taken_for_a_name(text: str) -> None:
    """What the system's resolver takes for an IPv4 address is one here too."""
    try:
        resolved = IPv4Address(socket.inet_aton(text))
    except OSError:
        return
    assert read_literal(text) == resolved


@pytest.mark.parametrize(
    "host", ["example.com", "1.example.com", "a", "0x", "face", "1x", "x1.", "--1"]
)
def test_names_are_names(host: str) -> None:
    """Names that contain digits are not taken for addresses, save a bare `0x`, which is zero."""
    assert read_literal(host) == (IPv4Address(0) if host == "0x" else None)


@pytest.mark.parametrize(
    "host", ["1.2.3.4.5", "256.1.1.1", "1.256.1.1", "4294967296", "1.2.65536", "a.1", "08", "1..1"]
)
def test_numbers_that_are_no_address_are_refused(host: str) -> None:
    """What ends in a number and is no address is neither name nor address."""
    with pytest.raises(ValueError):
        read_literal(host)


# --------------------------------------------------------------------------- URLs


def test_there_are_at_least_sixty_spellings() -> None:
    """The list of refused spellings is as long as it claims and has no doubles."""
    assert len(set(ALL_REFUSED_HOSTS)) == len(ALL_REFUSED_HOSTS) >= 100


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", ALL_REFUSED_HOSTS)
def test_refused_literals(host: str, scheme: str) -> None:
    """Each spelling of an address that webhooks may not reach is refused when it is entered."""
    assert complaint(f"{scheme}://{host}/hook") is not None
    assert complaint(f"{scheme}://{host}:8443/hook") is not None


@pytest.mark.parametrize("host", PUBLIC_HOSTS)
def test_public_literals(host: str) -> None:
    """Public addresses pass over https, in any notation, and not over http."""
    assert complaint(f"https://{host}/hook") is None
    assert "https" in (complaint(f"http://{host}/hook") or "")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/hook?a=b%2Fc#part",
        "HTTPS://EXAMPLE.COM:8443/",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/é",
        "https://my_host.example./",
        "https://localhost/",
    ],
)
def test_good_urls(url: str) -> None:
    """Ordinary https URLs pass; names are judged where the connection is made."""
    assert complaint(url) is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "1-2048"),
        ("https://example.com/" + "a" * MAX_URL_LENGTH, "1-2048"),
        ("example.com", "https://"),
        ("/hook", "https://"),
        ("ftp://example.com/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("javascript:alert(1)", "https://"),
        ("http://example.com/", "https://"),
        ("http://localhost/", "https://"),
        ("https://", "host"),
        ("https:///hook", "host"),
        ("https:example.com", "host"),
        ("https://user@example.com/", "credentials"),
        ("https://user:word@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port from 1 to 65535"),
        ("https://example.com:+80/", "port"),
        ("https://example.com:８０/", "port"),
        ("https://example.com:/", "port"),
        ("https://example.com:http/", "port from 1 to 65535"),
        ("https://exa mple.com/", "spaces"),
        (" https://example.com/", "spaces"),
        ("https://example.com/\r\nHost: x", "spaces"),
        ("https://example.com/\x00", "spaces"),
        ("https://example.com/\u2028", "control"),
        ("https://example.com\\@127.0.0.1/", "backslashes"),
        ("https://[::1/", "valid URL"),
        ("https://[v1.example]/", "neither"),
        ("https://[127.0.0.1]/", "valid URL"),
        ("https://1.2.3.4.5/", "neither"),
        ("https://256.256.256.256/", "neither"),
        ("https://%31%32%37.0.0.1/", "neither"),
        ("https://example%00.com/", "host name"),
        ("https://a..example/", "host name"),
        ("https://-.example/", "host name"),
        ("https://" + "a" * 64 + ".example/", "host name"),
    ],
)
def test_bad_urls(url: str, word: str) -> None:
    """What is wrong with a URL is said in words."""
    assert word in (complaint(url) or "")


@pytest.mark.parametrize(
    ("url", "allowed", "passes"),
    [
        ("http://127.0.0.1:9000/", LOOPBACK, True),
        ("http://[::1]:9000/", LOOPBACK, True),
        ("http://localhost:9000/", LOOPBACK, True),
        ("http://localhost:9000/", PRIVATE, False),
        ("http://10.0.0.1/", PRIVATE, True),
        ("http://10.0.0.1/", LOOPBACK, False),
        ("http://8.8.8.8/", PRIVATE, False),
        ("https://10.0.0.1/", PRIVATE, True),
        ("http://receiver.internal/", PRIVATE, True),
        ("http://receiver.internal/", (), False),
    ],
)
def test_allowed_networks(url: str, allowed: tuple, passes: bool) -> None:
    """http passes where it can lead into an allowed network, and nowhere else."""
    assert (complaint(url, allowed) is None) is passes


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://[", "http://127.0.0.1"]))
def test_any_text_gets_an_answer(text: str, start: str) -> None:
    """Whatever is entered as a URL, the check answers and does not raise."""
    assert len(check_url(start + text, LOOPBACK)) in (0, 1)
