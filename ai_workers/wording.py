"""What job types are called and what is said of them, for pages: from `templates/jobs`."""

from collections.abc import Iterable, Sequence
from functools import cache

from ai_workers.job_types import JobType
from ai_workers.jobs import Failure
from notifications.http.console.looks import Looks
from notifications.shipped import TEMPLATES
from notifications.template_files import Phrases, TemplateFiles


@cache
def _files() -> TemplateFiles:
    return TemplateFiles.read(TEMPLATES)


def phrases(job_type: str, language: str) -> Phrases:
    """What a job type is called, and said of, in a language that there is."""
    return _files().phrases(job_type, language)


def called(job_type: str, language: str) -> str:
    """What a job type is called: as it is written, where nobody gave it a name."""
    found = _files().jobs.get((job_type, language))
    return job_type if found is None else str(found["name"])


def names(types: Iterable[JobType], looks: Looks) -> Sequence[tuple[str, str]]:
    """Types, and what they are called."""
    return [(each.name, called(each.name, looks.language)) for each in types]


def understood(failure: Failure, job_type: str, language: str) -> str:
    """Why it came to nothing, as its user is told."""
    errors = phrases(job_type, language)["errors"]
    return str(errors.get(failure.code, errors["other"]))
