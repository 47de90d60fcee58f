"""What models are told: Jinja2 templates in a sandbox, in the language of the answer.

    prompts/<job type>/<locale>.system.txt    instructions; nothing that a user wrote
    prompts/<job type>/<locale>.user.txt      the material, as `{{ material }}`, between fences

Instructions are made of values that cannot hold an instruction: numbers, and words of the hub's
own lists. All that people wrote goes into the material, as JSON between two lines that nobody can
foresee.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jinja2
import orjson
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ai_workers.fencing import fenced
from ai_workers.reading import cleaned
from notifications.errors import ConfigurationError
from notifications.ports import Dice
from notifications.rendering import with_plain_globals
from notifications.shipped import TEMPLATES

LOCALES = ("en", "fr")

Told = int | str | Sequence[str] | Sequence[int]
"""A value that instructions may be made of."""

_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_FOR_MODELS = frozenset(("$schema", "$id", "errorMessage", "title"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is told, ready for a `ports.Question`."""

    system: str
    user: str


class Prompts:
    """The prompts of one job type. Everything is read and compiled when it is made."""

    def __init__(self, folder: Path) -> None:
        """Read `<locale>.{system,user}.txt`.

        Args:
            folder: `templates/prompts/<job type>`.

        Raises:
            ConfigurationError: A template is wrong or missing; names it.
        """
        environment = ImmutableSandboxedEnvironment(
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates = {
            (locale, part): compiled(environment, folder / f"{locale}.{part}.txt")
            for locale in LOCALES
            for part in ("system", "user")
        }

    def render(
        self,
        locale: str,
        *,
        told: Mapping[str, Told],
        material: object,
        schema: Mapping[str, Any],
        dice: Dice,
    ) -> Prompt:
        """A prompt.

        Args:
            locale: `fr` or `en`.
            told: Values for the instructions: numbers, and words of our own lists.
            material: JSON, with all that people wrote.
            schema: Of the answer; shown to the model.
            dice: Makes the fence.

        Raises:
            ValueError: A value for the instructions is something that a person could have written.
        """
        for name, value in told.items():
            if not _is_harmless(value):
                raise ValueError(f"{name} is no value for instructions: put it into the material")
        data = fenced(json.dumps(cleaned(material), ensure_ascii=False, indent=1), dice)
        context = {**told, "fence": data.fence, "schema": _compact(schema)}
        return Prompt(
            system=self._templates[locale, "system"].render(context).strip(),
            user=self._templates[locale, "user"].render(context, material=data.block).strip(),
        )


@cache
def shipped_prompts(job_type: str) -> Prompts:
    """The prompts that a release comes with."""
    return Prompts(TEMPLATES / "prompts" / job_type)


def compiled(environment: jinja2.Environment, path: Path) -> jinja2.Template:
    """A template, compiled.

    Raises:
        ConfigurationError: It is wrong or cannot be read; names it.
    """
    try:
        return with_plain_globals(environment.from_string(path.read_text(encoding="utf-8")))
    except jinja2.TemplateSyntaxError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}: {error.message}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _is_harmless(value: Told) -> bool:
    each = (value,) if isinstance(value, int | str) else value
    return all(isinstance(one, int) or _HARMLESS.fullmatch(one) for one in each)


def _compact(schema: Mapping[str, Any]) -> str:
    """A schema as a model is shown it; most are shown again and again."""
    return _compacted(orjson.dumps(schema))


@lru_cache(maxsize=64)
def _compacted(schema: bytes) -> str:
    return json.dumps(_shown(orjson.loads(schema)), ensure_ascii=False, separators=(",", ":"))


def _shown(value: Any, *, names: bool = False) -> Any:
    """A schema without what only people need; `names` where keys are names of fields."""
    if isinstance(value, Mapping):
        return {
            name: _shown(each, names=name == "properties" and not names)
            for name, each in value.items()
            if names or name not in _NOT_FOR_MODELS
        }
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value
