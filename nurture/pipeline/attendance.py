"""Each process that sends is seen by the others, and has its share of the connections to mail servers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from nurture.delivery.servers import Server
from nurture.store.database import Database
from nurture.store.presence import Presence
from nurture.store.slots import Slots


class Attendance:
    """Of one owner of leases. Over SQLite there are no others, and nothing is done."""

    def __init__(self, database: Database, owner: str) -> None:
        self._is_alone = database.is_sqlite
        self._presence = Presence(database, owner)
        self._slots = Slots(self._presence)
        self._one_at_a_time = asyncio.Lock()

    async def attend(self, servers: Mapping[str, Server], *, at_least: int, close: bool) -> None:
        """Every few seconds, also while nothing is sent: be seen, and leave others what is not ours.

        Keeps slots for connections that are open, and for `at_least` so many to each server; `close`: first those that
        nobody uses. Raises DBAPIError: the database is away.
        """
        if self._is_alone:
            return
        async with self._one_at_a_time:
            for name, server in servers.items():
                server.slots = self._slots.of(name, server.address.connections)
            await asyncio.to_thread(self._presence.keep)
            await asyncio.to_thread(self._slots.look)
            leaving = [each.close() if close else each.shrink() for each in servers.values()]
            await asyncio.shield(asyncio.gather(*leaving))  # they are counted until they are gone
            counts = {name: max(at_least, server.connection_count) for name, server in servers.items()}
            # shielded: what is ours no more must be freed
            await asyncio.shield(asyncio.to_thread(self._slots.free, self._slots.beyond(counts)))

    def end(self) -> None:
        self._presence.end()
