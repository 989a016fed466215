"""Whatever a lead's fields hold, it is shown as text: no header, tag, address or line of the letter is made by it."""

from __future__ import annotations

import email
import email.policy
import random
import re
from collections import Counter
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nurture.content import headers
from nurture.content.letters import Composer, Letter, RenderProblem
from tests.content.writing import library, mjml, request

CASES = 2000
PIECES = [
    *("\r\nBcc: x@y.example\r\n", "\rBcc: x", "\nSubject: y", "\r\n\r\nbody", "\r\n.\r\nMAIL FROM:<x>", "..\r\n"),
    *("\0", "\x0b", "\x1b[2J", "\t", " ", "  ", ".", ";", ",", "@", "\\", "#", "From ", "<x@y>", "%0d%0a"),
    *("=?utf-8?q?a=0D=0ABcc=3A_x=40y?=", "=?utf-8?b?DQpCY2M6IHg=?=", "=?", "?=", "=0D=0A", "=\r\n", "=3D"),
    *("--=_nurture", "--=_nurture--", "<b>Zoë</b>", "<script>alert(1)</script>", "</a>", "</title></style>"),
    *("-->", "<!--", "]]>", '"', "'", '" onload="x', "javascript:alert(1)", "data:text/html,x", '=HYPERLINK("x")'),
    *("{{ 7*7 }}", "{% for x in y %}", "{# #}", "\ue000 7 \ue001", "\ue010x\ue011", "nj0x00001z", "<!--nj0x00001z-->"),
    *("\u202e", "\u2066", "\u200e", "\u2028", "\u0085", "\ufeff", "\ud800", "😀" * 40, "ü" * 200, "a" * 1200),
    *("&amp;", "&#13;&#10;Bcc: x", "Zoë", "O'Neil", "Dr. No, MD", "http://evil.example/", "//evil.example", "?a=b&c=d"),
]
TEMPLATE = mjml(
    'Hello {{ lead.first_name }}, {{ lead.company | upper }} <b title="{{ lead.title }}">x</b> '
    '<a href="https://acme.example/{{ lead.company }}?q={{ lead.title | urlencode }}#{{ lead.first_name }}">a</a>'
    "{% if lead.title %}{{ lead.title }}{% endif %}{% for t in lead.tags %}{{ t }}{% endfor %}",
    head="<mj-title>{{ lead.title }}</mj-title><mj-preview>{{ lead.company }}</mj-preview>",
)
EXPECTED = [
    *("From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Id", "List-Unsubscribe"),
    *("List-Unsubscribe-Post", "Feedback-ID", "MIME-Version", "Content-Type"),
]


class Shape(HTMLParser):
    """The tags of a page with the names of their attributes: what no value may change."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag, tuple(name for name, _ in attrs)] += 1


def hostile(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 5)))


@pytest.mark.parametrize(("cases", "per_lead"), [(CASES, False), (CASES // 20, True)])
def test_hostile_fields_stay_text(tmp_path: Path, cases: int, per_lead: bool) -> None:
    composer = Composer(library(tmp_path, letter=TEMPLATE))
    plain = {"first_name": "A", "company": "B", "title": "C", "tags": ["D"]}
    shape = Shape(composer.compose(request(lead=plain, preheader="x", per_lead=per_lead)).html).tags
    rng = random.Random(20261102)
    blank = 0
    for _ in range(cases):
        lead = {**{name: hostile(rng) for name in ("first_name", "company", "title")}, "tags": [hostile(rng)]}
        subject = "{{ lead.first_name }} {{ lead.company }}"
        name = hostile(rng)
        try:
            letter = composer.compose(
                request(
                    lead=lead,
                    subject=subject,
                    preheader="x{{ lead.title }}",
                    to_name=name,
                    from_name=lead["title"],
                    per_lead=per_lead,
                )
            )
        except RenderProblem as problem:
            assert "blank" in str(problem) or "longer than" in str(problem)
            blank += 1
            continue
        check_wire(letter)
        check_headers(letter, f"{lead['first_name']} {lead['company']}", name, lead["title"])
        assert Shape(letter.html).tags == shape
        assert all(link.startswith("https://acme.example/") for link in letter.links)
    assert blank < cases / 10


def check_wire(letter: Letter) -> None:
    text = letter.wire.decode("ascii")
    assert not set("\r\n") & set(text.replace("\r\n", ""))
    for line in text.split("\r\n"):
        assert len(line) <= 200 and not line.startswith(".")
    assert sum(line.startswith("--=_nurture") for line in text.split("\r\n")) == 3
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text)


def check_headers(letter: Letter, subject: str, to_name: str, from_name: str) -> None:
    raw = email.message_from_bytes(letter.wire, policy=email.policy.compat32)
    message = BytesHeaderParser(policy=email.policy.default).parsebytes(letter.wire)
    assert raw.keys() == message.keys() == EXPECTED
    parts = raw.get_payload()
    assert [part.keys() for part in parts] == [["Content-Type", "Content-Transfer-Encoding"]] * 2
    assert message["Subject"] == letter.subject == headers.clean(subject, headers.SUBJECT_LIMIT)
    for name, shown, address in (("To", to_name, "zoe@example.com"), ("From", from_name, "anna@acme.example")):
        assert len(message[name].addresses) == 1
        assert message[name].addresses[0].addr_spec == address
        cleaned = headers.clean(shown, headers.NAME_LIMIT)
        # Python 3.11 puts spaces between the encoded words of a name (RFC 2047, 6.2 says not to)
        assert unspaced(message[name].addresses[0].display_name) == unspaced(cleaned)
        assert str(make_header(decode_header(raw[name]))).count("@") == cleaned.count("@") + 1


def unspaced(text: str) -> str:
    return "".join(text.split())
