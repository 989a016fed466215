"""init, check and schema as they are typed: what they print, and with which code they end."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from nurture.cli import main as command


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["nurture", *arguments])
    code = 0
    try:
        command.main()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_from_init_to_a_mistake_and_its_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    code, out, _ = run(capsys, monkeypatch, "init", str(folder))
    assert code == 0
    assert "nurture check" in out
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert len((folder / "secret.key").read_text().strip()) >= 32
    assert "secret.key" in (folder / ".gitignore").read_text()
    assert (folder / "secret.key").read_text().strip() not in out

    monkeypatch.chdir(folder)
    assert run(capsys, monkeypatch, "check") == (0, "2 cadences, 5 templates: no problems\n", "")
    assert not list(folder.glob("nurture.db*"))

    welcome = folder / "cadences/welcome.yaml"
    welcome.write_text(welcome.read_text().replace("2 business days", "2 busy days"))
    code, out, err = run(capsys, monkeypatch, "check")
    assert (code, err) == (1, "")
    assert out.startswith("cadences/welcome.yaml:14:11: error: wait '2 busy days' is no span: use e.g. '3 days'")
    assert out.endswith("[value]\n2 cadences, 5 templates: 1 error, 0 warnings\n")

    code, out, _ = run(capsys, monkeypatch, "check", "--json")
    document = json.loads(out)
    assert (code, document["errors"], document["warnings"]) == (1, 1, 0)
    assert document["findings"] == [
        {
            "file": "cadences/welcome.yaml",
            "line": 14,
            "column": 11,
            "level": "error",
            "code": "value",
            "message": "wait '2 busy days' is no span: use e.g. '3 days', '4 business days' or '2 days at 09:00'",
        }
    ]
    _, out, _ = run(capsys, monkeypatch, "check", "--format", "github")
    assert out.startswith("::error file=cadences/welcome.yaml,line=14,col=11,title=value::")
    _, out, _ = run(capsys, monkeypatch, "check", "--format", "sarif")
    assert json.loads(out)["runs"][0]["results"][0]["ruleId"] == "value"


def test_init_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("mine\n")
    code, out, err = run(capsys, monkeypatch, "init", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"nurture: {tmp_path} has a config.toml already: name another folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_init_where_nothing_can_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, monkeypatch, "init", str(tmp_path / "file" / "new"))
    assert code == 1
    assert err.startswith("nurture: no workspace can be written to")
    assert err.count("\n") == 1


def test_check_outside_of_a_workspace_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "check", "-C", str(tmp_path))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "nurture init DIR" in err


def test_an_unknown_format_is_a_mistake_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, monkeypatch, "check", "--format", "xml")[0] == 2


def test_schema_writes_one_file_a_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "schema", "--out", str(tmp_path / ".schema"))
    assert (code, out) == (0, f"6 schemas in {tmp_path / '.schema'}\n")
    assert json.loads((tmp_path / ".schema/cadence.json").read_text())["properties"]["steps"]
