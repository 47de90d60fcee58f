"""Reading XML that anybody may have written: elements and text, nothing else. Pure.

A document type or an entity is refused where it begins, so that nothing is ever expanded or
fetched; depth and number of elements are bounded, and the length is by whoever read the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from notifications.errors import FieldError, InvalidInput

_MAX_DEPTH = 24
_MAX_ELEMENTS = 5_000
_PART = " "


@dataclass(slots=True, eq=False)
class Element:
    """An element.

    Attributes:
        name: Without its namespace.
        attributes: By name, without their namespaces.
        text: Between its tags, that of what is in it left out.
        children: What is in it.
    """

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def child(self, name: str) -> "Element | None":
        """The first of that name in it."""
        return next((each for each in self.children if each.name == name), None)

    def named(self, name: str) -> Iterator["Element"]:
        """All of that name in it."""
        return (each for each in self.children if each.name == name)

    def value(self, name: str) -> str | None:
        """The text of the first of that name in it; None where there is none, or it is empty."""
        found = self.child(name)
        return None if found is None else found.text.strip() or None


def read(document: bytes) -> Element:
    """A document's root.

    Raises:
        InvalidInput: It is no XML, or has in it what is not to be.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_PART)
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise _invalid(f"no XML: {error}") from error
    assert reader.root is not None
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._number = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._number += 1
        if self._number > _MAX_ELEMENTS or len(self._open) >= _MAX_DEPTH:
            raise _invalid(f"over {_MAX_ELEMENTS:,} elements, or more than {_MAX_DEPTH} deep")
        found = Element(_local(name), {_local(key): value for key, value in attributes.items()})
        if self._open:
            self._open[-1].children.append(found)
        else:
            self.root = found
        self._open.append(found)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1].text += data


def _local(name: str) -> str:
    return name.rpartition(_PART)[2]


def _refuse(*_declaration: object) -> NoReturn:
    raise _invalid("document types and entities are not read here")


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput([FieldError("", detail)])
