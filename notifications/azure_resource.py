"""Where an Azure service is, and what it is shown: the form of `HUNTAZE_…_CONNECTION`. Pure.

    Endpoint=https://name.webpubsub.azure.com;AccessKey=…;Version=1.0;      a connection string
    https://name.webpubsub.azure.com                                       managed identity

No error repeats what was read: in a connection string that is read wrong the key may be anywhere.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_FORM = (
    "that is no connection: write Endpoint=https://…;AccessKey=…, as the Azure portal shows it,"
    " or https://… alone for the machine's managed identity"
)
_SHORTEST_KEY = 32
_KNOWN = frozenset(("endpoint", "accesskey", "version", "port"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureResource:
    """One resource of an Azure service.

    Attributes:
        endpoint: `https://host` or, on a machine of one's own, `http://host:port`; no slash behind.
        key: Its access key; None where the machine's managed identity is shown.
    """

    endpoint: str
    key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """What people know it by."""
        return urlsplit(self.endpoint).netloc


def read_resource(text: str, *, path: bool = False) -> AzureResource:
    """The resource that a connection string or an endpoint describes.

    Args:
        text: A connection string, or an endpoint.
        path: Take an endpoint that is more than scheme and host.

    Raises:
        ValueError: What is wrong and what would be right, to follow the variable's name.
    """
    if "=" not in text.partition("?")[0]:
        endpoint = _endpoint(text, port=None, path=path)
        if not endpoint.startswith("https://"):
            raise ValueError("a managed identity is only shown over https://; write https://…")
        return AzureResource(endpoint=endpoint)
    parts = _parts(text)
    if not parts.get("endpoint"):
        raise ValueError(f"the connection string lacks Endpoint; {_FORM}")
    if not parts.get("accesskey"):
        raise ValueError(f"the connection string lacks AccessKey; {_FORM}")
    endpoint = _endpoint(parts["endpoint"], port=parts.get("port"), path=path)
    return AzureResource(endpoint=endpoint, key=parts["accesskey"])


def read_keyed_in_base64(text: str) -> AzureResource:
    """The same for a service whose keys are base64, as those of Communication Services are."""
    resource = read_resource(text)
    if resource.key is not None:
        try:
            base64.b64decode(resource.key, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("its AccessKey is not base64: copy the whole key") from None
    return resource


def read_signalr(text: str) -> AzureResource:
    """The same for SignalR Service, whose built-in counterpart is not at the root: a path counts.

    Its key signs tokens, so a short one is none.
    """
    resource = read_resource(text, path=True)
    if resource.key is not None and len(resource.key) < _SHORTEST_KEY:
        raise ValueError(f"its AccessKey has fewer than {_SHORTEST_KEY} characters: copy all of it")
    return resource


def _parts(text: str) -> Mapping[str, str]:
    parts = {}
    for segment in text.split(";"):
        name, equals, value = segment.strip().partition("=")
        if not name:
            continue
        if not equals or name.lower() not in _KNOWN:
            raise ValueError(_FORM)
        parts[name.lower()] = value.strip()
    return parts


def _endpoint(text: str, *, port: str | None, path: bool) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or not text.isprintable() or " " in text or "@" in parts.netloc:
        raise ValueError(_FORM)
    if (parts.path.strip("/") and not path) or parts.query or parts.fragment:
        raise ValueError("the endpoint is scheme and host alone, such as https://name.example.com")
    behind = parts.path.rstrip("/")
    if port is None:
        return f"{parts.scheme}://{parts.netloc.lower()}{behind}"
    if not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise ValueError("its Port is no port: a number between 1 and 65535")
    return f"{parts.scheme}://{parts.netloc.lower()}:{port}{behind}"
