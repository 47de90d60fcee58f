"""The `openai` package's client, for one question to one address."""

from collections.abc import Mapping

import httpx2
import openai
from openai._models import FinalRequestOptions

from ai_workers.models.transport import AGENT

_PATH = "chat/completions"


class Client(openai.AsyncOpenAI):
    """Asks for chat completions, with what is given and nothing else.

    The package's own way of building a request merges addresses, headers and parameters of which
    each question's are the same, and costs as much as sending it. Should a release build requests
    elsewhere, its own way is taken, and nothing else changes.
    """

    def __init__(self, *, base_url: str, http_client: httpx2.AsyncClient) -> None:
        """Be ready; keys are given with each question."""
        super().__init__(
            base_url=base_url,
            api_key="given with each request",
            max_retries=0,
            http_client=http_client,
        )
        self._address = httpx2.URL(f"{base_url.rstrip('/')}/{_PATH}")

    async def complete(
        self, body: bytes, headers: Mapping[str, str], timeout: httpx2.Timeout
    ) -> bytes:
        """Send a question; the body of its 2xx.

        Raises:
            openai.APIStatusError: Any other answer.
            openai.APIConnectionError: No answer.
        """
        # The typed method walks through every part of a request that is right already.
        answer = await self.post(
            f"/{_PATH}",
            cast_to=httpx2.Response,
            content=body,
            options={"timeout": timeout, "headers": headers},
        )
        return answer.content

    def _build_request(
        self, options: FinalRequestOptions, *, retries_taken: int = 0
    ) -> httpx2.Request:
        if not isinstance(options.timeout, httpx2.Timeout) or not isinstance(
            options.content, bytes
        ):
            return super()._build_request(options, retries_taken=retries_taken)
        return httpx2.Request(
            "POST",
            self._address,
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "content-type": "application/json",
                "user-agent": AGENT,
                **{name: value for name, value in (options.headers or {}).items() if value},
            },
            content=options.content,
            extensions={"timeout": options.timeout.as_dict()},
        )
