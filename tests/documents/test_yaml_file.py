"""YAML with positions: values stay what was written, and every place can be found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.documents.document import Mark
from nurture.documents.yaml_file import parse_yaml


def test_only_numbers_and_truth_values_are_anything_but_text() -> None:
    document, findings = parse_yaml(
        "country: NO\nswitch: on\nanswer: yes\nhour: 12:30\nday: 2026-12-01\noctal: 010\nnothing: ~\n"
        "count: 3\nrate: 1.5\nreally: true\nquoted: '3'\n1: key\n",
        "x.yaml",
    )
    assert findings == []
    assert document is not None
    assert document.data == {
        "country": "NO",
        "switch": "on",
        "answer": "yes",
        "hour": "12:30",
        "day": "2026-12-01",
        "octal": 10,
        "nothing": None,
        "count": 3,
        "rate": 1.5,
        "really": True,
        "quoted": "3",
        "1": "key",
    }


def test_keys_and_values_know_their_places() -> None:
    document, _ = parse_yaml("steps:\n  - email: x\n    test: {metric: click, arms: [a, b]}\n", "x.yaml")
    assert document is not None
    assert document.key_at(("steps",)) == Mark(line=1, column=1)
    assert document.value_at(("steps", 0)) == Mark(line=2, column=5)
    assert document.value_at(("steps", 0, "email")) == Mark(line=2, column=12)
    assert document.key_at(("steps", 0, "test", "metric")) == Mark(line=3, column=12)
    assert document.value_at(("steps", 0, "test", "arms", 1)) == Mark(line=3, column=37)
    assert document.value_at(("steps", 0, "test", "nowhere")) == document.value_at(("steps", 0, "test"))


@pytest.mark.parametrize(
    ("text", "needle", "column"),
    [
        ("if: score >= 40", ">=", 11),
        ("if: 'score == \"it''s\" and x'", "and", 23),
        ('if: "tag(\\"a\\") and x"', "and", 17),
        ('if: "\\u00e9 and x"', "and", 13),
        ("if: >\n  score\n  and x", "and", 5),
    ],
)
def test_a_place_inside_of_a_text_counts_the_quotes_and_escapes(text: str, needle: str, column: int) -> None:
    document, _ = parse_yaml(text, "x.yaml")
    assert document is not None
    offset = document.data["if"].index(needle)
    assert document.inside(("if",), offset).column == column


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_no_text_makes_it_crash(text: str) -> None:
    document, findings = parse_yaml(text, "x.yaml")
    assert document is not None or findings
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert all(1 <= finding.line <= lines + 1 and finding.column >= 1 for finding in findings)


@given(
    st.lists(
        st.sampled_from(["a:", " ", "\n", "- ", "{", "}", "[", "]", "'", '"', "#", "&x", "*x", "!t", "x", "|", ":"])
    )
)
def test_no_heap_of_punctuation_makes_it_crash(pieces: list[str]) -> None:
    document, findings = parse_yaml("".join(pieces), "x.yaml")
    assert document is not None or findings
