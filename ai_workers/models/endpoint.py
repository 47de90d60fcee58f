"""Where models are, and which to ask."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ai_workers.models.shapes import AudioShape
from notifications.errors import ConfigurationError

_V1 = "/openai/v1/"

TokenProvider = Callable[[], Awaitable[str]]
"""Gives a bearer token, fresh enough to be used at once; caching is its own affair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where models are, and which to ask.

    Attributes:
        url: Of Azure's resource, `https://<resource>.services.ai.azure.com`, or the whole way to
            what speaks OpenAI's protocol, `http://localhost:11434/v1`.
        models: Deployments, by name; the first that is there is asked.
        key: An API key, or None.
        token: For managed identity, instead of a key.
        audio: How sound is sent at first.
        connections: Questions under way at once; more wait.
        longest_s: Seconds after which an answer is not waited for any more, however much time a
            job has: asking anew is likelier to help.
    """

    url: str
    models: Sequence[str]
    key: str | None = field(default=None, repr=False)
    token: TokenProvider | None = field(default=None, repr=False)
    audio: AudioShape = AudioShape.INPUT_AUDIO
    connections: int = 128
    longest_s: float = 120.0

    def __post_init__(self) -> None:
        """See that it can work.

        Raises:
            ConfigurationError: Says what cannot.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("an AI endpoint is an http or https URL")
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigurationError("an AI endpoint's URL has no user, query or fragment")
        if not self.models:
            raise ConfigurationError("an AI endpoint needs the name of at least one model")
        if (self.key is None) == (self.token is None):
            raise ConfigurationError("an AI endpoint takes a key or an identity, one of them")
        if self.key is not None and not (
            self.key and self.key.isascii() and self.key.isprintable() and " " not in self.key
        ):
            raise ConfigurationError("an AI endpoint's key is printable ASCII without spaces")

    @property
    def base_url(self) -> str:
        """Where `chat/completions` is."""
        bare = self.url.rstrip("/")
        return f"{bare}/" if urlsplit(bare).path else bare + _V1
