"""Files that go along with a mail: read and encoded once for all readers, from three folders of the workspace only."""

from __future__ import annotations

import hashlib
import threading
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from nurture.content.workspace_files import content_type, inside, is_plain_name
from nurture.domain.problem import Problem

FOLDERS = ("assets", "offers", "templates")
BYTES_LIMIT = 5 * 1024 * 1024
TOGETHER_LIMIT = 10 * 1024 * 1024
KEPT_BYTES = 32 * 1024 * 1024
"""Encoded files that are kept for the next letter."""
_NAME_LIMIT = 100
_PIECE = 40
"""Characters of an encoded name on one line."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """`part` is the whole MIME part without its boundary: headers, an empty line, base64; lines end with CRLF."""

    name: str
    content_type: str
    size: int
    digest: str
    """SHA-256 of the content."""
    part: str = field(repr=False)


def read_attachment(root: Path, name: str) -> Attachment:
    """The file at `name`, relative to the workspace. Raises Problem: one line of what is wrong with it."""
    return _kept.read(root, name)


def read_attachments(root: Path, names: Sequence[str]) -> tuple[Attachment, ...]:
    """All files of one mail. Raises Problem, also where they are too large together or two would have one name."""
    found = tuple(read_attachment(root, name) for name in names)
    together = sum(each.size for each in found)
    if together > TOGETHER_LIMIT:
        raise Problem(
            f"the attachments have {_mb(together)} together, and at most {_mb(TOGETHER_LIMIT)} go with a mail: "
            "offer some as a link"
        )
    shown = [each.name.casefold() for each in found]
    twice = next((each.name for each in found if shown.count(each.name.casefold()) > 1), None)
    if twice is not None:
        raise Problem(f"two attachments are named '{twice}': rename one, readers can't tell them apart")
    return found


def attached(name: str, kind: str, content: bytes, *, parameters: str = "") -> str:
    """A MIME part that is shown as a file (RFC 2183), its name as RFC 2231 has it. `parameters` begin with `;`."""
    encoded = encodebytes(content).decode("ascii").replace("\n", "\r\n")
    return (
        f"Content-Type: {kind}{parameters}\r\n"
        f"Content-Disposition: attachment;\r\n {_file_name(name)}\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}"
    )


def _file_name(name: str) -> str:
    if name.isascii():
        return f'filename="{name}"'
    encoded = quote(name, safe="")
    pieces: list[str] = []
    while encoded:
        cut = _PIECE
        while "%" in encoded[cut - 2 : cut]:  # not inside of %C3
            cut -= 1
        pieces.append(encoded[:cut])
        encoded = encoded[cut:]
    if len(pieces) == 1:
        return f"filename*=utf-8''{pieces[0]}"
    first = f"filename*0*=utf-8''{pieces[0]}"
    return ";\r\n ".join([first, *(f"filename*{at}*={piece}" for at, piece in enumerate(pieces[1:], start=1))])


class _Kept:
    """The files read last, each known by its path and what the disk says of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_stamp: dict[tuple[str, int, int], Attachment] = {}

    def read(self, root: Path, name: str) -> Attachment:
        path = _checked(root, name)
        with self._lock:
            try:
                status = path.stat()
                stamp = (str(path), status.st_mtime_ns, status.st_size)
                known = self._by_stamp.pop(stamp, None)
                if known is None:
                    known = _read(path, name, status.st_size)
            except OSError as error:
                raise Problem(f"attachment '{name}' can't be read: {error.strerror}") from None
            self._by_stamp[stamp] = known  # the latest last
            while sum(len(each.part) for each in self._by_stamp.values()) > KEPT_BYTES and len(self._by_stamp) > 1:
                del self._by_stamp[next(iter(self._by_stamp))]
            return known


_kept = _Kept()


def _checked(root: Path, name: str) -> Path:
    if not is_plain_name(name) or len(Path(name).name) > _NAME_LIMIT:
        raise Problem(f"attachment {name[:80]!a} has no plain name: use letters, digits, '-', '_', '.' and folders")
    if name.partition("/")[0] not in FOLDERS:
        raise Problem(f"attachment '{name}' lies elsewhere: only files of {', '.join(FOLDERS)} can be attached")
    path = inside(root, name, FOLDERS)
    if path is None:
        raise Problem(f"there is no file '{name}' to attach, or it leads out of its folder")
    return path


def _read(path: Path, name: str, size: int) -> Attachment:
    kind = content_type(name)
    if kind is None:
        raise Problem(f"attachment '{name}' is of a type that readers' mail programs refuse: use e.g. .pdf")
    if size > BYTES_LIMIT:
        raise Problem(f"attachment '{name}' has {_mb(size)}, and at most {_mb(BYTES_LIMIT)} can be attached")
    content = path.read_bytes()[: BYTES_LIMIT + 1]
    if not content:
        raise Problem(f"attachment '{name}' is empty")
    shown = Path(name).name
    return Attachment(
        name=shown,
        content_type=kind,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        part=attached(shown, kind, content, parameters=_charset(kind, content)),
    )


def _charset(kind: str, content: bytes) -> str:
    """Said of text that is UTF-8; what other text is written in, nobody knows."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "; charset=utf-8" if kind.startswith("text/") else ""


def _mb(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MB"
