"""What an import must remember of a file of any size: the addresses met, and the rows put off until its end.

On disk where they are many, in a scratch database of its own that SQLite removes by itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from nurture.inbound.csv_file import Record

_TABLES = (
    "PRAGMA synchronous=OFF",
    "CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE later (key TEXT, line INTEGER, cells TEXT, PRIMARY KEY (key, line)) WITHOUT ROWID",
)


class Scratch:
    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # "" is a temporary file
        for statement in _TABLES:
            self._database.execute(statement)
        self._any_later = False

    def close(self) -> None:
        self._database.close()

    def add(self, keys: Iterable[str]) -> set[str]:
        """Note these addresses; those that were not met before."""
        do = self._database.execute
        do("BEGIN")
        fresh = {key for key in sorted(keys) if do("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1}
        do("COMMIT")
        return fresh

    def put_off(self, rows: Iterable[tuple[str, Record]]) -> None:
        """Keep these rows, each with the key of its address, for `later`."""
        found = [(key, record.line, json.dumps(record.cells)) for key, record in rows]
        if found:
            self._any_later = True
            self._database.executemany("INSERT INTO later VALUES (?, ?, ?)", found)

    def put_off_among(self, keys: Iterable[str]) -> set[str]:
        """Those of which a row was put off."""
        if not self._any_later:
            return set()
        do = self._database.execute
        return {key for key in keys if do("SELECT 1 FROM later WHERE key = ? LIMIT 1", (key,)).fetchone()}

    def later(self, size: int) -> Iterator[Sequence[Record]]:
        """What was put off, in batches of about this size; rows of one address stand together, in the file's order."""
        rows = self._database.execute("SELECT key, line, cells FROM later ORDER BY key, line")
        batch: list[Record] = []
        for _, group in groupby(rows, key=lambda row: row[0]):
            for _, line, cells in group:
                batch.append(Record(line, json.loads(cells)))
                if len(batch) >= 10 * size:  # one address all over the file
                    yield batch
                    batch = []
            if len(batch) >= size:
                yield batch
                batch = []
        if batch:
            yield batch
