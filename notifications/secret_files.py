"""Secrets that are kept in files, made once."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from notifications import setting_forms as forms
from notifications.errors import ConfigurationError
from notifications.ports import Dice

log = logging.getLogger("huntaze")

_MODE = 0o600

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Secrets that are made once and kept in files which only their owner reads."""

    folder: Path
    dice: Dice

    def keep(
        self, name: str, form: Callable[[str], T], fresh: Callable[[Dice], str]
    ) -> tuple[T, ...]:
        """What is in a file, which is made where it is not there.

        Raises:
            ConfigurationError: It cannot be read or written, or holds what is none.
        """
        path = self.folder / name
        try:
            if not path.exists():
                self._create(path, fresh(self.dice))
            _tighten(path)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        return self.read(name, form)

    def read(self, name: str, form: Callable[[str], T]) -> tuple[T, ...]:
        """What is in a file that is there."""
        path = self.folder / name
        try:
            text = path.read_text("utf-8", errors="replace").strip()
            return forms.each_of(form, secret=True)(text)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(
                f"{path} is damaged ({error}): put its former content back"
            ) from None

    def _create(self, path: Path, text: str) -> None:
        """Write it whole or not at all; a file that appears meanwhile stays."""
        draft = path.with_name(f".{path.name}.{self.dice.token(8).hex()}")
        # The mode counts from the first instant, and `link` never replaces.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()


def _tighten(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        log.warning("secret.readable_by_others", extra={"path": str(path)})
        path.chmod(_MODE)
