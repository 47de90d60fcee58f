"""The job types there are, what their inputs and results must look like, and who does them.

A job type is a module of `ai_workers/workers/` with its `WORKER`, a folder in `schemas/jobs` with
`v1.json` (the input) and `v1.result.json`, a prompt, and a line in the topology. Inputs that an
older version of the schema takes are right, too; results are held against the newest.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import jsonschema_rs

from ai_workers import workers
from ai_workers.ports import Configurable, JobWorker
from notifications.bus.topology import JOB_SUBSCRIPTIONS
from notifications.catalogue import compiled, explain, read_schema
from notifications.errors import ConfigurationError, FieldError, InvalidInput
from notifications.retries import LIGHT, VIDEO, RetryTable
from notifications.settings import Settings

_VERSION = re.compile(r"v([1-9][0-9]*)\.json")
_NO_FIELD = "not a field of this job type"
_HEAVY = "video.analysis"
"""The job type with the table of its own; all others have the light one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """When runs are repeated.

    Attributes:
        video: For the analysis of videos.
        light: For all else.
    """

    video: RetryTable = VIDEO
    light: RetryTable = LIGHT


@dataclass(frozen=True, slots=True)
class Shape:
    """A JSON Schema, ready to be asked."""

    schema: Mapping[str, Any] = field(repr=False)
    validator: jsonschema_rs.Draft202012Validator = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and compile it.

        Raises:
            ConfigurationError: It is missing or wrong; names the file and says how.
        """
        schema = read_schema(path)
        return cls(schema, compiled(schema, path))

    def takes(self, value: object) -> bool:
        """Whether it is right."""
        return self.validator.is_valid(value)

    def errors(self, value: object, *, below: str) -> Iterator[FieldError]:
        """What is wrong; `below` is the pointer to where the value stands."""
        return explain(self.validator, self.schema, value, below=below, no_field=_NO_FIELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """One type of job.

    Attributes:
        name: e.g. `chat.suggest`.
        subscription: Where its messages are received.
        worker: Does it.
        table: When its runs are repeated, and how long a job has.
        inputs: What its input may look like, the newest version first.
        result: What its result looks like.
    """

    name: str
    subscription: str
    worker: JobWorker
    table: RetryTable
    inputs: Sequence[Shape]
    result: Shape

    @property
    def heavy(self) -> bool:
        """Whether its jobs take long enough to be watched from the start."""
        return self.name == _HEAVY

    def check(self, value: object) -> None:
        """Check an input.

        Raises:
            InvalidInput: Lists what is wrong, by the newest version.
        """
        if not any(shape.takes(value) for shape in self.inputs):
            raise InvalidInput(list(self.inputs[0].errors(value, below="/input")))


class JobTypes:
    """All job types, by name."""

    def __init__(self, types: Iterable[JobType]) -> None:
        self._types = {each.name: each for each in types}

    @classmethod
    def load(cls, found: Iterable[JobWorker], schemas: Path, tables: Tables) -> Self:
        """The types of these workers.

        Args:
            found: One worker for each type.
            schemas: Holds `<job type>/v<n>.json` and `<job type>/v<n>.result.json`.
            tables: When runs are repeated.

        Raises:
            ConfigurationError: A schema is missing or wrong, or no subscription leads to a worker.
        """
        return cls(_load_type(worker, schemas, tables) for worker in found)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._types.values())

    def get(self, name: str) -> JobType:
        """The type of that name.

        Raises:
            InvalidInput: There is none; says which there are.
        """
        found = self._types.get(name)
        if found is None:
            close = difflib.get_close_matches(name, self._types, n=3, cutoff=0.5)
            guess = f"did you mean {', '.join(close)}?" if close else self._known()
            raise InvalidInput([FieldError("/jobType", f"no such job type; {guess}")])
        return found

    def _known(self) -> str:
        return f"there are {', '.join(sorted(self._types))}" if self._types else "there is none"


def shipped_workers() -> Sequence[JobWorker]:
    """The workers of this release.

    Raises:
        ConfigurationError: A module has none.
    """
    return tuple(_worker_of(info.name) for info in pkgutil.iter_modules(workers.__path__))


def configured(found: Iterable[JobWorker], settings: Settings) -> Sequence[JobWorker]:
    """The workers, those that depend on the settings made for these."""
    return tuple(
        worker.for_hub(settings) if isinstance(worker, Configurable) else worker for worker in found
    )


def _worker_of(name: str) -> JobWorker:
    module = importlib.import_module(f"{workers.__name__}.{name}")
    worker: JobWorker | None = getattr(module, "WORKER", None)
    if worker is None:
        raise ConfigurationError(f"{module.__name__} has no WORKER")
    return worker


def _load_type(worker: JobWorker, schemas: Path, tables: Tables) -> JobType:
    name = worker.job_type
    if name not in JOB_SUBSCRIPTIONS:
        raise ConfigurationError(f"no subscription leads to {name}: add its line to the topology")
    folder = schemas / name
    if not folder.is_dir():
        raise ConfigurationError(f"no schemas of {name}: {folder} is not a folder")
    numbers = sorted(
        (int(match[1]) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))),
        reverse=True,
    )
    if not numbers:
        raise ConfigurationError(f"{folder}: a job type needs a v1.json")
    return JobType(
        name=name,
        subscription=JOB_SUBSCRIPTIONS[name],
        worker=worker,
        table=tables.video if name == _HEAVY else tables.light,
        inputs=tuple(Shape.read(folder / f"v{number}.json") for number in numbers),
        result=Shape.read(folder / f"v{numbers[0]}.result.json"),
    )
