"""What the files may say and this version does not do: an error where it would change what leads get.

One table a place; an entry goes when its capability comes. A key at its default value asks for nothing, and passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding

LIFECYCLE_KEYS: Mapping[str, Any] = {"cold": None, "personas": None}
FORM_KEYS: Mapping[str, Any] = {"embed": False, "variants": None}
OFFER_KEYS: Mapping[str, Any] = {"codes": None}


def unready_keys(document: Document, path: Path, keys: Mapping[str, Any]) -> Iterator[Finding]:
    """Keys of the mapping at `path` that are set to something else than their default."""
    held = document.data
    for part in path:
        held = held[part]
    if not isinstance(held, dict):
        return
    for key, default in keys.items():
        if key in held and held[key] != default:
            yield _finding(document, (*path, key), f"'{key}'")


def _finding(document: Document, path: Path, what: str) -> Finding:
    return document.finding(document.key_at(path), "not-yet", f"{what}: this version of nurture does not run it")
