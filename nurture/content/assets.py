"""Files of `assets/` for mails: an address names the content, so that a changed file has another one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from nurture.content.problems import RenderProblem
from nurture.content.workspace_files import content_type, inside

FOLDER = "assets"
BYTES_LIMIT = 10 * 1024 * 1024
LOOKED_AT_S = 1.0
"""A file is looked at again after so long: asking the disk for each letter costs as much as the letter."""
KNOWN_AT_MOST = 2_000
_DIGEST_LENGTH = 20


class Assets:
    """The assets of one workspace. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, tuple[int, int], str]] = {}

    def path_of(self, name: str) -> str:
        """`/s/HASH/NAME`. Raises RenderProblem: no such file, or none that is given out."""
        return f"/s/{self.digest(name)}/{quote(name)}"

    def digest(self, name: str) -> str:
        """The hash of the content as it is now. Raises RenderProblem."""
        with self._lock:
            known = self._known.get(name)
            now = monotonic()
            if known is not None and now - known[0] < LOOKED_AT_S:
                return known[2]
            path = self._file(name)
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            digest = known[2] if known is not None and known[1] == stamp else _digest(path, name, status.st_size)
            if len(self._known) >= KNOWN_AT_MOST:
                self._known.clear()
            self._known[name] = (now, stamp, digest)
            return digest

    def find(self, digest: str, name: str) -> Path | None:
        """The file behind an address; None where it is gone, or is another one by now."""
        try:
            return self._file(name) if self.digest(name) == digest else None
        except (RenderProblem, OSError):
            return None

    def _file(self, name: str) -> Path:
        path = inside(self._root, f"{FOLDER}/{name}", (FOLDER,))
        if path is None or content_type(name) is None:
            raise RenderProblem(f'there is no picture or file "{name[:80]}" in {FOLDER}/')
        return path


class AssetFunction:
    """`asset("hero.png")` in a template: one of the two functions it may call."""

    callable_from_templates = True

    def __init__(self, address: Callable[[str], str]) -> None:
        self._address = address

    def __call__(self, name: object) -> str:
        if not isinstance(name, str):
            raise RenderProblem('asset takes the name of a file in assets/, like asset("hero.png")')
        return self._address(name)


def _digest(path: Path, name: str, size: int) -> str:
    if size > BYTES_LIMIT:
        raise RenderProblem(f'"{name}" in {FOLDER}/ is larger than {BYTES_LIMIT // 1024 // 1024} MB')
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGEST_LENGTH]
    except OSError as error:
        raise RenderProblem(f'"{name}" in {FOLDER}/ can\'t be read: {error.strerror}') from None
