"""`huntaze mails preview`."""

import re
from html import unescape
from pathlib import Path

from tests.event_samples import MAILED
from tests.hub_process import run_huntaze


def test_every_mail_is_written_out_and_shown_on_one_page(tmp_path: Path):
    """Each mailed type in each language: subject, HTML and text; the page shows all of them."""
    done = run_huntaze(["mails", "preview", "--out", str(tmp_path / "new" / "mails")])
    out = tmp_path / "new" / "mails"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{2 * len(MAILED)} mails; open {out / 'index.html'}\n"
    index = (out / "index.html").read_text()
    shown = dict(re.findall(r'<iframe title="([^"]+)"[^>]* srcdoc="([^"]+)"', index))
    for name in MAILED:
        for locale in ("en", "fr"):
            folder = out / name / locale
            subject = (folder / "subject.txt").read_text().strip()
            assert f"<title>{subject}</title>".replace("'", "&#39;") in (
                (folder / "body.html").read_text()
            )
            assert "Huntaze" in (folder / "body.txt").read_text()
            assert f"<h3>{subject} " in index
            for width in ("phone", "desktop"):
                mail = unescape(shown[f"{name}, {locale}, {width}"])
                assert mail == (folder / "body.html").read_text()
    assert len(shown) == 4 * len(MAILED)


def test_writing_again_replaces_and_leaves_the_rest(tmp_path: Path):
    """The folder may be under version control, or somebody's own."""
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        assert run_huntaze(["mails", "preview", "--out", str(tmp_path)]).returncode == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_paths_lead_to_where_the_app_is(tmp_path: Path):
    """What `HUNTAZE_APP_URL` says is what links are made of; a wrong one ends with 2."""
    done = run_huntaze(["mails", "preview", "--out", str(tmp_path)], {"HUNTAZE_APP_URL": "x"})
    assert done.returncode == 2
    assert "HUNTAZE_APP_URL" in done.stderr


def test_a_folder_that_cannot_be_is_said(tmp_path: Path):
    """With what to do."""
    (tmp_path / "file").write_text("")
    done = run_huntaze(["mails", "preview", "--out", str(tmp_path / "file" / "mails")])
    assert done.returncode == 2
    assert "give another --out" in done.stderr
