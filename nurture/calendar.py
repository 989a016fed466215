"""Which days are public holidays where a lead lives: the `holidays` library and the workspace's own days.

The domain asks through a plain function of a date; this is the only file that knows the library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache

import holidays


class Calendar:
    """National public holidays by country, worked out when first asked for and kept.

    `extra` are the workspace's own days: "2026-12-24" everywhere, "2026-12-31 DE" in one country. A lead without a
    country has the workspace's. A country that the library does not know has the extra days only.
    """

    def __init__(self, extra: Sequence[str] = (), workspace_country: str | None = None) -> None:
        self._workspace_country = workspace_country
        self._everywhere: set[date] = set()
        self._in_country: dict[str, set[date]] = {}
        for text in extra:
            day, _, country = text.partition(" ")
            days = self._in_country.setdefault(country.strip(), set()) if country else self._everywhere
            days.add(date.fromisoformat(day))
        self._askers: dict[str | None, Callable[[date], bool]] = {}

    def is_holiday(self, country: str | None) -> Callable[[date], bool]:
        """A function that says whether a date is a holiday for a lead of this country (ISO 3166-1, two letters)."""
        code = _known_code(country or self._workspace_country)
        asker = self._askers.get(code)
        if asker is None:
            asker = self._askers[code] = self._asker(code)
        return asker

    def _asker(self, code: str | None) -> Callable[[date], bool]:
        own = self._everywhere | self._in_country.get(code or "", set())
        if code is None:
            return own.__contains__
        return lambda day: day in own or day in _public_holidays(code, day.year)


@lru_cache(maxsize=4_096)
def _known_code(country: str | None) -> str | None:
    # The library looks a country up among its Python names, so what a lead's field holds is compared first.
    code = (country or "").strip().upper()
    return code if code in _supported() else None


@lru_cache(maxsize=1)
def _supported() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@lru_cache(maxsize=4_096)
def _public_holidays(code: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(code, years=year))
