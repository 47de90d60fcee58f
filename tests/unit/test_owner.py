"""The data folder: one owner at a time, and who may look meanwhile."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifications.errors import AlreadyRunning, ConfigurationError
from notifications.owner import DataFolder, RunningHub, own

ROOT = Path(__file__).parents[2]

OWN_AND_WAIT = """
import sys
from pathlib import Path
from notifications.owner import own
with own(Path(sys.argv[1])) as folder:
    folder.announce("http://127.0.0.1:1")
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_owner(data: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that owns the folder until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", OWN_AND_WAIT, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "owned\n"
        yield process
        process.stdin.close()


def test_the_second_owner_is_refused_and_told_of_the_first(tmp_path: Path):
    """Two hubs never write to one folder, and the second one knows whom to stop."""
    with (
        another_owner(tmp_path) as other,
        pytest.raises(AlreadyRunning, match=rf"process {other.pid} .* --data"),
        own(tmp_path),
    ):
        pass


def test_the_first_owner_keeps_what_it_said(tmp_path: Path):
    """A hub that is refused leaves the other's announcement alone."""
    with another_owner(tmp_path) as other:
        with pytest.raises(AlreadyRunning), own(tmp_path):
            pass
        assert DataFolder(tmp_path).running() == RunningHub(url="http://127.0.0.1:1", pid=other.pid)


def test_a_killed_owner_leaves_the_folder_free(tmp_path: Path):
    """After a kill -9 the next hub starts at once, and nobody is sent to the dead one."""
    with another_owner(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    folder = DataFolder(tmp_path)
    assert json.loads(folder.announcement.read_bytes())["pid"] == other.pid
    assert folder.owner() is None
    assert folder.running() is None
    with own(tmp_path):
        assert not folder.announcement.exists()


def test_who_looks_sees_the_owner_and_takes_nothing(tmp_path: Path):
    """Looking whether a hub runs never keeps one from starting."""
    folder = DataFolder(tmp_path)
    assert folder.owner() is None
    with own(tmp_path) as owned:
        assert folder.owner() == os.getpid()
        assert folder.running() is None  # not ready yet
        owned.announce("http://127.0.0.1:8080")
        assert folder.running() == RunningHub(url="http://127.0.0.1:8080", pid=os.getpid())
    assert folder.owner() is None
    assert not folder.announcement.exists()


def test_two_who_look_at_once_do_not_take_each_other_for_owners(tmp_path: Path):
    """Looking is shared: whoever looks meanwhile sees that nobody owns the folder."""
    with own(tmp_path) as folder:
        pass
    with folder.lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert folder.owner() is None


def test_what_another_process_announced_is_not_the_owner_s(tmp_path: Path):
    """Between taking the folder over and being ready, nobody is sent to the hub before."""
    with own(tmp_path) as folder:
        folder.announcement.write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
        assert folder.running() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "x"}', '{"url": "x", "pid": "y"}'])
def test_a_damaged_announcement_says_nothing(tmp_path: Path, content: str):
    """What nobody can read is as good as not announced."""
    with own(tmp_path) as folder:
        folder.announcement.write_text(content)
        assert folder.running() is None


def test_regression_an_announcement_that_cannot_be_removed_stops_nobody(tmp_path: Path):
    """The owner ends as always, and nobody takes what is left for a hub."""
    with own(tmp_path) as folder:
        folder.announcement.mkdir()  # as on a disk that has become read-only: it stays
    assert folder.announcement.exists()
    assert (folder.owner(), folder.running()) == (None, None)


def test_the_announcement_has_the_contract_s_form(tmp_path: Path):
    """Scripts read `url` and `pid` from hub.json."""
    with own(tmp_path) as folder:
        folder.announce("http://127.0.0.1:8080")
        assert json.loads((tmp_path / "hub.json").read_bytes()) == {
            "url": "http://127.0.0.1:8080",
            "pid": os.getpid(),
        }


def test_a_new_folder_is_its_owner_s_alone(tmp_path: Path):
    """Mails and messages of customers are not for others on the machine."""
    with own(tmp_path / "made" / "here") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.lock.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_is_named(tmp_path: Path):
    """A path that leads through a file is said to be unusable."""
    (tmp_path / "file").write_text("")
    said = "file/data cannot be used: Not a directory"
    with pytest.raises(ConfigurationError, match=said), own(tmp_path / "file" / "data"):
        pass
