"""Bicep's expressions: what they come to, for a file whose parameters and resources are known.

Enough of the language for the files of `infra/`. A function or an operator that is not known here
is an error, and not a value.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tree_sitter

from tests.bicep_files import plain_string, text_of

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/hub"

Local = Mapping[str, Any]
"""The variables of the loops that an expression stands in."""


class Refused(Exception):
    """The template itself ends the deployment: a parameter may not be so, or nothing is there."""


class Reference(ABC):
    """A resource that an expression names."""

    @abstractmethod
    def at(self, path: str) -> Any:
        """A property of it."""

    @abstractmethod
    def element(self, place: int) -> "Reference":
        """One of those that a loop makes."""


class Expressions(ABC):
    """The expressions of one file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def named(self, name: str) -> Any:
        """A parameter, variable, resource or module."""

    def value_at(self, node: tree_sitter.Node, local: Local) -> Any:
        """What an expression comes to.

        Raises:
            NotImplementedError: It is of a kind that is not known here.
        """
        reads = getattr(self, f"_{node.type}", None)
        if reads is None:
            raise NotImplementedError(f"{node.type}: {text_of(node)}")
        return reads(node, local)

    def rounds(
        self, loop: tree_sitter.Node, over: tree_sitter.Node, outer: Local
    ) -> Iterator[dict[str, Any]]:
        """The variables of each round of a loop: the element and, if asked for, its place."""
        names = [text_of(each) for each in loop.named_children] or [text_of(loop)]
        for place, each in enumerate(self.value_at(over, outer)):
            yield {**outer, **dict(zip(names, (each, place), strict=False))}

    def _number(self, node: tree_sitter.Node, _: Local) -> int:
        return int(text_of(node))

    def _boolean(self, node: tree_sitter.Node, _: Local) -> bool:
        return text_of(node) == "true"

    def _null(self, _node: tree_sitter.Node, _: Local) -> None:
        return None

    def _identifier(self, node: tree_sitter.Node, local: Local) -> Any:
        name = text_of(node)
        return local[name] if name in local else self.named(name)

    def _array(self, node: tree_sitter.Node, local: Local) -> list[Any]:
        return [
            self.value_at(each, local) for each in node.named_children if each.type != "comment"
        ]

    def _object(self, node: tree_sitter.Node, local: Local) -> dict[str, Any]:
        pairs = [each.named_children for each in node.named_children if each.type != "comment"]
        return {self._key(key, local): self.value_at(value, local) for key, *_, value in pairs}

    def _parenthesized_expression(self, node: tree_sitter.Node, local: Local) -> Any:
        return self.value_at(node.named_children[0], local)

    def _for_statement(self, node: tree_sitter.Node, local: Local) -> list[Any]:
        loop, over, each = node.named_children[:3]
        return [self.value_at(each, found) for found in self.rounds(loop, over, local)]

    def _ternary_expression(self, node: tree_sitter.Node, local: Local) -> Any:
        condition, then, otherwise = node.named_children
        return self.value_at(then if self.value_at(condition, local) else otherwise, local)

    def _unary_expression(self, node: tree_sitter.Node, local: Local) -> bool:
        if not text_of(node).startswith("!"):
            raise NotImplementedError(text_of(node))
        return not self.value_at(node.named_children[0], local)

    def _key(self, node: tree_sitter.Node, local: Local) -> str:
        return str(self._string(node, local)) if node.type == "string" else text_of(node)

    def _string(self, node: tree_sitter.Node, local: Local) -> str:
        if not any(each.type == "interpolation" for each in node.named_children):
            return plain_string(node)
        said = []
        for each in node.named_children:
            if each.type == "interpolation":
                said.append(str(self.value_at(each.named_children[0], local)))
            else:
                said.append(text_of(each).replace("\\'", "'"))
        return "".join(said)

    def _binary_expression(self, node: tree_sitter.Node, local: Local) -> Any:
        left, right = node.named_children
        sign = next(text_of(each) for each in node.children if not each.is_named)
        first = self.value_at(left, local)
        match sign:
            case "&&":
                return first and self.value_at(right, local)
            case "||":
                return first or self.value_at(right, local)
            case "==":
                return first == self.value_at(right, local)
            case "!=":
                return first != self.value_at(right, local)
            case ">=":
                return first >= self.value_at(right, local)
        raise NotImplementedError(text_of(node))

    def _member_expression(self, node: tree_sitter.Node, local: Local) -> Any:
        base, steps = node, list[tree_sitter.Node]()
        while base.type in ("member_expression", "subscript_expression"):
            base, step = base.named_children
            steps.insert(0, step)
        if base.type == "ternary_expression":
            # `a ? b : c.d` is to this grammar `(a ? b : c).d`.
            condition, then, otherwise = base.named_children
            if self.value_at(condition, local):
                return self.value_at(then, local)
            base = otherwise
        found = self.value_at(base, local)
        if isinstance(found, Reference):
            if steps and steps[0].type != "property_identifier":
                found = found.element(self.value_at(steps.pop(0), local))
            path = ".".join(text_of(each) for each in steps)
            return found.at(path) if path else found
        for step in steps:
            plain = step.type == "property_identifier"
            key = text_of(step) if plain else self.value_at(step, local)
            if isinstance(found, dict) and key not in found:
                raise Refused(f"{key} (there are {', '.join(found)})")
            found = found[key]
        return found

    _subscript_expression = _member_expression

    def _call_expression(self, node: tree_sitter.Node, local: Local) -> Any:
        called, arguments = node.named_children[0], node.named_children[-1]
        name = text_of(called)
        if name.endswith(".getSecret"):
            secret = self.value_at(arguments.named_children[0], local)
            vault = self.named(name.removesuffix(".getSecret"))
            return f"{secret}-of-{vault.at('name')}"
        values = [self.value_at(each, local) for each in arguments.named_children]
        if name.startswith("load"):
            text = (self.path.parent / values[0]).read_text()
            return json.loads(text) if name == "loadJsonContent" else text
        return FUNCTIONS[name](*values)


def _joined(*parts: Any) -> Any:
    """`concat` and `union` of arrays, `union` of objects."""
    if isinstance(parts[0], dict):
        return {key: value for each in parts for key, value in each.items()}
    return [one for each in parts for one in each]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "concat": _joined,
    "contains": lambda whole, part: part in whole,
    "empty": lambda value: not value,
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "guid": lambda *parts: f"guid of {' and '.join(parts)}".replace("/", "."),
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
    "join": lambda parts, between: between.join(parts),
    "length": len,
    "max": max,
    "range": lambda first, number: list(range(first, first + number)),
    "resourceGroup": lambda: {"id": GROUP, "location": "eastus2"},
    "resourceId": lambda kind, name: f"{GROUP}/providers/{kind}/{name}",
    "split": lambda text, at: text.split(at),
    "subscription": lambda: {"tenantId": "33333333-3333-3333-3333-333333333333"},
    "subscriptionResourceId": lambda kind, name: f"{kind}/{name}",
    "substring": lambda text, first, number: text[first : first + number],
    "take": lambda text, number: text[:number],
    "toLower": str.lower,
    "union": _joined,
    "uniqueString": lambda *parts: "u" + hashlib.sha256("|".join(parts).encode()).hexdigest()[:12],
    "uriComponent": lambda text: text.replace(" ", "%20"),
    "utcNow": lambda form: {"yyyy-MM": "2026-11"}[form],
}
