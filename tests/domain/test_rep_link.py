"""A link to a rep's own page holds for half a day; the way in never lapses, and opens nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.rep_link import LIFE, RepLink, mail_key, read_rep_link, way_in

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def test_what_is_written_is_read_again() -> None:
    for rep in ("ben", "ben-2", "a_b"):
        link = RepLink(rep=rep, made_at=NOON)
        assert read_rep_link(link.payload) == link


@pytest.mark.parametrize("payload", [None, "", "ben", "ben~", "~12", "ben~x", "ben~-1", "ben~" + "9" * 40, "ben~１２"])
def test_anything_else_is_no_link(payload: str | None) -> None:
    assert read_rep_link(payload) is None


def test_it_holds_for_twelve_hours() -> None:
    link = RepLink(rep="ben", made_at=NOON)
    assert timedelta(hours=12) == LIFE
    assert link.is_good(NOON)
    assert link.is_good(NOON + LIFE - timedelta(seconds=1))
    assert not link.is_good(NOON + LIFE)
    assert not link.is_good(NOON - timedelta(minutes=6))
    assert not way_in("ben").is_good(NOON)


def test_asking_again_is_one_mail_for_ten_minutes() -> None:
    assert mail_key("ben", NOON) == mail_key("ben", NOON + timedelta(minutes=9, seconds=59))
    assert mail_key("ben", NOON) != mail_key("ben", NOON + timedelta(minutes=10))
    assert mail_key("ben", NOON) != mail_key("chloe", NOON)
