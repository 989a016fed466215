"""Which characters may stand in a person's fields, and which command a header, a terminal or a reader's eye."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.characters import is_plain, is_safe, is_safe_in_lines, trimmed


@pytest.mark.parametrize(
    "text",
    [
        "Zoë",
        "佐藤 香織",
        "علی‌رضا",  # a joiner inside a Persian name
        "👩‍💻 Ada",
        '=HYPERLINK("http://evil.example")',
        "<b>Zoë</b>",
        "{{ 7*7 }}",
        "{% for x in range(9) %}",
        "100% =? sure ?=",
        "=?utf-8?q?Zo=C3=AB?=",
        "=?utf-8?b?Wm/Dqw==?=",
        "Müller\u00a0GmbH",
        "",
    ],
)
def test_odd_names_are_names(text: str) -> None:
    assert is_safe(text)
    assert is_safe_in_lines(text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "Nul\0byte",
        "Bob\r\nBcc: evil@example.net",
        "Bell\a",
        "Delete\x7f",
        "Next\x85line",
        "Line\u2028sep",
        "Paragraph\u2029sep",
        "\u202egnp.exe",
        "\u2066isolate",
        "half\ud800",
        "=?utf-8?q?Bob=0D=0ABcc=3A_evil=40example=2Enet?=",
        "=?UTF-8?Q?Bob=0a?=",
        f"=?utf-8?b?{_base64('Bob' + chr(13) + chr(10) + 'Bcc: x')}?=",
        f"=?utf-8*en?B?{_base64('x' + chr(0))}?=",
        f"=?utf-8?b?{_base64('Bob' + chr(10)).rstrip('=')}?=",
        "=?no-such-charset?q?Bob=0D?=",
        f"=?utf-8?b?{_base64(chr(0x202E) + 'gnp.exe')}?=",
        "Hello =?utf-8?q?=00?= there",
        "=?utf-8?q?Bob\n?=",
    ],
)
def test_what_would_end_a_header_or_turn_the_text_round_is_unsafe(text: str) -> None:
    assert not is_safe(text)


def test_a_note_may_have_several_lines_but_nothing_else_of_that_kind() -> None:
    assert is_safe_in_lines("Met at the fair\r\n\twants a call\n")
    assert not is_safe("Met at the fair\r\nwants a call")
    assert not is_safe_in_lines("Met\0at the fair")
    assert not is_safe_in_lines("=?utf-8?q?Bob=0D=0ABcc?=")


@given(st.text(max_size=60))
def test_the_quick_yes_is_a_true_one(text: str) -> None:
    if is_plain(text):
        assert is_safe(text)
    if is_safe(text):
        assert is_safe_in_lines(text)
        assert "\n" not in text and "\0" not in text


@given(st.text(max_size=60))
def test_trimming_twice_is_trimming_once(text: str) -> None:
    once = trimmed(text)
    assert trimmed(once) == once
    assert once in text
