"""Many hits, few commits: hits that arrive while one group is being written share the next group's commit.

Each request is answered only after the commit that holds its hit. It never keeps a hit that nobody waits for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.exc import OperationalError

from nurture.store.hits import RawHit, Recorded

GROUP_AT_MOST = 200
Write = Callable[[Sequence[RawHit]], Awaitable[list[Recorded]]]
_Waiting = tuple[RawHit, "asyncio.Future[Recorded]"]


class HitRecorder:
    """`write` commits a group and answers in its order."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def record(self, hit: RawHit) -> Recorded:
        """What became of the hit, once it is durable. Raises what the database raised."""
        future: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        self._waiting.append((hit, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_groups())
        return await future

    async def _write_groups(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_AT_MOST))]
            await self._settle(group)

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            answers = await self._write([hit for hit, _ in group])
        except Exception as error:  # noqa: BLE001  whatever it is, each waiting request must learn of it
            await self._settle_failed(group, error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _settle_failed(self, group: list[_Waiting], error: Exception) -> None:
        """A database that is away is away for all; anything else may be one hit's fault, so each is tried alone."""
        if len(group) > 1 and not isinstance(error, OperationalError):
            for each in group:
                await self._settle([each])
            return
        for _, future in group:
            if not future.done():
                future.set_exception(error)
