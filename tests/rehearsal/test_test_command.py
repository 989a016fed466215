"""`nurture test` as it is typed: what it prints, with which code it ends, and that it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from nurture.cli import main as command
from tests.rehearsal.playing import apart, copy_workspace

GUIDE = "cadences/guide-followup.test.yaml"
CLICKS, DEMO = "a reader who clicks gets the case study and is promoted", "a demo request ends it as a success"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NURTURE_SECRET_KEY", raising=False)
    folder = copy_workspace(tmp_path / "workspace")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def nurture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nurture", "test", *arguments])
        code = 0
        try:
            apart(command.main)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield run
    structlog.reset_defaults()  # the command writes its log to this test's standard error


def change(root: Path, old: str, new: str) -> None:
    path = root / GUIDE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_all_pass_and_nothing_is_left_behind(root: Path, nurture) -> None:
    before = sorted(path.name for path in root.rglob("*"))
    assert nurture() == (0, f"{GUIDE}\n  passed  {CLICKS}\n  passed  {DEMO}\n2 passed, 0 failed\n", "")
    assert sorted(path.name for path in root.rglob("*")) == before


def test_a_failure_shows_both_sides(root: Path, nurture) -> None:
    change(root, "2026-11-05 10:00, email: case", "2026-11-04 10:00, email: intro-again")
    change(root, "      - {at: 2026-11-09 10:00, tag: guide-done}\n", "")
    code, out, err = nurture()
    assert (code, err) == (1, "")
    assert out == (
        f"{GUIDE}\n"
        f"  FAILED  {CLICKS}\n"
        "      expected                               actual\n"
        "      2026-11-02 10:00  email: intro         2026-11-02 10:00  email: intro\n"
        "    ! 2026-11-04 10:00  email: intro-again   2026-11-05 10:00  email: case\n"
        "      2026-11-09 10:00  promote: mql         2026-11-09 10:00  promote: mql\n"
        "    !                                        2026-11-09 10:00  tag: guide-done\n"
        "                        completed: true                        completed: true\n"
        f"  passed  {DEMO}\n"
        "1 passed, 1 failed\n"
    )


def test_json_is_one_document(root: Path, nurture) -> None:
    change(root, "{exit: goal}", "{exit: replied}")
    code, out, _ = nurture("--json")
    document = json.loads(out)
    assert (code, document["passed"], document["failed"]) == (1, 1, 1)
    first, second = document["tests"]
    assert (first["file"], first["name"], first["passed"]) == (GUIDE, CLICKS, True)
    assert first["actual"] == first["expected"]
    assert first["expected"][0] == {"at": "2026-11-02 10:00", "email": "intro"}
    assert not second["passed"]
    assert second["expected"][1] == {"exit": "replied"}
    assert second["actual"][1] == {"at": "2026-11-08 16:30", "exit": "goal"}


def test_files_limit_what_is_played(root: Path, nurture, monkeypatch: pytest.MonkeyPatch) -> None:
    welcome = "- {at: 2026-11-02 10:00, email: hello}\n      - {at: 2026-11-04 10:00, email: tips}"
    lead = "lead: {email: zoe@example.com, timezone: Europe/Berlin}\n    start: 2026-11-02 10:00"
    (root / "cadences/welcome.test.yaml").write_text(
        f"tests:\n  - name: two mails\n    {lead}\n    expect:\n      {welcome}\n      - {{completed: true}}\n"
    )
    only = "cadences/welcome.test.yaml\n  passed  two mails\n1 passed, 0 failed\n"
    assert nurture("cadences/welcome.test.yaml") == (0, only, "")
    monkeypatch.chdir(root / "cadences")
    assert nurture("-C", "..", "welcome.test.yaml") == (0, only, "")
    assert nurture("-C", "..", "cadences/welcome.test.yaml") == (0, only, "")
    code, out, _ = nurture("-C", "..")
    assert (code, out.splitlines()[-1]) == (0, "3 passed, 0 failed")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cadences/guide-folowup.test.yaml", f"there is no such file: did you mean '{GUIDE}'?"),
        ("config.toml", f"is no test file of a cadence in this workspace: use one of {GUIDE}"),
        ("cadences", f"is no test file of a cadence in this workspace: use one of {GUIDE}"),
    ],
)
def test_a_file_that_is_none_is_one_line(root: Path, nurture, file: str, line: str) -> None:
    assert nurture(file) == (1, "", f"nurture: {file}: {line}\n")


def test_tests_of_no_cadence_are_one_line(root: Path, nurture) -> None:
    (root / "cadences/nothing.test.yaml").write_text((root / GUIDE).read_text())
    code, out, err = nurture("cadences/nothing.test.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("nurture: cadences/nothing.test.yaml:1:1: error: tests of no cadence")
    assert err.count("\n") == 1


def test_a_workspace_without_tests_passes(root: Path, nurture) -> None:
    (root / GUIDE).unlink()
    assert nurture() == (0, "0 passed, 0 failed\n", "")
