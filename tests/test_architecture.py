"""The house holds: floors, purity, the ban on clocks and chance, and the habits that a machine can check.

Each rule is also tried on a line that breaks it, so a rule that has stopped looking fails here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "nurture"
FILES = sorted(HOUSE.rglob("*.py"))

MAKERS_OF_CLOCK_AND_CHANCE = {HOUSE / "bootstrap.py"}
"""The one file that may ask what time it is; everything below takes `now` and `rng` as arguments."""

KNOWS_DIALECTS = {
    HOUSE / "store" / "database.py": "the one file that knows what each database wants",
    HOUSE / "store" / "tables.py": "how SQLite keeps a moment, in the column's type",
    HOUSE / "inbound" / "scratch.py": "a scratch file of its own, not the store",
    HOUSE / "store" / "jobs.py": "PgQueuer's tables are PostgreSQL's alone",
    HOUSE / "store" / "presence.py": "and so are locks that end with a connection",
    HOUSE / "engines" / "distributed.py": "and so is the engine that asks them",
}

ASKS_THE_DATABASES_CLOCK = {
    HOUSE / "store" / "database.py": "to compare it with our own",
    HOUSE / "store" / "jobs.py": "of PgQueuer's tables, which it writes by that clock",
}

ALLOWED_IN_DOMAIN = {
    "email_validator": "reads an address's syntax by RFC 5321 and 6531, and asks no network",
    "threading": "a lock around Python's own parser, whose warnings are global",
}

LONG_BY_NATURE = {
    HOUSE / "store" / "tables.py": "the schema is one list, and reads best as one",
    HOUSE / "store" / "migrations" / "versions" / "0001_first.py": "the same schema, as Alembic wrote it down",
}
MOST_LINES = 500

VAGUE = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "manager",
    "managers",
    "base",
    "misc",
    "core",
    "data",
    "shared",
}

IMPURE = {
    "asyncio", "ftplib", "http", "imaplib", "logging", "multiprocessing", "os", "pathlib", "secrets", "select",
    "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""Parts of the standard library that read or change the world, or its clock. `random` is only a type in the domain."""

CLOCKS = {"now", "utcnow", "today"}
CHANCE = {"random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "gauss", "seed"}
SQL_CLOCK = re.compile(r"\bnow\s*\(\s*\)|\bcurrent_(?:timestamp|date|time)\b|\bclock_timestamp\b", re.IGNORECASE)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def said(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_import_only_from_floors_below() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def imported_modules(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def impure_imports(tree: ast.Module) -> Iterator[str]:
    for line, module in imported_modules(tree):
        top = module.partition(".")[0]
        at_home = top == "__future__" or module.startswith("nurture.domain")
        if at_home or top in ALLOWED_IN_DOMAIN:
            continue
        if top not in sys.stdlib_module_names or top in IMPURE:
            yield f"{line}: {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "print", "input", "io.open"):
            yield f"{node.lineno}: {ast.unparse(node.func)}()"


def clocks_and_chance(tree: ast.Module) -> Iterator[str]:
    """Calls that read a clock or draw by chance on their own, in Python or in SQL; a monotonic clock tells no time."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("random", "time", "uuid"):
            wanted = {alias.name for alias in node.names}
            if wanted & (CHANCE | {"time", "time_ns", "SystemRandom", "uuid1", "uuid4"}):
                yield f"{node.lineno}: from {node.module} import {', '.join(sorted(wanted))}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        last_owner = owner.rpartition(".")[2]
        if (
            (name in CLOCKS and last_owner in ("datetime", "date", "func"))
            or (last_owner == "func" and name.startswith("current_"))
            or (last_owner == "time" and name in ("time", "time_ns", "localtime", "gmtime"))
            or (last_owner == "random" and name in CHANCE | {"SystemRandom"})
            or (last_owner == "uuid" and name in ("uuid1", "uuid4"))
        ):
            yield f"{node.lineno}: {called}()"


def clocks_in_sql(tree: ast.Module) -> Iterator[str]:
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if is_text and SQL_CLOCK.search(str(node.value)):  # type: ignore[attr-defined]  # is_text says it is a Constant
            yield f"{node.lineno}: {node.value!r}"  # type: ignore[attr-defined]  # the same


def dialects(tree: ast.Module) -> Iterator[str]:
    for line, module in imported_modules(tree):
        if module.startswith(("sqlalchemy.dialects", "psycopg", "sqlite3", "asyncpg")):
            yield f"{line}: {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("dialect.name"):
            yield f"{node.lineno}: {ast.unparse(node)}"


Rule = Callable[[ast.Module], Iterator[str]]


def broken_in(files: list[Path], rule: Rule) -> list[str]:
    return [f"{said(path)}:{found}" for path in files for found in rule(parsed(path))]


def test_the_domain_is_pure() -> None:
    assert broken_in([path for path in FILES if path.is_relative_to(HOUSE / "domain")], impure_imports) == []


def test_time_and_chance_are_arguments() -> None:
    below = [path for path in FILES if path not in MAKERS_OF_CLOCK_AND_CHANCE]
    assert broken_in(below, clocks_and_chance) == []


def test_no_clock_runs_in_sql() -> None:
    assert broken_in([path for path in FILES if path not in ASKS_THE_DATABASES_CLOCK], clocks_in_sql) == []


def test_one_file_knows_dialects() -> None:
    assert broken_in([path for path in FILES if path not in KNOWS_DIALECTS], dialects) == []


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (impure_imports, "import os"),
        (impure_imports, "from pathlib import Path"),
        (impure_imports, "open('x')"),
        (impure_imports, "import sqlalchemy"),
        (impure_imports, "from nurture.store import tables"),
        (clocks_and_chance, "datetime.now(UTC)"),
        (clocks_and_chance, "datetime.datetime.utcnow()"),
        (clocks_and_chance, "date.today()"),
        (clocks_and_chance, "time.time()"),
        (clocks_and_chance, "from time import time"),
        (clocks_and_chance, "random.choice([1])"),
        (clocks_and_chance, "from random import shuffle"),
        (clocks_and_chance, "uuid.uuid4()"),
        (clocks_and_chance, "select(func.now())"),
        (clocks_and_chance, "sa.func.current_timestamp()"),
        (clocks_in_sql, "text('UPDATE lead SET at = now()')"),
        (clocks_in_sql, "x = 'DEFAULT CURRENT_TIMESTAMP'"),
        (dialects, "from sqlalchemy.dialects import sqlite"),
        (dialects, "connection.dialect.name == 'sqlite'"),
    ],
)
def test_a_rule_sees_what_breaks_it(rule: Rule, line: str) -> None:
    assert list(rule(ast.parse(line)))


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (impure_imports, "from datetime import datetime"),
        (impure_imports, "from nurture.domain import cadence"),
        (clocks_and_chance, "site.now()"),
        (clocks_and_chance, "time.monotonic()"),
        (clocks_and_chance, "rng.choice([1])"),
        (clocks_and_chance, "random.Random(7)"),
        (clocks_in_sql, "'''No now() in SQL.'''"),
        (dialects, "from nurture.store.database import insert"),
    ],
)
def test_a_rule_lets_pass_what_it_should(rule: Rule, line: str) -> None:
    assert list(rule(ast.parse(line))) == []


@pytest.mark.parametrize("path", FILES, ids=said)
def test_a_file_says_its_role_first(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text().strip():
        return  # a bare folder: its files speak for themselves
    assert ast.get_docstring(parsed(path)), f"{said(path)}: open with the file's role in one to three lines"


@pytest.mark.parametrize("path", FILES, ids=said)
def test_a_file_can_be_read_at_a_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or path in LONG_BY_NATURE, f"{said(path)}: {lines} lines; split it by concept"


def test_what_may_be_long_is_long_still() -> None:
    assert [said(path) for path in LONG_BY_NATURE if len(path.read_text().splitlines()) <= MOST_LINES] == []


@pytest.mark.parametrize("path", FILES, ids=said)
def test_a_name_says_what_is_inside(path: Path) -> None:
    words = path.parent.name if path.name == "__init__.py" else path.stem
    assert words not in VAGUE, f"{said(path)}: name it after its concept"
    assert not words.endswith(("_utils", "_helpers", "_manager")), f"{said(path)}: name it after its concept"


FORBIDDEN_HOSTS = re.compile(r"pypi\.org|pythonhosted\.org|--(?:extra-)?index-url|--find-links", re.IGNORECASE)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not FORBIDDEN_HOSTS.search(text)
    pins = re.split(r"\n(?=[a-z0-9])", "\n" + re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))[1:]
    assert len(pins) > 40
    for pin in pins:
        assert re.match(r"[a-z0-9._-]+==\S+ (?:; [^\\]+)?\\\n    --hash=sha256:[0-9a-f]{64}", pin), pin[:200]


def test_the_lock_has_every_dependency_of_the_project() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", project["project"]["dependencies"] + project["dependency-groups"]["dev"]),
    ):
        pinned = {line.split("==")[0] for line in (ROOT / name).read_text().splitlines() if "==" in line}
        asked = {re.split(r"[\[<>=;~! ]", each)[0].lower().replace(".", "-").replace("_", "-") for each in wanted}
        assert asked - pinned == set(), f"{name}: run 'make lock'"
