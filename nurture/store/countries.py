"""Country names -> ISO 3166 codes, in every language that libphonenumber knows them in.

The names come with `phonenumbers` (Apache-2.0), a few short forms of everyday use are added, and three-letter codes
come with `holidays` (MIT). Loaded at the first name that is no two-letter code: the table takes a moment.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache

from nurture.domain.folding import fold

_EVERYDAY = {
    "america": "US",
    "bosnia": "BA",
    "brasil": "BR",
    "britain": "GB",
    "burma": "MM",
    "czechia": "CZ",
    "deutschland": "DE",
    "england": "GB",
    "great britain": "GB",
    "holland": "NL",
    "ivory coast": "CI",
    "korea": "KR",
    "kosovo": "XK",
    "korea republic of": "KR",
    "northern ireland": "GB",
    "republic of ireland": "IE",
    "republic of korea": "KR",
    "russian federation": "RU",
    "scotland": "GB",
    "south korea": "KR",
    "the netherlands": "NL",
    "turkiye": "TR",
    "uae": "AE",
    "uk": "GB",
    "united states of america": "US",
    "usa": "US",
    "viet nam": "VN",
    "wales": "GB",
}
_NOT_A_LETTER = re.compile(r"[\W_]+")


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """'Germany', 'Deutschland', 'DEU' or 'de' -> 'DE'; None for what is no country."""
    name = _plain(text)
    if len(name) == 2 and name.upper() in _codes():
        return name.upper()
    return _EVERYDAY.get(name) or _names().get(name)


@cache
def _codes() -> frozenset[str]:
    import phonenumbers

    # the territories of libphonenumber are the assigned ISO codes, but for a few without a telephone of their own
    unlisted = {"AQ", "BV", "GS", "HM", "PN", "TF", "UM"}
    return frozenset(phonenumbers.SUPPORTED_REGIONS) | unlisted


@cache
def _names() -> Mapping[str, str]:
    from holidays.registry import COUNTRIES
    from phonenumbers.geodata.locale import LOCALE_DATA

    names: dict[str, str] = {}
    for code, by_language in LOCALE_DATA.items():
        for name in by_language.values():
            if not name.startswith("*") and code in _codes():
                names.setdefault(_plain(name), code)
    for _, code, three, *_ in COUNTRIES.values():
        names.setdefault(three.lower(), code)
    return names


def _plain(name: str) -> str:
    """Without case, accents, dots and doubled blanks: 'Côte d’Ivoire' and 'cote d ivoire' are one."""
    bare = "".join(char for char in unicodedata.normalize("NFD", fold(name)) if not unicodedata.combining(char))
    words = bare.replace(".", "").replace("&", " and ")
    return _NOT_A_LETTER.sub(" ", words).strip()
