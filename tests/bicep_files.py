"""Bicep files as data, read by tree-sitter's grammar.

Values are what they are in JSON; whatever has to be computed is an `Expression` with its text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"


@dataclass(frozen=True, slots=True)
class Expression:
    """Something to compute: its text, and the objects in it, of which any may come out."""

    text: str
    objects: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A resource or a module: its name in the file, type and version or path, and its body."""

    file: str
    symbol: str
    type: str
    version: str
    existing: bool
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter: its type, whether it may be left out, and what its decorators allow."""

    type: str
    optional: bool
    secure: bool
    allowed: tuple[Any, ...]


@dataclass(slots=True)
class BicepFile:
    """All that a file declares."""

    path: Path
    errors: list[str] = field(default_factory=list)
    resources: list[Declaration] = field(default_factory=list)
    modules: list[Declaration] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@cache
def paths() -> tuple[Path, ...]:
    """Every Bicep file there is."""
    return tuple(sorted(INFRA.rglob("*.bicep")))


@cache
def tree(path: Path) -> tree_sitter.Node:
    """One file, as tree-sitter has it."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    return parser.parse(path.read_bytes()).root_node


@cache
def read(path: Path) -> BicepFile:
    """One file."""
    root = tree(path)
    found = BicepFile(path)
    found.errors = [
        f"{path.name}:{node.start_point[0] + 1}: {text_of(node)[:60]!r}"
        for node in _every(root)
        if node.is_error or node.is_missing
    ]
    decorators: tree_sitter.Node | None = None
    for node in root.named_children:
        if node.type == "decorators":
            decorators = node
            continue
        _declare(found, node, decorators)
        if node.type != "comment":
            decorators = None
    return found


def resources() -> list[Declaration]:
    """Every resource that is made, of every file."""
    return [each for path in paths() for each in read(path).resources if not each.existing]


def walk(value: Any) -> Iterator[Any]:
    """A value and all that is in it."""
    yield value
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    elif isinstance(value, Expression):
        inner = value.objects
    for each in inner:
        yield from walk(each)


def _declare(found: BicepFile, node: tree_sitter.Node, decorators: tree_sitter.Node | None) -> None:
    name = text_of(node.named_children[0]) if node.named_children else ""
    match node.type:
        case "resource_declaration":
            found.resources.append(_declaration(found.path, name, node))
        case "module_declaration":
            found.modules.append(_declaration(found.path, name, node))
        case "parameter_declaration":
            found.parameters[name] = _parameter(node, decorators)
        case "variable_declaration":
            found.variables[name] = _value(node.named_children[1])
        case "output_declaration":
            found.outputs[name] = text_of(node.named_children[-1])


def _declaration(path: Path, name: str, node: tree_sitter.Node) -> Declaration:
    kind, _, version = str(_value(node.named_children[1])).partition("@")
    body = next(each for each in _every(node) if each.type == "object")
    head = text_of(node)[: body.start_byte - node.start_byte]
    return Declaration(
        file=path.name,
        symbol=name,
        type=kind,
        version=version,
        existing=" existing " in head,
        body=_value(body),
    )


def _parameter(node: tree_sitter.Node, decorators: tree_sitter.Node | None) -> Parameter:
    calls = decorators.named_children if decorators else []
    allowed: tuple[Any, ...] = ()
    for call in calls:
        if text_of(call).startswith("@allowed"):
            allowed = tuple(_value(next(each for each in _every(call) if each.type == "array")))
    return Parameter(
        type=text_of(node.named_children[1]),
        optional=len(node.named_children) > 2,
        secure=any(text_of(call).startswith("@secure") for call in calls),
        allowed=allowed,
    )


def _value(node: tree_sitter.Node) -> Any:
    match node.type:
        case "object":
            return {
                key_of(each.named_children[0]): _value(each.named_children[-1])
                for each in node.named_children
                if each.type == "object_property"
            }
        case "array":
            return [_value(each) for each in node.named_children if each.type != "comment"]
        case "string":
            return _string(node)
        case "number":
            return int(text_of(node))
        case "boolean":
            return text_of(node) == "true"
        case "null":
            return None
        case _:
            return Expression(text_of(node), tuple(_outermost_objects(node)))


def _string(node: tree_sitter.Node) -> Any:
    if any(each.type == "interpolation" for each in node.named_children):
        return Expression(text_of(node))
    return plain_string(node)


def plain_string(node: tree_sitter.Node) -> str:
    """A string without expressions in it, unquoted."""
    return text_of(node)[1:-1].replace("\\'", "'")


def key_of(node: tree_sitter.Node) -> str:
    """A property's name, unquoted."""
    return text_of(node).strip("'")


def _outermost_objects(node: tree_sitter.Node) -> Iterator[dict[str, Any]]:
    for each in node.named_children:
        if each.type == "object":
            yield _value(each)
        else:
            yield from _outermost_objects(each)


def _every(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for each in node.children:
        yield from _every(each)


def text_of(node: tree_sitter.Node) -> str:
    """A node as it is written."""
    return (node.text or b"").decode()
