"""TOML with positions: the locator finds every value that tomllib read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nurture.documents.document import Mark, Path
from nurture.documents.toml_file import parse_toml

EVERYTHING = '''
# a comment = 1
top = 1 # another
"quoted key" = 'x'
dotted.key.path = "y"
inline = { a = 1, "b c" = [1, { d = "]" }], e.f = 2 }
multi = """
line with "quotes" and # no comment
"""
literal = \'\'\'
[not.a.table]
\'\'\'
when = 2026-01-02T03:04:05Z
list = [
  "a", # one
  # nothing
  "b,]",
]

[table.sub]
x = true
[[array]]
k = 1
[[array]]
k = 2
[array.inner]
z = 3
[dkim."acme.example"]
selector = "s1"
'''


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in pairs:
        yield from leaves(each, (*path, part))


def test_every_value_has_its_place() -> None:
    document, findings = parse_toml(EVERYTHING, "config.toml")
    assert findings == []
    assert document is not None
    assert set(leaves(tomllib.loads(EVERYTHING))) == set(document.values)
    places = {
        ("top",): (3, 7),
        ("quoted key",): (4, 16),
        ("dotted", "key", "path"): (5, 19),
        ("inline", "b c", 1, "d"): (6, 37),
        ("inline", "e", "f"): (6, 51),
        ("list", 1): (17, 3),
        ("table", "sub", "x"): (21, 5),
        ("array", 1, "k"): (25, 5),
        ("array", 1, "inner", "z"): (27, 5),
        ("dkim", "acme.example", "selector"): (29, 12),
    }
    for path, (line, column) in places.items():
        assert document.value_at(path) == Mark(line=line, column=column), path
    assert document.key_at(("dkim", "acme.example")) == Mark(line=28, column=7)


KEY = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", "h.i", '"j\\"k"'])
ATOM = st.sampled_from(["1", "true", '"x # y"', "'z]'", '"""m\nn"""', "1.5", "2026-01-02", '""', "'''a'b'''", '"\\\\"'])
VALUE = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: "[ " + ",\n ".join(parts) + " ]"),
        st.lists(inner, max_size=3).map(
            lambda parts: "{ " + ", ".join(f"k{index} = {part}" for index, part in enumerate(parts)) + " }"
        ),
    ),
    max_leaves=6,
)


@given(st.dictionaries(KEY, VALUE, max_size=4), st.dictionaries(KEY, VALUE, max_size=3), st.booleans())
def test_what_tomllib_reads_the_locator_finds(top: dict[str, str], table: dict[str, str], array: bool) -> None:
    lines = [f"{key} = {value}" for key, value in top.items()]
    lines += ["[[t.u]]" if array else "[t.u]", *(f"{key} = {value} # c" for key, value in table.items())]
    text = "\n".join(lines)
    document, findings = parse_toml(text, "x.toml")
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert document is None
        assert findings
        return
    assert document is not None
    assert set(leaves(wanted)) == set(document.values)


def test_syntax_errors_keep_their_place() -> None:
    for text, place, piece in [
        ("a = 1\nb = yes\n", (2, 5), "put text in quotes"),
        ("a = 1\na = 2\n", (2, 6), "Cannot overwrite a value"),
        ('a = "x', (1, 7), "Unterminated"),
        ("x = " + "[" * 60 + "]" * 60, (1, 55), "more than 50 levels"),
        ("x = " + "[" * 100_000, (1, 1), "more than 50 levels"),
    ]:
        document, findings = parse_toml(text, "x.toml")
        assert document is None
        assert [(each.line, each.column) for each in findings] == [place], (text[:20], findings)
        assert piece in findings[0].message
