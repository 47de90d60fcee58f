"""What a model is asked about a video: templates in Jinja2's sandbox, in the reader's language.

    prompts/video.analysis/<locale>.{system,user}.txt

What a user wrote is in the user part alone, between two lines that nobody can guess; it is cleaned
and cut, and never compiled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ai_workers.media import Footage
from ai_workers.prompts import LOCALES, compiled
from notifications.errors import ConfigurationError
from notifications.text import clean, one_line, shorten

MAX_LINE = 400
MAX_TEXT = 1_000
_PARTS = ("system", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants to know about a video.

    Attributes:
        locale: `fr` or `en`, the language of the answer.
        captions: How many are suggested.
        kinds: What safety flags there are.
        title: What the user calls it; may be empty.
        context: What the user says about it; may be empty.
        fence: Marks off what the user wrote; nobody can guess it.
    """

    locale: str
    captions: int
    kinds: Sequence[str]
    title: str
    context: str
    fence: str


class VideoPrompts:
    """Prompts, read and compiled when this is made; rendering does no I/O."""

    def __init__(self, folder: Path) -> None:
        """Read them.

        Args:
            folder: `templates/prompts/video.analysis`.

        Raises:
            ConfigurationError: A file is missing or wrong; names it.
        """
        environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )
        environment.filters["lines"] = lambda text: _Lines(shorten(clean(text), MAX_TEXT))
        self._templates: dict[tuple[str, str], jinja2.Template] = {}
        for path in sorted(folder.glob("*.txt")):
            locale, _, part = path.stem.partition(".")
            self._templates[locale, part] = compiled(environment, path)
        missing = [
            f"{locale}.{part}.txt"
            for locale in LOCALES
            for part in _PARTS
            if (locale, part) not in self._templates
        ]
        if missing:
            raise ConfigurationError(f"{folder}: {', '.join(missing)} is missing")

    def render(self, footage: Footage, wanted: Wanted) -> tuple[str, str]:
        """The instructions, and the material."""
        facts = footage.facts
        values: Mapping[str, Any] = {
            "captions": wanted.captions,
            "kinds": ", ".join(wanted.kinds),
            "fence": wanted.fence,
            "title": wanted.title,
            "context": wanted.context,
            "duration_ms": facts.duration_ms,
            "width": facts.width,
            "height": facts.height,
            "frames": [{"at_ms": each.at_ms, "cut": each.cut} for each in footage.frames],
            "sound_ms": 0 if footage.sound is None else footage.sound.duration_ms,
            "notes": ", ".join(footage.notes),
        }
        locale = wanted.locale if (wanted.locale, "user") in self._templates else "en"
        system, user = (self._templates[locale, part].render(values) for part in _PARTS)
        return system, user


class _Lines(str):
    """Text that may keep its line ends."""

    __slots__ = ()


def _finalize(value: object) -> object:
    if type(value) is str:
        return shorten(one_line(value), MAX_LINE)
    if isinstance(value, _Lines | int | jinja2.Undefined):
        return value
    raise jinja2.TemplateRuntimeError(f"a value of type {type(value).__name__} is not for a prompt")
