"""`nurture new` as it is typed: what it writes and prints, and that it never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.authoring.new_cadence import KINDS
from tests.cli.test_check import run
from tests.rehearsal.playing import apart


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "new"
    assert run(capsys, monkeypatch, "init", str(folder))[0] == 0
    monkeypatch.chdir(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cadence_is_written_checks_clean_and_its_tests_pass(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(workspace)
    code, out, err = run(capsys, monkeypatch, "new", "welcome", "spring-fair")
    assert (code, err) == (0, "")
    assert "cadences/spring-fair.yaml\n" in out
    assert "left as they are: templates/email/_head.mjml, templates/email/_header.mjml" in out
    assert "a draft" in out
    after = files(workspace)
    assert {name: after[name] for name in before} == before
    written = (workspace / "cadences/spring-fair.yaml").read_text()
    assert 'name: "Spring fair"' in written
    assert "tag: spring-fair-done" in written
    assert "status: draft" in written
    assert "https://www.example.com/tour" in (workspace / "templates/email/welcome-hello.mjml").read_text()
    assert (workspace / "templates/email/welcome-hello.de.mjml").is_file()
    assert run(capsys, monkeypatch, "check")[0] == 0
    code, out, _ = apart(lambda: run(capsys, monkeypatch, "test", "cadences/spring-fair.test.yaml"))
    assert code == 0
    assert out.endswith("8 passed, 0 failed\n")


def test_a_second_one_of_a_kind_shares_the_templates(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, monkeypatch, "new", "webinar", "may")[0] == 0
    (workspace / "templates/email/webinar-soon.mjml").write_text("mine")
    code, out, _ = run(capsys, monkeypatch, "new", "webinar", "june")
    assert code == 0
    assert out.startswith("2 files:\n  cadences/june.yaml\n  cadences/june.test.yaml\n")
    assert (workspace / "templates/email/webinar-soon.mjml").read_text() == "mine"


@pytest.mark.parametrize("there", ["cadences/may.yaml", "cadences/may.test.yaml"])
def test_nothing_is_overwritten_and_nothing_half_written(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    (workspace / there).write_text("mine\n")
    before = files(workspace)
    code, out, err = run(capsys, monkeypatch, "new", "trial", "may")
    assert (code, out, err) == (1, "", f"nurture: {there} is there already: choose another name\n")
    assert files(workspace) == before


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (workspace / "templates/email").iterdir():
        path.unlink()
    (workspace / "templates/email").rmdir()
    (workspace / "templates/email").write_text("a file where the folder should be")
    before = files(workspace)
    code, _, err = run(capsys, monkeypatch, "new", "re-engage", "quiet")
    assert code == 1
    assert err.count("\n") == 1
    assert err.endswith("nothing was changed\n")
    assert files(workspace) == before


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("wellcome", "spring", "unknown kind 'wellcome': did you mean 'welcome'?"),
        ("welcome", "Spring fair", "'Spring fair' is no name of a cadence"),
        ("welcome", "../elsewhere", "'../elsewhere' is no name of a cadence"),
        ("welcome", "_forms", "'_forms' is no name of a cadence"),
        ("welcome", "", "'' is no name of a cadence"),
        ("welcome", "x" * 61, "is no name of a cadence"),
        ("welcome", "may.test", "'may.test' is no name of a cadence"),
    ],
)
def test_a_slip_of_the_pen_is_told_in_one_line(
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    says: str,
) -> None:
    before = files(workspace)
    code, out, err = run(capsys, monkeypatch, "new", kind, name)
    assert (code, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1
    assert files(workspace) == before


def test_a_field_that_is_not_declared_is_asked_for(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = workspace / "config.toml"
    config.write_text(config.read_text().replace('trial_ends_at = "datetime"\n', ""))
    code, _, err = run(capsys, monkeypatch, "new", "trial", "pro")
    assert code == 1
    assert "write 'trial_ends_at = \"datetime\"' under [fields] in config.toml first" in err
    assert not (workspace / "cadences/pro.yaml").exists()


def test_it_speaks_of_the_workspaces_own_topic_form_and_site(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, forms = workspace / "config.toml", workspace / "cadences/_forms.yaml"
    for path in (workspace / "cadences").glob("[!_]*.yaml"):
        path.unlink()
    config.write_text(
        config.read_text().replace("product =", "news =").replace("alex@example.com", "alex@acme.example")
    )
    forms.write_text(forms.read_text().replace("  guide: #", "  on: #").replace("topics: [product]", "topics: [news]"))
    assert run(capsys, monkeypatch, "new", "lead-magnet", "1-2")[0] == 0
    written = (workspace / "cadences/1-2.yaml").read_text()
    assert 'topic: "news"\n' in written
    assert 'where: event.form == "on"}' in written
    assert "https://www.acme.example/hour" in (workspace / "templates/email/magnet-offer.mjml").read_text()
    assert run(capsys, monkeypatch, "check")[0] == 0
    assert apart(lambda: run(capsys, monkeypatch, "test"))[0] == 0


def test_without_a_workspace_there_is_nowhere_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, monkeypatch, "new", KINDS[0], "spring")
    assert code == 1
    assert "no config.toml" in err
    assert list(tmp_path.iterdir()) == []
