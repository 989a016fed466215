"""The real command, in a process that dies at a named commit point, or from which a guard was taken out.

    NURTURE_FAULT=dot:after:17 NURTURE_WITHOUT=epoch python -m tests.chaos.mortal run --only work

`NURTURE_FAULT`: SIGKILL at the N-th time that the point is come to. `NURTURE_WITHOUT`: the name of a guard in `GUARDS`,
whose line is changed before the module is imported; what is on the disk stays as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
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
        "nurture.pipeline.deliver",
        "began = await commits.dotted(mark)",
        "began = time.monotonic()",
    ),
    "lease owner and epoch": (
        "nurture.store.outbox",
        "tuple_(m.id, m.lease_epoch).in_([(each.message_row, each.epoch) for each in batch]),",
        "",
    ),
    "suppression check": ("nurture.store.outbox", "                _still_wanted(now),\n", ""),
    "unique key": ("nurture.store.outbox", "", ""),
}
"""name -> module, line, and what stands there without it; the unique key is the database's, and is dropped there."""
OWNERS = (
    ("                m.c.lease_owner == owner,\n                m.c.status == MessageStatus.SENDING.value,\n", ""),
    (
        "                m.c.dotted_at.is_(None),\n                _still_wanted(now),",
        "                _still_wanted(now),",
    ),
)


class Unguarded(importlib.machinery.SourceFileLoader):
    """Loads a module with its guard taken out; never from a cache."""

    def get_code(self, fullname: str) -> Any:
        source = self.get_data(self.path).decode()
        return compile(without_guard(source, os.environ["NURTURE_WITHOUT"]), self.path, "exec")


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
    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != self._module or path is None:
            return None
        file = str(Path(path[0]) / f"{fullname.rpartition('.')[2]}.py")
        return importlib.util.spec_from_file_location(fullname, file, loader=Unguarded(fullname, file))


class Fuse:
    """Counts how often each point is come to."""

    def __init__(self, fault: str) -> None:
        self._point, _, times = fault.rpartition(":")
        self._left = Counter({self._point: int(times)})

    def reach(self, point: str) -> None:
        if point != self._point:
            return
        self._left[point] -= 1
        if self._left[point] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


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


def main() -> None:
    guard = os.environ.get("NURTURE_WITHOUT", "")
    if guard and guard != "unique key":
        sys.meta_path.insert(0, Finder(GUARDS[guard][0]))
    fault = os.environ.get("NURTURE_FAULT", "")
    if fault:
        plant(Fuse(fault))
    from nurture.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
