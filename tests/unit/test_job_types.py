"""The job types that are found: a module, two schemas, a line in the topology; and what is missing
is named."""

from pathlib import Path

import orjson
import pytest

from ai_workers import workers
from ai_workers.job_types import JobTypes, Tables, configured, shipped_workers
from notifications.bus.topology import JOB_SUBSCRIPTIONS
from notifications.errors import ConfigurationError, InvalidInput
from notifications.retries import LIGHT, VIDEO
from notifications.settings import Settings
from notifications.shipped import SCHEMAS
from tests import job_workers
from tests.job_workers import CHAT, INPUT, Obedient, schemas

VIDEO_TYPE = job_workers.VIDEO


def load(folder: Path, *names: str) -> JobTypes:
    """Types of obedient workers."""
    return JobTypes.load([Obedient(name) for name in names], folder, Tables())


def test_a_type_has_its_subscription_and_its_table(tmp_path: Path) -> None:
    """Videos have half an hour and three retries, all else ten minutes and five."""
    types = load(schemas(tmp_path), CHAT, VIDEO_TYPE)
    assert {each.name: each.subscription for each in types} == {
        name: JOB_SUBSCRIPTIONS[name] for name in (CHAT, VIDEO_TYPE)
    }
    assert types.get(CHAT).table == LIGHT
    assert types.get(VIDEO_TYPE).table == VIDEO


def test_an_older_input_is_still_taken(tmp_path: Path) -> None:
    """Producers of last release's form go on; what is wrong is said by the newest."""
    folder = schemas(tmp_path)
    newer = {**INPUT, "required": ["text", "title"]}
    (folder / CHAT / "v2.json").write_bytes(orjson.dumps(newer))
    (folder / CHAT / "v2.result.json").write_bytes(orjson.dumps({"type": "object"}))
    found = load(folder, CHAT).get(CHAT)
    found.check({"text": "x"})
    with pytest.raises(InvalidInput, match="/input/title: required"):
        found.check({})


@pytest.mark.parametrize("missing", ["v1.json", "v1.result.json"])
def test_a_missing_schema_stops_the_start_with_its_name(tmp_path: Path, missing: str) -> None:
    """Whoever forgot it is told which file."""
    folder = schemas(tmp_path)
    (folder / CHAT / missing).unlink()
    with pytest.raises(ConfigurationError, match=r"v1\.(result\.)?json"):
        load(folder, CHAT)


def test_a_schema_that_is_none_stops_the_start_with_its_name(tmp_path: Path) -> None:
    """Not the first job that comes."""
    folder = schemas(tmp_path)
    (folder / CHAT / "v1.json").write_text('{"type": "strange"}')
    with pytest.raises(ConfigurationError, match=r"chat.suggest/v1\.json: not a JSON Schema"):
        load(folder, CHAT)


def test_a_worker_that_no_message_reaches_stops_the_start(tmp_path: Path) -> None:
    """Its line in the topology was forgotten."""
    with pytest.raises(ConfigurationError, match="add its line to the topology"):
        load(tmp_path, "chat.translate")


def test_a_module_without_a_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the folder of workers, and is none."""
    (tmp_path / "an_idle_one.py").write_text('"""Nothing."""\n')
    monkeypatch.setattr(workers, "__path__", [str(tmp_path)])
    with pytest.raises(ConfigurationError, match="an_idle_one has no WORKER"):
        shipped_workers()


class Local(Obedient):
    """One that depends on the settings: it sees how many jobs run at once."""

    at_once = 0

    def for_hub(self, settings: Settings) -> "Local":
        """See `ports.Configurable`."""
        made = Local(self.job_type)
        made.at_once = settings.ai_concurrency
        return made


def test_a_worker_that_depends_on_the_settings_is_made_for_them() -> None:
    """It does the jobs in the place of the one that knew none; the others stay as they are."""
    plain, local = Obedient(CHAT), Local(VIDEO_TYPE)
    found = configured([plain, local], Settings(ai_concurrency=3))
    assert found[0] is plain
    assert isinstance(found[1], Local)
    assert (found[1].at_once, local.at_once) == (3, 0)


def test_the_types_of_this_release_are_whole() -> None:
    """Each worker that is shipped has its schemas and its subscription."""
    found = shipped_workers()
    types = JobTypes.load(found, SCHEMAS / "jobs", Tables())
    assert {each.name for each in types} == {worker.job_type for worker in found}
