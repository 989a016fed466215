"""`docs/how-to/attach-a-file-or-a-calendar-entry.md`: its files are written, its commands run."""

from __future__ import annotations

import re
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nurture.cli.main import app
from tests.docs.pages import blocks, commands, make_edits, new_workspace, nurture, rows

PAGE = "how-to/attach-a-file-or-a-calendar-entry.md"
FILE, ENTRY = "A file", "A calendar entry"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = new_workspace(tmp_path_factory.mktemp("attachments") / "acme")
    make_edits(PAGE, root)
    leads = root.parent / "leads.csv"
    leads.write_text("Email,First Name,Marketing consent\nzoe@example.com,Zoe,Yes\n")
    nurture("import", str(leads), "--source", "fair", "-C", str(root))
    return root


@pytest.fixture
def root(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def attached(letter: str) -> dict[str | None, bytes]:
    message = message_from_string(letter, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()}  # type: ignore[misc]


def entry(letter: str) -> str:
    """The calendar entry without its UID, which is made with the workspace's secret."""
    text = attached(letter)["invite.ics"].decode().replace("\r\n", "\n")
    return re.sub("(?m)^UID:.*@127.0.0.1$", "UID:…", text)


def test_a_file(root: Path) -> None:
    check, letter = (nurture(*command) for command in commands(PAGE, FILE))
    assert " 0 errors" in check
    assert attached(letter) == {"reporting-guide.pdf": (root / "offers" / "reporting-guide.pdf").read_bytes()}


def test_a_file_that_is_missing(root: Path) -> None:
    path = root / "cadences" / "welcome.yaml"
    before = path.read_text()
    path.write_text(before.replace("reporting-guide.pdf", "reportng-guide.pdf"))
    try:
        said = CliRunner().invoke(app, ["check"]).output
    finally:
        path.write_text(before)
    assert blocks(PAGE, FILE, "text")[0] in said


def test_a_calendar_entry(root: Path) -> None:
    *_, letter = (nurture(*command) for command in commands(PAGE, ENTRY))
    assert [entry(letter)] == blocks(PAGE, ENTRY, "text")


@pytest.mark.parametrize(
    ("props", "says"),
    [
        (("ends_at=2026-12-10T15:10:00+01:00", "duration=30"), ("DTEND:20261210T141000Z",)),
        (("name=Demo", "duration=45"), ("DTEND:20261210T134500Z", "SUMMARY:Demo")),
        ((), ("DTEND:20261210T140000Z", "SUMMARY:We meet: a demo")),
    ],
)
def test_what_an_entry_says_of_the_event(props: tuple[str, ...], says: tuple[str, ...], root: Path) -> None:
    assert len(rows(PAGE, ENTRY)) == 5
    given = [each for prop in ("starts_at=2026-12-10T14:00:00+01:00", *props) for each in ("--prop", prop)]
    nurture("track", "zoe@example.com", "demo booked", *given)
    letter = nurture("render", "appointment/booked", "--lead", "zoe@example.com", "--format", "eml")
    assert set(says) <= set(entry(letter).splitlines())


def test_the_moment_of_a_cadence_without_an_event(root: Path) -> None:
    *_, steps = blocks(PAGE, ENTRY, "yaml")
    path = root / "cadences" / "ending.yaml"
    path.write_text(f"name: Ending\nsegment: custom.employees > 5\npriority: 20\nsteps:\n{steps}")
    letters = []
    for ends_at in ("2026-12-10T14:00:00+01:00", ""):
        nurture("leads", "set", "zoe@example.com", f"custom.trial_ends_at={ends_at}")
        letters.append(nurture("render", "ending/ends", "--lead", "zoe@example.com", "--format", "eml"))
    path.unlink()
    assert "DTSTART:20261210T130000Z" in entry(letters[0])
    assert attached(letters[1]) == {}, "a mail without its entry"
