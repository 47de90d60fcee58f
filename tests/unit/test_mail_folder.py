"""The mail folder: whole files, told as they are, whatever the disk does."""

import asyncio
import email
import email.policy
import errno
import os
import stat

import pytest

from notifications.channels.email.folder import BATCH, FolderMailer, file_name
from notifications.channels.email.message import to_bytes
from notifications.deliveries import Delivered, Failed
from notifications.errors import InvalidInput
from notifications.records import Mail

SENDER = "notify@huntaze.example"


def mail(operation_id="dlv_0000000015lk7", **changes) -> Mail:
    """A mail."""
    fields = {
        "to": "sam.sample@example.com",
        "to_name": "Sam Sample",
        "subject": "Your video analysis is ready",
        "text": "Hello\n",
        "html": "<p>Hello</p>\n",
        "locale": "en",
        "created_at": 1_769_857_200_000,
    }
    return Mail(operation_id=operation_id, **fields | changes)


async def test_a_mail_is_a_file(tmp_path):
    """A sent mail is one private file, named for its delivery, that a mail program opens."""
    folder = tmp_path / "data" / "mail"
    outcome = await FolderMailer(folder, SENDER).send(mail())
    assert outcome == Delivered(detail="dlv_0000000015lk7.eml")
    (file,) = folder.iterdir()
    assert file.name == "dlv_0000000015lk7.eml"
    assert file.read_bytes() == to_bytes(mail(), SENDER)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    arrived = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert arrived["Subject"] == "Your video analysis is ready"


async def test_sending_again_changes_nothing(tmp_path):
    """The same mail again leaves the same one file, also when both are sent at once."""
    mailer = FolderMailer(tmp_path, SENDER)
    await mailer.send(mail())
    before = (tmp_path / "dlv_0000000015lk7.eml").read_bytes()
    outcomes = await asyncio.gather(*(mailer.send(mail()) for _ in range(5)))
    assert outcomes == [Delivered(detail="dlv_0000000015lk7.eml")] * 5
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == before


async def test_many_at_once_each_get_their_own_answer(tmp_path):
    """More mails than a batch holds: each is written, each sender is told of its own."""
    mailer = FolderMailer(tmp_path, SENDER)
    count = 3 * BATCH + 1
    outcomes = await asyncio.gather(*(mailer.send(mail(f"dlv_{n}")) for n in range(count)))
    assert outcomes == [Delivered(detail=f"dlv_{n}.eml") for n in range(count)]
    assert {path.name for path in tmp_path.iterdir()} == {f"dlv_{n}.eml" for n in range(count)}


async def test_a_bad_address_among_good_ones_fails_alone(tmp_path):
    """A mail that cannot be made fails for good; its neighbours are written."""
    mailer = FolderMailer(tmp_path, SENDER)
    good, bad, other = await asyncio.gather(
        mailer.send(mail("dlv_1")),
        mailer.send(mail("dlv_2", to="nobody")),
        mailer.send(mail("dlv_3")),
    )
    assert isinstance(good, Delivered)
    assert isinstance(other, Delivered)
    assert isinstance(bad, Failed)
    assert (bad.reason, bad.retryable) == ("invalid-address", False)
    assert {path.name for path in tmp_path.iterdir()} == {"dlv_1.eml", "dlv_3.eml"}


async def test_a_folder_that_cannot_be_is_a_failure(tmp_path):
    """Where the folder's place is taken the mail fails, to be tried again, and nothing raises."""
    (tmp_path / "mail").write_text("not a folder")
    outcome = await FolderMailer(tmp_path / "mail", SENDER).send(mail())
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("mail-folder", True)


async def test_a_folder_that_went_away_is_made_again(tmp_path):
    """A folder that somebody removed in between is there again with the next mail."""
    mailer = FolderMailer(tmp_path / "mail", SENDER)
    await mailer.send(mail("dlv_1"))
    (tmp_path / "mail" / "dlv_1.eml").unlink()
    (tmp_path / "mail").rmdir()
    assert isinstance(await mailer.send(mail("dlv_2")), Delivered)


async def test_a_name_that_is_taken_fails_alone(tmp_path):
    """A mail whose file cannot get its name fails and leaves nothing behind; others do not."""
    (tmp_path / "dlv_1.eml").mkdir()
    mailer = FolderMailer(tmp_path, SENDER)
    taken, free = await asyncio.gather(mailer.send(mail("dlv_1")), mailer.send(mail("dlv_2")))
    assert isinstance(taken, Failed)
    assert isinstance(free, Delivered)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dlv_1.eml", "dlv_2.eml"]


async def test_a_disk_that_does_not_keep_is_no_delivery(tmp_path, monkeypatch):
    """A mail is only told as delivered once the disk has said so; a half file is never named."""

    def fails(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    mailer = FolderMailer(tmp_path, SENDER)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        outcome = await mailer.send(mail())
    assert outcome == Failed(reason="mail-folder", detail="Input/output error")
    assert list(tmp_path.iterdir()) == []
    assert isinstance(await mailer.send(mail()), Delivered)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")  # noqa: PTH110
async def test_a_full_disk_is_a_failure(tmp_path):
    """Where there is no room the mail fails and leaves nothing behind."""
    mailer = FolderMailer(tmp_path, SENDER)
    (tmp_path / ".dlv_0000000015lk7.eml.0.tmp").symlink_to("/dev/full")
    outcome = await mailer.send(mail())
    assert outcome == Failed(reason="mail-folder", detail="No space left on device")
    assert list(tmp_path.iterdir()) == []


async def test_a_sender_that_gives_up_stops_nobody(tmp_path):
    """A cancelled send neither stops the batch nor the mails after it."""
    mailer = FolderMailer(tmp_path, SENDER)
    sends = [asyncio.create_task(mailer.send(mail(f"dlv_{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    sends[0].cancel()
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [Delivered(detail="dlv_1.eml"), Delivered(detail="dlv_2.eml")]
    assert isinstance(await mailer.send(mail("dlv_4")), Delivered)


async def test_what_a_kill_left_half_written_is_removed(tmp_path):
    """At the start stale temporaries go; mails, and files that are not ours, stay."""
    mailer = FolderMailer(tmp_path, SENDER)
    await mailer.send(mail())
    for name in (".dlv_1.eml.0.tmp", ".dlv_a-b_c.eml.4711.tmp"):
        (tmp_path / name).write_text("half a ma")
    others = (".notes.tmp", "dlv_2.eml.0.tmp", ".dlv_3.eml.x.tmp", ".dlv_4.eml")
    for name in others:
        (tmp_path / name).write_text("mine")
    await FolderMailer(tmp_path, SENDER).tidy()
    assert {path.name for path in tmp_path.iterdir()} == {"dlv_0000000015lk7.eml", *others}


async def test_tidying_a_folder_that_is_not_there_makes_none(tmp_path):
    """Before the first mail there is nothing to tidy, and nothing is made."""
    await FolderMailer(tmp_path / "mail", SENDER).tidy()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "operation_id",
    ["../../etc/cron.d/x", "a/b", "a\\b", "..", ".", "", "a\x00b", "é", "x" * 500, "con:1", "a b"],
)
async def test_no_id_leads_out_of_the_folder(tmp_path, operation_id):
    """Whatever an operation id is, its file is in the folder, and has a name of its own."""
    folder = tmp_path / "mail"
    outcome = await FolderMailer(folder, SENDER).send(mail(operation_id))
    (file,) = folder.iterdir()
    assert outcome == Delivered(detail=file.name)
    assert file.name == file_name(operation_id)
    assert file_name(operation_id + "/") != file.name
    assert list(tmp_path.iterdir()) == [folder]


def test_a_wrong_sender_is_told_at_the_start(tmp_path):
    """A sender that is no address is refused before any mail is written."""
    with pytest.raises(InvalidInput, match="/from"):
        FolderMailer(tmp_path, "nobody")
