"""The REST API of the built-in socket service: what Web PubSub's own SDKs call.

    POST   /api/hubs/{hub}/:send | :closeConnections | :generateToken
    POST   …/users/{user}/:send | :closeConnections         HEAD …/users/{user}
    PUT, DELETE …/users/{user}/groups/{group}               DELETE …/users/{user}/groups
    POST   …/groups/{group}/:send | :closeConnections       HEAD …/groups/{group}
    GET    …/groups/{group}/connections                     PUT, DELETE …/connections/{connection}
    POST   …/connections/{connection}/:send                 HEAD, DELETE …/connections/{connection}
    DELETE …/connections/{connection}/groups
    HEAD, PUT, DELETE …/permissions/{permission}/connections/{connection}

A user is `<tenant>/<user>`. Clients share groups with their tenant alone; a server names the groups
of all tenants, as it would on Azure. Filters of messages are refused: nothing may reach more
people than it was meant for.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from notifications.channels.realtime.frames import MAX_GROUP_CHARACTERS, Message
from notifications.channels.realtime.groups import JOIN_LEAVE, SEND, Groups
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.errors import InvalidInput

PERMISSIONS = {"sendToGroup": SEND, "joinLeaveGroup": JOIN_LEAVE}

MOST_ON_A_PAGE = 200
_MOST_MINUTES = 24 * 60
_LONGEST_REASON = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a server that may make it.

    Attributes:
        method: Its method.
        place: The path behind the hub, by segments, decoded.
        query: Its parameters.
        origin: Where it came in, e.g. `https://hub.example`.
        path: What was called, as it was written.
        message: Makes what is to be sent out of the body: for a group, or for whom it concerns.
    """

    method: str
    place: Sequence[str]
    query: QueryParams
    origin: str
    path: str
    message: Callable[[str | None], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call is answered with.

    Attributes:
        status: The HTTP status.
        document: A JSON body, or None.
    """

    status: HTTPStatus
    document: dict[str, Any] | None = None


class BadCall(Exception):
    """A call that is wrong: says to whoever writes the server what is."""

    def __init__(self, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        self.status = status
        super().__init__(detail)


_SENT = Answer(status=HTTPStatus.ACCEPTED)
_OK = Answer(status=HTTPStatus.OK)
_DONE = Answer(status=HTTPStatus.NO_CONTENT)
_ABSENT = Answer(status=HTTPStatus.NOT_FOUND)


class ServiceApi:
    """Carries out what servers ask for, on the clients of one kind."""

    def __init__(
        self,
        sockets: Sockets,
        groups: Groups[Session],
        kind: Callable[[Session], bool],
        tokens: ClientTokens | None = None,
    ) -> None:
        """Wire it.

        Args:
            sockets: Who is connected.
            groups: Theirs.
            kind: Which clients this API is about.
            tokens: Makes client tokens, where this API does.
        """
        self._sockets = sockets
        self._groups = groups
        self._kind = kind
        self._tokens = tokens

    def answer(self, call: Call) -> Answer:
        """Do it.

        Raises:
            BadCall: It is wrong.
        """
        match (call.method, *call.place):
            case ("POST", ":generateToken") if self._tokens is not None:
                return self._token(call, self._tokens)
            case ("POST", *where, ":send" | ":closeConnections" as what):
                return self._to_many(call, tuple(where), close=what == ":closeConnections")
            case (_, "users", user, *rest):
                return self._on_user(call, user, tuple(rest))
            case (_, "groups", group, *rest):
                return self._on_group(call, _group(group), tuple(rest))
            case (_, "connections", connection, *rest):
                session = self._connection(connection)
                return _ABSENT if session is None else self._on_connection(call, session, rest)
            case (_, "permissions", permission, "connections", connection):
                session = self._connection(connection)
                return _ABSENT if session is None else _permit(call, session, permission)
        return _ABSENT

    # ----------------------------------------------------------------------- sending, closing

    def _to_many(self, call: Call, where: tuple[str, ...], *, close: bool) -> Answer:
        if "filter" in call.query:
            raise BadCall("filter is not supported by this hub's own sockets")
        excluded = frozenset(call.query.getlist("excluded"))
        group = None
        match where:
            case ():
                found = self._of_kind(self._sockets.everybody())
            case ("users", user):
                found = self._user(user)
            case ("groups", name):
                group = _group(name)
                found = list(self._groups.everywhere(group))
            case ("connections", connection) if not close:
                one = self._connection(connection)
                found = [] if one is None else [one]
            case _:
                return _ABSENT
        meant = [each for each in found if self._sockets.id_of(each) not in excluded]
        if close:
            for each in meant:
                self._sockets.end(each, _reason(call))
            return _DONE
        message = call.message(group)
        for each in meant:
            each.deliver(message)
        return _SENT

    # ----------------------------------------------------------------------- users

    def _on_user(self, call: Call, user: str, rest: tuple[str, ...]) -> Answer:
        found = self._user(user)
        match (call.method, *rest):
            case ("HEAD",):
                return _OK if found else _ABSENT
            case ("PUT", "groups", group):
                for each in found:
                    _enter(each, _group(group))
                return _OK
            case ("DELETE", "groups", group):
                for each in found:
                    each.leave_group(_group(group))
                return _DONE
            case ("DELETE", "groups"):
                for each in found:
                    each.leave()
                return _DONE
        return _ABSENT

    def _user(self, user: str) -> list[Session]:
        # Tenant ids have no slash, so the first one ends the tenant.
        tenant_id, _, user_id = user.partition("/")
        return self._of_kind(self._sockets.of_user(tenant_id, user_id))

    # ----------------------------------------------------------------------- groups

    def _on_group(self, call: Call, group: str, rest: tuple[str, ...]) -> Answer:
        match (call.method, *rest):
            case ("HEAD",):
                return _OK if any(True for _ in self._groups.everywhere(group)) else _ABSENT
            case ("GET", "connections"):
                return self._page(call, group)
            case ("PUT" | "DELETE" as method, "connections", connection):
                session = self._connection(connection)
                if session is None:
                    return _ABSENT
                if method == "PUT":
                    _enter(session, group)
                    return _OK
                session.leave_group(group)
                return _DONE
        return _ABSENT

    def _page(self, call: Call, group: str) -> Answer:
        begin = _whole(call.query, "continuationToken", 0, 0, 1 << 31)
        size = _whole(call.query, "maxpagesize", MOST_ON_A_PAGE, 1, MOST_ON_A_PAGE)
        left = _whole(call.query, "top", (1 << 31) - 1, 1, (1 << 31) - 1)
        members = list(islice(self._groups.everywhere(group), begin, begin + min(size, left) + 1))
        page = members[: min(size, left)]
        document: dict[str, Any] = {
            "value": [
                {"connectionId": self._sockets.id_of(each), "userId": each.claims.subject}
                for each in page
            ]
        }
        if len(members) > len(page) and left > len(page):
            further = {
                name: value for name, value in call.query.items() if name != "continuationToken"
            }
            further["continuationToken"] = str(begin + len(page))
            if "top" in further:
                further["top"] = str(left - len(page))
            document["nextLink"] = f"{call.origin}{call.path}?{urlencode(further)}"
        return Answer(status=HTTPStatus.OK, document=document)

    # ----------------------------------------------------------------------- connections

    def _on_connection(self, call: Call, session: Session, rest: Sequence[str]) -> Answer:
        match (call.method, *rest):
            case ("HEAD",):
                return _OK
            case ("DELETE",):
                self._sockets.end(session, _reason(call))
                return _DONE
            case ("DELETE", "groups"):
                session.leave()
                return _DONE
        return _ABSENT

    def _connection(self, connection_id: str) -> Session | None:
        session = self._sockets.find(connection_id)
        return session if session is not None and self._kind(session) else None

    def _of_kind(self, sessions: Iterable[Session]) -> list[Session]:
        return [each for each in sessions if self._kind(each)]

    def _token(self, call: Call, tokens: ClientTokens) -> Answer:
        tenant_id, slash, user_id = call.query.get("userId", "").partition("/")
        if not slash:
            raise BadCall("userId must be <tenant>/<user>")
        minutes = _whole(call.query, "minutesToExpire", 60, 1, _MOST_MINUTES)
        try:
            access = tokens.issue(
                call.origin,
                tenant_id,
                user_id,
                minutes * 60,
                roles=call.query.getlist("role"),
                groups=call.query.getlist("group"),
            )
            tokens.read(access.token)  # whether it names a user, and would open anything
        except InvalidInput as error:
            raise BadCall(str(error)) from None
        return Answer(status=HTTPStatus.OK, document={"token": access.token})


def _enter(session: Session, group: str) -> None:
    if not session.enter_group(group):
        raise BadCall("that connection is in as many groups as it may be", HTTPStatus.CONFLICT)


def _permit(call: Call, session: Session, permission: str) -> Answer:
    """Show, give or take a permission, for one group or all of them."""
    role = PERMISSIONS.get(permission)
    if role is None:
        raise BadCall(f"a permission is one of {', '.join(PERMISSIONS)}")
    name = call.query.get("targetName")
    named = role if name is None else f"{role}.{_group(name)}"
    claims = session.claims
    match call.method:
        case "HEAD":
            return _OK if named in claims.roles else _ABSENT
        case "PUT":
            session.claims = replace(claims, roles=claims.roles | {named})
            return _OK
        case "DELETE":
            session.claims = replace(claims, roles=claims.roles - {named})
            return _DONE
    return _ABSENT


def _group(name: str) -> str:
    if not name.strip() or len(name) > MAX_GROUP_CHARACTERS:
        raise BadCall(f"a group's name has 1-{MAX_GROUP_CHARACTERS} characters")
    return name


def _reason(call: Call) -> str:
    # A close frame has room for 123 bytes.
    reason = call.query.get("reason", "closed by the application")
    return reason.encode()[:_LONGEST_REASON].decode(errors="ignore")


def _whole(query: QueryParams, name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise BadCall(f"{name} must be a whole number")
    if not least <= int(text) <= most:
        raise BadCall(f"{name} must be between {least} and {most}")
    return int(text)
