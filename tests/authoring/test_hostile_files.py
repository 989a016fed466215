"""Whatever stands in the files, `check` answers with findings: no text makes it crash, or print two lines for one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nurture.authoring.check import check_workspace
from nurture.domain.problem import Problem

REPOSITORY = Path(__file__).parents[2]
ACCEPTANCE = REPOSITORY / "tests" / "data" / "acceptance"
FILES = [
    *("config.toml", "cadences/_segments.yaml", "cadences/_lifecycle.yaml", "cadences/_forms.yaml"),
    *("cadences/guide-followup.yaml", "cadences/guide-followup.yaml", "cadences/guide-followup.test.yaml"),
    *("cadences/trial.yaml", "cadences/trial.yaml", "cadences/webinar.yaml"),
    *("templates/email/case-study.mjml", "templates/email/_footer.mjml"),
]
"""Of the acceptance workspace, with two cadences of the repository beside its own."""
VALUES = [
    *("", "[]", "{}", "null", "true", "no", "0", "-1", "1e400", "9" * 400, "0x1F", ".nan", "12:30", "2026-02-30", "~"),
    *("99999999999 days", "-3 days", "0.0000001 days", "1e9 business days", "99:99", "9999-12-31 23:59", "0000-00-00"),
    *("x" * 5_000, '"' + "é" * 5_000 + '"', "[" * 60 + "]" * 60, "{a: " * 60 + "}" * 60, "(" * 300 + ")" * 300),
    *("&a [*a]", "*a", "!!python/object:os.system x", "!!binary aGk=", "!x y", "<<: {a: b}", "? [a, b]", "- - - x"),
    *("{{", "{% for x in range(10**9) %}", "{{ ''.__class__ }}", "{{ lead.x.y.z }}", "{# ", "{% include 'x' %}"),
    *("not " * 200 + "true", "tag(" * 50, "matches(email, '(a+)+$')", "in_segment('guide_readers')", "score > 1e999"),
    *(
        "\ud800",
        "\x00",
        "\ufeff",
        "\u2028",
        "\u202e",
        "\x85",
        "\t",
        "a\tb: c",
        "| \n  x\n",
        "'",
        '"',
        "\\",
        "%",
        "@",
        "`",
    ),
    *("../../../etc/passwd", "/dev/zero", "CON", "a/b", ".", "..", "env:", "file:", "env:PATH", "file:/nowhere"),
]
LINES = [
    "---",
    "...",
    "%YAML 1.1",
    "\t- x",
    "  " * 60 + "- x",
    "# " + "y" * 5_000,
    "a: b: c",
    "[[a]]",
    "[a.b.c]",
    "=",
    "",
]


def _lines(text: str) -> list[str]:
    return text.split("\n")


def _drop(text: str, at: int, other: int, piece: str) -> str:
    lines = _lines(text)
    del lines[at % len(lines)]
    return "\n".join(lines)


def _double(text: str, at: int, other: int, piece: str) -> str:
    lines = _lines(text)
    lines.insert(other % len(lines), lines[at % len(lines)])
    return "\n".join(lines)


def _exchange(text: str, at: int, other: int, piece: str) -> str:
    lines = _lines(text)
    one, two = at % len(lines), other % len(lines)
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def _revalue(text: str, at: int, other: int, piece: str) -> str:
    """Another value behind the key of a line."""
    lines = _lines(text)
    line = lines[at % len(lines)]
    mark = next((each for each in (": ", " = ", ":", '="') if each in line), None)
    lines[at % len(lines)] = f"{line.partition(mark)[0]}{mark}{piece}" if mark else piece
    return "\n".join(lines)


def _insert(text: str, at: int, other: int, piece: str) -> str:
    place = at % (len(text) + 1)
    return text[:place] + piece + text[place:]


def _line(text: str, at: int, other: int, piece: str) -> str:
    lines = _lines(text)
    lines.insert(at % len(lines), LINES[other % len(LINES)])
    return "\n".join(lines)


def _indent(text: str, at: int, other: int, piece: str) -> str:
    lines = _lines(text)
    lines[at % len(lines)] = " " * (other % 5) + lines[at % len(lines)].lstrip()
    return "\n".join(lines)


def _cut(text: str, at: int, other: int, piece: str) -> str:
    return text[: at % (len(text) + 1)]


def _take_out(text: str, at: int, other: int, piece: str) -> str:
    place = at % (len(text) + 1)
    return text[:place] + text[place + other % 30 :]


Mutation = Callable[[str, int, int, str], str]
MUTATIONS: list[Mutation] = [
    *(_drop, _double, _exchange, _revalue, _revalue, _revalue, _insert, _line, _indent, _cut, _take_out),
]
steps = st.tuples(
    st.sampled_from(FILES),
    st.sampled_from(MUTATIONS),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
    st.sampled_from(VALUES),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(ACCEPTANCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.csv"))
    for name in ("trial", "webinar"):
        shutil.copy(REPOSITORY / f"cadences/{name}.yaml", folder / "cadences")
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(steps, min_size=1, max_size=4))
def test_whatever_stands_in_the_files_check_answers(
    root: Path, changes: list[tuple[str, Mutation, int, int, str]]
) -> None:
    kept = {file: (root / file).read_bytes() for file, *_ in changes}
    try:
        for file, mutation, at, other, piece in changes:
            text = (root / file).read_text(encoding="utf-8", errors="surrogatepass")
            changed = mutation(text, at, other, piece).encode("utf-8", "surrogatepass")
            (root / file).write_bytes(changed)
        for finding in check_workspace(root).findings:
            assert str(finding).isprintable(), str(finding)
            assert finding.line >= 1 <= finding.column
            assert len(finding.message) < 1_000
    finally:
        for file, content in kept.items():
            (root / file).write_bytes(content)


def hostile_bytes() -> Iterator[bytes]:
    yield b""
    yield b"\x00" * 100
    yield b"\xff\xfe\x00a\x00:"
    yield b"\xef\xbb\xbf" * 2 + b"steps: [{tag: x}]\n"
    yield b"steps:\r- tag: x\r"
    yield b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nsteps: [*c, *c]\n"
    yield b"{" * 100_000
    yield b"- " * 100_000
    yield b"? " * 20_000
    yield b"x: " + b'"' + b"\\x41" * 200_000 + b'"\n'
    yield b"steps:\n" + b"  - tag: x\n" * 2_000


@pytest.mark.parametrize("content", list(hostile_bytes()))
@pytest.mark.parametrize("file", ["cadences/welcome.yaml", "config.toml"])
def test_heaps_of_bytes_are_findings(root: Path, file: str, content: bytes) -> None:
    kept = (root / file).read_bytes()
    try:
        (root / file).write_bytes(content)
        assert all(str(each).isprintable() for each in check_workspace(root).findings)
    except Problem as problem:
        assert "\n" not in str(problem)
    finally:
        (root / file).write_bytes(kept)
