"""The list of finding codes and the program say the same: no code is used that is not listed, and each is found."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.documents.codes import FINDING_CODES
from nurture.documents.finding import Finding
from nurture.documents.source import read_source
from tests.authoring import test_language_mistakes as language
from tests.authoring import test_lead_checks as of_leads
from tests.authoring import test_mistakes as mistakes
from tests.authoring.test_mistakes import CASE, CONFIG, GUIDE, WELCOME, root, seed

__all__ = ["root"]

NURTURE = Path(__file__).parents[2] / "nurture"


def codes_of(root: Path) -> set[str]:
    return {each.code for each in check_workspace(root).findings}


def _no_such_file(root: Path) -> set[str]:
    found = read_source(root, "cadences/nothing.yaml")
    return {found.code} if isinstance(found, Finding) else set()


def _not_utf8(root: Path) -> set[str]:
    (root / WELCOME).write_bytes(b"name: Gr\xfc\xdfe\n")
    return codes_of(root)


def _too_large(root: Path) -> set[str]:
    (root / WELCOME).write_text("# " + "x" * (1024 * 1024))
    return codes_of(root)


def _misnamed(root: Path) -> set[str]:
    (root / "cadences/other.yml").write_text("steps: []\n")
    return codes_of(root)


def _wordless(root: Path) -> set[str]:
    (root / CASE.replace(".mjml", ".txt")).write_text("\n")
    return codes_of(root)


def _without_footer(root: Path) -> set[str]:
    (root / "templates/email/_footer.mjml").write_text("<mj-section><mj-column /></mj-section>\n")
    return codes_of(root)


def _circle(root: Path) -> set[str]:
    seed(root, GUIDE, "- email: guide-followup\n", "- enroll: welcome\n  - email: guide-followup\n")
    seed(root, WELCOME, "- email: welcome\n", "- enroll: guide-followup\n  - email: welcome\n")
    return codes_of(root)


SEEDED: dict[str, Callable[[Path], set[str]]] = {
    "unreadable": _no_such_file,
    "encoding": _not_utf8,
    "too-large": _too_large,
    "file-name": _misnamed,
    "no-text": _wordless,
    "no-unsubscribe": _without_footer,
    "no-postal-address": _without_footer,
    "enroll-cycle": _circle,
}
WITH_LEADS = {"small-test": of_leads.test_a_test_on_too_few_leads_says_which_lift_it_would_see}
"""Found where there is a database; tested there."""


@pytest.mark.parametrize("code", SEEDED)
def test_a_mistake_that_is_no_row_of_a_table_has_its_code(root: Path, code: str) -> None:
    assert code in SEEDED[code](root)


def test_every_code_is_found_in_a_seeded_mistake() -> None:
    tables = (mistakes.CADENCES, mistakes.OTHERS, mistakes.COPY, mistakes.SETTINGS, mistakes.WARNINGS, language.ROWS)
    in_tables = {row[4] for table in tables for row in table}
    assert sorted(FINDING_CODES) == sorted(in_tables | SEEDED.keys() | WITH_LEADS.keys())


def test_every_code_that_the_program_uses_is_in_the_list() -> None:
    files = [*NURTURE.glob("authoring/*.py"), *NURTURE.glob("documents/*.py"), NURTURE / "settings.py"]
    used = {code for file in (*files, NURTURE / "content" / "lint.py") for code in _codes_in(file)}
    assert sorted(used - FINDING_CODES.keys()) == []
    assert sorted(FINDING_CODES.keys() - used) == []


def _codes_in(file: Path) -> Iterator[str]:
    """The texts that a file gives for a `code`, and those that the kinds of its unknown names make."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    takes = _TAKES | {
        each.name: at for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) if (at := _at(each))
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        said = [each.value for each in call.keywords if each.arg == "code"]
        said += call.args[takes[name] - 1 : takes[name]] if name in takes else []
        yield from (each for value in said for each in _texts(value))
        kind = call.args[_KIND[name]] if name in _KIND and len(call.args) > _KIND[name] else None
        yield from (f"unknown-{each.replace(' ', '-')}" for each in (_texts(kind) if kind is not None else ()))


_TAKES = {"finding": 2, "report": 2, "misplaced": 2}
"""Functions of other files: the place, from 1, of their `code`."""
_KIND = {"known": 2, "unknown": 1}
"""Functions that report a name of some kind that nothing has: the place, from 0, of the kind."""


def _at(function: ast.FunctionDef) -> int:
    names = [each.arg for each in function.args.args if each.arg != "self"]
    return names.index("code") + 1 if "code" in names else 0


def _texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from _texts(value.body)
        yield from _texts(value.orelse)
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def test_no_other_code_can_be_made() -> None:
    with pytest.raises(LookupError, match="belongs into"):
        Finding(file=CONFIG, line=1, column=1, code="wiat", message="x")


def test_the_reference_tells_every_code() -> None:
    page = (NURTURE.parent / "docs" / "reference" / "finding-codes.md").read_text(encoding="utf-8")
    assert [code for code in FINDING_CODES if f"\n| `{code}` | " not in page] == []
