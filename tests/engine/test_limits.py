"""Limits of servers, senders and recipient domains, as the receiver counts them; and a sender that stops itself."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select

from nurture.delivery.replies import Reply
from nurture.domain.limits import Reputation, Standing, allowance
from nurture.domain.message import ReplyClass
from nurture.rehearsal.clock import VirtualClock
from nurture.store import tables as t
from nurture.store.limits import sent_since
from nurture.store.pauses import resume, sender_scope
from tests.engine.test_two_workers import all_at_once
from tests.engine.world import HEAD, MONDAY, World, add_leads, in_a_loop, make_root, open_world, steps
from tests.migrated import emptied

BEN = '[senders.ben]\nfrom = "Ben <ben@acme.example>"\n'
HARD = Reply(klass=ReplyClass.HARD, text="550 5.1.1 no such user")
Begin = Callable[..., World]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    opened: list[World] = []

    def open_with(*said: str, config: str, leads: int, domain: str = "example.com") -> World:
        root = make_root(tmp_path / "workspace", config=config, tour=HEAD + "sender: ben\n" + steps(*said))
        world = open_world(root)
        opened.append(world)
        add_leads(world.database, *(f"lead{number}" for number in range(leads)), email_domain=domain)
        return world

    yield open_with
    for world in opened:
        world.database.close()


def pauses(world: World) -> list[Any]:
    with world.database.reading() as connection:
        return list(connection.execute(select(t.pause)))


def days(world: World, count: int) -> list[int]:
    """How many mails arrived on each of these days, looked at every six hours."""
    arrived = []
    for _ in range(count):
        before = len(world.hop.kept)
        for _ in range(4):
            world.once()
            world.clock.advance(timedelta(hours=6))
        arrived.append(len(world.hop.kept) - before)
    return arrived


def test_a_senders_day_ends_at_midnight_and_what_waits_is_told_why(begin: Begin) -> None:
    world = begin("mail:a", config=BEN + "daily = 4\n", leads=10)
    world.once()
    assert len(world.hop.kept) == 4
    limited = [row for row in world.rows(t.decision, "code", "detail") if row.code == "limited"]
    assert (len(limited), limited[0].detail["limit"]) == (6, "ben: 4 a day")
    world.advance(hours=14)
    assert len(world.hop.kept) == 4, "it is not midnight yet"
    world.advance(hours=1)
    assert len(world.hop.kept) == 8
    world.advance(hours=24)
    assert len(world.hop.kept) == 10
    assert set(world.decisions()) == {"enrolled", "queued", "limited", "sent", "completed"}


def test_a_limit_that_lasts_for_days_is_told_once_of_each_message(begin: Begin) -> None:
    world = begin("mail:a", config=BEN + "daily = 1\n", leads=4)
    world.once()
    for _ in range(4):
        world.advance(days=1)
    assert len(world.hop.kept) == 4
    limited = Counter(row.lead_id for row in world.rows(t.decision, "lead_id", "code") if row.code == "limited")
    assert sorted(limited.values()) == [1, 1, 1]
    assert {row.blocked_by for row in world.rows(t.enrollment, "blocked_by")} == {None}


def test_a_warm_up_grows_with_every_day_since_the_first_mail(begin: Begin) -> None:
    world = begin("mail:a", config=BEN + "daily = 9\nwarm_up = {start = 2, growth = 2}\n", leads=40)
    world.clock.move_to(MONDAY.replace(hour=0) + timedelta(days=1))
    assert days(world, 5) == [2, 4, 8, 9, 9]


def test_where_there_is_no_room_for_all_follow_ups_go_first_and_of_each_who_engaged_last(begin: Begin) -> None:
    world = begin("mail:a", "wait: 1 day", "mail:b", config=BEN + "daily = 4\n", leads=3)
    world.once()
    new = ["cold", "warm", "hot"]
    add_leads(world.database, *new)
    with world.database.transaction() as connection:
        for days_ago, name in ((9, "lead1"), (3, "lead2"), (5, "warm"), (1, "hot")):
            engaged = t.lead.update().where(t.lead.c.email == f"{name}@example.com")
            connection.execute(engaged.values(last_engaged_at=MONDAY - timedelta(days=days_ago)))
    world.clock.advance(timedelta(days=1))
    world.stages.enroll()
    world.stages.advance()
    with world.database.transaction() as connection:  # the first mails have waited for longer
        first = t.message.c.lead_id > 3
        connection.execute(t.message.update().where(first).values(not_before=MONDAY))
    world.once()
    assert set(world.hop.arrived[3:]) == {("lead0", "b"), ("lead1", "b"), ("lead2", "b"), ("hot", "a")}
    add_leads(world.database, "newest", "keen", "late", last_engaged_at=world.clock())
    world.advance(days=1)
    assert set(world.hop.arrived[7:]) == {("hot", "b"), ("newest", "a"), ("keen", "a"), ("late", "a")}
    world.advance(days=1)
    assert set(world.hop.arrived[11:]) == {("newest", "b"), ("keen", "b"), ("late", "b"), ("warm", "a")}


def test_what_somebody_asked_for_is_counted_and_never_kept(begin: Begin) -> None:
    receipt = "email: hello\n    id: b\n    subject: b\n    transactional: account"
    world = begin(receipt, "mail:a", config=BEN + "daily = 2\n", leads=3)
    world.once()
    assert [subject for _, subject in world.hop.arrived] == ["b"] * 3


def test_a_rate_deals_out_moments_evenly(begin: Begin) -> None:
    config = BEN + '[domains."slow.example"]\nrate = "30 per minute"\n'
    world = begin("mail:a", config=config, leads=5, domain="slow.example")
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    world.hop.rest = rest  # type: ignore[method-assign]
    world.once()
    assert sorted(rests) == [0, 2, 4, 6, 8]


def test_who_missed_the_moment_that_a_rate_dealt_is_dealt_another(begin: Begin) -> None:
    """Or all that stood behind a server that stalled would go at once."""
    config = BEN + '[domains."slow.example"]\nrate = "30 per minute"\n'
    world = begin("mail:a", config=config, leads=5, domain="slow.example")
    world.hop.address = replace(world.hop.address, connections=1)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def stall(_recipient: str) -> None:
        world.hop.stalls = None
        world.clock.advance(timedelta(seconds=50))

    world.hop.rest, world.hop.stalls = rest, stall  # type: ignore[method-assign]
    world.once()
    assert rests == [0, 0, 2, 4, 6]


def test_the_daemon_claims_no_message_whose_moment_is_far_off(begin: Begin) -> None:
    config = BEN + '[domains."slow.example"]\nrate = "30 per minute"\n'
    world = begin("mail:a", config=config, leads=5, domain="slow.example")
    world.stages.enroll()
    world.stages.advance()
    moments = []
    for _ in range(10):
        before = len(world.hop.kept)
        asyncio.run(world.stages.deliver())
        moments += [(world.clock() - MONDAY).total_seconds()] * (len(world.hop.kept) - before)
        world.clock.advance(timedelta(seconds=1))
    assert moments == [0, 2, 4, 6, 8]


def test_connections_to_a_domain_are_messages_under_way(begin: Begin) -> None:
    config = BEN + '[domains."slow.example"]\nconnections = 1\n'
    world = begin("mail:a", config=config, leads=6, domain="slow.example")
    speaking, most = 0, 0

    async def linger(_recipient: str) -> None:
        nonlocal speaking, most
        speaking += 1
        most = max(most, speaking)
        await asyncio.sleep(0.01)
        speaking -= 1

    world.hop.stalls = linger
    world.once()
    assert (len(world.hop.kept), most) == (6, 1)


@pytest.mark.parametrize("many", [2, 4])
def test_workers_together_keep_to_the_limits(
    many: int, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 5)
    emptied(postgres_url)
    slow, paced = '[domains."slow.example"]\nconnections = 3\n', '[domains."b.example"]\nrate = "2 per second"\n'
    tour = HEAD + "sender: ben\n" + steps("mail:a")
    root = make_root(
        tmp_path / "workspace", url=postgres_url, config=f"{BEN}daily = {15 * many}\n{slow}{paced}", tour=tour
    )
    clock = VirtualClock(MONDAY)
    workers = [open_world(root, clock=clock, sole_worker=False) for _ in range(many)]
    add_leads(workers[0].database, *(f"lead{number}" for number in range(20 * many)), email_domain="slow.example")
    add_leads(workers[0].database, *(f"other{number}" for number in range(10)), email_domain="b.example")
    lock, speaking, most = threading.Lock(), Counter[str](), Counter[str]()
    starts: list[float] = []

    async def linger(recipient: str) -> None:
        domain = recipient.partition("@")[2]
        with lock:
            speaking[domain] += 1
            most[domain] = max(most[domain], speaking[domain])
        await asyncio.sleep(0.01)
        with lock:
            speaking[domain] -= 1

    async def rest(seconds: float) -> None:
        starts.append(seconds)

    for world in workers:
        world.hop.stalls, world.hop.rest = linger, rest  # type: ignore[method-assign]
    workers[0].stages.enroll()
    workers[0].stages.advance()
    for world in workers:  # as daemons do before their first mail is due
        in_a_loop(world.stages.deliverer.attend)
    all_at_once(workers)
    arrived = [each.to for world in workers for each in world.hop.kept]
    assert len(arrived) == 15 * many, "the sender's day, over all of them"
    assert most["slow.example"] <= 3
    assert sum(bool(world.hop.kept) for world in workers) > 1, "together"
    assert all(later - earlier >= 0.499 for earlier, later in itertools.pairwise(sorted(starts)))
    for world in workers:
        world.database.close()


def test_what_ends_while_it_is_counted_is_counted_once(tmp_path: Path, postgres_url: str) -> None:
    """Outcomes are committed by other workers at any moment, also between two statements of a count."""
    emptied(postgres_url)
    root = make_root(
        tmp_path / "workspace", url=postgres_url, config=BEN, tour=HEAD + "sender: ben\n" + steps("mail:a")
    )
    world = open_world(root, sole_worker=False)
    add_leads(world.database, "zoe")
    world.stages.enroll()
    world.stages.advance()
    m = t.message
    with world.database.transaction() as connection:
        connection.execute(m.update().values(status="sending"))

    def end_it(*_: object) -> None:
        with world.database.transaction() as other:
            other.execute(m.update().values(status="sent", sent_at=MONDAY))

    with world.database.reading() as connection:
        event.listen(connection, "after_cursor_execute", end_it)
        assert sent_since(connection, "ben", MONDAY) == 1
    with world.database.reading() as connection:
        assert sent_since(connection, "ben", MONDAY) == 1
    world.database.close()


def test_a_sender_stops_itself_and_a_person_lets_it_go_on(begin: Begin) -> None:
    world = begin("mail:a", "wait: 1 day", "mail:b", config=BEN, leads=100)
    for number in range(12):
        world.hop.refuse[f"lead{number}@example.com"] = HARD
    world.once()
    world.stages.maintain()
    (row,) = pauses(world)
    assert row.scope == "sender:ben"
    assert "12 hard bounces and 0 complaints of 100 mails" in row.note
    world.advance(days=1)
    assert len(world.hop.kept) == 88, "nothing more went out"
    with world.database.transaction() as connection:
        assert resume(connection, sender_scope("ben"), now=world.clock())
    world.stages.maintain()
    assert pauses(world) == [], "what it was stopped for counts no more"
    world.advance(hours=1)
    assert len(world.hop.kept) == 176


def test_complaints_stop_a_sender_too(begin: Begin) -> None:
    world = begin("mail:a", "wait: 9 days", config=BEN, leads=60)
    world.once()
    with world.database.transaction() as connection:
        for number in range(1, 4):
            values = {
                "lead_id": number,
                "kind": "complained",
                "at": MONDAY,
                "recorded_at": MONDAY,
                "source": "test",
                "source_id": str(number),
                "message_id": number,
                "verdict": "human",
                "props": {},
            }
            connection.execute(t.event.insert().values(values))
    world.stages.maintain()
    assert [row.scope for row in pauses(world)] == ["sender:ben"]


@pytest.mark.parametrize(
    ("sends", "bounces", "complaints", "reputation"),
    [
        (49, 49, 49, Reputation.GOOD),
        (50, 9, 0, Reputation.WARNED),
        (200, 10, 0, Reputation.SPENT),
        (201, 10, 0, Reputation.WARNED),
        (1000, 19, 0, Reputation.GOOD),
        (1000, 20, 0, Reputation.WARNED),
        (1000, 0, 3, Reputation.SPENT),
        (1001, 0, 3, Reputation.WARNED),
        (1001, 0, 1, Reputation.GOOD),
        (1000, 0, 1, Reputation.WARNED),
    ],
)
def test_a_standing_is_judged_by_shares_and_numbers(
    sends: int, bounces: int, complaints: int, reputation: Reputation
) -> None:
    assert Standing(sends=sends, bounces=bounces, complaints=complaints).reputation is reputation


@given(st.integers(1, 10_000), st.floats(1.01, 10), st.integers(0, 5_000), st.none() | st.integers(1, 100_000))
def test_an_allowance_never_shrinks_and_never_passes_the_daily_limit(
    start: int, growth: float, day: int, daily: int | None
) -> None:
    today = allowance(daily=daily, start=start, growth=growth, day=day)
    tomorrow = allowance(daily=daily, start=start, growth=growth, day=day + 1)
    assert today is None or today >= 1
    assert daily is None or (today is not None and today <= daily)
    assert tomorrow is None or (today is not None and tomorrow >= today)
