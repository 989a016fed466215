"""Statements of the hot path: built and compiled once for each database, and run as text by its driver.

SQLAlchemy makes a key, expands lists and binds each constant anew whenever it executes a statement. And SQLite plans
one anew whenever a value is bound that a partial index might be chosen by, so constants stand in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, CursorResult, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]


class Prepared:
    """One statement, whose text is the same for all values; rows travel as one of them (`spellings.given_rows`).

    `build` is handed a connection of the database that the text is for. Results are as the driver gives them, so let
    it return numbers and texts alone.
    """

    def __init__(self, build: Callable[[Connection], ClauseElement]) -> None:
        self._build = build
        self._texts: dict[type[Dialect], _Text] = {}

    def run(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """With what each `Given` stands for, by its name. The driver's errors are wrapped as SQLAlchemy's ever are."""
        dialect = connection.dialect
        text = self._texts.get(type(dialect))
        if text is None:
            text = self._texts[type(dialect)] = _compiled(self._build(connection), dialect)
        return connection.exec_driver_sql(text.sql, text.bound(values))


class Given(BindParameter[Any]):
    """What each run gives by this name; all other values are constants of the text."""

    inherit_cache = True

    def __init__(self, name: str, kind: TypeEngine[Any]) -> None:
        super().__init__(name, None, type_=kind)


@compiles(Given)
def _marked(given: Given, compiler: SQLCompiler, **kw: Any) -> str:
    visit: Callable[..., str] = compiler.visit_bindparam
    return visit(given, **{**kw, "literal_binds": False})


@dataclass(frozen=True, kw_only=True)
class _Text:
    sql: str
    order: Sequence[str] | None
    """The names in the order of the text's marks; None where the driver takes names."""
    processors: Mapping[str, Processor]
    """How the driver wants each value."""

    def bound(self, values: Mapping[str, Any]) -> Any:
        ready = {name: process(values[name]) for name, process in self.processors.items()}
        return ready if self.order is None else tuple([ready[name] for name in self.order])


def _compiled(statement: ClauseElement, dialect: Dialect) -> _Text:
    compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return _Text(
        sql=str(compiled),
        order=compiled.positiontup if compiled.positional else None,
        processors={name: _processor(bind.type, dialect) for name, bind in compiled.binds.items()},
    )


def _processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
