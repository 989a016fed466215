"""What a lead wrote stays text in a chat room: it calls nobody, hides no link and makes no line of its own."""

from __future__ import annotations

import pytest

from nurture.notify.slack import escape, slack_body


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("<!channel> & <@U123>", "&lt;!channel&gt; &amp; &lt;@\u200bU123&gt;"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("<https://evil.example|Answer>", "&lt;https://evil.example|Answer&gt;"),
        ("@channel hello", "@\u200bchannel hello"),
        ("zoe@here.example", "zoe@here.example"),
        ("[Answer](https://evil.example)", "[Answer]\u200b(https://evil.example)"),
        ("one\r\ntwo\u2028three\x00", "one two three"),
        ("\u202egnp.exe", "gnp.exe"),
        ("Zoë 😀", "Zoë 😀"),
    ],
)
def test_escaping(typed: str, shown: str) -> None:
    assert escape(typed) == shown


def test_a_long_field_and_many_of_them_are_cut() -> None:
    assert len(escape("x" * 10_000)) == 300
    assert len(slack_body(["x" * 300] * 100)["text"]) <= 3_500
    assert slack_body(["one", "", "two"]) == {"text": "one\ntwo", "unfurl_links": False, "unfurl_media": False}
