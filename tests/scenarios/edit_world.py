"""An installation whose process may be killed at any statement, and comes up again."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from nurture.authoring.workspace import Workspace
from nurture.bootstrap import build_stages, open_installation
from nurture.content.templates import TemplateLibrary
from nurture.delivery.replies import Reply
from nurture.engines.stages import Stages
from nurture.rehearsal.cadence_tests import empty
from nurture.rehearsal.clock import VirtualClock
from nurture.rehearsal.copying import copy_all, snapshot
from nurture.rehearsal.transport import Kept
from nurture.store import tables as t
from nurture.store.database import Database
from tests.engine.world import NextHop

ROUNDS = 60


class Killed(BaseException):
    """The process ends here: nothing that would answer an exception may run."""


@dataclass
class Fuse:
    """Raises `Killed` at the `left`-th statement or commit from now, and at everything after it."""

    left: int | None = None
    is_dead: bool = False
    on_death: Callable[[], object] | None = None

    def burn(self, *_: Any) -> None:
        if self.left is not None:
            self.left -= 1
        if not self.is_dead and self.left == 0:
            self.is_dead = True
            if self.on_death is not None:
                self.on_death()
        if self.is_dead:
            raise Killed


class Quarry:
    """What every run begins with: a database that is migrated, with leads, and templates that are compiled.

    All runs play over one engine, which knows its statements.
    """

    def __init__(self, root: Path, library: TemplateLibrary) -> None:
        self.root, self.library, self.fuse = root, library, Fuse()
        self.installation = open_installation(root)
        for name in ("before_cursor_execute", "commit"):
            event.listen(self.installation.database.engine, name, lambda *_: self.fuse.burn())

    def keep(self, name: str = "pristine") -> None:
        """The database as it is now, to go back to."""
        self.installation.database.close()
        if self.installation.database.is_sqlite:
            shutil.copyfile(self.root / "nurture.db", self.root / f"{name}.db")
            return
        kept = Database(f"sqlite:///{name}.db", root=self.root)
        t.lead.metadata.create_all(kept.engine)
        empty(kept)
        with snapshot(self.installation.database) as connection:
            copy_all(connection, kept)
        kept.close()

    def go_back(self, name: str = "pristine") -> None:
        self.installation.database.close()
        if self.installation.database.is_sqlite:
            for path in self.root.glob("nurture.db*"):
                path.unlink()
            shutil.copyfile(self.root / f"{name}.db", self.root / "nurture.db")
            return
        kept = Database(f"sqlite:///{name}.db", root=self.root)
        empty(self.installation.database)
        with kept.reading() as connection:
            copy_all(connection, self.installation.database)
        kept.close()

    def begin(self) -> None:
        """A new run, without a file."""
        for path in self.root.glob("cadences/*"):
            path.unlink()
        self.go_back()


@dataclass
class Mortal:
    """An installation on a clock moved by hand, whose process may die; another starts over the same database.

    `files` are the files as they are: whoever writes them puts the workspace that they make here.
    """

    quarry: Quarry
    files: Workspace
    clock: VirtualClock
    refuse: dict[str, Reply] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    stages: Stages = field(init=False)
    kills: int = 0

    @property
    def database(self) -> Database:
        return self.quarry.installation.database

    @property
    def fuse(self) -> Fuse:
        return self.quarry.fuse

    def start(self) -> None:
        """A process comes up over what stands in the files and in the database."""
        self.quarry.fuse = Fuse()
        hop = NextHop(clock=self.clock, refuse=self.refuse)
        hop.kept = self.kept  # the other side lives on
        self.stages = build_stages(
            self.quarry.installation.at(clock=self.clock, rng=random.Random(1)),
            self.files,
            sole_worker=True,
            servers={"primary": hop},
            library=self.quarry.library,
        )

    def mortally(self, do: Callable[[], object], after: int) -> None:
        """Have it done by a process that dies at a statement, if it gets so far; then another one starts."""
        self.fuse.left = after
        try:
            do()
        except Killed:
            self.kills += 1
        self.fuse.is_dead = True
        self.database.close()
        self.start()

    def once(self) -> None:
        """Rounds of the stages that move leads, until one finds nothing."""
        asyncio.run(self._while_alive(self._rounds))

    def deliver(self) -> None:
        asyncio.run(self._while_alive(self._deliver))

    async def _rounds(self) -> None:
        for _ in range(ROUNDS):
            reports = (self.stages.react(), self.stages.enroll(), self.stages.advance(), await self._deliver())
            if not any(count for each in reports for count in vars(each).values() if isinstance(count, int)):
                return
        raise AssertionError(f"{ROUNDS} rounds, and there is always something to do")

    async def _deliver(self) -> object:
        try:
            return await self.stages.deliver()
        finally:
            await self.stages.deliverer.close()

    async def _while_alive(self, do: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """A process that is dead waits for nobody: whatever is under way is dropped where it stands."""
        death = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.fuse.on_death = lambda: loop.call_soon_threadsafe(death.set)
        doing, dying = asyncio.create_task(do()), asyncio.create_task(death.wait())
        await asyncio.wait({doing, dying}, return_when=asyncio.FIRST_COMPLETED)
        self.fuse.on_death = None
        for _ in range(100):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                break
            for task in left - ({doing} if not self.fuse.is_dead else set()):
                task.cancel()
            done, _ = await asyncio.wait(left, timeout=0.05)
            for task in done - {doing}:
                task.cancelled() or task.exception()
        if self.fuse.is_dead:
            doing.cancelled() or doing.exception()
            raise Killed
        doing.result()

    def take_up(self) -> None:
        self.stages.use(self.files)

    def rows(self, *tables: Any) -> list[list[Any]]:
        with self.database.reading() as connection:
            return [list(connection.execute(select(table))) for table in tables]
