"""The management API's requests and what they are answered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

import orjson

from notifications.broker import NamedRule
from notifications.door import sas
from notifications.door.admin import reading, writing, xml
from notifications.door.admin.http import Request, Response
from notifications.door.admin.places import Place, bounds, page_of, place_of, url_of
from notifications.entities import Changes, Shown, Standing, SubscriptionEntity, TopicEntity
from notifications.errors import (
    Conflict,
    HuntazeError,
    InvalidInput,
    NotAllowed,
    NotFound,
    OverLimit,
    Unavailable,
)
from notifications.ports import Clock

_RESOURCES, _NAMESPACE, _HEALTH = "$resources", "$namespaceinfo", "/health"

_STATUS: Sequence[tuple[type[HuntazeError], HTTPStatus, str]] = (
    (sas.Refused, HTTPStatus.UNAUTHORIZED, ""),
    (InvalidInput, HTTPStatus.BAD_REQUEST, "SubCode=40000. "),
    (NotFound, HTTPStatus.NOT_FOUND, "SubCode=40400. "),
    (Conflict, HTTPStatus.CONFLICT, "SubCode=40900. "),
    # The SDKs tell this from a quota that is used up by the number alone.
    (NotAllowed, HTTPStatus.FORBIDDEN, "SubCode=40301. "),
    (OverLimit, HTTPStatus.FORBIDDEN, "Quota exceeded: "),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "SubCode=50004. "),
)
"""What each error is over HTTP, and what its detail begins with."""


class Administration:
    """Answers requests.

    Args:
        shown: What there is.
        changes: What can be changed, or why not.
        clock: Says whether a token has expired.
        keys: Shared access keys by the names of their policies.
    """

    def __init__(
        self, shown: Shown, changes: Changes, *, clock: Clock, keys: Mapping[str, str]
    ) -> None:
        self._shown = shown
        self._changes = changes
        self._clock = clock
        self._keys = keys

    async def answer(self, request: Request) -> Response:
        """What a request is answered."""
        if request.path == _HEALTH:
            return _health()
        try:
            token = request.headers.get("authorization", "")
            path = sas.path_of(request.path)
            # Lists and the namespace are the whole namespace's.
            wanted = "" if path.startswith("$") else path
            sas.check(token, self._keys, self._clock.wall().timestamp(), path=wanted)
            return await self._authorized(request)
        except HuntazeError as error:
            for kind, status, prefix in _STATUS:
                if isinstance(error, kind):
                    return _answer(status, writing.error_xml(status, f"{prefix}{error}"))
            raise

    async def _authorized(self, request: Request) -> Response:
        parts = [part for part in request.path.split("/") if part]
        head = parts[0].casefold() if parts else ""
        if request.method == "GET" and head == _NAMESPACE:
            content = writing.namespace_xml(self._clock.now())
            return self._entry(request, "huntaze-door", content, _NAMESPACE)
        if request.method == "GET" and head == _RESOURCES and len(parts) > 1:
            return await self._resources(request, parts[1].casefold())
        place = place_of(parts)
        if place.listing == "subscriptions" and request.method == "GET":
            return await self._subscriptions(request, place)
        if place.listing == "rules" and request.method == "GET":
            return await self._rules(request, place)
        act = {"GET": self._get, "PUT": self._put, "DELETE": self._delete}.get(request.method)
        if act is None or place.listing is not None:
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, writing.error_xml(405, "not here"))
        return await act(request, place)

    # ---------------------------------------------------------------- lists

    async def _resources(self, request: Request, kind: str) -> Response:
        if kind == "queues":
            return self._feed(request, "Queues", [], False)
        if kind != "topics":
            raise NotFound(f"there is no list of {kind!r}")
        page, more = page_of(request, self._shown.topics())
        entries = [
            self._entry_xml(
                request, each.entity.name, await self._topic_xml(each), each.entity.name
            )
            for each in page
        ]
        return self._feed(request, "Topics", entries, more)

    async def _subscriptions(self, request: Request, place: Place) -> Response:
        page, more = page_of(request, self._shown.subscriptions(place.topic))
        entries = [
            self._entry_xml(
                request,
                each.entity.name,
                await self._subscription_xml(each),
                replace(place, subscription=each.entity.name).path,
            )
            for each in page
        ]
        return self._feed(request, "Subscriptions", entries, more)

    async def _rules(self, request: Request, place: Place) -> Response:
        created = self._subscription(place).created_at
        rules = await self._shown.rules(place.subscription_path).all()
        page, more = page_of(request, rules)
        entries = [
            self._entry_xml(
                request,
                each.name,
                writing.rule_xml(each, created),
                replace(place, rule=each.name).path,
            )
            for each in page
        ]
        return self._feed(request, "Rules", entries, more)

    # ---------------------------------------------------------------- one of them

    async def _get(self, request: Request, place: Place) -> Response:
        if place.rule is not None:
            created = self._subscription(place).created_at
            content = writing.rule_xml(await self._rule(place), created)
            return self._entry(request, place.rule, content, place.path)
        if place.subscription is not None:
            found = self._subscription(place)
            content = await self._subscription_xml(found)
            return self._entry(request, found.entity.name, content, place.path)
        topic = self._topic(place)
        content = await self._topic_xml(topic)
        return self._entry(request, topic.entity.name, content, place.path)

    async def _put(self, request: Request, place: Place) -> Response:
        document = xml.read(request.body)
        replaces = "if-match" in request.headers
        if place.rule is not None:
            await self._put_rule(place, document, replaces=replaces)
        elif place.subscription is not None:
            found = reading.description(document, "SubscriptionDescription")
            entity = reading.subscription(place.topic, place.subscription, found)
            first = found.child("DefaultRuleDescription")
            name = (first.value("Name") if first else None) or "$Default"
            rules = [reading.rule(name, first)] if first and first.children else None
            await (
                self._changes.update(entity) if replaces else self._changes.create(entity, rules)
            )
        else:
            entity_of_topic = reading.topic(
                place.topic, reading.description(document, "TopicDescription")
            )
            await (
                self._changes.update(entity_of_topic)
                if replaces
                else self._changes.create(entity_of_topic)
            )
        done = await self._get(request, place)
        status = HTTPStatus.OK if replaces else HTTPStatus.CREATED
        return Response(status=status, body=done.body)

    async def _put_rule(self, place: Place, document: xml.Element, *, replaces: bool) -> None:
        assert place.rule is not None
        rule = reading.rule(place.rule, reading.description(document, "RuleDescription"))
        self._subscription(place)
        if replaces:
            await self._changes.replace(place.subscription_path, rule)
        else:
            await self._shown.rules(place.subscription_path).add(rule)

    async def _delete(self, _request: Request, place: Place) -> Response:
        if place.rule is not None:
            await self._shown.rules(place.subscription_path).remove(place.rule)
        elif place.subscription is not None:
            await self._changes.delete(place.subscription_path)
        else:
            await self._changes.delete(place.topic)
        return Response(status=HTTPStatus.OK)

    # ---------------------------------------------------------------- finding and describing

    def _topic(self, place: Place) -> Standing[TopicEntity]:
        name = place.topic.casefold()
        for each in self._shown.topics():
            if each.entity.path == name:
                return each
        raise NotFound(f"there is no topic {place.topic!r}")

    def _subscription(self, place: Place) -> Standing[SubscriptionEntity]:
        path = place.subscription_path.casefold()
        for each in self._shown.subscriptions(place.topic):
            if each.entity.path == path:
                return each
        raise NotFound(f"there is no subscription {place.subscription_path!r}")

    async def _rule(self, place: Place) -> NamedRule:
        name = (place.rule or "").casefold()
        for each in await self._shown.rules(place.subscription_path).all():
            if each.name.casefold() == name:
                return each
        raise NotFound(f"the subscription {place.subscription!r} has no rule {place.rule!r}")

    async def _topic_xml(self, found: Standing[TopicEntity]) -> str:
        holding = await self._shown.holding(found.entity.path)
        number = len(self._shown.subscriptions(found.entity.path))
        return writing.topic_xml(found, holding, number)

    async def _subscription_xml(self, found: Standing[SubscriptionEntity]) -> str:
        return writing.subscription_xml(found, await self._shown.holding(found.entity.path))

    # ---------------------------------------------------------------- answers

    def _entry(self, request: Request, title: str, content: str, path: str) -> Response:
        return _answer(HTTPStatus.OK, self._entry_xml(request, title, content, path))

    def _entry_xml(self, request: Request, title: str, content: str, path: str) -> str:
        return writing.entry_xml(url_of(request, f"/{path}"), title, content, self._clock.now())

    def _feed(self, request: Request, title: str, entries: Sequence[str], more: bool) -> Response:
        following = None
        if more:
            skip, top = bounds(request)
            following = f"{url_of(request)}?$skip={skip + top}&$top={top}"
        found = writing.feed_xml(url_of(request), title, entries, self._clock.now(), following)
        return _answer(HTTPStatus.OK, found)


def _answer(status: HTTPStatus, body: str) -> Response:
    return Response(status=status, body=body.encode())


def _health() -> Response:
    found = orjson.dumps({"status": "healthy", "message": "Service is healthy."})
    return Response(status=HTTPStatus.OK, body=found, content_type="application/json")
