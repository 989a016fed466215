"""When mail to a recipient domain waits, for how long, and when a domain that is not found is believed to be gone."""

from __future__ import annotations

from datetime import datetime, timedelta

ANY_SENDER = ""

JUDGED_BY = timedelta(hours=1)
"""What a domain is judged by (spec 6.2)."""
MOST_HARD, FEWEST_HARD = 0.10, 20

FIRST_PAUSE = timedelta(hours=1)
LONGEST_PAUSE = timedelta(hours=24)
HELD_AT_MOST = timedelta(days=7)
"""So long after a domain's first refusal its pauses hold back the moment at which a message is given up."""
TRUSTED_FOR = timedelta(days=1)
"""So long a domain is not judged once a person has said that it is well."""

GONE_AFTER = timedelta(hours=72)
GONE_FAILURES = 3
FORGOTTEN_AFTER = timedelta(days=7)
"""A domain that was not asked for so long begins anew: what was between is not known."""


def is_ill(*, replies: int, hard: int) -> bool:
    """Whether so many hard replies say more about the domain than about its readers."""
    return hard >= FEWEST_HARD and hard > MOST_HARD * replies


def pause_length(times: int) -> timedelta:
    """The `times`-th pause in a row, from 1: each is twice as long as the one before, up to a day."""
    length: timedelta = min(FIRST_PAUSE * 2 ** min(times - 1, 10), LONGEST_PAUSE)
    return length


def tried_at_once(sender: str) -> int:
    """How many messages try a domain when a pause is over. Of an ill domain's readers some may really be gone."""
    return 5 if sender == ANY_SENDER else 1


def give_up_moved(give_up_at: datetime, *, due_at: datetime, until: datetime, since: datetime) -> datetime:
    """When a message is given up that a pause holds from `due_at` until `until`, in a series of them from `since` on.

    A pause is no time in which sending failed, but a domain that refuses for a week does not keep its mail for ever.
    """
    return max(give_up_at, min(give_up_at + (until - due_at), since + HELD_AT_MOST))


def is_gone(*, since: datetime, failures: int, now: datetime) -> bool:
    """Whether a domain that was not found `failures` times since then, now included, is believed to be gone."""
    return failures >= GONE_FAILURES and now - since >= GONE_AFTER
