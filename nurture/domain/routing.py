"""Which rep of several gets the next alert: weighted, in turn, among those who are there and have room. Pure.

No state is kept for it. Each turn goes to the rep who, by weight, has been given least since all of them have shared;
so a rep who joins, or comes back, does not have to catch up with what the others were given meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nurture.domain.timing import from_local

MORNING = time(0)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A rep of a rule. `given`: alerts from it since all have shared (None: never one). `open_count`: unanswered."""

    name: str
    weight: float
    present: bool
    capacity: int | None
    open_count: int
    given: int | None

    @property
    def has_room(self) -> bool:
        return self.capacity is None or self.open_count < self.capacity


def choose(candidates: Sequence[Candidate]) -> str | None:
    """The rep's name; None without candidates. Nobody there, or without room, is better than an alert that is lost."""
    for able in (
        [each for each in candidates if each.present and each.has_room and each.weight > 0],
        [each for each in candidates if each.present and each.has_room],
        [each for each in candidates if each.present],
        candidates,
    ):
        if able:
            return min(able, key=_turn).name
    return None


def _turn(candidate: Candidate) -> tuple[bool, float, float, str]:
    share = (candidate.given or 0) / candidate.weight if candidate.weight > 0 else float("inf")
    return candidate.given is not None, share, -candidate.weight, candidate.name


@dataclass(frozen=True, kw_only=True)
class Absence:
    """Days, both included, on which a rep is away."""

    first: date
    last: date


def parse_absence(text: str) -> Absence:
    """'2026-12-24 to 2027-01-02', or one day."""
    first, _, last = text.partition(" to ")
    return Absence(first=date.fromisoformat(first.strip()), last=date.fromisoformat((last or first).strip()))


def is_away(absences: Sequence[Absence], now: datetime, zone: ZoneInfo) -> bool:
    """By the rep's own calendar."""
    today = now.astimezone(zone).date()
    return any(each.first <= today <= each.last for each in absences)


def came_back_at(absences: Sequence[Absence], now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the rep's last absence that is over ended; None without one."""
    ends = [from_local(each.last + timedelta(days=1), MORNING, zone) for each in absences]
    return max((end for end in ends if end <= now), default=None)
