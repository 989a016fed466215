"""Turns go by weight, to those who are there and have room, and nobody has to catch up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from nurture.domain.routing import Candidate, came_back_at, choose, is_away, parse_absence

BERLIN = ZoneInfo("Europe/Berlin")


def rep(name: str, **changes: object) -> Candidate:
    whole: dict[str, object] = {"weight": 1, "present": True, "capacity": None, "open_count": 0, "given": 0}
    return Candidate(name=name, **(whole | changes))  # type: ignore[arg-type]  # a test's shorthand


def test_turns_keep_to_the_weights() -> None:
    given: Counter[str] = Counter()
    weights = {"ben": 1.0, "chloe": 2.0}
    for turn in range(300):
        name = choose([rep(each, weight=weight, given=given[each]) for each, weight in weights.items()])
        assert name is not None
        given[name] += 1
        assert abs(given["chloe"] - 2 * (turn + 1) / 3) <= 1
    assert given == {"ben": 100, "chloe": 200}


def test_who_never_had_one_comes_first() -> None:
    assert choose([rep("ben", given=3), rep("dana", given=None)]) == "dana"


def test_who_is_away_or_full_is_passed_over() -> None:
    assert choose([rep("ben", present=False), rep("chloe", given=9)]) == "chloe"
    assert choose([rep("ben", capacity=2, open_count=2), rep("chloe", given=9, capacity=9)]) == "chloe"
    assert choose([rep("ben", weight=0), rep("chloe", given=9)]) == "chloe"


def test_nobody_able_is_better_than_nobody_told() -> None:
    full = {"capacity": 1, "open_count": 1}
    assert choose([rep("ben", present=False), rep("chloe", given=9, **full)]) == "chloe"
    assert choose([rep("ben", present=False)]) == "ben"
    assert choose([]) is None


def test_an_absence_is_a_stretch_of_the_reps_own_days() -> None:
    absences = [parse_absence("2026-12-24 to 2027-01-02"), parse_absence("2026-11-05")]
    assert is_away(absences, datetime(2026, 12, 23, 23, 30, tzinfo=UTC), BERLIN)  # already the 24th in Berlin
    assert not is_away(absences, datetime(2026, 12, 23, 22, 30, tzinfo=UTC), BERLIN)
    assert is_away(absences, datetime(2026, 11, 5, 12, tzinfo=UTC), BERLIN)
    assert came_back_at(absences, datetime(2026, 11, 9, tzinfo=UTC), BERLIN) == datetime(2026, 11, 5, 23, tzinfo=UTC)
    assert came_back_at(absences, datetime(2026, 11, 1, tzinfo=UTC), BERLIN) is None
