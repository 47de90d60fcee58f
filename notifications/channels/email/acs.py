"""A mailer that hands mails to Azure Communication Services, below the account's limits.

Microsoft's SDK is loaded on first use. The service is asked once per attempt and never polled:
what becomes of a mail comes as a report (`http/email_reports`), and polling has limits of its own.
What exceeds the account's pace is `Postponed`: it waits in its lane and costs no attempt.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from notifications.azure_resource import AzureResource
from notifications.channels.email.acs_answers import verdict_of
from notifications.channels.email.message import read_address, read_sender
from notifications.channels.email.smtp_answers import Verdict
from notifications.channels.email.smtp_gate import Gate
from notifications.channels.email.turns import Turns
from notifications.deliveries import TOO_MANY, Delivered, Failed, Outcome, Postponed
from notifications.errors import InvalidInput, StoreUnavailable
from notifications.ids import parse_public_id
from notifications.mailing import MailBudget, MailLimits, mail_guid
from notifications.ports import Clock
from notifications.records import Mail
from notifications.text import one_line, shorten

if TYPE_CHECKING:
    from azure.communication.email.aio import EmailClient

log = logging.getLogger("huntaze")

TIME_LIMIT = 20.0
"""Seconds for one attempt, everything included."""

PACED = "paced"
"""Why a mail waits that exceeds what the account may send."""

REFERENCE = "X-Huntaze-Delivery"
LOCALE = "X-Huntaze-Locale"

_API_VERSION = "2025-09-01"
_KEPT_OF_ERROR = 500


class AcsMailer:
    """Hands mails to the service; implements `ports.Mailer`.

    Use as an async context manager.
    """

    def __init__(
        self,
        resource: AzureResource,
        sender: str,
        clock: Clock,
        budget: MailBudget,
        limits: MailLimits,
        *,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        """Configure; nothing is loaded or opened before the first mail.

        Args:
            resource: The service.
            sender: `notify@example.com` or `Name <notify@example.com>`; the service knows the
                name that goes with an address.
            clock: For turns and pauses.
            budget: What the account may still send.
            limits: What that is made of.
            time_limit: Seconds for one attempt.

        Raises:
            InvalidInput: The sender's address is none.
        """
        _, self._address = read_sender(sender)
        self._clock = clock
        self._budget = budget
        self._turns = Turns(limits.spacing)
        self._gate = Gate(clock)
        self._account = AcsAccount(resource, time_limit=time_limit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._account.close()

    @property
    def waiting(self) -> int:
        """How many mails wait for the account's limits, as far as this process knows."""
        return len(self._turns)

    def trouble(self) -> str | None:
        """See `ports.Mailer.trouble`; mails that wait for the limits show, too."""
        if self._gate.trouble is not None:
            return self._gate.trouble.reason
        return PACED if len(self._turns) else None

    async def send(self, mail: Mail) -> Outcome:
        """See `ports.Mailer.send`."""
        try:
            message = self._message(mail)
        except InvalidInput as error:
            return Failed(reason="invalid-address", retryable=False, detail=str(error))
        return await self._gate.through(lambda: self._paced(mail, message))

    async def _paced(
        self, mail: Mail, message: Mapping[str, Any]
    ) -> Delivered | Postponed | Verdict:
        now = self._clock.now()
        wait = self._turns.wait(mail.operation_id, mail.tenant_id, now)
        if not wait:
            try:
                room_in = await self._budget.draw()
            except StoreUnavailable as error:
                return Postponed(reason=str(error))
            if not room_in:
                self._turns.gone(mail.operation_id)
                return await self._attempt(mail, message)
            wait = self._turns.refused(mail.operation_id, mail.tenant_id, now, now + room_in)
        return Postponed(reason=PACED, again_in=wait)

    async def _attempt(self, mail: Mail, message: Mapping[str, Any]) -> Delivered | Verdict:
        number = parse_public_id(mail.operation_id)
        guid = None if number is None else mail_guid(number, mail.round)
        verdict = await self._account.post(message, guid)
        if isinstance(verdict, Failed) and verdict.throttled:
            # Others draw from the same account: what it was told holds for all of them.
            with contextlib.suppress(StoreUnavailable):
                await self._budget.hold(verdict.retry_after or TOO_MANY)
        return verdict

    def _message(self, mail: Mail) -> dict[str, Any]:
        to: dict[str, str] = {"address": read_address(mail.to, "/to", international=True)}
        if mail.to_name and (name := one_line(mail.to_name)):
            to["displayName"] = name
        return {
            "senderAddress": self._address,
            "recipients": {"to": [to]},
            "content": {
                "subject": one_line(mail.subject),
                "plainText": mail.text,
                "html": mail.html,
            },
            # Names that begin with X- alone: the service reserves some of the others.
            "headers": {REFERENCE: one_line(mail.operation_id), LOCALE: one_line(mail.locale)},
            "userEngagementTrackingDisabled": True,
        }


class AcsAccount:
    """The service as Microsoft's SDK reaches it, which is loaded with the first call."""

    def __init__(self, resource: AzureResource, *, time_limit: float = TIME_LIMIT) -> None:
        self._resource = resource
        self._time_limit = time_limit
        self._loading = asyncio.Lock()
        self._client: EmailClient | None = None
        self._credential: Any = None

    async def post(self, message: Mapping[str, Any], guid: str | None) -> Delivered | Verdict:
        """Send one mail, once; what the service says of it."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            async with asyncio.timeout(self._time_limit):
                client = await self._opened()
                await client.begin_send(dict(message), operation_id=guid, polling=False)
        except TimeoutError:
            return self._too_slow()
        except HttpResponseError as error:
            if error.response is None or error.status_code is None:
                return _unreached(error)
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            return verdict_of(error.status_code, headers.get("retry-after"), _body_of(error))
        except AzureError as error:
            return _unreached(error)
        return Delivered(status=202, detail=guid)

    async def examine(self) -> Delivered | Verdict:
        """Whether the service answers and takes our key: asks for a mail that there is not.

        Counts against the limits of asking, not against those of sending.
        """
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        try:
            async with asyncio.timeout(self._time_limit):
                client = await self._opened()
                path = f"/emails/operations/{mail_guid(0, 0)}?api-version={_API_VERSION}"
                answer = await client.send_request(HttpRequest("GET", path))
                await answer.read()
        except TimeoutError:
            return self._too_slow()
        except AzureError as error:
            return _unreached(error)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return Delivered(status=answer.status_code)
        return verdict_of(answer.status_code, None, answer.content)

    async def close(self) -> None:
        """Close the connections."""
        for each in (self._client, self._credential):
            if each is not None:
                await each.close()
        self._client = self._credential = None

    def _too_slow(self) -> Failed:
        return Failed(reason="timeout", detail=f"no answer within {self._time_limit:g} s")

    async def _opened(self) -> "EmailClient":
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
            return self._client

    def _make(self) -> "EmailClient":
        from azure.communication.email.aio import EmailClient

        credential = self._make_credential()
        if self._resource.key is None:
            self._credential = credential  # it has connections of its own to close
        # Retries are the hub's: each costs a draw, and waits in the lane.
        return EmailClient(self._resource.endpoint, credential, retry_total=0)

    def _make_credential(self) -> Any:
        if self._resource.key is not None:
            from azure.core.credentials import AzureKeyCredential

            return AzureKeyCredential(self._resource.key)
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential()


async def examine_account(resource: AzureResource) -> Delivered | Verdict:
    """Whether a resource answers and takes our key; sends nothing."""
    account = AcsAccount(resource)
    try:
        return await account.examine()
    finally:
        await account.close()


def _body_of(error: Any) -> bytes:
    try:
        return bytes(error.response.body())
    except Exception:  # noqa: BLE001 - an answer that was not read whole has none
        return str(error).encode(errors="replace")


def _unreached(error: Exception) -> Failed:
    detail = shorten(one_line(str(error) or type(error).__name__), _KEPT_OF_ERROR)
    return Failed(reason="connection", detail=detail)
