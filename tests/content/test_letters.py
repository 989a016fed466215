"""A letter for one lead: what its reader's program shows, where its links go, and what its headers say."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nurture.content.letters import Composer, Letter, LinkStyle, PlainRequest, RenderProblem, compose_plain
from nurture.content.templates import TemplateLibrary
from tests.content.writing import TRACKED, UNTRACKED, WORKSPACE, column, library, mjml, request

ACCEPTANCE = Path(__file__).parent.parent / "data" / "acceptance" / "templates" / "email"


def composed(folder: Path, source: str, *, files: dict[str, str] | None = None, **changed: Any) -> Letter:
    return Composer(library(folder, letter=source, **(files or {}))).compose(request(**changed))


def parsed(letter: Letter) -> EmailMessage:
    message = email.message_from_bytes(letter.wire, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


class Anchors(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.last: dict[str, str | None] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.last = dict(attrs)
            self.hrefs.append(self.last.get("href") or "")


def test_the_welcome_letter_of_the_shipped_workspace() -> None:
    composer = Composer(TemplateLibrary(ACCEPTANCE))
    letter = composer.compose(
        request("welcome", subject="Welcome, {{ lead.first_name | default('friend') }}", preheader="Four minutes")
    )
    message = parsed(letter)
    assert message["Subject"] == "Welcome, Zoë"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    text, html = (part.get_content() for part in message.iter_parts())
    assert text.splitlines() == letter.text.splitlines()
    assert html.splitlines() == letter.html.splitlines()
    base = TRACKED.click_base
    assert letter.text.replace(". \n", ".\n") == (  # the space before what a branch left out
        "Good to have you here\n\nHello Zoë,\n\n"
        "We help teams see what their numbers say. Start with the tour, it takes four minutes.\n\n"
        f"Take the tour: {base}-0\n\nOr look at our prices: {base}-1.\n\n"
        f"{WORKSPACE['postal_address']}\nUnsubscribe: {TRACKED.unsubscribe_url} · "
        f"Preferences: {TRACKED.preferences_url}\n"
    )
    assert letter.links == (
        "https://www.acme.example/tour?ref=mail&step=1",
        "https://www.acme.example/pricing?plan=team",
    )
    anchors = Anchors(letter.html)
    assert anchors.hrefs == [f"{base}-0", f"{base}-1", TRACKED.unsubscribe_url, TRACKED.preferences_url, f"{base}-h"]
    assert anchors.last["aria-hidden"] == "true" and anchors.last["rel"] == "nofollow"
    assert letter.html.rstrip().endswith("></body></html>")
    assert letter.html.rindex(f'<img src="{TRACKED.open_url}"') > letter.html.rindex("<a ")
    assert 0 < letter.html.index("Four minutes") - letter.html.index("<body") < 400, "the preheader opens the body"


def test_an_untracked_letter_keeps_its_addresses_and_has_neither_pixel_nor_honeypot() -> None:
    letter = Composer(TemplateLibrary(ACCEPTANCE)).compose(request("welcome", links=UNTRACKED))
    assert "Take the tour: https://www.acme.example/tour?ref=mail&step=1\n" in letter.text
    assert 'href="https://www.acme.example/tour?ref=mail&amp;step=1"' in letter.html
    assert letter.html.count("<a ") == 4
    assert "<img" not in letter.html
    assert "List-Unsubscribe" not in parsed(letter)


def test_the_wire_is_seven_bit_short_lines_that_never_begin_with_a_dot(tmp_path: Path) -> None:
    dots = ".dot\n..\n. " + ".x" * 200 + "\n" + "ü" * 300 + " \n\t.\n"
    letter = composed(
        tmp_path, mjml(dots + "{{ lead.custom.note }}"), lead={"custom": {"note": ".\r\n..\rQUIT\n" + "é" * 90}}
    )
    wire = letter.wire.decode("ascii")
    assert wire.endswith("--\r\n") and not wire.endswith("\r\n\r\n")
    assert "\r" not in wire.replace("\r\n", "") and "\n" not in wire.replace("\r\n", "")
    for line in wire.split("\r\n"):
        assert len(line) <= 76
        assert not line.startswith(".")
        assert not line.endswith((" ", "\t"))
    assert ".\n..\nQUIT\n" + "é" * 90 in letter.html


def test_headers_in_order_and_folded(tmp_path: Path) -> None:
    letter = composed(
        tmp_path,
        mjml("x"),
        to_name="Doe, Zoë",
        subject="A long plain subject that goes on and on until it has to be folded somewhere near here",
        references=("1.a@acme.example", "2.b@acme.example"),
        auto_submitted=True,
    )
    message = parsed(letter)
    assert list(message.items()) == [
        ("From", "Anna Meier <anna@acme.example>"),
        ("To", '"Doe, Zoë" <zoe@example.com>'),
        ("Subject", "A long plain subject that goes on and on until it has to be folded somewhere near here"),
        ("Date", "Mon, 02 Nov 2026 09:00:00 +0000"),
        ("Message-ID", "<7.0123456789ab@acme.example>"),
        ("Reply-To", "anna@acme.example"),
        ("In-Reply-To", "<2.b@acme.example>"),
        ("References", "<1.a@acme.example> <2.b@acme.example>"),
        ("List-Id", "<product.acme.example>"),
        ("List-Unsubscribe", f"<{TRACKED.one_click_url}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Feedback-ID", "guide:intro:acme"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'multipart/alternative; boundary="=_nurture"'),
    ]
    assert letter == composed(
        tmp_path,
        mjml("x"),
        to_name="Doe, Zoë",
        subject="A long plain subject that goes on and on until it has to be folded somewhere near here",
        references=("1.a@acme.example", "2.b@acme.example"),
        auto_submitted=True,
    ), "the same request, the same bytes"


@pytest.mark.parametrize(
    ("body", "lead", "message"),
    [
        ("{{ lead.company }}", {}, "lead.company is missing and has no default"),
        ("{{ lead.custom.plan }}", {}, "lead.custom.plan is missing and has no default"),
        ("{{ lead.custom.plan | upper }}", {"custom": {}}, "lead.custom.plan is missing and has no default"),
        ("{% for x in lead.custom.list %}{% endfor %}", {}, "lead.custom.list is missing and has no default"),
        ("{{ lead.company ~ '!' }}", {}, "lead.company is missing and has no default"),
        ("{{ lead.company + '!' }}", {}, "lead.company is missing and has no default"),
        ("{{ lead.company }}", {"company": None}, "lead.company is missing and has no default"),
        ("{{ owner.name }}", {}, "owner.name is missing and has no default"),
        ("{{ lead.custom }}", {"custom": {"a": 1}}, "can't be used as text"),
        ("{{ lead.score / 0 }}", {"score": 1}, "division by zero"),
        ('<a href="https://acme.example/{{ lead.company }}">x</a>', {}, "lead.company is missing"),
        (
            '<a href="{{ lead.custom.site }}">x</a>',
            {"custom": {"site": "javascript:alert(1)"}},
            "whole http(s) address",
        ),
        ('<a href="{{ lead.custom.site }}">x</a>', {"custom": {"site": "https://a@evil.example/"}}, "http(s) address"),
        ('<a href="{{ lead.custom.site }}">x</a>', {"custom": {"site": "//evil.example/"}}, "whole http(s) address"),
        ('<p style="color: {{ lead.custom.c }}">x</p>', {"custom": {"c": "red;background:url(//x)"}}, "in a style"),
    ],
)
def test_a_letter_that_can_not_be_made_names_the_field(
    tmp_path: Path, body: str, lead: dict[str, Any], message: str
) -> None:
    with pytest.raises(RenderProblem, match=re.escape(message)):
        composed(tmp_path, mjml(body), lead=lead)


@pytest.mark.parametrize(
    ("body", "lead", "shown"),
    [
        ("{{ lead.company | default('you') }}", {}, "you"),
        ("{% if lead.company %}a{% else %}b{% endif %}", {}, "b"),
        ("{% if lead.company == 'x' %}a{% else %}b{% endif %}", {}, "b"),
        ("{% if lead.company != 'x' %}a{% else %}b{% endif %}", {}, "a"),
        ("{% if lead.score > 5 %}a{% else %}b{% endif %}", {}, "b"),
        ("{% if lead.custom.a is defined %}a{% else %}b{% endif %}", {}, "b"),
        ("{% if lead.country in ['DE', 'AT'] %}a{% else %}b{% endif %}", {"country": "AT"}, "a"),
        ("{{ lead.custom['plan'] | upper }}", {"custom": {"plan": "pro"}}, "PRO"),
        (
            "{% for t in lead.tags %}{{ loop.index }}{{ t }}{% if not loop.last %}, {% endif %}{% endfor %}",
            {"tags": ["a", "b"]},
            "1a, 2b",
        ),
        ("{% set n = 2 %}{% for i in range(n) %}{{ i + 1 }}{% endfor %}", {}, "12"),
        ("{% set x %}<b>{{ lead.company }}</b>{% endset %}{{ x }}", {"company": "A&B"}, "A&B"),
        (
            "{{ lead.created_at | localtime('Europe/Berlin', '%H:%M') }}",
            {"created_at": datetime(2026, 7, 1, 22, 30, tzinfo=UTC)},
            "00:30",
        ),
        ("{{ lead.custom.ends | date }}", {"custom": {"ends": "2026-12-01"}}, "1 December 2026"),
        ("{{ lead.custom.value | money }}", {"custom": {"value": "1234.5"}}, "1,234.50 EUR"),
        ("{% raw %}{{ lead.x }}{% endraw %}", {}, "{{ lead.x }}"),
        ('{{ "}} and %}" }}', {}, "}} and %}"),
        ("{{ '7*7' }}{{ lead.company }}", {"company": "{{ 7*7 }}{% if %}"}, "7*7{{ 7*7 }}{% if %}"),
    ],
)
def test_what_a_template_can_say(tmp_path: Path, body: str, lead: dict[str, Any], shown: str) -> None:
    assert composed(tmp_path, mjml(body), lead=lead).text.strip() == shown


def test_links_in_branches_and_loops_are_numbered_as_they_come(tmp_path: Path) -> None:
    body = (
        '{% for item in vars.items %}<a href="https://acme.example/{{ item }}">{{ item }}</a> {% endfor %}'
        "{% if lead.company %}<a href='https://acme.example/c'>c</a> {% endif %}"
        '<a href="{% if lead.company %}https://acme.example/in?a=1&b=2{% else %}https://x.example/{% endif %}">d</a> '
        '<a href="mailto:anna@acme.example">mail</a> <a href="tel:+4930123">call</a> <a href="#top">top</a> '
        '<a href="{{ view_url }}">view</a>'
    )
    view_url = "https://go.acme.example/w/x"
    letter = composed(
        tmp_path,
        mjml(body),
        context={"vars": {"items": ["ä b", "2"]}},
        lead={"company": "x"},
        addresses={"view_url": lambda: view_url},
    )
    assert letter.links == (
        "https://acme.example/%C3%A4%20b",
        "https://acme.example/2",
        "https://acme.example/c",
        "https://acme.example/in?a=1&b=2",
    )
    base = TRACKED.click_base
    expected = [f"{base}-{n}" for n in range(4)]
    untouched = ["mailto:anna@acme.example", "tel:+4930123", "#top", view_url]
    assert Anchors(letter.html).hrefs == [*expected, *untouched, f"{base}-h"]
    assert [word for word in letter.text.split() if word.startswith("https://go")] == [*expected, view_url]


def vars_of(style: LinkStyle) -> dict[str, Any]:
    return {name: getattr(style, name) for name in style.__dataclass_fields__}


def test_a_slot_in_a_link_changes_neither_its_host_nor_the_tag(tmp_path: Path) -> None:
    for value in (
        '"><script>alert(1)</script>',
        "@evil.example/",
        "\\@evil.example",
        "x\r\ny",
        "a b",
        "é",
        "//evil.example",
    ):
        letter = composed(
            tmp_path,
            mjml('<a href="https://acme.example/{{ lead.company }}">x</a>'),
            lead={"company": value},
            links=UNTRACKED,
        )
        assert letter.links[0].startswith("https://acme.example/")
        assert letter.links[0].isascii() and letter.links[0].isprintable() and " " not in letter.links[0]
        assert Anchors(letter.html).hrefs == list(letter.links)
        assert "<script" not in letter.html


def test_utm_parameters_go_to_our_own_domains_only(tmp_path: Path) -> None:
    links = LinkStyle(
        **{**vars_of(UNTRACKED), "utm": (("utm_source", "nurture"),), "own_domains": frozenset({"acme.example"})}
    )
    body = (
        "<a href='https://www.acme.example/a?b=1#c'>a</a><a href='https://acme.example.evil/'>b</a>"
        "<a href='https://acme.example/?utm_source=x'>c</a>"
    )
    assert composed(tmp_path, mjml(body), links=links).links == (
        "https://www.acme.example/a?b=1&utm_source=nurture#c",
        "https://acme.example.evil/",
        "https://acme.example/?utm_source=x",
    )


def test_a_written_text_part_replaces_the_derived_one_and_its_links_are_tracked(tmp_path: Path) -> None:
    letter = composed(
        tmp_path,
        mjml("<a href='https://acme.example/a'>a</a><a href='https://acme.example/b'>b</a>"),
        files={
            "letter_txt": "Hi {{ lead.first_name }}: https://acme.example/b, https://acme.example/new.\n"
            "{{ unsubscribe_url }}\n"
        },
    )
    base = TRACKED.click_base
    assert letter.text == f"Hi Zoë: {base}-1, {base}-2.\n{TRACKED.unsubscribe_url}\n"
    assert letter.links == ("https://acme.example/a", "https://acme.example/b", "https://acme.example/new")


def test_the_text_part_of_lists_tables_images_and_hidden_things(tmp_path: Path) -> None:
    blocks = (
        "<mj-text><h1>Title</h1><p>One\n  two</p><ul><li>a</li><li>b</li></ul>"
        "<div style='display:none'>no</div></mj-text>"
        "<mj-table><tr><th>x</th><th>y</th></tr><tr><td>1</td><td>2</td></tr></mj-table>"
        "<mj-image src='https://acme.example/a.png' alt='A chart' href='https://acme.example/chart' />"
    )
    letter = composed(tmp_path, column(blocks, head="<mj-preview>peek</mj-preview>"), links=UNTRACKED)
    assert letter.text == ("Title\n\nOne two\n\n- a\n- b\n\nx | y\n1 | 2\n\nA chart: https://acme.example/chart\n")


@pytest.mark.parametrize(("plan", "between"), [("pro", "For pros\n\n"), (None, "")])
def test_a_paragraph_that_is_left_out_leaves_no_gap(tmp_path: Path, plan: str | None, between: str) -> None:
    blocks = (
        "<mj-text>Before</mj-text>{% if lead.custom.plan %}<mj-text>For pros</mj-text>{% endif %}"
        "{% for each in [] %}<mj-text>{{ each }}</mj-text>{% endfor %}<mj-text>After<br><br>all</mj-text>"
    )
    custom = {"plan": plan} if plan else {}
    letter = composed(tmp_path, column(blocks), lead={"custom": custom})
    assert letter.text == f"Before\n\n{between}After\n\nall\n"


def test_a_written_text_part_keeps_its_blank_lines(tmp_path: Path) -> None:
    written = composed(tmp_path, mjml("no"), files={"letter_txt": "One\n\n\n\nTwo {{ unsubscribe_url }}"})
    assert written.text.startswith("One\n\n\n\nTwo ")


def test_letters_with_the_same_links_share_a_digest(tmp_path: Path) -> None:
    body = mjml('<a href="https://acme.example/{{ lead.custom.plan }}">x</a>')
    one, two, three = (composed(tmp_path, body, lead={"custom": {"plan": plan}}) for plan in ("a", "a", "b"))
    assert one.link_digest == two.link_digest != three.link_digest


@pytest.mark.parametrize(
    ("said", "header"),
    [
        ("replies@acme.example", "replies@acme.example"),
        ("Anna Meier <anna@acme.example>", "Anna Meier <anna@acme.example>"),
        ('"Meier, Anna" <anna@acme.example>', '"Meier, Anna" <anna@acme.example>'),
        ("Zoë <zoe@münchen.example>", "Zoë <zoe@xn--mnchen-3ya.example>"),
    ],
)
def test_answers_go_to_a_mailbox_as_the_configuration_has_it(tmp_path: Path, said: str, header: str) -> None:
    assert parsed(composed(tmp_path, mjml("x"), reply_to=said))["Reply-To"] == header


@pytest.mark.parametrize(
    "changed",
    [
        {"to_address": "zoe@example.com\r\nBcc: x@y"},
        {"to_address": "zoe@example.com>, <x@y.example"},
        {"to_address": "zo\u202ee@example.com"},
        {"to_address": "zoé\u00ad@example.com"},
        {"to_address": "zoé é@example.com"},
        {"to_address": "é" * 130 + "@example.com"},
        {"to_address": "=?utf-8?q?a?=@example.com"},
        {"from_address": "anna"},
        {"reply_to": "a b@example.com"},
        {"message_id": "x\r\nBcc: y@z"},
        {"references": ("x> <y",)},
        {"list_id": "a\r\nb"},
        {"feedback_id": "a b"},
        {"links": LinkStyle(**{**vars_of(TRACKED), "one_click_url": "https://x/\r\nBcc: y"})},
        {"links": LinkStyle(**{**vars_of(TRACKED), "click_base": 'https://x/"><b'})},
        {"links": LinkStyle(**{**vars_of(TRACKED), "open_url": "javascript:x"})},
        {"subject": " \r\n "},
    ],
)
def test_addresses_and_tokens_with_anything_odd_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(RenderProblem):
        composed(tmp_path, mjml("x"), **changed)


def test_a_domain_of_other_letters_is_written_in_ascii(tmp_path: Path) -> None:
    assert parsed(composed(tmp_path, mjml("x"), to_address="zoe@exämple.com"))["To"] == "zoe@xn--exmple-cua.com"


def test_letters_beyond_ascii_before_the_at_sign_stand_as_they_are(tmp_path: Path) -> None:
    letter = composed(tmp_path, mjml("x"), to_address="zoé@exämple.com", to_name="Zoé")
    assert "\r\nTo: =?utf-8?b?Wm/DqQ==?= <zoé@xn--exmple-cua.com>\r\n".encode() in letter.wire
    assert letter.wire.replace("zoé".encode(), b"").isascii()


def test_a_plain_letter_has_the_same_care_for_its_headers() -> None:
    letter = compose_plain(
        PlainRequest(
            subject="Hot: =?utf-8?q?a=0D=0ABcc=3A_x=40y?=\r\nBcc: x@y",
            text="A lead\r\n.\r\nis hot",
            html="<p>A lead</p>",
            from_name="Acme",
            from_address="anna@acme.example",
            to_name="Ben\u202e Okafor",
            to_address="ben@acme.example",
            message_id="9.0@acme.example",
            date=datetime(2026, 11, 2, tzinfo=UTC),
        )
    )
    message = parsed(letter)
    assert message["Subject"] == "Hot: = ?utf-8?q?a=0D=0ABcc=3A_x=40y?= Bcc: x@y", "a line break is hidden in it"
    assert message["To"] == "Ben Okafor <ben@acme.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert "Bcc" not in message
    assert letter.text == "A lead\n.\nis hot\n"
    assert b"\r\n." not in letter.wire
