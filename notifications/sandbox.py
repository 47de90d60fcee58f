"""Jinja2's sandbox, quick where what is asked for is surely harmless.

The sandbox asks an object for an attribute before it looks whether it has such an item, and then
takes an attribute apart before it hands it out. Half of a mail's names are items of plain dicts,
the others mostly fields of our own frozen values: both are found at once here.
"""

from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from notifications.directory import User
from notifications.events import Event

_FROZEN = frozenset((Event, User))


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for templates that see what other people wrote."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What `{{ obj.attribute }}` is.

        A dict's own items come before its methods: data that has a field `items` shows it.
        """
        kind = type(obj)
        if kind is dict:
            if attribute in obj:
                return obj[attribute]
        elif kind in _FROZEN and attribute in kind.__slots__:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)
