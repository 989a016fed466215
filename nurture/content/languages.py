"""Which language serves a reader: of those that are there, the nearest to the one that is asked for."""

from __future__ import annotations

import re
from collections.abc import Collection

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,4}\Z")


def nearest_language(asked: str | None, there: Collection[str]) -> str | None:
    """Of `there` (spelled as it is there) what serves a reader of `asked`; None where nothing does.

    `de-AT` is served by `de-AT`, else `de`, else another region's, the first by name; in any case, with `-` or `_`.
    """
    if not asked or not there or not _LANGUAGE.match(asked):
        return None
    spelled = {tag_of(each): each for each in sorted(there, reverse=True)}
    parts = tag_of(asked).split("-")
    exact = ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]
    regions = [tag for tag in sorted(spelled) if tag.startswith(f"{parts[0]}-")]
    return next((spelled[tag] for tag in (*exact, *regions) if tag in spelled), None)


def tag_of(language: str) -> str:
    return language.lower().replace("_", "-")


def language_of(file: str) -> str:
    """The language in a template's file name: `de` of `letter.de.mjml`, "" of `letter.mjml`."""
    return file.rpartition("/")[2].removesuffix(".mjml").partition(".")[2]
