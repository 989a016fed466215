"""The ledger on both databases: what is booked once stays booked once, in few queries, whoever looks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select

from nurture.domain.lifecycle import AtMost, Engagement, PointsRule
from nurture.domain.scoring import sums_of
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event
from nurture.store.lifecycle_state import LifecycleState, keep_state, read_state
from nurture.store.reactions import claim_events, look, rescore_all
from nurture.store.scores import HappenedEvent, book_engagement, book_fit, rebuild_sums

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
RULES = Engagement(
    points=(
        PointsRule(event="clicked", points=20, at_most=AtMost(points=50)),
        PointsRule(event="clicked", points=1),
        PointsRule(event="page viewed", path="/pricing*", points=10, at_most=AtMost(points=20)),
    )
)


def a_lead(connection: Connection, name: str = "zoe", **fields: Any) -> int:
    row = {
        "email": f"{name}@example.com",
        "email_key": f"{name}@example.com",
        "email_domain": "example.com",
        "custom": {},
        "readings": {},
        "created_at": START,
        "stage": "lead",
    }
    return connection.execute(insert(t.lead).values(**(row | fields)).returning(t.lead.c.id)).scalar_one()


def an_event(connection: Connection, lead_id: int, kind: str, day: float, *, path: str | None = None) -> HappenedEvent:
    at = START + timedelta(days=day)
    number = connection.scalar(select(func.count()).select_from(t.event))
    new = NewEvent(lead_id=lead_id, kind=kind, at=at, path=path, source="test", source_id=str(number))
    event_id = record_event(connection, new, now=at)
    assert event_id is not None
    return HappenedEvent(id=event_id, lead_id=lead_id, kind=kind, at=at, path=path, is_human=True, booked_before=False)


def booked(connection: Connection) -> dict[tuple[str, int], float]:
    line = t.score_ledger.c
    rows = connection.execute(
        select(line.rule, line.event_id, func.sum(line.points).label("points")).group_by(line.rule, line.event_id)
    )
    return {(row.rule, row.event_id): row.points for row in rows}


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_arrival_books_the_same(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    with database.transaction() as connection:
        zoe = a_lead(connection)
        happened = [
            an_event(connection, zoe, rng.choice(["clicked", "page viewed"]), rng.uniform(0, 20), path="/pricing")
            for _ in range(25)
        ]
        book_engagement(connection, RULES, happened)
        at_once = booked(connection)
        connection.execute(t.score_ledger.delete())
        rng.shuffle(happened)
        while happened:
            some = [happened.pop() for _ in range(min(len(happened), rng.randint(1, 4)))]
            book_engagement(connection, RULES, some)
        assert booked(connection) == pytest.approx(at_once)


def test_booking_again_adds_nothing(database: Database) -> None:
    with database.transaction() as connection:
        zoe = a_lead(connection)
        happened = [an_event(connection, zoe, "clicked", day) for day in range(4)]
        assert len(book_engagement(connection, RULES, happened)[zoe]) == 8
        again = [HappenedEvent(**{**each.__dict__, "booked_before": True}) for each in happened]
        assert book_engagement(connection, RULES, again) == {}


def test_a_batch_takes_as_many_queries_as_a_single_event(database: Database) -> None:
    taken = []
    for count in (1, 200):
        with database.transaction() as connection:
            leads = [a_lead(connection, f"lead{count}-{number}") for number in range(count)]
            happened = [an_event(connection, lead_id, "clicked", 0) for lead_id in leads]
            with counted(database) as statements:
                book_engagement(connection, RULES, happened)
            taken.append(len(statements))
    assert taken == [2, 2]


def test_fit_is_booked_by_differences(database: Database) -> None:
    with database.transaction() as connection:
        zoe, ines = a_lead(connection), a_lead(connection, "ines")
        wanted = {zoe: {"a": 30.0, "b": 25.0}, ines: {}}
        assert book_fit(connection, wanted, now=START) == {zoe: 40, ines: 0}
        assert book_fit(connection, wanted, now=START) == {zoe: 40, ines: 0}
        assert book_fit(connection, {zoe: {"b": 25.0}}, now=START + timedelta(days=1)) == {zoe: 25}
        lines = connection.execute(select(t.score_ledger).order_by(t.score_ledger.c.id)).all()
    assert [(line.rule, line.points, line.note) for line in lines] == [
        ("a", 30, None),
        ("b", 25, None),
        ("bound", -15, "fit is 0 to 40"),
        ("a", -30, "holds no more"),
        ("bound", 15, "fit is 0 to 40"),
    ]


def test_sums_are_made_anew_from_the_ledger(database: Database) -> None:
    half_life = timedelta(days=3)
    with database.transaction() as connection:
        zoe = a_lead(connection, gains=1.0, losses=2.0)
        quiet = a_lead(connection, "quiet", gains=1.0)
        lines = book_engagement(connection, RULES, [an_event(connection, zoe, "clicked", day) for day in range(3)])
        rebuild_sums(connection, [zoe, quiet], half_life=half_life)
        rows = connection.execute(select(t.lead.c.gains, t.lead.c.losses).order_by(t.lead.c.id)).all()
    gains, losses = sums_of([(line.at, line.points) for line in lines[zoe]], half_life)
    assert rows[0].gains == pytest.approx(gains)
    assert (rows[0].losses, losses, rows[1].gains) == (None, None, None)


def test_what_waits_is_seen_without_being_touched(database: Database) -> None:
    with database.transaction() as connection:
        zoe = a_lead(connection, rescore=False)
        a_lead(connection, "visitor", stage="visitor", rescore=True)
    with database.reading() as connection:
        assert (look(connection).events, look(connection).leads) == (False, False)
    with database.transaction() as connection:
        an_event(connection, zoe, "clicked", 0)
        rescore_all(connection)
    with database.reading() as connection:
        assert (look(connection).events, look(connection).leads) == (True, True)


def test_two_workers_claim_different_events(postgres_database: Database) -> None:
    database = postgres_database
    with database.transaction() as connection:
        zoe = a_lead(connection)
        for day in range(3):
            an_event(connection, zoe, "clicked", day)
    with database.transaction() as one, database.transaction() as other:
        first = {row.id for row in claim_events(one, limit=2)}
        second = {row.id for row in claim_events(other, limit=2)}
    assert (len(first), len(second), first & second) == (2, 1, set())


def test_the_lifecycle_remembers_its_rules(database: Database) -> None:
    state = LifecycleState(half_life_seconds=60, rules="a")
    with database.transaction() as connection:
        assert read_state(connection) is None
        keep_state(connection, state)
        keep_state(connection, LifecycleState(half_life_seconds=60, rules="b", swept_at=START.isoformat()))
        kept = read_state(connection)
    assert kept is not None
    assert kept.rules == "b"
    every = timedelta(minutes=10)
    moments = (START - every, START, START + every)
    assert [kept.sweeps_at(moment, every) for moment in moments] == [True, False, True]
