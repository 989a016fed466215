"""What a simulation assumes of readers: who opens, clicks, replies, leaves or can't be reached, and when.

The rates are plain, and the same for every mail: they know nothing of a subject or an offer. What happens is drawn from
the seed, the address and the step alone, so the same seed plays the same weeks on any machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from nurture.domain.timing import from_local

HOUR = timedelta(hours=1)
WAKES, SLEEPS = time(7), time(22)
"""Nobody reads between these hours of the night; what came then is read in the first hours of the morning."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of 0 to 1. `opens` and `clicks` are those of the average reader: each has an interest of its own."""

    dead: float = 0.005
    """Of addresses: the next hop refuses them for good."""
    opens: float = 0.40
    """Of mails."""
    clicks: float = 0.10
    """Of opened mails that have a link."""
    visits: float = 0.60
    """Of clicks: the website tells of the page that was seen."""
    demos: float = 0.03
    """Of clicks: a demo is requested within the hour."""
    replies: float = 0.005
    """Of opened mails."""
    leaves: float = 0.003
    """Of opened mails: unsubscribed."""
    complains: float = 0.0002
    """Of mails."""


RATES = Rates()
OPENED_AFTER = timedelta(hours=4)
"""On average (an exponential distribution); a click follows within the hour."""


class Deed(StrEnum):
    """What a reader does."""

    OPEN = "open"
    CLICK = "click"
    VISIT = "visit"
    DEMO = "demo"
    REPLY = "reply"
    LEAVE = "leave"
    COMPLAIN = "complain"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail that arrived, as its reader has it. `links` are the destinations of its tracked links."""

    message_id: int
    address: str
    cadence: str
    step: str
    visit: int
    sent_at: datetime
    zone: ZoneInfo
    links: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that the reader of a mail does at a moment. `link` is the number of the link that is followed."""

    at: datetime
    deed: Deed
    message_id: int
    link: int = 0
    path: str = ""


class Readers(Protocol):
    """Whoever gets the mail of a simulation."""

    def is_dead(self, address: str) -> bool:
        """Whether the next hop refuses this address for good."""

    def acts(self, mail: Mail) -> Iterator[Act]:
        """What comes of this mail, later than it arrived."""


class AverageReaders:
    """Readers by these rates, drawn by `seed`."""

    def __init__(self, seed: str, rates: Rates = RATES) -> None:
        self._seed = seed
        self._rates = rates

    def is_dead(self, address: str) -> bool:
        return self._chance(f"dead:{address}").random() < self._rates.dead

    def acts(self, mail: Mail) -> Iterator[Act]:
        """Everything happens on a whole hour: a finer time tells nothing more, and a coarser clock is faster."""
        rates, interest = self._rates, self._interest(mail.address)
        rng = self._chance(f"{mail.address}:{mail.cadence}/{mail.step}:{mail.visit}")
        if rng.random() < rates.complains:
            yield self._act(mail, Deed.COMPLAIN, _read_at(mail, rng))
            return
        if rng.random() >= min(0.95, rates.opens * interest):
            return
        at = _read_at(mail, rng)
        yield self._act(mail, Deed.OPEN, at)
        if rng.random() < rates.leaves:
            yield self._act(mail, Deed.LEAVE, at)
            return
        if mail.links and rng.random() < min(0.95, rates.clicks * interest):
            yield from self._click(mail, at, rng)
        if rng.random() < rates.replies:
            yield self._act(mail, Deed.REPLY, at + HOUR * rng.randrange(1, 4))

    def _click(self, mail: Mail, at: datetime, rng: random.Random) -> Iterator[Act]:
        """The first link is followed most; the third one a third as often."""
        numbers = range(len(mail.links))
        (link,) = rng.choices(numbers, weights=[1 / (1 + number) for number in numbers])
        yield self._act(mail, Deed.CLICK, at, link=link)
        if rng.random() < self._rates.visits:
            yield self._act(mail, Deed.VISIT, at, path=urlsplit(mail.links[link]).path or "/")
        if rng.random() < self._rates.demos:
            yield self._act(mail, Deed.DEMO, at + HOUR)

    def _interest(self, address: str) -> float:
        """0 to 2, on average 1: who reads one mail is likely to read the next."""
        return 2 * self._chance(f"interest:{address}").betavariate(2, 2)

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._seed}:{what}")

    @staticmethod
    def _act(mail: Mail, deed: Deed, at: datetime, *, link: int = 0, path: str = "") -> Act:
        return Act(at=at, deed=deed, message_id=mail.message_id, link=link, path=path)


def next_hour(moment: datetime) -> datetime:
    """The first whole hour after the moment."""
    return _EPOCH + ((moment - _EPOCH) // HOUR + 1) * HOUR


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _read_at(mail: Mail, rng: random.Random) -> datetime:
    """When this mail is read: some hours after it came, by day."""
    at = mail.sent_at + OPENED_AFTER * rng.expovariate(1)
    local = at.astimezone(mail.zone)
    if not WAKES <= local.time() < SLEEPS:
        day = local.date() + timedelta(days=1 if local.time() >= SLEEPS else 0)
        at = from_local(day, WAKES, mail.zone) + timedelta(hours=2) * rng.random()
    return next_hour(at)
