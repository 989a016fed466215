"""The real command, in processes that die at a named commit point, or from which a guard was taken out.

    python -m tests.chaos.mortal --without 'suppression check'

reads a line of JSON for each process on standard input, `{"words": ["run"], "fault": "dot:after:17:kill", "log": …}`,
and prints its number. They are forked from this one, which has imported everything already, because that takes longer
than most faults do.

`fault`: what befalls it at the N-th time that the point is come to: `kill` is SIGKILL, `stop` SIGSTOP, and `pause`
holds that thread for longer than the dot may come after its commit. `--without`: the name of a guard in `GUARDS`, whose
line is changed before the module is imported; what is on the disk stays as it is.

SIGUSR1 sets its clock an hour ahead, SIGUSR2 an hour back; the monotonic clock goes on. Time-outs of minutes are
seconds here, and batches are small, so that much happens in little time (`hasten`).
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

POINTS = (
    "queue:before",
    "queue:after",
    "claim:before",
    "claim:after",
    "dotted:before",
    "dotted:after",
    "dot:before",
    "dot:after",
    "outcome:before",
    "outcome:after",
)
GUARDS = {
    "dotted commit": (
        "nurture.pipeline.attempt",
        "began = await self._commits.dotted(mark)",
        "began = time.monotonic()",
    ),
    "lease owner and epoch": (
        "nurture.store.outbox",
        "m.lease_epoch == given.c.epoch, m.lease_owner == _OWNER",
        "_OWNER.is_not(None)",
    ),
    "suppression check": ("nurture.store.outbox", "            _still_wanted(_NOW),\n", ""),
    "unique key": ("nurture.store.outbox", "", ""),
    "five seconds": ("nurture.pipeline.attempt", "if time.monotonic() - began > DOT_WITHIN_S:", "if False:"),
}
"""name -> module, line, and what stands there without it; the unique key is the database's, and is dropped there."""
PAUSE_S = 6.0
LOCK_WAIT_MS = 1_000
"""SQLite waits six times as long for the lock of another process."""
ANSWER_WITHIN_S = 2.0
OWNERS = (
    (
        "            m.c.status == MessageStatus.SENDING.value,\n            m.c.dotted_at.is_(None),\n",
        "",
    ),
)


class Unguarded(importlib.machinery.SourceFileLoader):
    """Loads a module with its guard taken out; never from a cache."""

    guard: str

    def get_code(self, fullname: str) -> Any:
        source = self.get_data(self.path).decode()
        return compile(without_guard(source, self.guard), self.path, "exec")


def without_guard(source: str, guard: str) -> str:
    """The module's text without it. Raises ValueError where the line is no longer there."""
    _, line, instead = GUARDS[guard]
    changes = [(line, instead), *(OWNERS if guard == "lease owner and epoch" else ())]
    for before, after in changes:
        if before not in source:
            raise ValueError(f"{guard}: no such line: {before.strip()}")
        source = source.replace(before, after)
    return source


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, guard: str) -> None:
        self._guard, self._module = guard, GUARDS[guard][0]

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != self._module or path is None:
            return None
        file = str(Path(path[0]) / f"{fullname.rpartition('.')[2]}.py")
        loader = Unguarded(fullname, file)
        loader.guard = self._guard
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


class Fuse:
    """Counts how often its point is come to, and goes off once."""

    def __init__(self, fault: str) -> None:
        self._point, times, self._deed = fault.rsplit(":", 2)
        self._left = int(times)

    def reach(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            DEEDS[self._deed]()


DEEDS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "pause": lambda: time.sleep(PAUSE_S),
}


def plant(fuse: Fuse) -> None:
    """Wrap the functions whose ends are commits."""
    from nurture.delivery.conversation import Conversation
    from nurture.pipeline import advance
    from nurture.pipeline.deliver import Deliverer
    from nurture.pipeline.group_commit import GroupCommit

    _around(Deliverer, "_claim", lambda *_: ["claim"], fuse)
    _around(
        GroupCommit,
        "_transact",
        lambda _, marks, outcomes: [*(["dotted"] if marks else []), *(["outcome"] if outcomes else [])],
        fuse,
    )
    _around(advance, "_move_batch", lambda *_: ["queue"], fuse)
    write = Conversation._write

    def written(self: Any, data: bytes) -> None:
        if data == b".\r\n":
            fuse.reach("dot:before")
        write(self, data)
        if data == b".\r\n":
            fuse.reach("dot:after")

    Conversation._write = written  # type: ignore[method-assign]


def _around(owner: Any, name: str, points: Callable[..., list[str]], fuse: Fuse) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **named: Any) -> Any:
        for point in points(*args):
            fuse.reach(f"{point}:before")
        result = original(*args, **named)
        for point in points(*args):
            fuse.reach(f"{point}:after")
        return result

    setattr(owner, name, wrapped)


def hasten() -> None:
    """The same code with patience of seconds, and small batches: more commits, and more that can go wrong at each."""
    import aiosmtplib

    from nurture import bootstrap
    from nurture.delivery import connections
    from nurture.delivery.conversation import Patience
    from nurture.pipeline import advance, attempt, deliver
    from nurture.store import database

    class Hasty(aiosmtplib.SMTP):
        def __init__(self, **given: Any) -> None:
            super().__init__(**{**given, "timeout": ANSWER_WITHIN_S})

    seconds = dict.fromkeys(("command", "data", "block", "dot"), ANSWER_WITHIN_S)
    bootstrap.Patience = partial(Patience, **seconds)  # type: ignore[attr-defined,assignment]
    aiosmtplib.SMTP = Hasty  # type: ignore[misc]
    connections.SERVER_DOWN_RETRY = attempt.SERVER_DOWN_RETRY = timedelta(seconds=1)  # type: ignore[attr-defined]
    deliver.CLAIM_AHEAD, advance.BATCH = 40, 50
    database.LOCK_WAIT_MS = LOCK_WAIT_MS


def make_clock_jump() -> None:
    from nurture import bootstrap

    clock, ahead = bootstrap.system_clock, timedelta()

    def jumping() -> datetime:
        return clock() + ahead

    def jump(number: int, _frame: object) -> None:
        nonlocal ahead
        ahead += timedelta(hours=1 if number == signal.SIGUSR1 else -1)

    bootstrap.system_clock = jumping
    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, jump)


def live(words: list[str], fault: str, log: str) -> None:
    """What a forked process does, to its end."""
    from nurture.cli.main import main as command

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    make_clock_jump()
    if fault:
        plant(Fuse(fault))
    sys.argv = ["nurture", *words]
    command()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", default="", choices=["", *GUARDS])
    guard = parser.parse_args().without
    if guard and guard != "unique key":
        sys.meta_path.insert(0, Finder(guard))
    importlib.import_module("nurture.cli.main")
    importlib.import_module("nurture.engines.distributed")
    hasten()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    while order := sys.stdin.readline():
        if (pid := os.fork()) == 0:
            live(**json.loads(order))
            return
        print(pid, flush=True)


if __name__ == "__main__":
    main()
