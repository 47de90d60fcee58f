"""A real disk that is full or read-only, and a clock that jumps while the hub is at work."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos_load import SETTINGS, Tenant, audit_is_clean, counting, tenant, until
from tests.hub_process import hub_process, run_huntaze

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
    hub, by itself, and all that was accepted is delivered once."""
    with small_disk(48 * MIB) as disk:
        async with counting() as receiver:
            with hub_process(disk / "data", SETTINGS) as hub:
                async with tenant(hub, "t1", receiver.url) as acme:
                    assert await acme.publish(f"before-{n}" for n in range(50)) == 202
                    with full(disk):
                        # The log of the database has some room of its own, which is used up first.
                        numbers = iter(range(100_000))
                        await until(
                            lambda: refused(acme, f"during-{next(numbers)}"), "to be refused"
                        )
                        assert (await acme.call("GET", "/v1/events"))[0] == 200
                    await until(lambda: taken(acme, "after"), "to be taken again")
                    await until(lambda: acme.accepted <= set(receiver.answered), "everything")
                await audit_is_clean(hub, SETTINGS)
    assert set(receiver.answered) == acme.accepted


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


# --------------------------------------------------------------------------- the clock


@pytest.mark.chaos
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not on this machine")
@pytest.mark.fault("its machine's clock jumps by an hour, forwards and back", "ourselves")
@pytest.mark.parametrize("hours", [1, -1], ids=["forwards", "back"])
async def test_a_clock_that_jumps_expires_nothing_and_holds_up_nothing(
    tmp_path: Path, hours: int
) -> None:
    """Retries that wait and what is published afterwards go on as if it had not: each event is
    delivered once, and the audit is clean, after a restart by the right clock, too."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    settings = {
        **SETTINGS,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with counting(refuses=True) as receiver:
        with hub_process(tmp_path / "data", settings) as hub:
            async with tenant(hub, "t1", receiver.url) as acme:
                for jump in (0, hours, 0):
                    assert await acme.publish(f"before-{jump}-{n}" for n in range(20)) == 202
                    clock.write_text(f"{jump * 3_600:+d}\n")
                    assert await acme.publish(f"after-{jump}-{n}" for n in range(20)) == 202
                    await until(
                        lambda: acme.accepted <= set(receiver.answered), "everything", within_s=30
                    )
                    assert (await acme.call("GET", "/readyz"))[0] == 200
            await audit_is_clean(hub, SETTINGS)
            hub.stop()
            hub.start()  # by the machine's clock, an hour before or after
        await audit_is_clean(hub, SETTINGS)
    assert set(receiver.answered.values()) == {1}
