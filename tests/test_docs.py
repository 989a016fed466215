"""The documentation says what the program does: the reference is made from the models, and nothing is left out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer

from nurture.cli.main import app
from nurture.domain.event import EventName
from nurture.domain.reasons import Reason

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_models_say() -> None:
    pages = generator().pages()
    written = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    assert sorted(written) == sorted(pages)
    stale = [name for name, text in pages.items() if written[name] != text]
    assert stale == [], "run `make docs`"


def test_every_reason_and_event_is_told() -> None:
    reasons = (REFERENCE / "reasons.md").read_text(encoding="utf-8")
    events = (REFERENCE / "events.md").read_text(encoding="utf-8")
    assert [code for code in Reason if f"`{code.value}`" not in reasons] == []
    assert [name for name in EventName if f"`{name.value}`" not in events] == []


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group has commands
    assert [name for name in commands if f"nurture {name}" not in readme] == []


PAGES = sorted({*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
