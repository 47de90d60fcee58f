"""Requests to a node and their answers, over a pair of links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from notifications.door import encoding as put
from notifications.door import sections
from notifications.door.assembling import Sent
from notifications.door.decoding import decode, elements
from notifications.door.faults import DECODE_ERROR, NOT_FOUND, Fault, of
from notifications.door.links import Link
from notifications.door.receiving import Replies

_MESSAGE_ID, _REPLY_TO = 0, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks of a node.

    Attributes:
        id: The request's id as it is encoded: the answer has to carry it with its very type.
        reply_to: Where the answer should go; None where the client leaves that to us.
        properties: The application properties.
        body: The value of the body, None where it has none.
    """

    id: bytes
    reply_to: str | None
    properties: Mapping[str, Any]
    body: Any

    def text(self, name: str) -> str:
        """An application property that is a text; empty where it is missing or something else."""
        value = self.properties.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a node answers.

    Attributes:
        properties: The application properties, encoded.
        body: A value, encoded.
    """

    properties: Mapping[str, bytes] = field(default_factory=dict)
    body: bytes = put.NULL


class Node(Protocol):
    """Something that answers requests."""

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; what goes wrong is said in it."""
        ...


class Requests:
    """Has a node answer what is sent on a link, one after the other.

    Args:
        links: Those of the link's session, by handle: the answer goes out on one of them.
        address: The node's, case-folded.
        node: Answers.
    """

    def __init__(self, links: Mapping[int, Link], address: str, node: Node) -> None:
        self._links = links
        self._address = address
        self._node = node

    async def deal(self, some: Sequence[Sent]) -> Sequence[Fault | None]:
        """Answer requests; for each what was wrong with it, or None."""
        faults: list[Fault | None] = []
        for sent in some:
            try:
                faults.append(await self._one(read(sent.payload)))
            except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
                faults.append(of(error))
        return faults

    async def _one(self, request: Request) -> Fault | None:
        answer = await self._node.answer(request)
        link = self._reply_link(request.reply_to)
        if link is None:
            return Fault(NOT_FOUND, "There is no link that the answer could be sent on.")
        link.answer(write(request.id, answer))
        return None

    def _reply_link(self, reply_to: str | None) -> Replies | None:
        """The link for an answer: as its client says, which the SDKs do in three ways."""
        found = [
            link
            for link in self._links.values()
            if isinstance(link, Replies) and not link.is_over and link.node == self._address
        ]
        if reply_to is not None:
            for named in ("address", "name"):
                for link in found:
                    if getattr(link, named) == reply_to:
                        return link
        return found[-1] if found else None


def read(data: bytes) -> Request:
    """A request out of a message.

    Raises:
        Fault: It is none.
    """
    found = dict(sections.split(data))
    fields, _ = elements(found.get(sections.PROPERTIES, put.EMPTY_LIST), 0)
    if not fields or fields[_MESSAGE_ID] == put.NULL:
        raise Fault(DECODE_ERROR, "A request has a message id.")
    properties = decode(found[sections.APPLICATION])[0] if sections.APPLICATION in found else {}
    reply_to = decode(fields[_REPLY_TO])[0] if len(fields) > _REPLY_TO else None
    if not isinstance(properties, dict):
        raise Fault(DECODE_ERROR, "A request's properties are no map.")
    return Request(
        id=fields[_MESSAGE_ID],
        reply_to=reply_to if isinstance(reply_to, str) else None,
        # One of the SDKs writes names as binaries.
        properties={
            name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name): value
            for name, value in properties.items()
        },
        body=decode(found[sections.VALUE])[0] if sections.VALUE in found else None,
    )


def write(request_id: bytes, answer: Answer) -> bytes:
    """The message that answers a request."""
    properties = put.sequence([*[put.NULL] * 5, request_id])
    return (
        put.described(sections.PROPERTIES, properties)
        + put.described(sections.APPLICATION, put.strings(answer.properties))
        + put.described(sections.VALUE, answer.body)
    )
