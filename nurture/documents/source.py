"""Reads a file as text, within bounds: what cannot be read is a finding, never an exception."""

from __future__ import annotations

from pathlib import Path

from nurture.documents.finding import Finding

LARGEST = 1024 * 1024
"""Bytes of a file at most."""
DEEPEST = 50
"""Levels of nesting at most."""


def read_source(root: Path, file: str) -> str | Finding:
    """The text of `file` (relative to `root`), line ends as \\n and without a byte-order mark; or what is wrong."""
    path = root / file
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        return _unreadable(file, "no such file")
    except OSError as error:
        return _unreadable(file, f"cannot be read: {error.strerror or error}")
    if len(content) > LARGEST:
        return Finding(file=file, line=1, column=1, code="too-large", message="larger than 1 MiB: split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf8(file, content, error.start)
    return text.replace("\r\n", "\n")


def _unreadable(file: str, message: str) -> Finding:
    return Finding(file=file, line=1, column=1, code="unreadable", message=message)


def _not_utf8(file: str, content: bytes, start: int) -> Finding:
    before = content[:start].decode("utf-8-sig", errors="replace")
    line_start = before.rfind("\n") + 1
    return Finding(
        file=file,
        line=before.count("\n") + 1,
        column=len(before) - line_start + 1,
        code="encoding",
        message=f"byte 0x{content[start]:02X} is not UTF-8: save the file as UTF-8",
    )
