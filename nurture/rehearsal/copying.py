"""A copy of the database to play with: opened as it is, read in one snapshot, written into a scratch SQLite file.

Nothing here makes, upgrades or changes the database that is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, insert, literal, or_, select

from nurture.domain.problem import Problem
from nurture.settings import Settings, database_url
from nurture.store import tables as t
from nurture.store.database import Database, check_reachable
from nurture.store.migrate import newest_version, version_of

PORTION = 2_000
Told = Callable[[int], None]
"""Hears how many rows each portion had that was copied."""
_OF_A_LEAD = (
    t.lead_tag,
    t.event,
    t.message,
    t.enrollment,
    t.assignment,
    t.current_lead,
    t.task,
    t.alert,
)
"""What decisions about a lead are made of, beside its row and the suppression of its address."""
_OF_THE_WORKSPACE = (t.cadence_version, t.cadence_state, t.pause, t.experiment_state)


@contextmanager
def as_it_is(settings: Settings, root: Path) -> Iterator[Database | None]:
    """The workspace's database, or None where there is none yet.

    Raises DatabaseUnavailable, and Problem where an older nurture made it, since only commands that use it upgrade it,
    or where `env:` and `file:` don't say where it is.
    """
    database = Database(database_url(settings, root), root=root)
    try:
        yield database if _is_there(database) else None
    finally:
        database.close()


def _is_there(database: Database) -> bool:
    if database.is_sqlite:
        file = Path(database.engine.url.database or "")
        if not file.is_file() or not file.stat().st_size:
            return False
    check_reachable(database)
    with snapshot(database) as connection:
        version = version_of(connection)
    if version is None:
        return False
    if version != newest_version():
        raise Problem("the database is of another release of nurture: run `nurture db upgrade` first")
    return True


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """A transaction that only reads, and sees one moment throughout: on SQLite each one does."""
    if database.is_sqlite:
        with database.reading() as connection:
            yield connection
        return
    with database.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def scratch(folder: Path, name: str) -> Database:
    """A new SQLite database in this folder, with every table and no row."""
    database = Database(f"sqlite:///{name}.db", root=folder)
    t.lead.metadata.create_all(database.engine)
    return database


def twin(original: Database, folder: Path, name: str) -> Database:
    """A scratch database once more, with all that stands in it."""
    original.close()  # the last connection that goes brings its log into the file
    shutil.copyfile(original.engine.url.database or "", folder / f"{name}.db")
    return Database(f"sqlite:///{name}.db", root=folder)


def copy_all(source: Connection, target: Database, *, told: Told | None = None) -> None:
    """Every row of every table."""
    _copy(source, target, {table: select(table) for table in t.lead.metadata.sorted_tables}, told)


def copy_leads(source: Connection, target: Database, leads: Select[tuple[int]], *, told: Told | None = None) -> None:
    """These leads (a query of their ids) with all that decisions about them are made of, and what cadences there are.

    What is told of the past (decisions, score ledger, hits) stays behind.
    """
    ids = select(leads.subquery().c[0])
    queries: dict[Table, Select[Any]] = {t.lead: select(t.lead).where(t.lead.c.id.in_(ids))}
    queries |= {table: select(table).where(table.c.lead_id.in_(ids)) for table in _OF_A_LEAD}
    queries |= {table: select(table) for table in _OF_THE_WORKSPACE}
    queries[t.suppression] = select(t.suppression).where(_suppresses(ids))
    _copy(source, target, queries, told)


def _suppresses(ids: Select[tuple[int]]) -> ColumnElement[bool]:
    lead, key = t.lead.c, t.suppression.c.address_key
    return or_(
        key.in_(select(lead.email_key).where(lead.id.in_(ids))),
        key.in_(select(literal("@").concat(lead.email_domain)).where(lead.id.in_(ids))),
    )


def _copy(source: Connection, target: Database, queries: Mapping[Table, Select[Any]], told: Told | None) -> None:
    streaming = source.execution_options(stream_results=True, max_row_buffer=PORTION)
    with target.transaction() as connection:
        for table, query in queries.items():
            for rows in streaming.execute(query).mappings().partitions(PORTION):
                connection.execute(insert(table), [dict(row) for row in rows])
                if told is not None:
                    told(len(rows))
