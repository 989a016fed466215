"""The daemon: roles, signals, drain. What is due is the stages' business, who wakes them the engine's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from nurture.authoring.check import load_sound_workspace
from nurture.domain.problem import Problem
from nurture.engines.stages import Stages
from nurture.engines.ticking import Engine
from nurture.web.server import ListeningServer

DRAIN_WITHIN_S = 30
WATCHED = ("config.toml", "cadences", "templates")

Role = Literal["web", "work"]
MakeEngine = Callable[[Stages, Callable[[], None]], Engine]
"""Makes what wakes these stages, and now and then looks for changed files."""

log = structlog.get_logger()


class FileWatch:
    """Takes changed files up once they check clean; keeps the last good ones, and says so, while they don't."""

    def __init__(self, root: Path, take_up: Callable[[], None]) -> None:
        self._root = root
        self._take_up = take_up
        self._seen = self._stamp()

    def look(self) -> None:
        """Compare the files with the last look; cheap when nothing changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        before, self._seen = self._seen, stamp
        try:
            self._take_up()
        except SQLAlchemyError:
            self._seen = before  # the next look tries again
            raise
        except Problem as problem:
            log.error("files_not_taken_up", kept="the last good version", problem=str(problem))
        else:
            log.info("files_taken_up")

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        stamps = []
        for name in WATCHED:
            top = self._root / name
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                with contextlib.suppress(OSError):
                    found = path.stat()
                    stamps.append((str(path), found.st_mtime_ns, found.st_size))
        return tuple(stamps)


async def run_daemon(
    *,
    root: Path,
    stages: Stages | None,
    engine_of: MakeEngine,
    servers: Sequence[ListeningServer],
    announce: Callable[[], None],
) -> None:
    """Run until SIGTERM or SIGINT, then drain: claimed mail is finished, open requests are answered."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = [asyncio.create_task(server.serve()) for server in servers]
    engine = _start_engine(root, stages, engine_of) if stages is not None else None
    announce()
    waits = [asyncio.create_task(stop.wait()), *serving]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    log.info("draining")
    for server in servers:
        server.should_exit = True
    finishing = [*serving, asyncio.create_task(engine.drain())] if engine is not None else serving
    _, late = await asyncio.wait(finishing, timeout=DRAIN_WITHIN_S)
    if late:
        _leave_as_it_is()
    await asyncio.gather(*finishing)
    waits[0].cancel()


def _leave_as_it_is() -> NoReturn:
    """End for certain: a thread that waits for a database or a server would be waited for, however long that takes.

    What is under way is left to its leases, as by a kill, which loses nothing and repeats nothing.
    """
    log.warning("drain_cut_off", within_s=DRAIN_WITHIN_S, left="what is under way, to its leases")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _start_engine(root: Path, stages: Stages, engine_of: MakeEngine) -> Engine:
    watch = FileWatch(root, lambda: stages.use(load_sound_workspace(root)))
    engine = engine_of(stages, watch.look)
    engine.start()
    return engine
