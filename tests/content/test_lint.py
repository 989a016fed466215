"""What copy lint remarks on, and that it leaves good copy alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.content.letters import Composer
from nurture.content.lint import lint_html, lint_subject, lint_text
from nurture.content.templates import TemplateLibrary
from tests.content.writing import UNTRACKED, column, library, request

ACCEPTANCE = Path(__file__).parent.parent / "data" / "acceptance" / "templates" / "email"


@pytest.mark.parametrize(
    ("subject", "codes"),
    [
        ("Three numbers from the guide", []),
        ("{{ lead.first_name | default('Hello, my dear friend of many years and more') }}, three numbers", []),
        ("How a team of twelve people cut the time they spend on reports by 31%", ["long-subject"]),
        ("LAST CHANCE TO BUY", ["shouting"]),
        ("Hurry!!", ["shouting"]),
        ("The NASA guide", []),
    ],
)
def test_subjects(subject: str, codes: list[str]) -> None:
    assert [remark.code for remark in lint_subject(subject)] == codes


@pytest.mark.parametrize(
    ("blocks", "codes"),
    [
        ("<mj-text>fine</mj-text><mj-button href='https://acme.example/'>Go</mj-button>", []),
        ("<mj-image src='https://acme.example/a.png' />", ["no-alt"]),
        ("<mj-text><a href='https://bit.ly/x'>x</a></mj-text>", ["shortened-link"]),
        ("<mj-text><a href='https://acme.example/'></a></mj-text>", ["link-without-text"]),
        ("<mj-text><a href='#'>x</a></mj-text>", ["empty-link"]),
        ("<mj-button href='https://a.example/'>A</mj-button><mj-button href='https://b.example/'>B</mj-button>",
         ["several-buttons"]),
        ("<mj-text>" + "x" * 90_000 + "</mj-text>", ["clipped"]),
    ],
)  # fmt: skip
def test_html_as_compiled_and_as_rendered(tmp_path: Path, blocks: str, codes: list[str]) -> None:
    shelf = library(tmp_path, letter=column(blocks))
    assert [remark.code for remark in lint_html(shelf.compile("letter").html_source)] == codes
    rendered = Composer(shelf).compose(request(links=UNTRACKED)).html
    assert [remark.code for remark in lint_html(rendered)] == codes


def test_the_limit_of_gmail_is_an_error() -> None:
    assert [remark.level for remark in lint_html("x" * 103 * 1024)] == ["error"]
    assert [remark.level for remark in lint_html("x" * 81 * 1024)] == ["warning"]
    assert lint_html("x" * 79 * 1024) == []


def test_the_shipped_templates_have_no_errors() -> None:
    shelf = TemplateLibrary(ACCEPTANCE)
    for name in shelf.names():
        assert lint_html(shelf.compile(name).html_source) == []


def test_a_letter_has_something_to_read_for_those_who_see_no_html() -> None:
    assert [remark.code for remark in lint_text(" \n\n")] == ["no-text"]
    assert lint_text("Hello") == []
