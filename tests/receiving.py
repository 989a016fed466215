"""Starts the SMTP receiver process and reads what it recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RECEIVER = Path(__file__).parent / "smtp_receiver.py"


@dataclass(frozen=True)
class Receiving:
    port: int
    folder: Path

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
        [sys.executable, str(RECEIVER), "--folder", str(folder), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Receiving(port=int(process.stdout.readline()), folder=folder)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
