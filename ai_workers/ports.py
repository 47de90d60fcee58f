"""What the parts of the AI workers ask of each other. Each docstring is the contract."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from notifications.settings import Settings

# --------------------------------------------------------------------------- models


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture for a model.

    Attributes:
        at_ms: Where in the video it is.
        jpeg: The picture.
    """

    at_ms: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What is heard.

    Attributes:
        wav: Mono, 16 kHz, 16 bits.
        duration_ms: How long it lasts.
    """

    wav: bytes = field(repr=False)
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked.

    Attributes:
        job_type: e.g. `chat.suggest`.
        locale: `fr` or `en`, the language to answer in.
        system: Instructions; nothing that a user wrote is in it.
        user: The material, clearly marked off as such.
        material: The same as values: a job's input, and what was found out about it. It is what
            the offline model computes its answer from; others never see it.
        images: In the order they are shown.
        sound: Or None.
        schema: JSON Schema that the answer has to satisfy.
        most_tokens: The longest answer that is wanted.
    """

    job_type: str
    locale: str
    system: str
    user: str
    material: Mapping[str, Any]
    schema: Mapping[str, Any] = field(repr=False)
    images: Sequence[Image] = ()
    sound: Sound | None = None
    most_tokens: int = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What asking took. Money was spent whether or not the answer is of use.

    Attributes:
        model: Who answered; `offline` where nobody was asked.
        input_tokens: As the endpoint counted them; estimated where it does not say.
        output_tokens: Likewise.
        cost_nano_usd: Billionths of a US dollar, by the price table: whole for every list price.
        estimated: Whether nobody told of it: the tokens are reckoned from what was sent.
    """

    model: str
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model said: text, which is hoped to be JSON."""

    text: str
    usage: Usage


class ModelFailed(Exception):
    """A model did not answer, or with nothing of use.

    Attributes:
        code: Short and constant, e.g. `model-timeout`, `content-filter`, `model-reply-invalid`.
        message: For the user, in English; no secrets and nothing of the prompt.
        retryable: Whether trying later may help.
        retry_after_s: How long the endpoint asked for patience; None where it did not.
        usage: What it cost all the same, in the order it was spent.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        usage: Sequence[Usage] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.usage = tuple(usage)


class Model(Protocol):
    """Somebody who answers questions."""

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Reply:
        """Ask once.

        Tries the models of its list in order where one is gone; does not repeat a question that
        may be answered later: that is the job's retry table's to say.

        `spent` is told what a question costs that was sent and whose answer nobody waits for any
        more, because whoever asks was cancelled. Else it is in the reply, or in the error.

        Raises:
            ModelFailed: There is no answer. A question that was sent and came to nothing, neither
                answered nor refused, has an estimate for its usage.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A validated answer, and what it took, one usage per time that a model was asked."""

    result: Mapping[str, Any]
    usage: Sequence[Usage]


class Asking(Protocol):
    """A model with patience for how models reply."""

    async def ask(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Answered:
        """Ask, read the reply leniently, hold it against the schema; ask once more to repair it.

        `spent` is told of every usage when it is known, so that none is lost where whoever asks is
        cancelled meanwhile; the same are in the answer, or in the error.

        Raises:
            ModelFailed: With the usage of every time that a model was asked.
        """
        ...


# --------------------------------------------------------------------------- work


class JobFailed(Exception):
    """A run came to nothing for a reason that is not the model's.

    Attributes:
        code: Short and constant, e.g. `video-unreadable`, `url-refused`.
        message: For the user, in English.
        retryable: Whether a later run may succeed.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable


class Run(Protocol):
    """One run of a job, as its worker sees it."""

    @property
    def input(self) -> Mapping[str, Any]:
        """The job's input, valid by its schema."""
        ...

    @property
    def locale(self) -> str:
        """The language of whoever the result is for: `fr` or `en`."""
        ...

    async def progress(self, percent: int, step: str) -> None:
        """Say how far it is; `step` is one of the names that `job.progress` lists.

        Raises:
            asyncio.CancelledError: Somebody cancelled the job.
        """
        ...

    async def ask(self, question: Question) -> Mapping[str, Any]:
        """A validated answer; what it cost is the job's.

        Raises:
            ModelFailed: There is none.
        """
        ...


class JobWorker(Protocol):
    """Does the jobs of one type. A module of `ai_workers/workers/` has one as `WORKER`."""

    @property
    def job_type(self) -> str:
        """e.g. `chat.suggest`."""
        ...

    async def run(self, run: Run) -> Mapping[str, Any]:
        """Do it; the result is valid by the job type's result schema.

        Raises:
            JobFailed: It came to nothing.
            ModelFailed: The model did not answer.
        """
        ...


@runtime_checkable
class Configurable(Protocol):
    """A worker that depends on the settings, e.g. on the networks that it may fetch from."""

    def for_hub(self, settings: Settings) -> JobWorker:
        """The same worker for these settings, which does the jobs in its place."""
        ...
