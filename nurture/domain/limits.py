"""How much may go out, and how fast: pacing, a day's allowance, and when a sender's reputation is at stake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import floor, log

REPUTATION_OVER = timedelta(days=7)
"""What a sender is judged by."""
BEYOND_ANY_LIMIT = log(1e12)
"""Of what a warm-up allows, as a logarithm: from here on it is over."""
ENOUGH_SENDS = 50
MOST_BOUNCED, FEWEST_BOUNCES = 0.05, 10
MOST_COMPLAINED, FEWEST_COMPLAINTS = 0.003, 3
WARN_BOUNCED, WARN_COMPLAINED = 0.02, 0.001


def free_after(last: datetime, *, rate: float) -> datetime:
    """When the next message may start after one at `last`."""
    return last + timedelta(seconds=1 / rate)


def allowance(*, daily: int | None, start: int | None, growth: float, day: int) -> int | None:
    """What a sender may send on a day: its warm-up on day 0, 1, … of its life, and no more than `daily`.

    None: any number. The ramp is `start` times `growth` for each day, rounded down.
    """
    warm = None
    if start is not None and day * log(growth) + log(start) < BEYOND_ANY_LIMIT:
        warm = floor(start * growth**day)
    both = [each for each in (daily, warm) if each is not None]
    return min(both) if both else None


class Reputation(StrEnum):
    """How a sender stands."""

    GOOD = "good"
    WARNED = "warned"
    SPENT = "spent"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What came of a sender's mail: accepted messages, hard bounces and complaints."""

    sends: int
    bounces: int
    complaints: int

    @property
    def reputation(self) -> Reputation:
        """Spent: nothing more may go out until a person has looked at it (spec 6.3)."""
        if self.sends < ENOUGH_SENDS:
            return Reputation.GOOD
        bounced, complained = self.bounces / self.sends, self.complaints / self.sends
        if bounced >= MOST_BOUNCED and self.bounces >= FEWEST_BOUNCES:
            return Reputation.SPENT
        if complained >= MOST_COMPLAINED and self.complaints >= FEWEST_COMPLAINTS:
            return Reputation.SPENT
        warned = bounced >= WARN_BOUNCED or complained >= WARN_COMPLAINED
        return Reputation.WARNED if warned else Reputation.GOOD

    def __str__(self) -> str:
        return f"{self.bounces} hard bounces and {self.complaints} complaints of {self.sends} mails in 7 days"
