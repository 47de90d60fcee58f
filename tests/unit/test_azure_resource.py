"""How connections of Azure's services are written."""

import pytest

from notifications.azure_resource import read_keyed_in_base64, read_resource

KEY = "c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTAwMDE="


@pytest.mark.parametrize(
    ("text", "endpoint", "key"),
    [
        (f"Endpoint=https://A.azure.com;AccessKey={KEY};Version=1.0;", "https://a.azure.com", KEY),
        (f"endpoint=https://a.azure.com/;accesskey={KEY}", "https://a.azure.com", KEY),
        (f"Endpoint=http://localhost;Port=8888;AccessKey={KEY}", "http://localhost:8888", KEY),
        ("https://a.webpubsub.azure.com/", "https://a.webpubsub.azure.com", None),
    ],
)
def test_what_the_portal_shows_is_taken(text: str, endpoint: str, key: str | None) -> None:
    """Connection strings of each service, and an endpoint alone for a managed identity."""
    resource = read_keyed_in_base64(text)
    assert (resource.endpoint, resource.key) == (endpoint, key)
    assert KEY not in repr(resource)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name.webpubsub.azure.com", "that is no connection"),
        ("http://a.example", "only shown over https"),
        ("https://a.example/path", "scheme and host alone"),
        (f"AccessKey={KEY}", "lacks Endpoint"),
        ("Endpoint=https://a.example", "lacks AccessKey"),
        (f"Endpoint=ftp://a.example;AccessKey={KEY}", "that is no connection"),
        (f"Endpoint=https://a.example;AccessKey={KEY};Port=99999", "no port"),
        (f"Endpoint=https://a.example;SharedAccessKey={KEY}", "that is no connection"),
        (f"Endpoint=https://me:{KEY}@a.example;AccessKey=x", "that is no connection"),
        (f"{KEY};{KEY}", "that is no connection"),
    ],
)
def test_what_is_none_is_told_without_the_key(text: str, says: str) -> None:
    """The message says what is missing and repeats nothing of what may be a key."""
    with pytest.raises(ValueError, match=says) as caught:
        read_resource(text)
    assert KEY not in str(caught.value)


def test_a_key_that_must_be_base64_is_looked_at() -> None:
    """Communication Services signs with what the key stands for, so half a key is found early."""
    with pytest.raises(ValueError, match="not base64"):
        read_keyed_in_base64("Endpoint=https://a.example;AccessKey=not-base64")
