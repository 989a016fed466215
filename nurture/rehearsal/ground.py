"""Where simulations play: scratch databases in a temporary folder. The first is filled; each run has a copy of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, func, select

from nurture.authoring.workspace import Workspace
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.rehearsal.copying import as_it_is, copy_all, scratch, snapshot, twin
from nurture.store import tables as t
from nurture.store.database import Database

BASE = "base"
_DATED = ((t.event, "recorded_at"), (t.message, "created_at"), (t.enrollment, "enrolled_at"))


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The folder. Its base is filled once, and is what every run begins with."""

    folder: Path

    @contextmanager
    def base(self) -> Iterator[Database]:
        """For as long as the block runs; a new one is empty."""
        database = scratch(self.folder, BASE)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def copy(self, name: str) -> Iterator[Database]:
        """The base once more, for as long as the block runs."""
        database = twin(Database(f"sqlite:///{BASE}.db", root=self.folder), self.folder, name)
        _unsynced(database)
        try:
            yield database
        finally:
            database.close()
            for file in self.folder.glob(f"{name}.db*"):
                file.unlink()


@contextmanager
def ground() -> Iterator[Ground]:
    """For as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="nurture-simulate-") as folder:
        yield Ground(folder=Path(folder))


def copy_workspace(workspace: Workspace, base: Database, *, begins: datetime) -> None:
    """Copy the workspace's database, as it stands. It is read in one transaction, and never written.

    Raises Problem where there is none or nobody in it, and where it knows of things that lie after `begins`.
    """
    with as_it_is(workspace.settings, workspace.root) as own:
        if own is None:
            raise Problem(_nobody_yet("there is no database yet"))
        with snapshot(own) as source:
            if not _leads_in(source):
                raise Problem(_nobody_yet("nobody is in the database yet"))
            _require_past(source, begins)
            copy_all(source, base)


def count_leads(database: Database) -> int:
    """Leads, without visitors."""
    with database.reading() as connection:
        return _leads_in(connection)


def _leads_in(connection: Connection) -> int:
    leads = select(func.count()).select_from(t.lead).where(t.lead.c.stage != Stage.VISITOR.value)
    return int(connection.scalar(leads) or 0)


def _require_past(source: Connection, begins: datetime) -> None:
    for table, column in _DATED:
        latest = source.scalar(select(func.max(table.c[column])))
        if latest is not None and latest > begins:
            raise Problem(
                f"the database knows of what happened until {latest:%Y-%m-%d %H:%M} UTC: simulate from a later day on, "
                "or with a list (--leads)"
            )


def _nobody_yet(what: str) -> str:
    return f"{what}: simulate with a list (--leads FILE.csv), or take one in with `nurture import`"


def _unsynced(database: Database) -> None:
    """Commits need not reach the disk: after a crash there is nothing here that anybody wants back."""

    @event.listens_for(database.engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")
