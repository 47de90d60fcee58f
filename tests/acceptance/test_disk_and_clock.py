"""A real disk that is full or read-only, and a clock that jumps while the hub is at work."""

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.chaos_load import SETTINGS, Tenant, audit_is_clean, counting, tenant, until
from tests.hub_process import ROOT, HubProcess, hub_process, run_huntaze
from tests.job_workers import CHAT, VIDEO

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
MIB = 1 << 20


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A disk of so many bytes; skips where nobody may mount one."""
    with tempfile.TemporaryDirectory(prefix="huntaze-disk-") as place:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place]
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"there is no mount here: {error}")
        if made.returncode:
            pytest.skip(f"only root may mount a small disk: {made.stderr.strip()}")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Somebody else's file takes all that is left."""
    other = disk / "other"
    try:
        with other.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4_096))
    except OSError:
        pass
    try:
        yield
    finally:
        other.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Nobody can write to it; skips where it cannot be made so."""
    made = subprocess.run(
        ["mount", "-o", "remount,ro", str(disk)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"this disk cannot be made read-only: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


class BreakingDisk:
    """A disk that its file system makes read-only when it finds an error, as disks' ends begin."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "disk"
        self._image = folder / "image"

    def make(self) -> None:
        """Make and mount it; skips where nobody may."""
        self.place.mkdir()
        with self._image.open("wb") as file:
            file.truncate(48 * MIB)
        try:
            self._run("mkfs.ext4", "-q", str(self._image))
            self.mount()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no disk can be made here: {error}")

    def mount(self) -> None:
        """Put it in its place."""
        options = "loop,errors=remount-ro"
        self._run("mount", "-o", options, str(self._image), str(self.place))

    def unmount(self) -> None:
        """Take it away, if it is there; whatever is open stays so."""
        if self.place.is_mount():
            self._run("umount", "--lazy", str(self.place))

    def fail(self) -> None:
        """Have an error found; skips where the kernel takes none."""
        device = Path(self._run("findmnt", "-no", "SOURCE", str(self.place)).strip()).name
        try:
            Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test")
        except OSError as error:
            pytest.skip(f"this kernel breaks no file system when it is asked to: {error}")

    def mend(self) -> None:
        """As its owner does, who has it looked through and mounts it again."""
        self._run("umount", str(self.place))
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        self.mount()

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def breaking_disk(folder: Path) -> Iterator[BreakingDisk]:
    """A disk that is there while the block runs."""
    disk = BreakingDisk(folder)
    disk.make()
    try:
        yield disk
    finally:
        disk.unmount()


async def refused(one: Tenant, name: str) -> bool:
    """Whether publishing is answered 503."""
    return await one.publish([name]) == 503


async def taken(one: Tenant, name: str) -> bool:
    """Whether publishing is answered 202."""
    return await one.publish([name]) == 202


@pytest.mark.chaos
@pytest.mark.fault("its disk is full, a small one of its own", "ourselves")
async def test_on_a_full_disk_the_hub_waits(tmp_path: Path) -> None:
    """Publishing is refused with 503 and reading goes on; when there is room again, so does the
    hub, by itself, and all that was accepted is delivered once, what was under way included."""
    slow = {f"slow-{n}" for n in range(20)}
    with small_disk(48 * MIB) as disk:
        async with counting() as receiver:
            with hub_process(disk / "data", SETTINGS) as hub:
                async with tenant(hub, "t1", receiver.url) as acme:
                    assert await acme.publish(f"before-{n}" for n in range(50)) == 202
                    await until(lambda: len(receiver.answered) == 50, "what was there before")
                    receiver.delay_s = 4.0
                    assert await acme.publish(slow) == 202
                    await until(lambda: slow <= set(receiver.calls), "the receiver to be called")
                    with full(disk):
                        assert not slow & set(receiver.answered), "nothing is under way"
                        receiver.delay_s = 0.0
                        # The log of the database has some room of its own, which is used up first.
                        numbers = iter(range(100_000))
                        await until(
                            lambda: refused(acme, f"during-{next(numbers)}"), "to be refused"
                        )
                        assert (await acme.call("GET", "/v1/events"))[0] == 200
                        await until(lambda: slow <= set(receiver.answered), "its answers")
                    await until(lambda: taken(acme, "after"), "to be taken again")
                    await until(lambda: acme.accepted <= set(receiver.answered), "everything")
                    await until(acme.is_settled, "all of it to be written down")
                await audit_is_clean(hub, SETTINGS)
    assert receiver.answered == Counter(acme.accepted)


@pytest.mark.chaos
@pytest.mark.fault("its disk is read-only", "ourselves")
def test_on_a_read_only_disk_a_start_says_so(tmp_path: Path) -> None:
    """A start names the folder and what is wrong in one line; the data is as it was."""
    with small_disk(48 * MIB) as disk:
        data = disk / "data"
        with hub_process(data, SETTINGS):
            pass
        before = (data / "hub.db").read_bytes()
        with read_only(disk):
            done = run_huntaze(["up", "--port", "0", "--data", str(data)], SETTINGS)
            after = (data / "hub.db").read_bytes()
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(data) in line
    assert "Read-only file system" in line
    assert after == before


@pytest.mark.chaos
@pytest.mark.fault("its disk becomes read-only while it works", "ourselves")
async def test_regression_on_a_disk_that_becomes_read_only_nothing_is_lost(tmp_path: Path) -> None:
    """Publishing is refused with 503, reading goes on, and it ends in order when it is told to;
    once the disk is mended and it is started again, all that was accepted arrives."""
    slow = {f"slow-{n}" for n in range(20)}
    with breaking_disk(tmp_path) as disk:
        async with counting() as receiver:
            with hub_process(disk.place / "data", SETTINGS) as hub:
                async with tenant(hub, "t1", receiver.url) as acme:
                    assert await acme.publish(f"before-{n}" for n in range(50)) == 202
                    await until(lambda: len(receiver.answered) == 50, "what was there before")
                    receiver.delay_s = 2.0
                    assert await acme.publish(slow) == 202
                    await until(lambda: slow <= set(receiver.calls), "the receiver to be called")
                    disk.fail()
                    await until(lambda: refused(acme, "during"), "to be refused")
                    assert (await acme.call("GET", "/readyz"))[0] == 503
                    assert (await acme.call("GET", "/v1/events/slow-0"))[0] == 200
                    assert await asyncio.to_thread(hub.stop) == 0
                    disk.mend()
                    await asyncio.to_thread(hub.start)
                    await until(lambda: taken(acme, "after"), "to be taken again")
                    await until(lambda: acme.accepted <= set(receiver.answered), "everything")
                    await until(acme.is_settled, "all of it to be written down")
                await audit_is_clean(hub, SETTINGS)
    assert set(receiver.answered) == acme.accepted


# --------------------------------------------------------------------------- the clock


class Wall:
    """The clock on the wall of a hub's machine; set in its file, which is read every second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.hours = 0
        self.set(0)

    def set(self, hours: int) -> None:
        """From now on it is so many hours later, or earlier, than it is."""
        self.hours = hours
        self._file.write_text(f"{hours * 3_600:+d}\n")

    @property
    def settings(self) -> dict[str, str]:
        """What makes a process go by it, but for its monotonic clock."""
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    async def is_gone_by(self, one: Tenant) -> bool:
        """Whether a hub goes by it, to the minute: what it answers says what time it is."""
        async with one.session.get(one.hub.url + "/readyz") as answer:
            assert answer.status == 200
            says = parsedate_to_datetime(answer.headers["date"])
        off = (says - datetime.now(UTC)).total_seconds()
        return abs(off - self.hours * 3_600) < 60


def mapped(hub: HubProcess) -> str:
    """The files that its process runs."""
    return Path(f"/proc/{hub.pid}/maps").read_text()


async def run_jobs(one: Tenant, name: str) -> list[str]:
    """A job of each lane, both running for some seconds; their ids."""
    ids = []
    for kind in (CHAT, VIDEO):
        given = {"text": f"one two {name}", "sleepMs": 6_000}
        asked = {"jobType": kind, "userId": "ada", "input": given, "idempotencyKey": kind + name}
        status, job = await one.call("POST", "/v1/jobs", asked)
        assert status == 202, job
        ids.append(job["id"])
    await until(lambda: jobs_are(one, ids, "running"), f"jobs {name} to run")
    return ids


async def jobs_are(one: Tenant, ids: Iterable[str], state: str) -> bool:
    """Whether all of these jobs are; none has failed."""
    found = [(await one.call("GET", f"/v1/jobs/{each}"))[1] for each in ids]
    assert not [each for each in found if each["state"] == "failed"]
    return all(each["state"] == state for each in found)


@pytest.mark.long
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not on this machine")
@pytest.mark.fault("its machine's clock jumps by an hour, forwards and back", "ourselves")
@pytest.mark.parametrize(
    "hours", [pytest.param(1, id="forwards"), pytest.param(-1, id="back", marks=pytest.mark.chaos)]
)
async def test_a_clock_that_jumps_expires_nothing_and_holds_up_nothing(
    tmp_path: Path, hours: int
) -> None:
    """Jobs that run, retries that wait and what is published afterwards go on as if it had not; so
    they do where it is stopped then and started by a clock that is right again: each job succeeds,
    each event is delivered once, and the audit is clean."""
    wall = Wall(tmp_path / "clock")
    program = [sys.executable, str(ROOT / "tests" / "job_host.py"), str(tmp_path / "schemas")]
    async with counting(refuses=True) as receiver:
        hub = HubProcess(tmp_path / "data", {**SETTINGS, **wall.settings}, program)
        right = HubProcess(tmp_path / "data", SETTINGS, program)
        await asyncio.to_thread(hub.start)
        try:
            assert "libfaketime" in mapped(hub), "its clock is the machine's"
            async with tenant(hub, "t1", receiver.url) as acme:
                jobs = await run_jobs(acme, "first")
                assert await acme.publish(f"before-{n}" for n in range(20)) == 202
                wall.set(hours)
                await until(lambda: wall.is_gone_by(acme), "the hub to go by the wall")
                assert await jobs_are(acme, jobs, "running")
                assert await acme.publish(f"after-{n}" for n in range(20)) == 202
                await until(
                    lambda: acme.accepted <= set(receiver.answered), "everything", within_s=30
                )
                await until(lambda: jobs_are(acme, jobs, "succeeded"), "jobs", within_s=30)
                jobs += await run_jobs(acme, "second")
                assert await acme.publish(f"at-the-end-{n}" for n in range(20)) == 202
                await asyncio.to_thread(hub.stop)
                right.url = hub.url
                await asyncio.to_thread(right.start)
                wall.set(0)
                await until(lambda: wall.is_gone_by(acme), "the hub to go by the wall")
                await until(
                    lambda: acme.accepted <= set(receiver.answered), "everything", within_s=30
                )
                await until(lambda: jobs_are(acme, jobs, "succeeded"), "jobs", within_s=30)
            await audit_is_clean(right, SETTINGS)
        finally:
            await asyncio.to_thread(hub.stop)
            await asyncio.to_thread(right.stop)
    assert set(receiver.answered.values()) == {1}
