"""Which model a question goes to."""

from collections.abc import Mapping

from ai_workers.ports import Model, Question, Reply


class ByJobType:
    """Implements `ports.Model`: each job type has a model of its own."""

    def __init__(self, models: Mapping[str, Model], *, otherwise: Model) -> None:
        """Ask by job type; `otherwise` answers for types that have none."""
        self._models = dict(models)
        self._otherwise = otherwise

    async def answer(self, question: Question, *, within_s: float) -> Reply:
        """Ask the job type's model; see `ports.Model`."""
        model = self._models.get(question.job_type, self._otherwise)
        return await model.answer(question, within_s=within_s)
