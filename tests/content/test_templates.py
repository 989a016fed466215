"""Templates are compiled once, proven equal to compiling after rendering, and refused at their file and place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from nurture.content.letters import Composer, RenderProblem
from nurture.content.mjml_compiler import MjmlCompiler, MjmlError
from nurture.content.names import TemplateNames
from nurture.content.templates import TemplateError, TemplateLibrary
from tests.content.writing import column, library, mjml, request

ACCEPTANCE = Path(__file__).parent.parent / "data" / "acceptance" / "templates" / "email"


def refused(folder: Path, source: str, **files: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        library(folder, letter=source, **files).compile("letter")
    return caught.value


def test_the_shipped_workspace_compiles_and_names_its_variables() -> None:
    shipped = TemplateLibrary(ACCEPTANCE)
    assert shipped.names() == ["case-study", "guide-delivery", "guide-followup", "welcome"]
    for name in shipped.names():
        assert shipped.compile(name).variables == shipped.variables(name)
    assert shipped.variables("guide-delivery") == {"lead.first_name", "offer_url", "workspace.postal_address"}
    assert "lead.custom.plan" in shipped.variables("welcome")
    assert "workspace.postal_address" in shipped.variables("welcome"), "from the partial"


def test_a_changed_partial_is_taken_up_and_an_unchanged_template_is_compiled_once(tmp_path: Path) -> None:
    shutil.copytree(ACCEPTANCE, tmp_path / "email")
    shelf = TemplateLibrary(tmp_path / "email", recheck_seconds=0)
    before = shelf.compile("welcome")
    assert shelf.compile("welcome") is before
    footer = tmp_path / "email" / "_footer.mjml"
    footer.write_text(footer.read_text().replace("Unsubscribe", "Leave this list"))
    assert "Leave this list" in shelf.compile("welcome").html_source
    footer.unlink()
    with pytest.raises(TemplateError, match=r'welcome.mjml:19:5: there is no "_footer.mjml" to include'):
        shelf.compile("welcome")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (mjml("Hello {{ ¦lead.frist_name }}"), 'did you mean "lead.first_name"'),
        ("<mjml>\n <mj-body>\n  ¦<mj-sectoin></mj-sectoin></mj-body></mjml>", 'did you mean "mj-section"'),
        (column('<mj-text ¦colour="#fff">x</mj-text>'), 'did you mean "color"'),
        (column("<mj-text>x") + "", "is never closed"),
        (mjml("{{ lead.first_name | ¦defualt('x') }}"), 'did you mean "default"'),
        (mjml("x ¦{{ lead.first_name"), "never closed"),
        (mjml("{{ ¦leed.first_name }}"), 'did you mean "lead'),
        (mjml("{{ ¦lead.first_name.upper }}"), "has no fields of its own"),
        (mjml("{{ lead.¦__class__ }}"), "can't begin with"),
        (mjml("{{ ¦_link }}"), "can't begin with"),
        (mjml("{{ ¦lead.first_name.upper() }}"), "only range"),
        (mjml("{{ ¦cycler('a') }}"), "only range"),
        (mjml("{{ lead.company | ¦safe }}"), 'unknown filter "safe"'),
        (mjml('x ¦{% include "../../secret.mjml" %}'), "leads out of"),
        (mjml('x ¦{% include "/etc/passwd" %}'), "leads out of"),
        (mjml('x ¦{% include "letter.mjml" %}'), "includes itself"),
        (mjml('x ¦{% include "_gone.mjml" %}'), "to include"),
        (mjml('<p ¦{% if lead.company %}class="a"{% endif %}>x</p>'), "between attributes"),
        (mjml('<a href="https://acme.example¦{{ lead.company }}">x</a>'), "scheme or host"),
        (column("¦<mj-include path='x.mjml' />"), "_partial.mjml"),
        (column("", head="<mj-style>.a { color: ¦{{ vars.color }} }</mj-style>"), "inside <style>"),
        ("¦nothing", "begins with <mjml>"),
    ],
)
def test_a_mistake_is_an_error_at_its_place(tmp_path: Path, source: str, message: str) -> None:
    """The bar marks the place."""
    marked = source if "¦" in source else source.replace("<mj-text>", "¦<mj-text>")
    before = marked[: marked.index("¦")]
    error = refused(tmp_path, marked.replace("¦", ""))
    assert message in error.message
    assert (error.file, error.line, error.column) == (
        "letter.mjml",
        before.count("\n") + 1,
        len(before) - before.rfind("\n"),
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{% if lead.company %}x", "Unexpected end of template"),
        ("{{ lead['__class__'] }}", "unknown name"),
        ("{{ 2 ** 99 }}", "`**` can't"),
        ("{{ lead.company[1:2] }}", "a slice can't"),
        ("{% macro m() %}{% endmacro %}", "a macro can't"),
        ("{% import 'x' as y %}", "`import` can't"),
        ("{% extends 'x' %}", "`extends` can't"),
        ("{% autoescape false %}{{ lead.company }}{% endautoescape %}", "`autoescape` can't"),
        ("{% include lead.company %}", "an include that is not a plain file name"),
        ("{% for a in vars.b recursive %}{% endfor %}", "recursive"),
        ("{{ lead.company | default(*[1]) }}", "can't be used"),
        ("<a href=\"javascript:alert('x')\">x</a>", "whole http(s) address"),
        ('<a href="data:text/html,x">x</a>', "whole http(s) address"),
        ('<a href="/pricing">x</a>', "whole http(s) address"),
        ('<a href="https://user@evil.example/">x</a>', "whole http(s) address"),
        ('<a href="x" onclick="{{ lead.company }}">x</a>', "whole http(s) address"),
        ('<p onclick="{{ lead.company }}">x</p>', "can't stand in"),
    ],
)
def test_what_a_template_may_not_do_is_refused(tmp_path: Path, body: str, message: str) -> None:
    assert message in refused(tmp_path, mjml(body)).message


def test_a_mistake_in_a_partial_is_told_at_the_partial(tmp_path: Path) -> None:
    error = refused(tmp_path, mjml('{% include "_end.mjml" %}'), _end="Bye,\n{{ lead.frist_name }}")
    assert (error.file, error.line, error.column) == ("_end.mjml", 2, 4)


def test_partials_never_lead_out_of_the_folder_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "email"
    folder.mkdir()
    (folder / "_out.mjml").symlink_to(tmp_path / "secret.txt")
    assert 'there is no "_out.mjml"' in refused(folder, mjml('{% include "_out.mjml" %}')).message


def test_a_circle_of_partials_is_an_error(tmp_path: Path) -> None:
    error = refused(
        tmp_path, mjml('{% include "_a.mjml" %}'), _a='{% include "_b.mjml" %}', _b='{% include "_a.mjml" %}'
    )
    assert error.file == "_b.mjml"
    assert "includes itself" in error.message


LAYOUTS = {
    "text": "<mj-text>A{% if lead.company %} for {{ lead.company }}{% else %} for you{% endif %}</mj-text>",
    "elif": "<mj-text>{% if lead.fit == 'A' %}a{% elif lead.fit == 'B' %}b{% else %}c{% endif %}</mj-text>",
    "block": "{% if lead.company %}<mj-button href='https://acme.example/'>Go</mj-button>{% endif %}",
    "list": "{% for item in vars.items %}<mj-text>{{ loop.index }} {{ item }}</mj-text>{% endfor %}",
    "rows": "<mj-table>{% for item in vars.items %}<tr><td>{{ item }}</td></tr>{% else %}<tr></tr>{% endfor %}"
    "</mj-table>",
    "image": '<mj-image src="{{ vars.hero }}" alt="{{ vars.alt | default(\'x\') }}" />',
    "colour": '<mj-button background-color="{{ vars.color }}" href="https://acme.example/">Go</mj-button>',
    "comment": "<!-- {{ nothing that %} counts --><mj-text>{# {{ x }} #}x</mj-text>",
    "set": "<mj-text>{% set who = lead.first_name | default('you') %}Hello {{ who }}</mj-text>",
    "less than": '<mj-text>{% if lead.score < 5 and lead.fit != "A" %}a{% endif %}</mj-text>',
}


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"comment"}))
def test_what_does_not_depend_on_the_layout_is_compiled_once(tmp_path: Path, name: str) -> None:
    library(tmp_path, letter=column(LAYOUTS[name])).compile("letter")


def test_sections_and_columns_that_state_their_width_may_depend_on_the_lead(tmp_path: Path) -> None:
    section = "<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>"
    wide = "<mj-column width='300px'><mj-text>x</mj-text></mj-column>"
    source = (
        f"<mjml><mj-body>{{% if lead.company %}}{section}{{% endif %}}"
        f"{{% for each in vars.items %}}{section}{{% endfor %}}"
        f"<mj-section>{wide}{{% if lead.fit %}}{wide}{{% endif %}}</mj-section></mj-body></mjml>"
    )
    library(tmp_path, letter=source).compile("letter")


ANOTHER = "<mj-column><mj-text>y</mj-text></mj-column>"


@pytest.mark.parametrize(
    "blocks",
    [
        '<mj-image src="https://acme.example/a.png" alt="a" width="{{ vars.width }}px" />',
        '<mj-text>x</mj-text><mj-image padding="{{ vars.padding }}" src="https://acme.example/a.png" />',
        f"<mj-text>x</mj-text></mj-column>{{% if lead.company %}}{ANOTHER}{{% endif %}}<mj-column>",
        f"<mj-text>x</mj-text></mj-column>{{% for i in vars.items %}}{ANOTHER}{{% endfor %}}<mj-column>",
    ],
)
def test_what_mjml_computes_with_is_refused_unless_compiled_for_each_lead(tmp_path: Path, blocks: str) -> None:
    assert "compile: per_lead" in refused(tmp_path, column(blocks)).message
    shelf = TemplateLibrary(tmp_path)
    values = {"width": "120", "padding": "3px", "items": ["a", "b"]}
    letter = Composer(shelf).compose(request(per_lead=True, context={"vars": values}))
    assert "<img" in letter.html or "y" in letter.text


def test_a_letter_compiled_for_each_lead_is_the_same_letter(tmp_path: Path) -> None:
    shutil.copytree(ACCEPTANCE, tmp_path / "email")
    composer = Composer(TemplateLibrary(tmp_path / "email"))
    lead = {"first_name": "<b>Zoë</b>", "company": "{{ 7*7 }} & Sons", "custom": {"plan": "a&b c"}}
    once = composer.compose(request("welcome", lead=lead))
    each = composer.compose(request("welcome", lead=lead, per_lead=True))
    assert once.links == each.links
    assert once.text == each.text
    assert "".join(once.html.split()) == "".join(each.html.split())


@pytest.mark.parametrize(
    ("blocks", "plan", "message"),
    [
        ('<mj-text color="{{ lead.custom.plan }}">x</mj-text>', "red;background:url(//x)", "in a style"),
        ('<mj-text><p style="color:{{ lead.custom.plan }}">x</p></mj-text>', "red;x:y", "in a style"),
        ('<mj-text><a href="https://acme.example{{ lead.custom.plan }}">x</a></mj-text>', ".evil.example", "host"),
        ('<mj-text><a href="{{ lead.custom.plan }}">x</a></mj-text>', "javascript:alert(1)", "http(s)"),
        ('<mj-text><p onclick="{{ lead.custom.plan }}">x</p></mj-text>', "x", "onclick"),
        ("<mj-text><p {{ lead.custom.plan }}>x</p></mj-text>", "x", "between attributes"),
    ],
)
def test_a_letter_compiled_for_each_lead_has_the_same_guards(
    tmp_path: Path, blocks: str, plan: str, message: str
) -> None:
    composer = Composer(library(tmp_path, letter=column(blocks)))
    for per_lead in (True, False):
        with pytest.raises((RenderProblem, TemplateError), match=re.escape(message)):
            composer.compose(request(per_lead=per_lead, lead={"custom": {"plan": plan}}))


def test_a_written_text_part_serves_a_template_compiled_for_each_lead(tmp_path: Path) -> None:
    shelf = library(tmp_path, letter=mjml("x"), letter_txt="Hello {{ lead.first_name }}")
    letter = Composer(shelf).compose(request(per_lead=True, lead={"first_name": "{{ 7*7 }}"}))
    assert letter.text == "Hello {{ 7*7 }}\n"


def test_the_language_of_the_lead_chooses_the_file(tmp_path: Path) -> None:
    shelf = library(tmp_path, letter=mjml("Hello"), letter_de=mjml("Hallo"))
    assert shelf.compile("letter", language="de-AT").file == "letter.de.mjml"
    assert shelf.compile("letter", language="fr").file == "letter.mjml"
    assert shelf.compile("letter", language="../../etc").file == "letter.mjml"
    (tmp_path / "letter.fr.mjml").write_text(mjml("Bonjour"))
    assert shelf.compile("letter", language="fr").file == "letter.fr.mjml", "a new variant is taken up"


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match='did you mean "letter"'):
        library(tmp_path, letter=mjml("x")).compile("lettre")


def test_declared_custom_fields_are_the_only_ones(tmp_path: Path) -> None:
    library(tmp_path, letter=mjml("{{ lead.custom.plam }}"))
    with pytest.raises(TemplateError, match=r"did you mean \"lead.custom.plan\""):
        TemplateLibrary(tmp_path, names=TemplateNames(custom=frozenset({"plan"}))).compile("letter")


def test_a_mistake_in_a_subject_is_told_with_its_column() -> None:
    shelf = TemplateLibrary(ACCEPTANCE)
    assert shelf.line("{{ lead.company | default(lead.email) }}").variables == {"lead.company", "lead.email"}
    with pytest.raises(TemplateError) as caught:
        shelf.line("Hello {{ lead.frist_name }}")
    assert caught.value.column == 10


def test_deep_nesting_is_an_error_and_takes_nothing_down(tmp_path: Path) -> None:
    assert "nested" in refused(tmp_path, column("<mj-group>" * 99)).message
    assert "crashed" in refused(tmp_path, mjml("<div>" * 20_000 + "</div>" * 20_000)).message
    library(tmp_path, letter=mjml("still here")).compile("letter")


def test_a_compiler_that_died_or_hangs_is_replaced() -> None:
    compiler = MjmlCompiler(timeout_seconds=30)
    with pytest.raises(MjmlError, match="crashed"):
        compiler.compile([column("<mj-wrapper>" * 60_000 + "</mj-wrapper>" * 60_000)])
    assert "again" in compiler.compile([mjml("again")])[0]
    compiler.close()
    slow = MjmlCompiler(timeout_seconds=0.0001)
    with pytest.raises(MjmlError, match="longer than"):
        slow.compile([mjml("x") * 1] * 500)


BOMBS = {
    "text": "{{ 'a' * 1000000000 }}",
    "power": "{{ 10 * 10000000000000000000000 }}",
    "range": "{% for i in range(1000000000) %}x{% endfor %}",
    "loops": "{% for i in range(999) %}{% for j in range(999) %}{% for k in range(999) %}{% if i == k %}{% endif %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "output": "{% for i in range(999) %}" + "x" * 9999 + "{% endfor %}",
    "doubling": "{% set a = 'aaaaaaaaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "block": "{% set a %}aaaaaaaaaaaaaaaa{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40 + "{{ a }}",
    "replace": "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a | replace('a', a) %}" * 9 + "{{ a }}",
    "join": "{% set a = range(1000) | join('0123456789') %}" + "{% set a = [a, a, a] | join(a) %}" * 9 + "{{ a }}",
    "format": "{{ '%1000000000d' % 5 }}",
    "date": "{{ '2026-01-01' | date('%1000000000d') }}",
    "list": "{% set a = [1, 2, 3] %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
    "nested": "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
    "ifs": "{% if lead.company %}" * 60 + "x" + "{% endif %}" * 60,
    "digits": "{{ " + "9" * 5000 + " }}",
}


@pytest.mark.parametrize("place", ["subject", "body"])
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_work_and_memory_without_end_are_stopped(tmp_path: Path, name: str, place: str) -> None:
    shelf = library(tmp_path, letter=mjml("x" if place == "subject" else BOMBS[name]))
    with pytest.raises((RenderProblem, TemplateError)):
        Composer(shelf).compose(request(subject=BOMBS[name] if place == "subject" else "x", lead={"company": "x"}))
