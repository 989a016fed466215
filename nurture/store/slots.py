"""Connections to mail servers that all processes on one PostgreSQL share: a slot for each, and each slot a lock.

A slot is taken before a connection is opened and freed after it was closed, so that the server never sees more of them
than config.toml allows; who dies frees its own. Who holds more than its share, because others came, closes some after
their messages. Where processes are more than connections, those without one send nothing over that server.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection, text

from nurture.store.presence import Presence, present_count

SLOTS = 0x6E75 << 48
"""The highest 16 bits of a lock's number; 32 are made from the server's name, and 16 count its slots."""
ASK_AGAIN_S = 1.0
"""How soon to ask again where all were taken."""


class ServerSlots:
    """Those of one server. Only `take` asks the database; it may be called by any thread, the others by one."""

    def __init__(self, presence: Presence, server: str, most: int) -> None:
        self.most = most
        self.workers = 1
        self._presence = presence
        self._base = SLOTS | zlib.crc32(server.encode()) << 16
        self._held: set[int] = set()
        self._none_before = 0.0

    @property
    def _share(self) -> int:
        return max(1, math.ceil(self.most / self.workers))

    def allow(self, count: int) -> bool:
        """Whether so many connections may be open, or stay so."""
        return self._presence.is_connected and count <= min(len(self._held), self._share)

    @property
    def may_take(self) -> bool:
        """Whether it is worth asking for another."""
        is_worth_it = len(self._held) < self._share and time.monotonic() >= self._none_before
        return is_worth_it and self._presence.is_connected

    def take(self, count: int) -> bool:
        """Whether so many may be open once those were taken that are free now."""
        if not self.allow(count) and self.may_take:
            self._presence.with_connection(partial(self._take_up_to, count))
        return self.allow(count)

    def beyond(self, count: int) -> list[int]:
        """Locks that are not needed for so many: they are ours no more, and the caller ends them."""
        surplus = sorted(self._held)[count:]
        if surplus:
            self._held.difference_update(surplus)
            self._none_before = 0.0  # these will be free, for one
        return [self._base + slot for slot in surplus]

    def take_again(self, connection: Connection) -> None:
        """After the connection to the database was lost: those that nobody took meanwhile."""
        lost = [slot for slot in sorted(self._held) if _try(connection, [self._base + slot]) is None]
        self._held.difference_update(lost)
        self._none_before = 0.0

    def _take_up_to(self, count: int, connection: Connection) -> None:
        """One thread at a time, each of which looks at what those before it took."""
        while not self.allow(count) and self.may_take:
            taken = _try(connection, [self._base + slot for slot in range(self.most) if slot not in self._held])
            if taken is None:
                self._none_before = time.monotonic() + ASK_AGAIN_S
                return
            self._held.add(taken - self._base)


class Slots:
    """Those of all servers, for one process."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._presence.on_return = self._take_again
        self._of: dict[str, ServerSlots] = {}

    def of(self, server: str, most: int) -> ServerSlots:
        slots = self._of.setdefault(server, ServerSlots(self._presence, server, most))
        slots.most = most
        return slots

    def look(self) -> None:
        """Every few seconds: how many share them."""
        workers = self._presence.with_connection(present_count)
        for slots in self._of.values():
            slots.workers = workers or 1

    def beyond(self, counts: Mapping[str, int]) -> list[int]:
        """Locks that are not needed for so many connections of each server: they are ours no more, to be freed."""
        return [lock for server, slots in self._of.items() for lock in slots.beyond(counts.get(server, 0))]

    def free(self, locks: Sequence[int]) -> None:
        """End what `beyond` returned."""
        if locks:
            self._presence.with_connection(lambda connection: _unlock(connection, locks))

    def _take_again(self, connection: Connection) -> None:
        for slots in self._of.values():
            slots.take_again(connection)


def _try(connection: Connection, locks: Sequence[int]) -> int | None:
    """The first of these that is free; it is ours then."""
    first = text("SELECT lock FROM unnest(CAST(:locks AS bigint[])) AS lock WHERE pg_try_advisory_lock(lock) LIMIT 1")
    taken: int | None = connection.scalar(first, {"locks": list(locks)})
    return taken


def _unlock(connection: Connection, locks: Sequence[int]) -> None:
    every = text("SELECT pg_advisory_unlock(lock) FROM unnest(CAST(:locks AS bigint[])) AS lock")
    connection.execute(every, {"locks": list(locks)})
