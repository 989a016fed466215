"""Starts the SMTP receiver process and reads what it recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RECEIVER = Path(__file__).parent / "smtp_receiver.py"


@dataclass(frozen=True)
class Receiving:
    port: int
    folder: Path
    orders: IO[str]

    def told(self, *order: object) -> None:
        """One order, for a receiver that is `--steered`."""
        self.orders.write(" ".join(map(str, order)) + "\n")
        self.orders.flush()

    def received(self) -> list[dict[str, object]]:
        """What the receiver synced to disk, in order."""
        log = self.folder / "received.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def messages(self) -> list[bytes]:
        """Whole messages, with `--keep`."""
        paths = sorted(self.folder.glob("*.eml"), key=lambda path: int(path.stem))
        return [path.read_bytes() for path in paths]


@contextmanager
def receiving(folder: Path, *options: str) -> Iterator[Receiving]:
    """A receiver process for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, str(RECEIVER), "--folder", str(folder), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        yield Receiving(port=int(process.stdout.readline()), folder=folder, orders=process.stdin)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
