"""SQL expressions that the two databases spell differently, with one meaning; with database.py all that knows dialects.

Each holds what both spellings need; a dialect renders its own and leaves the other's bound values alone. The functions
`nurture_…` are SQLite's, registered where its connections are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    FromClause,
    Select,
    Text,
    column,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

from nurture.domain.folding import fold, folding
from nurture.domain.patterns import Characters, Choice, Edge, Part, Pattern, Repeat
from nurture.store.prepared import Given


class _Spelled(FunctionElement[Any]):
    """`arguments` fill the numbered places of the dialect's spelling."""

    inherit_cache = True
    sqlite = ""
    postgresql = ""

    def spelled(self, template: str, compiler: SQLCompiler, **kw: Any) -> str:
        return "(" + template.format(*(_Argument(each, compiler, kw) for each in self.clauses)) + ")"


class _Test(_Spelled):
    """True, false or NULL."""

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: OperatorType | None = None) -> Any:
        """As it stands: the `(…) = 1` that SQLAlchemy makes of it for SQLite uses no index and evaluates all of it."""
        return self


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


class _OneOf(_Test):
    inherit_cache = True
    sqlite = "{0} IN (SELECT value FROM json_each({1}))"
    postgresql = "{0} = ANY({2})"


def one_of(column: ColumnElement[Any], ids: Sequence[int]) -> ColumnElement[bool]:
    """The column is one of these ids, however many: they travel as one bound value."""
    return _OneOf(column, literal(json.dumps(list(ids)), Text), literal(list(ids), ARRAY(BigInteger)))


class _Outside(_Test):
    inherit_cache = True
    sqlite = "{0} NOT IN {1}"
    postgresql = "NOT EXISTS (SELECT FROM {1} AS chosen (id) WHERE chosen.id = {0})"


def outside(column: ColumnElement[Any], chosen: Select[tuple[int]]) -> ColumnElement[bool]:
    """The column is none of these ids, which hold no NULL.

    PostgreSQL looks through the whole set for each row once a `NOT IN` does not fit into `work_mem`; SQLite puts its
    set into an index.
    """
    return _Outside(column, chosen.scalar_subquery())


class _Apart(_Test):
    inherit_cache = True
    sqlite = "{0}"
    postgresql = "{0} IS TRUE"


def apart(clause: ColumnElement[bool]) -> ColumnElement[bool]:
    """A set test that PostgreSQL answers by itself, not as one more table to join: planning dozens takes seconds."""
    return _Apart(clause)


class _Contains(_Test):
    inherit_cache = True
    sqlite = "instr(nurture_fold({0}), {1}) > 0"
    postgresql = '{0} COLLATE "C" ~ {2}'


class _StartsWith(_Contains):
    inherit_cache = True
    sqlite = "substr(nurture_fold({0}), 1, length({1})) = {1}"


# SQLite's LIKE ignores the case of ASCII letters, natively. All else that folds to one is capital I with a dot, long s
# and the sign for kelvin. So an ASCII text is looked for with any character in the place of i, s and k, which most
# texts fail, and then to the letter; only what is left is folded.
_AMBIGUOUS = frozenset("isk")
_FOUND = "{0} LIKE {3} ESCAPE '\\'"
_NEARLY_FOUND = "{0} LIKE {4} ESCAPE '\\'"


class _Like(_Contains):
    inherit_cache = True
    sqlite = _FOUND


class _ContainsAscii(_Contains):
    inherit_cache = True
    sqlite = f"{_NEARLY_FOUND} AND ({_FOUND} OR {_Contains.sqlite})"


class _StartsWithAscii(_Contains):
    inherit_cache = True
    sqlite = f"{_NEARLY_FOUND} AND ({_FOUND} OR {_StartsWith.sqlite})"


def contains_folded(column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """The text stands somewhere in the column, whatever its case."""
    spelled = _native(part, _ContainsAscii) if part.isascii() else _Contains
    return spelled(column, *_texts(fold(part), _postgres_text(part), f"%{_like(part)}%", f"%{_loosely(part)}%"))


def starts_folded(column: ColumnElement[Any], start: str) -> ColumnElement[bool]:
    """The column begins with the text, whatever its case."""
    spelled = _native(start, _StartsWithAscii) if start.isascii() else _StartsWith
    return spelled(column, *_texts(fold(start), f"^{_postgres_text(start)}", f"{_like(start)}%", f"{_loosely(start)}%"))


def _native(text: str, nearly: type[_Contains]) -> type[_Contains]:
    return nearly if _AMBIGUOUS.intersection(fold(text)) else _Like


def _loosely(text: str) -> str:
    return "".join("_" if fold(each) in _AMBIGUOUS else _like(each) for each in text)


def _texts(*values: str) -> list[ColumnElement[str]]:
    return [literal(value, Text) for value in values]


def _like(text: str) -> str:
    return "".join(f"\\{each}" if each in "%_\\" else each for each in text)


class _Glob(_Test):
    inherit_cache = True
    sqlite = "{0} GLOB {1}"
    postgresql = '{0} COLLATE "C" LIKE {2}'


def glob_matches(column: ColumnElement[Any], glob: str) -> ColumnElement[bool]:
    """`*` is any text, `?` one character, all else itself to the letter."""
    like = _like(glob).replace("*", "%").replace("?", "_")
    return _Glob(column, *_texts(glob.replace("[", "[[]"), like))


class _Matches(_Test):
    inherit_cache = True
    sqlite = "nurture_matches({0}, {1})"
    postgresql = '{0} COLLATE "C" ~ {2}'


def pattern_matches(column: ColumnElement[Any], pattern: Pattern) -> ColumnElement[bool]:
    """The pattern matches somewhere in the column, whatever its case, by an automaton on either side."""
    return _Matches(column, *_texts(pattern.text, _postgres_pattern(pattern.tree)))


# PostgreSQL's "advanced" regular expressions. Each character is written as the class of those that fold to it: what a
# server's locale, ICU or Unicode version thinks of case changes no answer, and texts needn't be folded there.


def _postgres_text(text: str) -> str:
    return "".join(_postgres_class(((ord(each), ord(each)),)) for each in fold(text))


def _postgres_pattern(part: Part) -> str:
    match part:
        case Characters(ranges=ranges, negated=negated):
            return _postgres_class(ranges, negated=negated)
        case Edge(start=start):
            return "^" if start else "$"
        case Repeat(part=inside, sign=sign):
            return f"(?:{_postgres_pattern(inside)}){sign}"
        case Choice(parts=parts):
            return f"(?:{'|'.join(map(_postgres_pattern, parts))})"
        case _:
            return f"(?:{''.join(map(_postgres_pattern, part.parts))})"


@lru_cache(maxsize=4096)
def _postgres_class(ranges: tuple[tuple[int, int], ...], *, negated: bool = False) -> str:
    """Every character by its number, so that there is nothing to escape."""
    others = [code for code, to in folding().items() if any(low <= to <= high for low, high in ranges)]
    inside = [*ranges, *((code, code) for code in others if not any(low <= code <= high for low, high in ranges))]
    listed = "".join(f"\\U{low:08x}" + (f"-\\U{high:08x}" if high > low else "") for low, high in inside)
    return f"[{'^' if negated else ''}{listed}]"


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


class _JsonTruth(_Test):
    inherit_cache = True
    sqlite = "CASE json_type({0}, {1}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    postgresql = "CASE json_typeof({0} #> {2}) WHEN 'boolean' THEN CAST({0} #>> {2} AS boolean) END"


class _ReadText(_Spelled):
    type = Text()
    inherit_cache = True
    sqlite = "json_extract({0}, {1})"
    postgresql = "{0} #>> {2}"


class _ReadNumber(_Spelled):
    type = Float()
    inherit_cache = True
    sqlite = "CAST(json_extract({0}, {1}) AS REAL)"
    postgresql = "CAST({0} #>> {2} AS double precision)"


class _ReadTruth(_Test):
    inherit_cache = True
    sqlite = "json_extract({0}, {1})"
    postgresql = "CAST({0} #>> {2} AS boolean)"


def read_text(column: ColumnElement[Any], *path: str) -> ColumnElement[str]:
    """As `json_text`, where nurture wrote the column and nothing but a text can stand there: no look at its type."""
    return _ReadText(column, *_json_path(path))


def read_number(column: ColumnElement[Any], *path: str) -> ColumnElement[float]:
    """As `json_number`, where nothing but a number that a double holds can stand."""
    return _ReadNumber(column, *_json_path(path))


def read_truth(column: ColumnElement[Any], *path: str) -> ColumnElement[bool]:
    """As `json_truth`, where nothing but a truth value can stand."""
    return _ReadTruth(column, *_json_path(path))


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


# --- rows that travel as one value


class _Given(_Spelled):
    inherit_cache = True
    sqlite = "SELECT {1} FROM json_each({0})"
    postgresql = "SELECT * FROM json_to_recordset(CAST({0} AS json)) AS given ({2})"


_MOMENT = {"DATETIME": "TIMESTAMP WITH TIME ZONE"}


def given_rows(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """Rows that a statement is given as the value `given` (see `as_given`), so that its text is the same for all.

    Building a statement for each batch costs more than running it.
    """
    picked = ", ".join(f"value ->> '{name}' AS {name}" for name in columns)
    typed = ", ".join(f"{name} {_MOMENT.get(kind.compile(), kind.compile())}" for name, kind in columns.items())
    rows = _Given(Given("given", Text()), literal_column(picked), literal_column(typed))
    return rows.table_valued(*(column(name, kind) for name, kind in columns.items()), name="given")


def given_for(table: FromClause, names: Sequence[str]) -> Select[Any]:
    """Given rows as what an INSERT into these columns of the table takes its values from."""
    given = given_rows({name: table.c[name].type for name in names})
    # without a WHERE SQLite reads the ON of ON CONFLICT as a join's
    return select(*(given.c[name] for name in names)).where(true())


def as_given(rows: Sequence[Mapping[str, Any]]) -> str:
    """The value of `given`; times in UTC, as both databases read them."""
    return json.dumps(rows, default=_moment_as_given)


def _moment_as_given(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
