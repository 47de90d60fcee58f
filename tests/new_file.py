"""New SQLite files of this release: migrated once per process, then copied."""

import tempfile
from functools import lru_cache
from pathlib import Path

from notifications.stores.migrate import migrate


def new_file(path: Path) -> None:
    """Make a database of this release, with nothing in it."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_migrated())


@lru_cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        migrate(path)
        return path.read_bytes()
