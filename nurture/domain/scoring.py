"""Points: how engagement adds up and fades, what a weekly bound leaves of it, and what fit is worth. Pure.

An event of w points at time t is worth w·2^(−(now−t)/half-life) now. Kept as ln Σ w·e^{λ(t−epoch)}, one sum for gains
and one for losses, so that an event costs O(1), the order of events does not matter, and time passing touches no row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from nurture.domain.lifecycle import AtMost, PointsRule

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
FIT_LEAST, FIT_MOST = 0.0, 40.0
SAME = 1e-9
"""Points that differ by less are the same: only rounding lies between."""

Grade = Literal["A", "B", "C", "D", "unknown"]
_GRADES: tuple[tuple[float, Grade], ...] = ((30, "A"), (20, "B"), (10, "C"))


# --- engagement fades


def decay_exponent(half_life: timedelta, at: datetime) -> float:
    """λ(at − EPOCH), λ being ln 2 over the half-life: what a point at that moment weighs, as a logarithm."""
    return math.log(2) * ((at - EPOCH) / half_life)


def add_points(log_sum: float | None, points: float, at: datetime, half_life: timedelta) -> float | None:
    """ln(e^log_sum + points·e^{λ(at−EPOCH)}); `points` is not negative, and none change nothing. None: nothing yet."""
    if points <= 0:
        return log_sum
    added = math.log(points) + decay_exponent(half_life, at)
    if log_sum is None:
        return added
    larger, smaller = max(log_sum, added), min(log_sum, added)
    return larger + math.log1p(math.exp(smaller - larger))


def sums_of(lines: Iterable[tuple[datetime, float]], half_life: timedelta) -> tuple[float | None, float | None]:
    """(gains, losses) from scratch, of all of a lead's lines: the same as adding them one by one, in any order."""
    gains: float | None = None
    losses: float | None = None
    for at, points in lines:
        gains = add_points(gains, points, at, half_life)
        losses = add_points(losses, -points, at, half_life)
    return gains, losses


def engagement_at(
    gains: float | None, losses: float | None, now: datetime, *, half_life: timedelta, cap: float
) -> float:
    """Engagement points at that moment: gains less losses, faded, never below 0 nor above the cap."""
    exponent = decay_exponent(half_life, now)
    faded = _worth(gains, exponent) - _worth(losses, exponent)
    return min(cap, max(0.0, faded))


def _worth(log_sum: float | None, exponent: float) -> float:
    return 0.0 if log_sum is None else math.exp(min(log_sum - exponent, 700.0))  # e^700: far above any cap, below inf


def hot_until(
    line: float,
    *,
    fit_points: float,
    gains: float | None,
    losses: float | None,
    half_life: timedelta,
    cap: float,
) -> datetime | None:
    """The moment until which fit and engagement together reach `line`, if nothing more happens.

    Gains and losses fade alike, so their difference is one exponential, and the moment has a closed form. None: never,
    by these sums; `datetime.max` (UTC): always, fit alone being enough.
    """
    needed = line - fit_points
    if needed <= 0:
        return datetime.max.replace(tzinfo=UTC)
    if needed > cap or gains is None:
        return None
    less = 0.0 if losses is None else math.exp(min(losses - gains, 0.0))
    if less >= 1.0:
        return None
    exponent = gains + math.log1p(-less) - math.log(needed)
    return EPOCH + half_life * (exponent / math.log(2))


# --- what an event is worth


def matches(rule: PointsRule, kind: str, path: str | None) -> bool:
    """Whether an event of this kind, on this path, is one that the rule gives points for."""
    if rule.event != kind:
        return False
    return rule.path is None or (path is not None and _glob(rule.path).fullmatch(path) is not None)


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in pattern), re.DOTALL)


def rule_names(rules: Sequence[PointsRule]) -> list[str]:
    """The name of each rule in the ledger; a second rule for the same event and path is told apart by its number."""
    names: list[str] = []
    for rule in rules:
        same = sum(rule.name == other.name for other in rules[: len(names)])
        names.append(f"{rule.name} ({same + 1})" if same else rule.name)
    return names


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An event that a rule gives points for. `booked`: what the ledger has for it so far (None: no line yet)."""

    event_id: int
    at: datetime
    booked: float | None
    counts: bool = True
    """A person caused it; one that no longer counts is worth nothing."""


def worth_of(rule: PointsRule, events: Sequence[Scored], *, since: tuple[datetime, int]) -> dict[int, float]:
    """Event id -> what it is worth, for each event from `since` (time, id) on; earlier ones stand as they are booked.

    With `at_most`, the stretch before each event is looked at in the order of the events' times: the event that crosses
    the bound gets the rest, those after it nothing, until earlier ones have left the stretch.
    """
    worth: dict[int, float] = {}
    known: list[tuple[datetime, float]] = []
    for event in sorted(events, key=lambda each: (each.at, each.event_id)):
        if (event.at, event.event_id) < since:
            points = event.booked or 0.0
        else:
            points = _bounded(rule, event.at, known) if event.counts else 0.0
            worth[event.event_id] = points
        if points:
            known.append((event.at, points))
    return worth


def _bounded(rule: PointsRule, at: datetime, known: Sequence[tuple[datetime, float]]) -> float:
    if rule.at_most is None:
        return rule.points
    used = sum(abs(points) for earlier, points in known if earlier > at - rule.at_most.within)
    return math.copysign(min(abs(rule.points), max(0.0, rule.at_most.points - used)), rule.points)


def say_bound(bound: AtMost) -> str:
    """'at most 60 per week'."""
    days = bound.within / timedelta(days=1)
    unit = {1: "day", 7: "week", 30: "month"}.get(int(days), f"{days:g} days")
    return f"at most {bound.points:g} per {unit}"


# --- fit


def grade(fit_points: float, known: bool) -> Grade:
    """A from 30, B from 20, C from 10, else D; unknown, not D, while no field that the rules name is known."""
    if not known:
        return "unknown"
    return next((letter for least, letter in _GRADES if fit_points >= least), "D")


def bounded_fit(points: Mapping[str, float]) -> tuple[float, float]:
    """(fit, what the bounds 0 and 40 add to the sum of these rules' points to get there)."""
    total = sum(points.values())
    fit = min(FIT_MOST, max(FIT_LEAST, total))
    return fit, fit - total
