"""PgQueuer's own tables on PostgreSQL: made and upgraded as PgQueuer itself does it, asked by us, kept small.

Only these tables are asked by the database's clock, because PgQueuer writes them by it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.metadata import version

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from nurture.store.database import Database, DatabaseUnavailable

KEEP_LOG = timedelta(minutes=10)


def tables_are_current(connection: Connection) -> bool:
    """Whether PgQueuer's tables are there, as the installed release wants them: it is written on one of them."""
    told = connection.scalar(text("SELECT obj_description(to_regclass('pgqueuer'), 'pg_class')"))
    return bool(told == _release())


def make_tables(database: Database) -> None:
    """Make PgQueuer's tables, or bring them up to the installed release. The caller holds the schema lock.

    Raises DatabaseUnavailable: asyncpg does not get there.
    """
    with ThreadPoolExecutor(1) as aside:  # this thread may have a loop running already
        aside.submit(asyncio.run, _converge(database.asyncpg_url)).result()


async def _converge(url: str) -> None:
    import asyncpg
    from pgqueuer import AsyncpgDriver, Queries

    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        named = make_url(url).render_as_string()
        raise DatabaseUnavailable(f"database {named}, as asyncpg reads it: {' '.join(str(error).split())}") from None
    try:
        await Queries(AsyncpgDriver(connection)).apply_upgrade()
        await connection.execute(f"COMMENT ON TABLE pgqueuer IS '{_release()}'")
    finally:
        await connection.close()


def _release() -> str:
    return f"pgqueuer {version('pgqueuer')}"


def done_within(connection: Connection, stage: str, span: timedelta) -> bool:
    """Whether any host has finished a job of this stage so lately."""
    statement = text(
        "SELECT EXISTS (SELECT 1 FROM pgqueuer_log"
        " WHERE created > now() - :span AND entrypoint = :stage AND status = 'successful')"
    )
    return bool(connection.scalar(statement, {"span": span, "stage": stage}))


def prune_log(connection: Connection) -> None:
    """Forget what PgQueuer has logged of jobs that are long done."""
    connection.execute(text("DELETE FROM pgqueuer_log WHERE created < now() - :span"), {"span": KEEP_LOG})
