"""The machine's identity, which Azure's endpoints take instead of a key."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

_HOSTS = (".services.ai.azure.com", ".openai.azure.com", ".cognitiveservices.azure.com")
_RESOURCE = "https://cognitiveservices.azure.com/.default"
_PROJECT = "https://ai.azure.com/.default"
"""What a token is for: a resource's endpoint, or that of a project in it."""


def is_azures(url: str) -> bool:
    """Whether a token for Azure may be shown there: to nobody else, and never in the clear."""
    parts = urlsplit(url)
    return parts.scheme == "https" and (parts.hostname or "").endswith(_HOSTS)


class MachineIdentity:
    """Gives tokens for one endpoint. `azure-identity` is loaded for the first. Close it when done.

    Which identity that is, the machine says: a managed one, the variables that `azure-identity`
    reads, or who is signed in with Azure's command line.
    """

    def __init__(self, url: str) -> None:
        """Be ready; `url` is the endpoint's."""
        self._scope = _PROJECT if "/api/projects/" in urlsplit(url).path else _RESOURCE
        self._credential: Any = None
        self._give: Callable[[], Awaitable[str]] | None = None

    async def token(self) -> str:
        """A bearer token; the one of last time while it is good.

        Raises:
            Exception: There is none; whatever `azure-identity` says.
        """
        if self._give is None:
            # A second of loading and reading, beside the event loop.
            identity = await asyncio.to_thread(_load)
            if self._give is None:
                self._credential = identity.DefaultAzureCredential()
                self._give = identity.get_bearer_token_provider(self._credential, self._scope)
        return await self._give()

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._credential is not None:
            await self._credential.close()


def _load() -> Any:
    # It tells of every identity that a machine does not have.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    import azure.identity.aio

    return azure.identity.aio
