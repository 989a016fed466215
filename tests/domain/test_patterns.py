"""Patterns of `matches`: linear by construction, and refused with a line where they would mean two things."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.folding import fold
from nurture.domain.patterns import PatternError, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("growth", ["Head of GROWTH"], ["grow th"]),
        ("^head", ["Head of Growth"], ["a head"]),
        ("growth$", ["Head of Growth"], ["growth hacker", "growth\n"]),
        ("^(head|vp) of", ["VP of Sales", "head of it"], ["avp of", "vpof"]),
        ("colou?r", ["COLOR", "colour"], ["colouur"]),
        ("^a+b*$", ["aaa", "aabb"], ["b", "aba"]),
        ("^[0-9]+%$", ["31%"], ["31", "x31%"]),
        ("^\\d\\s\\d$", ["1 2", "1\t2"], ["12", "٣ ٤"]),
        ("[^a-z ]", ["x-y", "Ä"], ["ABC def"]),
        ("^[A-C]$", ["b", "C"], ["d"]),
        ("[]x]", ["]", "X"], ["["]),
        ("[a-]", ["-", "A"], ["b"]),
        ("\\.\\*\\(\\[\\\\", [".*([\\"], ["x"]),
        ("a.c", ["a\nc", "aéc", "a😀c"], ["ac"]),
        ("σίσυφος", ["ΣΊΣΥΦΟΣ"], ["σισυφος"]),
        ("[à-þ]", ["É"], ["e"]),
        ("(^|[^a-z])cto([^a-z]|$)", ["CTO", "our CTO, too"], ["october", "director"]),
        ("a|", ["", "b"], []),
        ("(a*)*(b*)*$", ["", "anything"], []),
        ("a^b|a$b", [], ["ab", "a^b"]),
    ],
)
def test_what_a_pattern_finds(pattern: str, found: list[str], not_found: list[str]) -> None:
    parsed = parse_pattern(pattern)
    assert [text for text in found if not parsed.found_in(fold(text))] == []
    assert [text for text in not_found if parsed.found_in(fold(text))] == []


@pytest.mark.parametrize(
    ("pattern", "offset", "message"),
    [
        ("", 0, "an empty pattern matches everything: write what to look for"),
        ("(a", 0, "a ( without its ): write \\( for the character itself"),
        ("a)", 1, "a ) without its (: write \\) for the character itself"),
        ("[a", 0, "a [ without its ]: write \\[ for the character itself"),
        ("[[a]", 1, "[ inside [ ]: write \\[ for the character itself"),
        ("[z-a]", 1, "a range in [ ] that runs backwards"),
        ("[a-\\d]", 1, "a range in [ ] goes from one character to another"),
        ("*a", 0, "nothing before * to repeat: write \\* for the character itself"),
        ("a{3}", 1, "{…} counts are not supported: repeat the part itself, or use * + ?"),
        ("a+?", 2, "'+?' is not supported: one sign of repetition, * + or ?"),
        ("^*", 1, "^ can't be repeated"),
        ("(?=a)", 0, "(?…) is not supported, except (?:…)"),
        ("\\w", 0, "'\\w' is not supported: use \\d, \\s, a class such as [a-z0-9_], or \\ before a sign"),
        ("(a)\\1", 3, "'\\1' is not supported: use \\d, \\s, a class such as [a-z0-9_], or \\ before a sign"),
        ("a\\", 1, "'\\' is not supported: use \\d, \\s, a class such as [a-z0-9_], or \\ before a sign"),
        ("a" * 201, 200, "a pattern of more than 200 characters"),
        ("(" * 30, 20, "a pattern nested deeper than 20"),
    ],
)
def test_a_pattern_that_is_refused_says_what_to_write(pattern: str, offset: int, message: str) -> None:
    with pytest.raises(PatternError) as raised:
        parse_pattern(pattern)
    assert (raised.value.offset, str(raised.value)) == (offset, message)


def test_what_would_run_away_elsewhere_ends_at_once() -> None:
    # each takes a backtracking engine longer than the age of the universe
    for pattern, text, found in [
        ("(a+)+$", "a" * 20_000 + "!", False),
        ("(a|a)*c", "a" * 20_000 + "!", False),
        ("(a*)*b", "a" * 20_000, False),
        ("a?" * 50 + "a" * 50, "a" * 49 + "b", False),
        ("a?" * 50 + "a" * 50, "b" + "a" * 50, True),
    ]:
        assert parse_pattern(pattern).found_in(text) is found


pieces = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "\\.", "(?:a|b)", "(ab)", "(a|)"])
parts = st.tuples(pieces, st.sampled_from(["", "", "*", "+", "?"])).map("".join)
patterns = st.lists(parts, min_size=1, max_size=5).map("".join)
edged = st.tuples(st.sampled_from(["", "^"]), patterns, st.sampled_from(["", "\\Z"])).map("".join)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(pattern=st.one_of(edged, st.tuples(edged, edged).map("|".join)), text=st.text(alphabet="ab.\n", max_size=8))
def test_it_finds_what_python_finds(pattern: str, text: str) -> None:
    ours = parse_pattern(pattern.replace("\\Z", "$"))
    assert ours.found_in(text) == (re.search(pattern, text, re.DOTALL) is not None)
