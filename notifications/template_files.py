"""What the `templates` folder holds, read once and checked for completeness."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from notifications.directory import Locale
from notifications.errors import ConfigurationError

_TOAST_FIELDS = frozenset(("title", "body", "url", "progress"))
_MAIL_FILES = ("subject.txt", "body.html", "body.txt")
_DEFAULT_JOB = "_default"

Phrases = Mapping[str, Any]
"""What a job is called and said of: `name`, one phrase per event, `steps` and `errors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFiles:
    """Everything that rendering needs, as text.

    Attributes:
        sources: Template text by name, e.g. `email/_base/layout.html`; a toast's fields are
            templates of their own, `toast/job.queued/fr.json#title`.
        toasts: By event type and locale: the names of its fields' templates.
        mails: By event type and locale: its folder's name.
        words: By locale: what the frame of all mails says.
        jobs: By job type and locale; the type `_default` is there in every locale.
    """

    sources: Mapping[str, str]
    toasts: Mapping[tuple[str, str], Mapping[str, str]]
    mails: Mapping[tuple[str, str], str]
    words: Mapping[str, Mapping[str, str]]
    jobs: Mapping[tuple[str, str], Phrases]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the folder.

        Raises:
            ConfigurationError: A file is missing or wrong; names it.
        """
        sources: dict[str, str] = {}
        toasts = dict(_read_toasts(folder, sources))
        mails = dict(_read_mails(folder, sources))
        base = folder / "email" / "_base"
        for path in sorted(base.glob("layout.*")) + sorted(base.glob("parts.*")):
            sources[path.relative_to(folder).as_posix()] = _text(path)
        return cls(
            sources=sources,
            toasts=toasts,
            mails=mails,
            words={path.stem: _object(path) for path in sorted(base.glob("*.json"))},
            jobs=dict(_read_jobs(folder / "jobs")),
        )

    @property
    def locales(self) -> frozenset[str]:
        """The languages there is any template in."""
        return frozenset(locale for _, locale in (*self.toasts, *self.mails))

    def phrases(self, job_type: str, locale: str) -> Phrases:
        """A job type's phrases; those of jobs in general for a type that has none of its own."""
        found = self.jobs.get((job_type, locale))
        return self.jobs[_DEFAULT_JOB, locale] if found is None else found


def _read_toasts(
    folder: Path, sources: dict[str, str]
) -> Iterator[tuple[tuple[str, str], Mapping[str, str]]]:
    for path in sorted(folder.glob("toast/*/*.json")):
        fields = _object(path)
        if not {"title", "body"} <= fields.keys() <= _TOAST_FIELDS:
            raise ConfigurationError(
                f"{path}: a toast has title and body, and may have url, progress"
            )
        name = path.relative_to(folder).as_posix()
        sources.update({f"{name}#{field}": text for field, text in fields.items()})
        yield (path.parent.name, path.stem), {field: f"{name}#{field}" for field in fields}


def _read_mails(folder: Path, sources: dict[str, str]) -> Iterator[tuple[tuple[str, str], str]]:
    for path in sorted(folder.glob("email/[!_]*/*")):
        if not path.is_dir():
            continue
        name = path.relative_to(folder).as_posix()
        for file in _MAIL_FILES:
            sources[f"{name}/{file}"] = _text(path / file)
        yield (path.parent.name, path.name), name


def _read_jobs(folder: Path) -> Iterator[tuple[tuple[str, str], Phrases]]:
    """A type's own phrases over those of jobs in general."""
    general = {
        path.stem: _read_phrases(path) for path in sorted(folder.glob(f"{_DEFAULT_JOB}/*.json"))
    }
    missing = {str(locale) for locale in Locale} - general.keys()
    if missing:
        raise ConfigurationError(
            f"{folder / _DEFAULT_JOB}: {', '.join(sorted(missing))} is missing"
        )
    for locale, phrases in general.items():
        yield (_DEFAULT_JOB, locale), phrases
    for path in sorted(folder.glob("[!_]*/*.json")):
        own, common = _read_phrases(path), general.get(path.stem, general[Locale.EN])
        yield (
            (path.parent.name, path.stem),
            {
                **common,
                **own,
                "steps": {**common["steps"], **own["steps"]},
                "errors": {**common["errors"], **own["errors"]},
            },
        )


def _read_phrases(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: must be a JSON object")
    return {"steps": {}, "errors": {}, **document}


def _object(path: Path) -> dict[str, str]:
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(document, dict) or not all(
        isinstance(text, str) for text in document.values()
    ):
        raise ConfigurationError(f"{path}: must be a JSON object of strings")
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
