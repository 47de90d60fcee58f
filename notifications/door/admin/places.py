"""What the paths and queries of the management API name. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from notifications.door.admin.http import Request
from notifications.errors import (
    FieldError,
    InvalidInput,
    NotFound,
)

T = TypeVar("T")

PAGE = 100
"""Entries of a page at most, and where nothing is said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a path names: a topic, of it a subscription, of that a rule; or a list of them."""

    topic: str
    subscription: str | None = None
    rule: str | None = None
    listing: str | None = None

    @property
    def subscription_path(self) -> str:
        """Of the subscription, or of the one that its rules are of."""
        return f"{self.topic}/Subscriptions/{self.subscription}"

    @property
    def path(self) -> str:
        """As the service writes it: the JavaScript client takes its names from there."""
        if self.subscription is None:
            return self.topic
        rule = "" if self.rule is None else f"/Rules/{self.rule}"
        return self.subscription_path + rule


def place_of(parts: Sequence[str]) -> Place:
    """What a path names.

    Raises:
        NotFound: Nothing can be there.
    """
    folded = [part.casefold() for part in parts]
    if len(parts) > 1 and folded[1] != "subscriptions":
        raise NotFound(f"there is nothing at {'/'.join(parts)!r}")
    match len(parts):
        case 1:
            return Place(topic=parts[0])
        case 2:
            return Place(topic=parts[0], listing="subscriptions")
        case 3:
            return Place(topic=parts[0], subscription=parts[2])
        case 4 if folded[3] == "rules":
            return Place(topic=parts[0], subscription=parts[2], listing="rules")
        case 5 if folded[3] == "rules":
            return Place(topic=parts[0], subscription=parts[2], rule=parts[4])
    raise NotFound(f"there is nothing at {'/'.join(parts)!r}")


def bounds(request: Request) -> tuple[int, int]:
    """How many entries to skip, and how many to show.

    Raises:
        InvalidInput: One is no number.
    """
    found = []
    for name, otherwise, least in (("$skip", 0, 0), ("$top", PAGE, 1)):
        text = request.query.get(name, str(otherwise))
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= least):
            raise InvalidInput([FieldError(f"/{name}", "is no number")])
        found.append(int(text))
    return found[0], min(found[1], PAGE)


def page_of(request: Request, items: Sequence[T]) -> tuple[Sequence[T], bool]:
    """The entries that a request asks for; and whether there are more."""
    skip, top = bounds(request)
    return items[skip : skip + top], len(items) > skip + top


def url_of(request: Request, path: str | None = None) -> str:
    """Where a client finds it; the path of the request where none is given."""
    return f"https://{request.headers.get('host', 'localhost')}{quote(path or request.path)}"
