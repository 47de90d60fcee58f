"""Amounts, shares, durations and times as people read them."""

import pytest

from notifications.formats import EN, FR, dollars, duration, host, moment, money, month, percent

# Checked against the Unicode CLDR's own formatter.
MONEY = [
    (4900, "EUR", "49,00\u00a0€", "€49.00"),
    (1, "EUR", "0,01\u00a0€", "€0.01"),
    (123456789, "USD", "1\u202f234\u202f567,89\u00a0$US", "$1,234,567.89"),
    (100_000, "GBP", "1\u202f000,00\u00a0£GB", "£1,000.00"),
    (4900, "JPY", "4\u202f900\u00a0JPY", "¥4,900"),
    (1234567, "KWD", "1\u202f234,567\u00a0KWD", "KWD\u00a01,234.567"),
    (4950, "CHF", "49,50\u00a0CHF", "CHF\u00a049.50"),
    (
        10**12,
        "XAF",
        "1\u202f000\u202f000\u202f000\u202f000\u00a0FCFA",
        "FCFA\u00a01,000,000,000,000",
    ),
    (-4900, "EUR", "-49,00\u00a0€", "-€49.00"),
]


@pytest.mark.parametrize(("minor", "currency", "french", "english"), MONEY)
def test_money(minor, currency, french, english):
    """An amount in minor units is written with its currency's digits, in the language's order."""
    assert (money(minor, currency, FR), money(minor, currency, EN)) == (french, english)


@pytest.mark.parametrize(
    ("amount", "english"),
    [
        (0, "$0.00"),
        (0.00001, "<\u00a0$0.0001"),
        (0.0117, "$0.0117"),
        (0.12, "$0.12"),
        (0.99999, "$1.00"),
        (40.126, "$40.13"),
        (1234.5, "$1,234.50"),
    ],
)
def test_dollars(amount, english):
    """A cost below a dollar keeps the digits that say something; nothing costs is never 0.00."""
    assert dollars(amount, EN) == english


@pytest.mark.parametrize(
    ("ms", "french", "english"),
    [
        (0, "0 ms", "0 ms"),
        (999.4, "999 ms", "999 ms"),
        (999.6, "1 s", "1 s"),
        (4100, "4,1 s", "4.1 s"),
        (59_960, "1 min", "1 min"),
        (125_000, "2 min 5 s", "2 min 5 s"),
        (3_600_000, "1 h", "1 h"),
        (11_520_000, "3 h 12 min", "3 h 12 min"),
        (190_800_000, "2 j 5 h", "2 d 5 h"),
    ],
)
def test_duration(ms, french, english):
    """A duration is told in the two units that matter."""
    both = duration(ms, FR), duration(ms, EN)
    assert tuple(text.replace("\u00a0", " ") for text in both) == (french, english)


@pytest.mark.parametrize(
    ("time", "zone", "french", "english"),
    [
        (
            "2026-01-31T23:30:00Z",
            "Europe/Paris",
            "1er février 2026 à\u00a000:30",
            "February 1, 2026 at\u00a012:30\u202fAM",
        ),
        (
            "2026-07-14T12:05:00+02:00",
            "America/Montreal",
            "14 juillet 2026 à\u00a006:05",
            "July 14, 2026 at\u00a06:05\u202fAM",
        ),
        (
            "2026-12-02T20:00:00.123456789Z",
            "UTC",
            "2 décembre 2026 à\u00a020:00",
            "December 2, 2026 at\u00a08:00\u202fPM",
        ),
    ],
)
def test_moment(time, zone, french, english):
    """A time is written in the reader's zone and language."""
    assert (moment(time, zone, FR), moment(time, zone, EN)) == (french, english)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "a\x00b"])
def test_a_zone_nobody_knows_gives_utc(zone):
    """A wrong time zone in somebody's profile costs no mail: the time is UTC and says so."""
    assert moment("2026-01-31T11:00:00Z", zone, EN) == "January 31, 2026 at\u00a011:00\u202fAM UTC"


def test_percent_and_month():
    """Shares and months follow the language."""
    assert (percent(80, FR), percent(80, EN)) == ("80\u202f%", "80%")
    assert (month("2026-08", FR), month("2026-08", EN)) == ("août\u00a02026", "August\u00a02026")


def test_host():
    """Of a URL people see the host, never what stands before an at sign."""
    assert host("https://user:word@hooks.example.com:8443/a?b") == "hooks.example.com:8443"
    assert host("no url") == "no url"
