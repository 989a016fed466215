"""Country names -> ISO 3166 codes, in the languages that lists are written in.

`country_names.csv` holds a line a country: its two letters, its three where known, and its names. They come from the
locale data of libphonenumber (Apache-2.0) and the registry of `holidays` (MIT), with short forms of everyday use.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

from nurture.domain.folding import fold

_NOT_A_LETTER = re.compile(r"[\W_]+")


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """'Germany', 'Deutschland', 'DEU' or 'de' -> 'DE'; None for what is no country."""
    return _codes().get(_plain(text))


@cache
def _codes() -> Mapping[str, str]:
    table = files("nurture.store").joinpath("country_names.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(table.splitlines()))
    codes: dict[str, str] = {}
    for place in (slice(2), slice(2, None)):  # codes first: no name may take one
        for row in rows:
            for name in filter(None, row[place]):
                codes.setdefault(_plain(name), row[0])
    return codes


def _plain(name: str) -> str:
    """Without case, accents, dots and doubled blanks: 'Côte d’Ivoire' and 'cote d ivoire' are one."""
    bare = "".join(char for char in unicodedata.normalize("NFD", fold(name)) if not unicodedata.combining(char))
    words = bare.replace(".", "").replace("&", " and ")
    return _NOT_A_LETTER.sub(" ", words).strip()
