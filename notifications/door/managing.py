"""The node `$management` of an entity: what clients ask of it beside sending and receiving."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from notifications.broker import Defer, End, Item
from notifications.door import encoding as put
from notifications.door import sections
from notifications.door.faults import (
    ALREADY_EXISTS,
    ARGUMENT,
    LOCK_IS_LOST,
    LOCK_LOST,
    MESSAGE_NOT_FOUND,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    RESOURCE_LIMIT,
    SERVER_BUSY,
    Fault,
    of,
)
from notifications.door.publishing import read_message
from notifications.door.requests import Answer, Request
from notifications.door.rules import described_rule, named_rule
from notifications.door.world import World
from notifications.errors import NotFound
from notifications.messages import Abandon, Complete, DeadLetter

_PREFIX = "com.microsoft:"
_OK, _NO_CONTENT = 200, 204
_STATUS = {
    ARGUMENT: 400,
    NOT_FOUND: 404,
    MESSAGE_NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    LOCK_LOST: 410,
    NOT_ALLOWED: 403,
    RESOURCE_LIMIT: 403,
    NOT_IMPLEMENTED: 501,
    SERVER_BUSY: 503,
}
_MAX_REASON = 4096

Body = Mapping[str, Any]


class Manager:
    """Answers what is asked about one entity: a topic, a subscription, or its dead letters."""

    def __init__(self, world: World, path: str) -> None:
        self._world = world
        self._path = path
        self._operations: dict[str, Callable[[Body], Awaitable[bytes | None]]] = {
            "renew-lock": self._renew,
            "peek-message": self._peek,
            "receive-by-sequence-number": self._deferred,
            "update-disposition": self._settle,
            "schedule-message": self._schedule,
            "cancel-scheduled-message": self._cancel,
            "add-rule": self._add_rule,
            "remove-rule": self._remove_rule,
            "enumerate-rules": self._rules,
        }

    async def answer(self, request: Request) -> Answer:
        """Do what is asked, or say why not."""
        try:
            body = await self._do(request.text("operation"), request.body)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            return _failed(of(error))
        if body is None:
            return _said(_NO_CONTENT, "No Content", put.mapping(()))
        return _said(_OK, "OK", body)

    async def _do(self, name: str, body: Any) -> bytes | None:
        operation = self._operations.get(name.removeprefix(_PREFIX))
        if operation is None or not name.startswith(_PREFIX):
            raise Fault(NOT_IMPLEMENTED, f"The operation '{name[:100]}' is not supported.")
        if not isinstance(body, dict):
            raise Fault(ARGUMENT, "The request's body has to be a map.")
        return await operation({str(key): value for key, value in body.items()})

    # ----------------------------------------------------------------- locks

    async def _renew(self, body: Body) -> bytes:
        outlet = self._world.broker.outlet(self._path)
        until = []
        for token in self._list(body, "lock-tokens", UUID):
            held = await outlet.renew(token)
            if held is None:
                raise Fault(LOCK_LOST, LOCK_IS_LOST)
            until.append(put.timestamp(held))
        return put.strings({"expirations": put.array(0x83, until)})

    async def _settle(self, body: Body) -> bytes:
        outlet = self._world.broker.outlet(self._path)
        end = _end_of(body)
        tokens = self._list(body, "lock-tokens", UUID)
        if not all(await outlet.settle([(token, end) for token in tokens])):
            raise Fault(LOCK_LOST, LOCK_IS_LOST)
        return put.mapping(())

    # ----------------------------------------------------------------- looking and asking for

    async def _peek(self, body: Body) -> bytes | None:
        begin, count = _integer(body, "from-sequence-number"), _integer(body, "message-count")
        if count < 1:
            raise Fault(ARGUMENT, "message-count has to be 1 at least.")
        peekable = self._world.broker.peekable(self._path)
        items = await peekable.peek(after=begin - 1, limit=min(count, self._world.limits.peeked))
        if not items:
            return None
        shown, size = [], 0
        for item in items:
            shown.append(put.strings({"message": put.binary(sections.write(item))}))
            size += len(shown[-1])
            if size >= self._world.limits.peeked_bytes:
                break
        return put.strings({"messages": put.sequence(shown)})

    async def _deferred(self, body: Body) -> bytes:
        lock = _integer(body, "receiver-settle-mode", default=1) == 1
        numbers = self._list(body, "sequence-numbers", int)
        outlet = self._world.broker.outlet(self._path)
        try:
            items = await outlet.deferred(numbers, lock=lock)
        except NotFound as error:
            raise Fault(MESSAGE_NOT_FOUND, str(error)) from error
        return put.strings({"messages": put.sequence([_handed_out(item) for item in items])})

    # ----------------------------------------------------------------- scheduling

    async def _schedule(self, body: Body) -> bytes:
        inlet = self._world.broker.inlet(self._path)
        messages = []
        most = self._world.limits.batch_messages
        for entry in self._list(body, "messages", dict, most):
            encoded = entry.get("message")
            if not isinstance(encoded, bytes):
                raise Fault(ARGUMENT, "A scheduled message has to be a binary.")
            messages.append(read_message(self._world, encoded))
        numbers = await inlet.send(messages)
        encoded_numbers = put.array(0x81, [put.long(number) for number in numbers])
        return put.strings({"sequence-numbers": encoded_numbers})

    async def _cancel(self, body: Body) -> bytes:
        inlet = self._world.broker.inlet(self._path)
        try:
            most = self._world.limits.batch_messages
            await inlet.cancel(self._list(body, "sequence-numbers", int, most))
        except NotFound as error:
            raise Fault(MESSAGE_NOT_FOUND, str(error)) from error
        return put.mapping(())

    # ----------------------------------------------------------------- rules

    async def _add_rule(self, body: Body) -> bytes:
        await self._world.broker.rules(self._path).add(named_rule(body))
        return put.mapping(())

    async def _remove_rule(self, body: Body) -> bytes:
        name = body.get("rule-name")
        if not isinstance(name, str):
            raise Fault(ARGUMENT, "rule-name has to be a string.")
        await self._world.broker.rules(self._path).remove(str(name))
        return put.mapping(())

    async def _rules(self, body: Body) -> bytes | None:
        skip, top = _integer(body, "skip", default=0), _integer(body, "top", default=100)
        if skip < 0 or top < 1:
            raise Fault(ARGUMENT, "skip has to be 0 at least, top 1.")
        found = list(await self._world.broker.rules(self._path).all())[skip : skip + top]
        if not found:
            return None
        listed = [put.strings({"rule-description": described_rule(rule)}) for rule in found]
        return put.strings({"rules": put.sequence(listed)})

    def _list(self, body: Body, name: str, kind: type, most: int | None = None) -> Sequence[Any]:
        found = body.get(name)
        most = most or self._world.limits.peeked
        if not isinstance(found, list | tuple) or not found or len(found) > most:
            raise Fault(ARGUMENT, f"{name} has to be a list of 1 to {most}.")
        if not all(isinstance(one, kind) for one in found):
            raise Fault(ARGUMENT, f"{name} holds something of another type.")
        if kind is int and not all(0 <= one < 2**63 for one in found):
            raise Fault(ARGUMENT, f"{name} holds a number that there cannot be.")
        return found


def _end_of(body: Body) -> End:
    status = body.get("disposition-status")
    if status == "completed":
        return Complete()
    if status == "abandoned":
        return Abandon()
    if status == "defered":  # spelt like this on the wire
        return Defer()
    if status != "suspended":
        raise Fault(ARGUMENT, f"disposition-status is none: '{str(status)[:100]}'.")
    reason, description = body.get("deadletter-reason"), body.get("deadletter-description")
    return DeadLetter(str(reason or "")[:_MAX_REASON], str(description or "")[:_MAX_REASON])


def _handed_out(item: Item) -> bytes:
    message = put.binary(sections.write(item))
    if item.token is None:
        return put.strings({"message": message})
    return put.strings({"lock-token": put.uuid(item.token), "message": message})


def _integer(body: Body, name: str, *, default: int | None = None) -> int:
    found = body.get(name, default)
    if type(found) is not int or not 0 <= found < 2**63:
        raise Fault(ARGUMENT, f"{name} has to be an integer from 0 to 2^63 - 1.")
    return found


def _said(status: int, description: str, body: bytes, **more: bytes) -> Answer:
    properties = {
        "statusCode": put.int32(status),
        "statusDescription": put.string(description),
        **more,
    }
    return Answer(properties=properties, body=body)


def _failed(fault: Fault) -> Answer:
    return _said(
        _STATUS.get(fault.condition, 500),
        fault.description,
        put.mapping(()),
        errorCondition=put.symbol(fault.condition),
    )
