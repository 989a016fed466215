"""The nearest right name to a wrong one, as every message about an unknown name ends."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED_AT_MOST = 12


def suggest(wrong: str, choices: Iterable[str], *, none: str = "there is none yet") -> str:
    """ ": did you mean 'segment'?" or ": use one of a, b, c"; `none` says what holds where there are no choices."""
    known = sorted(set(choices))
    if not known:
        return f": {none}"
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f": did you mean '{by_lower[close[0]]}'?"
    if len(known) > _LISTED_AT_MOST:
        return f": use one of {', '.join(known[:_LISTED_AT_MOST])} …"
    return f": use one of {', '.join(known)}"
