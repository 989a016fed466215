"""The migrations and the tables say the same, on both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from nurture.store.database import Database
from nurture.store.migrate import MIGRATIONS, newest_version, upgrade
from tests.migrated import clear


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        database = Database("sqlite:///new.db", root=tmp_path)
    else:
        database = Database(request.getfixturevalue("postgres_url"))
        clear(database)
    yield database
    database.close()


def not_pgqueuers(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or not (name or "").startswith("pgqueuer")


def test_the_migrated_schema_is_that_of_the_tables(empty: Database) -> None:
    upgrade(empty)
    with empty.reading() as connection:
        ours = MigrationContext.configure(connection, opts={"include_name": not_pgqueuers})
        difference = compare_metadata(ours, SQLModel.metadata)
    assert difference == []


def test_upgrading_twice_changes_nothing_and_two_at_once_do_not_collide(empty: Database) -> None:
    failures: list[BaseException] = []

    def try_it() -> None:
        try:
            upgrade(empty)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upgrade(empty)
    assert failures == []


def test_the_newest_version_is_the_head_of_the_migrations() -> None:
    assert newest_version() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_who_finds_the_schema_current_imports_no_migrations(tmp_path: Path) -> None:
    upgrade(Database("sqlite:///new.db", root=tmp_path))
    program = (
        "import sys, nurture.cli.main; from nurture.store.database import Database;"
        "from nurture.store.migrate import upgrade; upgrade(Database('sqlite:///new.db'));"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path).returncode == 0
