"""Fetching a video: what comes through, and every way in which it is refused."""

import asyncio
import gzip
import os
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from ai_workers.download import Downloader, DownloadLimits
from ai_workers.ports import JobFailed
from tests.webhook_addresses import ALL_REFUSED_HOSTS
from tests.webhook_receivers import (
    Behaviour,
    Flood,
    Request,
    answer,
    drip,
    hang_up,
    never,
    raw,
    receiver,
    reset,
    self_signed,
)
from tests.webhook_worlds import LOOPBACK

VIDEO = b"\x00\x00\x00\x20ftypisom" + bytes(range(256)) * 400
HTML = b"<!DOCTYPE html><html><title>Watch</title></html>"
HERE = DownloadLimits(allowed=LOOPBACK, within_s=10.0, silence_s=5.0)


class Names(AbstractResolver):
    """Every name leads to one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self.address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


async def fetch(url: str, limits: DownloadLimits = HERE, address: str | None = None) -> bytes:
    """What is at an address."""
    resolver = None if address is None else Names(address)
    async with Downloader(limits, resolver=resolver).fetch(url) as file:
        return file.read()


async def failure(
    url: str, limits: DownloadLimits = HERE, address: str | None = None
) -> tuple[str, bool, str]:
    """How fetching fails: code, whether a later run may succeed, and what the user reads."""
    with pytest.raises(JobFailed) as caught:
        await fetch(url, limits, address)
    return caught.value.code, caught.value.retryable, caught.value.message


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def to(location: str, status: int = 302) -> Behaviour:
    return answer(status, headers={"location": location})


# --------------------------------------------------------------------------- what comes through


async def test_a_video_arrives_whole():
    """What the server sends is what is in the file, byte for byte."""
    async with receiver(answer(body=VIDEO, headers={"content-type": "video/mp4"})) as server:
        assert await fetch(server.url()) == VIDEO


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "text/plain", "binary/octet-stream", "image/gif", "x/y"]
)
async def test_a_server_may_be_wrong_about_what_it_sends(kind: str):
    """Many servers send videos under another type: what is no page and no picture is tried."""
    async with receiver(answer(body=VIDEO, headers={"content-type": kind})) as server:
        assert await fetch(server.url()) == VIDEO


async def test_https_with_a_certificate_of_the_operators(tmp_path: Path):
    """A certificate that the operator trusts is trusted."""
    certificate = self_signed(tmp_path)
    limits = DownloadLimits(allowed=LOOPBACK, ca_file=certificate.path)
    async with receiver(answer(body=VIDEO), tls=certificate.server_context()) as server:
        assert await fetch(server.url(host="localhost"), limits) == VIDEO


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    """Without it, the video is not fetched, and no later run would do better."""
    async with receiver(answer(body=VIDEO), tls=self_signed(tmp_path).server_context()) as server:
        code, retryable, said = await failure(server.url(host="localhost"))
    assert (code, retryable) == ("download-failed", False)
    assert "certificate" in said


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int):
    """Wherever the video has moved to, absolute or not, is gone to."""
    async with receiver(
        to("/second?x=1#there", status), to("third", status), answer(body=VIDEO)
    ) as server:
        assert await fetch(server.url("/a/first")) == VIDEO
    lines = [request.line for request in server.requests]
    assert lines == ["GET /a/first HTTP/1.1", "GET /second?x=1 HTTP/1.1", "GET /third HTTP/1.1"]


async def test_nothing_of_the_hub_is_told_to_the_server():
    """The request has no cookies, no credentials and no referrer."""
    async with receiver(
        answer(302, headers={"location": "/b", "set-cookie": "a=b"}), answer(body=VIDEO)
    ) as server:
        await fetch(server.url())
    told = {name for request in server.requests for name in request.headers}
    assert told == {"host", "user-agent", "accept", "accept-encoding", "connection"} & told
    assert not told & {"cookie", "authorization", "referer"}


async def test_the_file_has_no_name(tmp_path: Path):
    """While it is open nothing is in the folder, so that nothing can be left behind."""
    limits = DownloadLimits(allowed=LOOPBACK, folder=tmp_path)
    async with (
        receiver(answer(body=VIDEO)) as server,
        Downloader(limits).fetch(server.url()) as file,
    ):
        assert os.fstat(file.fileno()).st_size == len(VIDEO)
        assert names_in(tmp_path) == []


# --------------------------------------------------------------------------- where it may lead


async def test_no_address_inside_is_gone_to():
    """Of all spellings of addresses inside each is refused, and nobody is connected to."""
    async with receiver(answer(body=VIDEO)) as server:
        for host in ALL_REFUSED_HOSTS:
            url = f"https://{host}:{server.port}/v.mp4"
            code, retryable, said = await failure(url, DownloadLimits())
            assert (code, retryable) == ("url-refused", False), host
            assert "webhook" not in said.lower()
    assert server.accepted == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1"])
async def test_a_name_that_leads_inside_is_refused(address: str):
    """What a name resolves to is judged where the connection would be made, and is not told."""
    async with receiver(answer(body=VIDEO)) as server:
        url = f"https://videos.example:{server.port}/v.mp4"
        code, retryable, said = await failure(url, DownloadLimits(), address)
    assert (code, retryable, server.accepted) == ("url-refused", False, 0)
    assert address not in said
    assert "where videos are not fetched from" in said


@pytest.mark.parametrize(
    "location",
    ["https://10.0.0.1/v.mp4", "https://[::ffff:7f00:2]/v.mp4", "//169.254.169.254/latest",
     "http://127.0.0.2/v.mp4", "https://2130706434/"],
)  # fmt: skip
@pytest.mark.fault("redirect the download of a video inside", "attackers")
async def test_a_redirect_inside_is_refused(location: str):
    """A good address that redirects to one inside is refused at the redirect."""
    only_here = DownloadLimits(allowed=(ip_network("127.0.0.1/32"),))
    async with receiver(to(location)) as server:
        code, retryable, said = await failure(server.url(), only_here)
    assert (code, retryable, len(server.requests)) == ("url-refused", False, 1)
    assert "redirects to" in said


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://example.com/v.mp4", "data:video/mp4;base64,AAAA",
                 "http://example.com/v.mp4", "https://user:secret@example.com/v.mp4"],
)  # fmt: skip
async def test_a_redirect_to_what_is_no_https_url_is_refused(location: str):
    """Files, other protocols, plain http to the outside and credentials are not followed."""
    only_here = DownloadLimits(allowed=(ip_network("127.0.0.1/32"),))
    address = "8.8.8.8" if location.startswith("http://") else None
    async with receiver(to(location)) as server:
        code, retryable, said = await failure(server.url(), only_here, address)
    assert (code, retryable) == ("url-refused", False)
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    ["", "v.mp4", "/etc/passwd", "file:///etc/passwd", "https://", "https://a b/",
     "https://user:secret@example.com/v.mp4", "http://example.com/v.mp4", "https://example.com:0/"],
)  # fmt: skip
async def test_what_is_no_https_url_is_refused(url: str):
    """Nothing but an https URL without credentials is gone to, and what was given is not said."""
    code, retryable, said = await failure(url, DownloadLimits())
    assert (code, retryable) == ("url-refused", False)
    assert said.startswith("The video's address ")
    assert "secret" not in said


async def test_a_redirect_loop_ends():
    """Five redirects are followed, the sixth is one too many, and trying again would not help."""
    async with receiver(to("/again")) as server:
        code, retryable, said = await failure(server.url())
    assert (code, retryable, len(server.requests)) == ("download-failed", False, 6)
    assert "redirects more than 5 times" in said


@pytest.mark.parametrize("location", ["", "https://[::1", "http://%zz:x/"])
async def test_a_redirect_to_nowhere_is_said(location: str):
    """A redirect without an address, or with one that is none, is the end."""
    async with receiver(to(location)) as server:
        code, retryable, _ = await failure(server.url())
    assert code in ("download-failed", "url-refused")
    assert not retryable


# --------------------------------------------------------------------------- what it may be


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=utf-8", HTML),
        ("application/xhtml+xml", HTML),
        ("application/json", b'{"error": "sign in"}'),
        ("image/png", b"\x89PNG"),
        ("application/pdf", b"%PDF-1.7"),
        ("video/mp4", HTML),
        ("video/mp4", b"\xef\xbb\xbf \r\n<HTML><body>" + VIDEO),
        ("application/octet-stream", b"<?xml version='1.0'?><MPD/>"),
        ("application/vnd.apple.mpegurl", b"#EXTM3U\nhttps://10.0.0.1/secret.ts\n"),
        ("video/mp4", b""),
    ],
)
async def test_what_is_no_video_is_refused(kind: str, body: bytes):
    """Pages, documents, playlists and empty files are refused whatever they are called."""
    async with receiver(answer(body=body, headers={"content-type": kind})) as server:
        code, retryable, _ = await failure(server.url())
    assert (code, retryable) == ("not-a-video", False)


async def test_an_endless_page_is_refused_by_its_beginning():
    """A page that never ends is known by how it begins: nobody waits for the rest."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\nconnection: close\r\n\r\n<html>"
    began = time.monotonic()
    async with receiver(drip(head + b" " * 600)) as server:
        code, _, _ = await failure(server.url())
    assert code == "not-a-video"
    assert time.monotonic() - began < 5


async def test_a_size_over_the_limit_is_refused_before_it_comes():
    """A server that says that it sends too much is not listened to."""
    flood = Flood(200)
    limits = DownloadLimits(allowed=LOOPBACK, size=1_000_000)
    async with receiver(flood) as server:
        code, retryable, said = await failure(server.url(), limits)
    assert (code, retryable, said) == ("too-large", False, "The video is larger than 1 MiB.")
    assert flood.sent < 100_000_000


@pytest.mark.fault("give a video whose server never stops sending", "attackers")
async def test_an_endless_body_is_cut_off_at_the_limit():
    """A body that says no length is taken up to the limit and not a buffer more."""
    sent = 0

    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    limits = DownloadLimits(allowed=LOOPBACK, size=3_000_000, within_s=20.0)
    async with receiver(endless) as server:
        code, retryable, _ = await failure(server.url(), limits)
    assert (code, retryable) == ("too-large", False)
    assert sent < 50_000_000


async def test_a_size_at_the_limit_comes_through():
    """The limit itself is allowed."""
    limits = DownloadLimits(allowed=LOOPBACK, size=len(VIDEO))
    async with receiver(answer(body=VIDEO)) as server:
        assert await fetch(server.url(), limits) == VIDEO


BOMB = gzip.compress(VIDEO) + gzip.compress(bytes(1 << 24), 1) * 64
"""A video and a gigabyte of zeros after it, in five megabytes."""


@pytest.mark.fault("give a video in compressed bytes", "attackers")
@pytest.mark.parametrize("packed", ["gzip", "GZIP", "identity, gzip"])
async def test_a_bomb_is_refused(packed: str):
    """A body that was packed though nobody asked for it is refused at its headers."""
    async with receiver(answer(body=BOMB, headers={"content-encoding": packed})) as server:
        found = await failure(server.url())
    assert found == (
        "download-failed", False,
        "The server of the video sends it compressed, which was not asked for.",
    )  # fmt: skip


@pytest.mark.fault("give a video in compressed bytes", "attackers")
@pytest.mark.parametrize("headers", [{}, {"content-encoding": "identity"}], ids=["silent", "lying"])
async def test_a_bomb_that_is_not_said_to_be_one_is_not_unpacked(headers: dict[str, str]):
    """Packed bytes that nobody says are packed are kept as they come: nothing unpacks them."""
    async with receiver(answer(body=BOMB, headers=headers)) as server:
        assert await fetch(server.url()) == BOMB


# --------------------------------------------------------------------------- what may go wrong


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (403, False), (404, False), (410, False), (206, False),
     (304, False), (408, True), (429, True), (500, True), (502, True), (503, True)],
)  # fmt: skip
async def test_an_answer_that_is_no_video_is_told(status: int, retryable: bool):
    """The user reads what the server answered; what may be better later is tried again."""
    async with receiver(answer(status)) as server:
        found = await failure(server.url())
    assert found == (
        "download-failed", retryable, f"The server of the video answered {status}.",
    )  # fmt: skip


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up(HEAD + VIDEO[:5000]),
        reset(HEAD + VIDEO[:5000]),
        hang_up(),
        reset(),
        raw(b"hello\r\n\r\n"),
    ],
    ids=["cut body", "reset body", "cut", "reset", "no HTTP"],
)
async def test_what_breaks_off_may_be_tried_again(behaviour: Behaviour):
    """A body that is cut, a connection that breaks and an answer that is none are retryable."""
    async with receiver(behaviour) as server:
        code, retryable, _ = await failure(server.url())
    assert (code, retryable) == ("download-failed", True)


async def test_a_server_that_falls_silent_is_given_up():
    """Silence has a limit of its own, far below that of the whole."""
    limits = DownloadLimits(allowed=LOOPBACK, silence_s=0.3, within_s=30.0)
    for behaviour in (never, _silent_after(HEAD + VIDEO[:1000])):
        began = time.monotonic()
        async with receiver(behaviour) as server:
            code, retryable, said = await failure(server.url(), limits)
        assert (code, retryable) == ("download-failed", True)
        assert "stopped answering" in said
        assert time.monotonic() - began < 10


def _silent_after(first: bytes) -> Behaviour:
    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await never(request, writer)

    return behave


async def test_a_slow_drip_is_given_up():
    """A server that sends a byte now and then is never silent, and is cut off in time."""
    limits = DownloadLimits(allowed=LOOPBACK, silence_s=5.0, within_s=0.5)
    began = time.monotonic()
    async with receiver(drip(HEAD)) as server:
        code, retryable, said = await failure(server.url(), limits)
    assert (code, retryable) == ("download-failed", True)
    assert "did not arrive within 0.5 seconds" in said
    assert time.monotonic() - began < 10


async def test_nobody_there_may_be_tried_again():
    """A server that is not up now may be up later."""
    async with receiver() as server:
        url = server.url()
    assert (await failure(url))[:2] == ("download-failed", True)


async def test_a_full_disk_may_be_tried_again(tmp_path: Path):
    """Where no file can be made the fault is ours, and passes."""
    limits = DownloadLimits(allowed=LOOPBACK, folder=tmp_path / "missing")
    code, retryable, said = await failure("https://127.0.0.1/", limits)
    assert (code, retryable) == ("download-failed", True)
    assert str(tmp_path) not in said


async def test_no_complaint_says_the_url():
    """A URL may be the only secret there is: no message of any failure repeats it."""
    async with receiver(answer(403), answer(body=HTML), hang_up()) as server:
        said = [(await failure(server.url("/v.mp4?sig=SECRET")))[2] for _ in range(3)]
    assert not any("SECRET" in each or "127.0.0.1" in each for each in said)


async def test_connections_do_not_stay():
    """Each download closes what it opened, also where it was refused halfway."""
    async with receiver(answer(body=HTML)) as server:
        await failure(server.url())
        await asyncio.wait_for(server.broken.wait(), 5)


def test_the_limits_are_limits():
    """The defaults are bounded, and let nobody inside."""
    limits = DownloadLimits()
    allowed: Sequence[object] = limits.allowed
    assert allowed == ()
    assert 0 < limits.size <= 1 << 30
    assert 0 < limits.silence_s < limits.within_s <= 600
