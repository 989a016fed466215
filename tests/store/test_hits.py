"""Hits become events with verdicts; a later sign revises what was said before, by new rows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from nurture.domain.event import Verdict
from nurture.domain.verdict import HitKind
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.hits import HONEYPOT_INDEX, RawHit, Recorded, record_hits

SENT_AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
URLS = ["https://acme.example/cases", "https://acme.example/roi", "https://acme.example/pricing"]
EMPTY_LEAD: dict[str, Any] = {"custom": {}, "readings": {}, "created_at": SENT_AT, "fit_points": 0.0}


def a_letter(connection: Connection, **changes: Any) -> int:
    """A lead and the letter it got, with three links."""
    lead_id = connection.execute(
        insert(t.lead)
        .values(email="zoe@example.com", email_key="zoe@example.com", email_domain="example.com", **EMPTY_LEAD)
        .returning(t.lead.c.id)
    ).scalar_one()
    connection.execute(insert(t.link_set).values(digest="three", urls=URLS))
    row = {
        "intent_key": "step:1:case:1",
        "kind": "step",
        "lead_id": lead_id,
        "enrollment_id": 1,
        "cadence": "mofu",
        "step": "case",
        "to_address": "zoe@example.com",
        "recipient_domain": "example.com",
        "sender": "anna",
        "payload": {},
        "status": "sent",
        "created_at": SENT_AT,
        "not_before": SENT_AT,
        "sent_at": SENT_AT,
        "link_set": "three",
        "attempt": 1,
        "lease_epoch": 1,
        "visit": 1,
    }
    return connection.execute(insert(t.message).values(**(row | changes)).returning(t.message.c.id)).scalar_one()


def a_click(message_id: int, link: int = 0, *, seconds: float = 0, **changes: Any) -> RawHit:
    hit = RawHit(
        kind=HitKind.CLICK,
        method="GET",
        at=NOON + timedelta(seconds=seconds),
        message_id=message_id,
        mode="always",
        link_index=link,
        user_agent=FIREFOX,
        network_address="192.0.2.7",
    )
    return replace(hit, **changes)


def record(database: Database, *hits: RawHit) -> list[Recorded]:
    with database.transaction() as connection:
        return record_hits(connection, hits, now=hits[-1].at)


def events(database: Database) -> Sequence[Any]:
    with database.reading() as connection:
        return connection.execute(select(t.event).order_by(t.event.c.id)).all()


def changes(database: Database) -> list[tuple[int, str, str, str]]:
    c = t.verdict_change.c
    with database.reading() as connection:
        rows = connection.execute(select(c.event_id, c.before, c.after, c.reason, c.reacted_at).order_by(c.id)).all()
    assert all(row.reacted_at is None for row in rows)
    return [(row.event_id, row.before, row.after, row.reason) for row in rows]


def count_hits(database: Database) -> int:
    with database.reading() as connection:
        return len(connection.execute(select(t.hit.c.id)).all())


@pytest.fixture
def letter(database: Database) -> int:
    with database.transaction() as connection:
        return a_letter(connection)


def test_a_persons_click_is_an_event_that_names_everything(database: Database, letter: int) -> None:
    recorded = record(database, a_click(letter, 1))[0]

    assert recorded.destination == URLS[1]
    (event,) = events(database)
    assert (event.kind, event.verdict, event.verdict_reason) == ("clicked", "human", "browser")
    assert (event.message_id, event.enrollment_id, event.cadence, event.step) == (letter, 1, "mofu", "case")
    assert (event.link, event.at, event.reacted_at) == (URLS[1], NOON, None)


def test_every_hit_is_kept_but_a_double_click_is_one_event(database: Database, letter: int) -> None:
    first, second = record(database, a_click(letter), a_click(letter, seconds=0.4))
    record(database, a_click(letter, seconds=2))

    assert first.event_id == second.event_id
    assert (count_hits(database), len(events(database))) == (3, 2)


def test_a_head_in_the_same_second_does_not_swallow_the_persons_click(database: Database, letter: int) -> None:
    record(database, a_click(letter, method="HEAD"), a_click(letter))
    assert [event.verdict for event in events(database)] == ["machine", "human"]


def test_three_links_in_two_seconds_revise_the_first_two(database: Database, letter: int) -> None:
    verdicts = [record(database, a_click(letter, link, seconds=link))[0].verdict for link in range(3)]

    # each was judged alone first, in its own request
    assert verdicts == [Verdict.HUMAN] * 3
    assert [event.verdict for event in events(database)] == ["machine"] * 3
    assert [event.verdict_reason for event in events(database)] == ["burst"] * 3
    ids = [event.id for event in events(database)]
    assert changes(database) == [(id_, "human", "machine", "burst") for id_ in ids]

    record(database, a_click(letter, 0, seconds=3))
    assert len(changes(database)) == 4  # the fourth belongs to the burst; the three before are not revised again


def test_a_burst_in_one_group_is_seen_as_well(database: Database, letter: int) -> None:
    record(database, *(a_click(letter, link) for link in range(3)))
    assert [event.verdict for event in events(database)] == ["machine"] * 3


def test_a_burst_over_two_connections_at_once_is_seen(database: Database, letter: int) -> None:
    third = threading.Thread(target=lambda: record(database, a_click(letter, 2)))
    with database.transaction() as connection:
        record_hits(connection, [a_click(letter, 0), a_click(letter, 1)], now=NOON)
        third.start()
        third.join(
            0.3
        )  # it waits for this transaction; without the lock it would be through by now, having seen nobody
    third.join(20)
    assert [event.verdict for event in events(database)] == ["machine"] * 3


def test_the_bait_gives_away_what_its_taker_did_before_and_after(database: Database, letter: int) -> None:
    person = a_click(letter, 0, network_address="198.51.100.4", user_agent=FIREFOX.replace("131", "130"))
    record(database, replace(person, at=NOON - timedelta(seconds=30)))
    record(database, a_click(letter, 0, seconds=-20))
    bait = record(database, a_click(letter, HONEYPOT_INDEX))[0]
    record(database, a_click(letter, 1, seconds=60))

    assert bait.destination is None
    assert [event.verdict for event in events(database)] == ["human", "machine", "machine", "machine"]
    assert [reason for *_, reason in changes(database)] == ["honeypot_visitor"] * 2


def test_hits_before_the_next_hop_answered_are_a_machines(database: Database) -> None:
    with database.transaction() as connection:
        letter = a_letter(connection, status="sending", sent_at=None, dotted_at=NOON - timedelta(minutes=1))
    record(database, a_click(letter))
    assert events(database)[0].verdict_reason == "too_soon"


def test_hits_within_seconds_of_the_acceptance_are_a_machines(database: Database) -> None:
    with database.transaction() as connection:
        letter = a_letter(connection, sent_at=NOON - timedelta(seconds=4))
    record(database, a_click(letter), a_click(letter, seconds=30))
    assert [event.verdict for event in events(database)] == ["machine", "human"]


def test_a_message_whose_outcome_is_unknown_counts_from_its_dot(database: Database) -> None:
    with database.transaction() as connection:
        letter = a_letter(connection, status="unknown", sent_at=None, dotted_at=SENT_AT)
    record(database, a_click(letter))
    assert events(database)[0].verdict == "human"


def test_what_was_never_made_leads_nowhere_and_leaves_nothing(database: Database, letter: int) -> None:
    recorded = record(database, a_click(letter, 3), a_click(letter + 1), a_click(letter, -2))
    assert recorded == [Recorded()] * 3
    assert (count_hits(database), events(database)) == (0, [])


def test_mail_to_a_rep_tells_nothing_about_the_lead(database: Database) -> None:
    with database.transaction() as connection:
        letter = a_letter(connection, kind="alert")
    assert record(database, a_click(letter))[0].destination == URLS[0]
    assert (count_hits(database), events(database)) == (1, [])


@pytest.mark.parametrize(
    ("mode", "says", "kept"),
    [
        ("never", True, (0, 0)),
        ("consent", None, (0, 0)),
        ("consent", False, (0, 0)),
        ("consent", True, (1, 1)),
        ("hygiene", None, (1, 0)),
        ("hygiene", True, (1, 1)),
    ],
)
def test_tracking_follows_what_the_lead_said_last(
    database: Database, letter: int, mode: Any, says: bool | None, kept: tuple[int, int]
) -> None:
    words = [] if says is None else [not says, says]
    with database.transaction() as connection:
        lead_id = connection.scalar(select(t.message.c.lead_id))
        for hour, granted in enumerate(words):
            row = {
                "lead_id": lead_id,
                "kind": "tracking",
                "granted": granted,
                "topics": [],
                "text": "",
                "source": "form",
            }
            at = SENT_AT + timedelta(hours=hour)
            connection.execute(insert(t.consent).values(at=at, basis="express", **row))

    assert record(database, a_click(letter, mode=mode))[0].destination == URLS[0]  # the reader gets there in any case
    assert (count_hits(database), len(events(database))) == kept


def test_a_download_is_news_of_the_lead_who_was_offered_it(database: Database, letter: int) -> None:
    with database.reading() as connection:
        lead_id = connection.scalar(select(t.lead.c.id))
    download = a_click(letter, kind=HitKind.DOWNLOAD, link_index=None, offer="guide", lead_id=lead_id)
    record(database, download)
    record(database, replace(download, message_id=None, at=NOON + timedelta(hours=1)))
    record(database, replace(download, lead_id=lead_id + 1))

    assert [(event.kind, event.props, event.message_id) for event in events(database)] == [
        ("offer downloaded", {"offer": "guide"}, letter),
        ("offer downloaded", {"offer": "guide"}, None),
    ]
    assert count_hits(database) == 3
