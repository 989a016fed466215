"""The only file that knows which database this is: engines, transactions, and the few functions that differ.

The store is synchronous with short transactions; async code calls it through a thread.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Text,
    create_engine,
    event,
    literal,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.schema import Table
from sqlalchemy.types import TypeEngine

from nurture.domain.folding import fold, folding
from nurture.domain.patterns import Characters, Choice, Edge, Part, Pattern, Repeat, machine
from nurture.domain.problem import Problem

LOCK_WAIT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 15_000


class DatabaseUnavailable(Problem):
    """The database can't be reached or opened."""


class Database:
    """An engine with its transactions. `url` is any SQLAlchemy or libpq URL; `sqlite:///x` is relative to `root`."""

    def __init__(self, url: str, *, root: Path | None = None) -> None:
        self.url = url
        self.engine = _sqlite_engine(url, root) if url.startswith("sqlite") else _postgres_engine(url)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction: serialised on SQLite from its first statement, row-locked on PostgreSQL."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it takes no write lock."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(nurture_read=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        self.engine.dispose()


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update` on this dialect."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def insert_ignore(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves an existing row as it is: idempotence by unique key."""
    statement: Insert = insert(connection, table).on_conflict_do_nothing()
    return statement


def with_lock_skipped(statement: Any, *, of: Table | None = None) -> Any:
    """FOR UPDATE SKIP LOCKED; SQLite has no row locks and drops it, its writers being serialised anyway.

    `of` names the table whose rows are locked where others are joined from outside.
    """
    return statement.with_for_update(skip_locked=True, of=of)


def _sqlite_engine(url: str, root: Path | None) -> Engine:
    parsed = make_url(url)
    if parsed.database and parsed.database != ":memory:" and root is not None:
        parsed = parsed.set(database=str((root / parsed.database).resolve()))
    engine = create_engine(parsed, connect_args={"timeout": LOCK_WAIT_MS / 1000 * 6, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: see _begin
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.execute("PRAGMA cache_size=-16000")
        cursor.close()
        connection.create_function("nurture_fold", 1, _fold_or_null, deterministic=True)
        connection.create_function("nurture_matches", 2, _matches_or_null, deterministic=True)
        if not _knows_exp(connection):
            connection.create_function("exp", 1, _exp_or_null, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # the default DEFERRED lets two claimers read the same row before either writes
        read = connection.get_execution_options().get("nurture_read")
        connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")

    return engine


def _fold_or_null(value: str | None) -> str | None:
    return None if value is None else fold(str(value))


def _matches_or_null(value: str | None, pattern: str) -> bool | None:
    return None if value is None else machine(pattern).found_in(fold(str(value)))


def _exp_or_null(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _knows_exp(connection: sqlite3.Connection) -> bool:
    """Mathematical functions are a compile-time choice of SQLite's; its own are faster than ours."""
    try:
        connection.execute("SELECT exp(0)")
    except sqlite3.OperationalError:
        return False
    return True


def _postgres_engine(url: str) -> Engine:
    # `postgresql://USER:@/NAME?host=/dir` and every other libpq URI go to psycopg as they are
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    scheme, rest = url.split("://", 1)
    parsed = make_url(f"postgresql+psycopg://{rest}" if scheme == "postgresql" else url)
    return create_engine(
        parsed,
        pool_pre_ping=True,
        connect_args={
            "options": f"-c lock_timeout={LOCK_WAIT_MS} "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} -c timezone=UTC"
        },
    )


def check_reachable(database: Database) -> None:
    """Raise `DatabaseUnavailable` with one line that says what to do."""
    try:
        with database.engine.connect():
            pass
    except OperationalError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnavailable(f"database {make_url(database.url).render_as_string()}: {cause}") from None


# --- expressions that the two databases spell differently, with one meaning
#
# Each holds what both spellings need; a dialect renders its own and leaves the rest of the bound values alone.


class _Spelled(FunctionElement[Any]):
    """`arguments` fill the numbered places of the dialect's spelling."""

    inherit_cache = True
    sqlite = ""
    postgresql = ""

    def spelled(self, template: str, compiler: SQLCompiler, **kw: Any) -> str:
        return "(" + template.format(*(_Argument(each, compiler, kw) for each in self.clauses)) + ")"


class _Argument:
    """Rendered only where the spelling uses it, so that only then its value is bound."""

    def __init__(self, clause: ColumnElement[Any], compiler: SQLCompiler, kw: dict[str, Any]) -> None:
        self.clause, self.compiler, self.kw = clause, compiler, kw

    def __format__(self, _spec: str) -> str:
        return self.compiler.process(self.clause, **self.kw)


@compiles(_Spelled, "sqlite")
def _on_sqlite(element: _Spelled, compiler: SQLCompiler, **kw: Any) -> str:
    return element.spelled(element.sqlite, compiler, **kw)


@compiles(_Spelled, "postgresql")
def _on_postgresql(element: _Spelled, compiler: SQLCompiler, **kw: Any) -> str:
    return element.spelled(element.postgresql, compiler, **kw)


class _OneOf(_Spelled):
    type = Boolean()
    inherit_cache = True
    sqlite = "{0} IN (SELECT value FROM json_each({1}))"
    postgresql = "{0} = ANY({2})"


def one_of(column: ColumnElement[Any], ids: Sequence[int]) -> ColumnElement[bool]:
    """The column is one of these ids, however many: they travel as one bound value."""
    return _OneOf(column, literal(json.dumps(list(ids)), Text), literal(list(ids), ARRAY(BigInteger)))


class _Folded(_Spelled):
    type = Text()
    inherit_cache = True
    sqlite = "nurture_fold({0})"

    @property
    def postgresql(self) -> str:  # type: ignore[override]  # the table is made on first use
        return _postgres_fold()


@cache
def _postgres_fold() -> str:
    """By our own table: what a server's locale, ICU or Unicode version thinks of case changes no answer."""
    letters = folding()
    latin = {code: target for code, target in letters.items() if code < _LATIN_ENDS}
    cases = [
        'WHEN octet_length({0}) = char_length({0}) THEN lower({0} COLLATE "C")',
        f"WHEN {{0}} COLLATE \"C\" !~ '[^\\x01-\\u{_LATIN_ENDS - 1:04x}]' THEN {_translated(latin)}",
    ]
    return f"CASE {' '.join(cases)} ELSE {_translated(letters)} END"


_LATIN_ENDS = 0x250
"""translate() looks through the whole table for each character: most texts need the short one only."""


def _translated(letters: Mapping[int, int]) -> str:
    return f"translate({{0}}, '{''.join(map(chr, letters))}', '{''.join(map(chr, letters.values()))}')"


def folded(column: ColumnElement[Any]) -> ColumnElement[str]:
    """`fold` in SQL."""
    return _Folded(column)


class _Holds(_Spelled):
    type = Boolean()
    inherit_cache = True
    sqlite = "instr({0}, {1}) > 0"
    postgresql = "strpos({0}, {1}) > 0"


def holds(column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """The text stands somewhere in the column, to the letter."""
    return _Holds(column, literal(part, Text))


class _Glob(_Spelled):
    type = Boolean()
    inherit_cache = True
    sqlite = "{0} GLOB {1}"
    postgresql = '{0} COLLATE "C" LIKE {2}'


def glob_matches(column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    """`*` is any text, `?` one character, all else itself to the letter."""
    like = "".join(_LIKE.get(each, each) for each in glob)
    return _Glob(column, literal(glob.replace("[", "[[]"), Text), literal(like, Text))


_LIKE = {"*": "%", "?": "_", "%": "\\%", "_": "\\_", "\\": "\\\\"}


class _Matches(_Spelled):
    type = Boolean()
    inherit_cache = True
    sqlite = "nurture_matches({0}, {2})"
    postgresql = '{1} COLLATE "C" ~ {3}'


def pattern_matches(column: ColumnElement[Any], pattern: Pattern) -> ColumnElement[bool]:
    """The pattern matches somewhere in the folded text, by an automaton on either side."""
    return _Matches(column, folded(column), literal(pattern.text, Text), literal(_postgres_pattern(pattern.tree), Text))


def _postgres_pattern(part: Part) -> str:
    """PostgreSQL's "advanced" regular expressions; every character but ASCII letters and digits by its number."""
    match part:
        case Characters(ranges=ranges, negated=negated):
            inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
            return f"[{'^' if negated else ''}{inside}]"
        case Edge(start=start):
            return "^" if start else "$"
        case Repeat(part=inside, sign=sign):
            return f"(?:{_postgres_pattern(inside)}){sign}"
        case Choice(parts=parts):
            return f"(?:{'|'.join(map(_postgres_pattern, parts))})"
        case _:
            return f"(?:{''.join(map(_postgres_pattern, part.parts))})"


class _JsonText(_Spelled):
    type = Text()
    inherit_cache = True
    sqlite = "CASE json_type({0}, {1}) WHEN 'text' THEN json_extract({0}, {1}) END"
    postgresql = "CASE json_typeof({0} #> {2}) WHEN 'string' THEN {0} #>> {2} END"


class _JsonNumber(_Spelled):
    # PostgreSQL fails on what no double can hold, as an integer of JSON may be
    type = Float()
    inherit_cache = True
    sqlite = "CASE WHEN json_type({0}, {1}) IN ('integer', 'real') THEN CAST(json_extract({0}, {1}) AS REAL) END"
    postgresql = (
        "CASE WHEN json_typeof({0} #> {2}) = 'number' AND length({0} #>> {2}) < 300 "
        "THEN CAST({0} #>> {2} AS double precision) END"
    )


class _JsonTruth(_Spelled):
    type = Boolean()
    inherit_cache = True
    sqlite = "CASE json_type({0}, {1}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    postgresql = "CASE json_typeof({0} #> {2}) WHEN 'boolean' THEN CAST({0} #>> {2} AS boolean) END"


def json_text(column: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """The text at the path of a JSON column; NULL where something else or nothing stands."""
    return _JsonText(column, *_json_path(path))


def json_number(column: ColumnElement[Any], *path: str) -> ColumnElement[float]:
    """The number at the path of a JSON column; NULL where something else or nothing stands."""
    return _JsonNumber(column, *_json_path(path))


def json_truth(column: ColumnElement[Any], *path: str) -> ColumnElement[bool]:
    """The truth value at the path of a JSON column; NULL where something else or nothing stands."""
    return _JsonTruth(column, *_json_path(path))


def _json_path(path: Sequence[str]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The names are identifiers, so neither spelling has anything to escape."""
    return literal("$" + "".join(f'."{name}"' for name in path), Text), literal(list(path), ARRAY(Text))


class _Moment(_Spelled):
    inherit_cache = True
    sqlite = (
        "replace(substr({0}, 1, 19), 'T', ' ') || "
        "CASE substr({0}, 20, 1) WHEN '.' THEN substr({0}, 20, 7) ELSE '.000000' END"
    )
    postgresql = "CAST({0} AS timestamp with time zone)"


def as_moment(text: ColumnElement[str], column_type: TypeEngine[datetime]) -> ColumnElement[datetime]:
    """UTC in ISO 8601 (`2026-12-01T09:00:00+00:00`, microseconds if there are any) as a column of times holds it."""
    moment = _Moment(text)
    moment.type = column_type
    return moment


class _ByCodePoint(_Spelled):
    type = Text()
    inherit_cache = True
    sqlite = "{0}"
    postgresql = '{0} COLLATE "C"'


def by_code_point(column: ColumnElement[Any]) -> ColumnElement[str]:
    """A text that is ordered by code points, whatever the collation of a server."""
    return _ByCodePoint(column)


class _Greater(_Spelled):
    type = Float()
    inherit_cache = True
    sqlite = "max({0}, {1})"
    postgresql = "greatest({0}, {1})"


class _Lesser(_Spelled):
    type = Float()
    inherit_cache = True
    sqlite = "min({0}, {1})"
    postgresql = "least({0}, {1})"


def greater(one: ColumnElement[float], other: float) -> ColumnElement[float]:
    return _Greater(one, literal(other, Float))


def lesser(one: ColumnElement[float], other: float) -> ColumnElement[float]:
    return _Lesser(one, literal(other, Float))


class _WholeMillionths(_Spelled):
    type = Float()
    inherit_cache = True
    sqlite = "CAST({0} * 1e6 + 0.5 AS INTEGER) / 1e6"
    postgresql = "floor({0} * 1e6 + 0.5) / 1e6"


def to_millionths(number: ColumnElement[float]) -> ColumnElement[float]:
    """A number that is not negative, rounded to six places."""
    return _WholeMillionths(number)
