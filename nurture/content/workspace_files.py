"""Files of a workspace that go out to readers: named inside a few folders, and never by a way out of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

# a segment begins with a letter or a digit: so no "..", nothing hidden, no option of a command
_NAME = re.compile(r"[^\W_][\w. ,+()&-]{0,100}(?:/[^\W_][\w. ,+()&-]{0,100}){0,5}\Z")
CONTENT_TYPES = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
    ".ics": "text/calendar",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".vcf": "text/vcard",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".zip": "application/zip",
}
"""The types that are given out. One list for every machine: what the system's tables say differs from host to host."""


def content_type(name: str) -> str | None:
    """By the ending; None for one that is not given out."""
    return CONTENT_TYPES.get(Path(name).suffix.lower())


def is_plain_name(name: str) -> bool:
    """Whether it is a relative path of letters, digits and a few signs, with no segment that is hidden or `..`."""
    return _NAME.match(name) is not None and ".." not in name and not name.endswith((" ", "."))


def inside(root: Path, name: str, folders: Collection[str]) -> Path | None:
    """The file of this name (relative to `root`) where it lies in one of the folders, links followed; else None."""
    if not is_plain_name(name) or name.partition("/")[0] not in folders:
        return None
    try:
        path = (root / name).resolve()
        base = (root / name.partition("/")[0]).resolve()
        is_there = path.is_file()
    except (OSError, RuntimeError):  # too long a name, a circle of links
        return None
    return path if is_there and path.is_relative_to(base) and base.parent == root.resolve() else None
