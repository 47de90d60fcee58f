"""Which link a client gets for what it asks for."""

from collections.abc import Mapping

from notifications.door import performatives as kind
from notifications.door.authorizing import Authorizer
from notifications.door.channel import Channel
from notifications.door.faults import (
    INVALID_FIELD,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    UNAUTHORIZED,
    Fault,
)
from notifications.door.links import Incoming, Link
from notifications.door.managing import Manager
from notifications.door.publishing import Publisher
from notifications.door.receiving import Outgoing, Replies
from notifications.door.requests import Requests
from notifications.door.sas import path_of, plain_path

CBS = "$cbs"
_MANAGEMENT = "/$management"
_SESSION_FILTER = "com.microsoft:session-filter"
_SETTLED = 1
_LONGEST_NAME = 1024


def attach(channel: Channel, asked: kind.Attach, links: Mapping[int, Link]) -> Link:
    """The link that a client asks for, in a session that has others.

    Raises:
        Fault: It does not get it: why.
        HuntazeError: From the broker, e.g. that there is no such entity.
    """
    ours = _ends(asked)
    try:
        path = plain_path(ours.address or "")
        needs = path_of(path)
    except ValueError:
        raise Fault(INVALID_FIELD, "The address is no URI.") from None
    if needs == CBS:
        if asked.receiver:
            return Replies(channel, asked, None, node=CBS)
        return Incoming(channel, asked, None, Requests(links, CBS, Authorizer(channel.client)).deal)
    if not channel.client.allows(needs):
        raise Fault(
            UNAUTHORIZED,
            f"Unauthorized access to '{path}': no token for it was put to $cbs on this connection.",
        )
    if needs.endswith(_MANAGEMENT):
        return _management(channel, asked, path[: -len(_MANAGEMENT)], needs, links)
    if not asked.receiver:
        inlet = channel.world.broker.inlet(path)
        return Incoming(channel, asked, needs, Publisher(channel.world, inlet).deal)
    if any(_SESSION_FILTER in str(name) for name in ours.filters):
        raise Fault(
            NOT_ALLOWED,
            "It is not possible for an entity that doesn't require sessions to create a sessionful"
            " message receiver: sessions are not supported here.",
        )
    outlet = channel.world.broker.outlet(path)
    return Outgoing(channel, asked, needs, outlet, lock=asked.sender_settles != _SETTLED)


def _ends(asked: kind.Attach) -> kind.Terminus:
    """The end of the link that is ours."""
    if asked.target and asked.target.coordinator:
        raise Fault(NOT_IMPLEMENTED, "Transactions are not supported.")
    if asked.source is None or asked.target is None:
        raise Fault(INVALID_FIELD, "A link has a source and a target.")
    ours = asked.source if asked.receiver else asked.target
    names = (asked.name, asked.source.address or "", asked.target.address or "")
    if max(map(len, names)) > _LONGEST_NAME:
        raise Fault(INVALID_FIELD, f"Names and addresses have at most {_LONGEST_NAME} characters.")
    if ours.dynamic:
        raise Fault(NOT_IMPLEMENTED, "Addresses are not made up here.")
    if not ours.address:
        raise Fault(INVALID_FIELD, "The link names no entity.")
    return ours


def _management(
    channel: Channel, asked: kind.Attach, entity: str, needs: str, links: Mapping[int, Link]
) -> Link:
    channel.world.broker.peekable(entity)  # raises where there is nothing
    if asked.receiver:
        return Replies(channel, asked, needs, node=needs)
    manager = Manager(channel.world, entity)
    return Incoming(channel, asked, needs, Requests(links, needs, manager).deal)
