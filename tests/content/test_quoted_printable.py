"""Pieces encoded apart and joined decode to the joined text, in lines that no relay and no SMTP driver touches."""

from __future__ import annotations

import quopri

from hypothesis import given
from hypothesis import strategies as st

from nurture.content.quoted_printable import encode, encode_inline

TEXTS = st.text(
    st.one_of(st.sampled_from(" .=\t\n\r-aé😀"), st.characters(codec="utf-8", exclude_categories=["Cc"])), max_size=300
)


def normal(text: str) -> str:
    for newline in ("\r\n", "\r", "\u2028", "\u2029", "\x85"):
        text = text.replace(newline, "\n")
    return text


@given(st.lists(TEXTS, max_size=6))
def test_joined_pieces_decode_to_the_joined_text(pieces: list[str]) -> None:
    encoded = "".join(map(encode, pieces))
    assert quopri.decodestring(encoded.encode("ascii")).decode() == "".join(map(normal, pieces)).replace("\n", "\r\n")
    for line in encoded.split("\r\n"):
        assert len(line) <= 76 and not line.startswith(".") and not line.endswith((" ", "\t"))
        assert "\r" not in line and "\n" not in line


@given(TEXTS.map(lambda text: normal(text).replace("\n", "")), st.integers(0, 20))
def test_room_is_left_for_what_is_appended(text: str, room: int) -> None:
    line = (encode_inline(text, room) + "-" * room).rpartition("\n")[2]
    assert len(line) <= 73


def test_controls_are_left_out_and_lone_surrogates_do_not_fail() -> None:
    assert encode("a\0b\x1b[c\ud800") == "ab[c?=\r\n"
    assert encode("") == ""
