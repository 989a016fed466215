"""What goes wrong with one lead, one message or one commit stays with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import OperationalError

from nurture.authoring.workspace import load_workspace
from nurture.daemon import FileWatch
from nurture.delivery.replies import Reply
from nurture.domain.message import MessageStatus, ReplyClass
from nurture.pipeline.group_commit import CommitUnknown, GroupCommit, Record
from nurture.store import tables as t
from nurture.store.cadences import in_force, version_of
from nurture.store.erasure import erase_lead
from nurture.store.outbox import ClaimKey, Dotted, Outcome
from tests.engine.world import HEAD, MONDAY, NextHop, World, add_leads, in_a_loop, make_root, open_world, steps

HARD = Reply(klass=ReplyClass.HARD, text="550 5.1.1 no such user")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a", "wait: 1 day", "mail:b")))
    add_leads(opened.database, "zoe", "max", "ada")
    yield opened
    opened.database.close()


def test_a_notice_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    notice = 'notify: sales\n    message: "Call {{ lead.company }}"'
    world = open_world(make_root(tmp_path / "workspace", tour=HEAD + steps(notice, "mail:a")))
    add_leads(world.database, "zoe")
    add_leads(world.database, "max", company="Acme")
    world.once()
    assert sorted(world.hop.arrived) == [("max", "a"), ("zoe", "a")]
    assert world.decisions()["notified"] == 1
    (failed,) = [row for row in world.rows(t.decision, "code", "detail") if row.code == "failed"]
    assert "lead.company" in failed.detail["why"]
    world.database.close()


def test_one_enrollment_that_trips_us_is_put_off_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from nurture.pipeline import advance as stage

    decide = stage.decide

    def poisoned(facts: Any) -> Any:
        if facts.zone.key == "Europe/Vienna":
            raise RuntimeError("a mistake of ours")
        return decide(facts)

    monkeypatch.setattr(stage, "decide", poisoned)
    add_leads(world.database, "eve", timezone="Europe/Vienna")
    world.once()
    assert sorted(name for name, _ in world.hop.arrived) == ["ada", "max", "zoe"]
    monkeypatch.setattr(stage, "decide", decide)
    world.advance(hours=1)
    assert ("eve", "a") in world.hop.arrived


def test_one_that_trips_us_while_it_is_paused_is_put_off_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail that somebody asked for goes while the cadence waits behind another."""
    first = HEAD + "priority: 90\n" + steps("wait: 90 days")
    asked = HEAD + "priority: 10\n" + steps("email: hello\n    id: a\n    subject: a\n    transactional: reminder")
    world = open_world(make_root(tmp_path / "workspace", first=first, asked=asked))
    add_leads(world.database, "zoe")
    world.stages.enroll()
    assert sorted(row.status for row in world.rows(t.enrollment, "status")) == ["active", "paused"]
    tries = []

    def poisoned(*_: Any) -> Any:
        tries.append(1)
        if len(tries) == 5:
            pytest.fail("it goes on for ever")  # no Exception, which would be contained
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr("nurture.pipeline.advance.decide", poisoned)
        world.once()
    world.advance(hours=1)
    assert world.hop.arrived == [("zoe", "a")]
    world.database.close()


def test_a_mistake_that_is_no_enrollments_ends_the_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stages.enroll()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr("nurture.pipeline.gathering.claim_due", broken)
        with pytest.raises(Exception, match="enrollments"):
            world.stages.advance()
    assert world.once().sent == 3


def test_files_are_looked_at_again_where_the_database_was_away_when_they_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.installation.root
    watch = FileWatch(root, lambda: world.stages.use(load_workspace(root)))
    before = version_of(world.stages.workspace.cadences["tour"])
    (root / "cadences" / "tour.yaml").write_text(HEAD + steps("mail:c"))

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr("nurture.pipeline.enroll.take_up", away)
        with pytest.raises(OperationalError):
            watch.look()
    watch.look()
    with world.database.reading() as connection:
        assert in_force(connection)["tour"].version != before


def test_a_commit_that_fails_once_loses_nothing_of_what_follows_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nurture.pipeline.group_commit.RETRY_S", 0.01)
    world.hop.refuse["zoe@example.com"] = HARD
    fail_commits(world, monkeypatch, of="bounces", times=1)
    assert world.once().bounced == 1
    assert [row.address_key for row in world.rows(t.suppression, "address_key")] == ["zoe@example.com"]
    assert world.decisions()["bounced"] == 1
    world.advance(minutes=5)  # what stood in the same commit was undecided till its lease was over
    assert sorted(world.hop.arrived) == [("ada", "a"), ("max", "a")]


def fail_commits(world: World, monkeypatch: pytest.MonkeyPatch, *, of: str, times: int) -> None:
    """The database goes away at COMMIT, after everything was written, as often as said."""
    real, left = world.database.transaction, [times]

    @contextmanager
    def failing() -> Iterator[Connection]:
        with real() as connection:
            yield connection
            m = t.message.c
            bounced = connection.scalar(select(m.id).where(m.status == "bounced"))
            if of == "bounces" and left[0] and bounced is not None:
                left[0] -= 1
                raise OperationalError("COMMIT", {}, Exception("the database is away"))

    monkeypatch.setattr(world.database, "transaction", failing)


def commits_of(world: World, record: Record) -> GroupCommit:
    return GroupCommit(
        database=world.database,
        owner="me",
        clock=world.clock,
        reply_patience=timedelta(minutes=2),
        record=record,
        recorded=lambda _outcomes, _written: None,
    )


def test_a_mistake_while_committing_leaves_nobody_waiting_for_ever(world: World) -> None:
    def trip(_connection: Connection, _outcomes: list[Outcome], _now: object) -> list[Outcome]:
        raise RuntimeError("a mistake of ours")

    async def story() -> None:
        commits = commits_of(world, trip)
        commits.outcome(Outcome(message_row=1, epoch=1, status=MessageStatus.SENT))
        mark = Dotted(message_row=2, epoch=1, subject="s", link_set=None, links=())
        with pytest.raises(CommitUnknown):
            await asyncio.wait_for(commits.dotted(mark), 5)
        await asyncio.wait_for(commits.close(), 20)

    in_a_loop(story)


def test_marks_that_come_together_share_a_commit_and_take_outcomes_along(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[tuple[int, int]] = []

    def transact(_: GroupCommit, marks: list[Dotted], outcomes: list[Outcome]) -> set[ClaimKey]:
        groups.append((len(marks), len(outcomes)))
        return {mark.claim for mark in marks}

    monkeypatch.setattr(GroupCommit, "_transact", transact)

    async def story() -> None:
        commits = commits_of(world, lambda _connection, outcomes, _now: outcomes)

        async def mark(row: int) -> None:
            for _ in range(row % 3):  # some rounds of the loop later than the first
                await asyncio.sleep(0)
            assert await commits.dotted(Dotted(message_row=row, epoch=1, subject="s", link_set=None, links=()))

        commits.outcome(Outcome(message_row=9, epoch=1, status=MessageStatus.SENT))
        await asyncio.gather(*(mark(row) for row in range(6)))
        commits.outcome(Outcome(message_row=1, epoch=1, status=MessageStatus.SENT))
        await asyncio.sleep(0.2)  # nobody comes to take it along
        assert groups == [(6, 1), (0, 1)]
        await commits.close()

    in_a_loop(story)


def test_a_claim_that_fails_lets_what_is_on_its_way_arrive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deliverer, calls = world.stages.deliverer, [0]
    real = deliverer._claim

    def failing(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise OperationalError("UPDATE", {}, Exception("deadlock detected"))
        return real(*given)

    monkeypatch.setattr(deliverer, "_claim", failing)
    with pytest.raises(OperationalError):
        world.once()
    assert [row.status for row in world.rows(t.message, "status")] == ["sent"] * 3
    assert deliverer._held == {}


def test_no_dot_is_written_where_its_commit_took_too_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.attempt.DOT_WITHIN_S", 0)
    world.once()
    assert world.hop.arrived == []
    assert {row.status for row in world.rows(t.message, "status")} == {"deferred"}
    monkeypatch.undo()
    world.advance(minutes=6)
    assert sorted(world.hop.arrived) == [("ada", "a"), ("max", "a"), ("zoe", "a")]


def test_a_lease_is_renewed_while_its_message_is_spoken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.RENEW_EVERY_S", 0.02)

    async def until_it_is_renewed(_recipient: str) -> None:
        world.clock.advance(timedelta(seconds=50))
        wanted = world.clock() + timedelta(minutes=1, seconds=59)
        async with asyncio.timeout(20):
            while min(row.lease_until for row in world.rows(t.message, "lease_until")) < wanted:
                await asyncio.sleep(0.02)

    world.hop.address, world.hop.stalls = replace(world.hop.address, connections=1), until_it_is_renewed
    with world.database.transaction() as connection:
        connection.execute(t.lead.delete().where(t.lead.c.email_key != "zoe@example.com"))
    world.once()
    assert world.hop.arrived == [("zoe", "a")]


def test_what_is_paused_while_it_is_spoken_goes_when_it_runs_again(world: World) -> None:
    def change(before: str, after: str) -> None:
        e = t.enrollment
        with world.database.transaction() as connection:
            connection.execute(update(e).where(e.c.status == before).values(status=after, paused_at=MONDAY))

    world.hop.before_dot = lambda: change("active", "paused")
    world.once()
    world.hop.before_dot = None
    assert {row.status for row in world.rows(t.message, "status")} <= {"queued", "deferred"}
    change("paused", "active")
    world.advance(hours=1)
    assert sorted(world.hop.arrived) == [("ada", "a"), ("max", "a"), ("zoe", "a")]


def test_what_stood_in_line_for_long_is_looked_at_anew(world: World) -> None:
    async def stall(_recipient: str) -> None:
        world.hop.stalls = None
        world.clock.advance(timedelta(seconds=61))
        with world.database.transaction() as connection:
            hold = {"hold_until": MONDAY + timedelta(days=9), "hold_reason": "sam talks with them"}
            connection.execute(update(t.lead).values(hold))

    world.hop.address, world.hop.stalls = replace(world.hop.address, connections=1), stall
    world.once()
    assert len(world.hop.arrived) == 1
    assert world.decisions()["held"] == 2
    assert "deferred" not in world.decisions(), "nothing happened to them"


@pytest.mark.parametrize("said", ["nothing yet", "no such user"])
def test_of_a_reader_who_is_erased_in_mid_session_nothing_is_sent_and_nothing_kept(world: World, said: str) -> None:
    """Neither the dot nor what the server says of the address comes after it."""
    refusal = Reply(klass=ReplyClass.HARD, text="550 5.1.1 <zoe@example.com>: no such user")

    def erase() -> None:
        with world.database.transaction() as connection:
            erase_lead(connection, "zoe@example.com", secret="a secret", now=MONDAY)

    class Refusals(dict[str, Reply]):
        def get(self, key: str, default: Any = None) -> Any:
            if key != "zoe@example.com":
                return default
            erase()
            return refusal if said == "no such user" else default

    world.hop.refuse = Refusals()
    world.once()
    assert sorted(world.hop.arrived) == [("ada", "a"), ("max", "a")]
    for table in (t.message, t.event, t.decision, t.suppression, t.link_set):
        with world.database.reading() as connection:
            assert "zoe" not in str(connection.execute(select(table)).all()), table.name


def test_who_is_about_to_get_a_mail_that_waited_gets_no_other_beside_it(tmp_path: Path) -> None:
    """Its place in the cap is the moment at which it goes, not the one at which it was decided."""
    caps = '[limits]\nper_lead = ["1 per day"]\n'
    beside = HEAD + "concurrent: true\n" + steps("wait: 25 hours", "mail:b")
    world = open_world(make_root(tmp_path / "workspace", config=caps, tour=HEAD + steps("mail:a"), beside=beside))
    add_leads(world.database, "zoe")
    world.hop.refuse = {"zoe@example.com": Reply(klass=ReplyClass.SOFT, text="451 4.7.1 greylisted")}
    world.once()
    world.hop.refuse = {}
    world.clock.advance(timedelta(hours=25, minutes=1))
    world.hop.before_dot = lambda: world.stages.advance()
    asyncio.run(world.stages.deliver())
    world.hop.before_dot = None
    world.once()
    assert world.hop.arrived == [("zoe", "a")]
    world.advance(days=1)
    assert world.hop.arrived == [("zoe", "a"), ("zoe", "b")]
    world.database.close()


def test_a_server_that_stalls_keeps_no_mail_of_another_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 2)
    second = '[smtp.second]\nhost = "127.0.0.1"\nport = 9\nsecurity = "none"\n'
    eve = '[senders.eve]\nfrom = "Eve <eve@acme.example>"\nsmtp = "second"\n'
    of_eve = "sender: eve\nconcurrent: true\n"
    world = open_world(
        make_root(
            tmp_path / "workspace",
            config=second + eve,
            first=HEAD + steps("mail:a"),
            second=HEAD + of_eve + steps("mail:b"),
        )
    )
    names = [f"lead{number}" for number in range(9)]
    add_leads(world.database, *names)
    other = NextHop(clock=world.clock, name="second")
    world.send_over(world.hop, other)

    async def until_the_other_is_done(_recipient: str) -> None:
        async with asyncio.timeout(20):
            while len(other.kept) < len(names):
                await asyncio.sleep(0.01)

    world.hop.stalls = until_the_other_is_done
    world.once()
    assert (len(world.hop.kept), len(other.kept)) == (9, 9)
    world.database.close()


def test_a_server_that_is_new_in_the_configuration_is_used(tmp_path: Path) -> None:
    root = make_root(tmp_path / "workspace", tour=HEAD + steps("mail:a"))
    world = open_world(root, in_memory=False)
    add_leads(world.database, "zoe", "max", "ada")
    config = (root / "config.toml").read_text()
    second = '[smtp.second]\nhost = "127.0.0.1"\nport = 9\nsecurity = "none"\n'
    (root / "config.toml").write_text(
        config.replace('anna@acme.example>"', 'anna@acme.example>"\nsmtp = "second"') + second
    )
    world.stages.use(load_workspace(root))
    report = world.once()
    assert (report.sent, report.deferred) == (0, 3), "nobody listens on the new server's port"
    world.database.close()


def test_a_pass_ends_though_every_message_is_deferred_and_due_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with many messages and a server that takes none now: the first are due again before the last was looked at."""
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 5)
    add_leads(world.database, *(f"lead{number}" for number in range(57)))

    class Busy(dict[str, Reply]):
        def get(self, _key: str, _default: Any = None) -> Any:
            world.clock.advance(timedelta(minutes=30))
            return Reply(klass=ReplyClass.SOFT, text="451 4.3.2 too busy")

    world.hop.refuse = Busy()
    monkeypatch.setattr("nurture.pipeline.attempt.IN_LINE_AT_MOST", timedelta(days=9))
    world.stages.enroll()
    world.stages.advance()

    async def story() -> None:
        report = await asyncio.wait_for(world.stages.deliverer.deliver(due_by=world.clock()), 20)
        assert report.deferred == 60

    in_a_loop(story)


def test_a_server_that_is_down_is_asked_once_and_what_was_not_claimed_stays_in_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nurture.pipeline.deliver.CLAIM_AHEAD", 1)
    world.hop.is_down = True
    world.once()
    world.once()
    assert world.hop.knocks == 1
    assert sorted(row.status for row in world.rows(t.message, "status")) == ["deferred", "queued", "queued"]
    world.hop.is_down = False
    world.advance(minutes=1)
    assert sorted(name for name, _ in world.hop.arrived) == ["ada", "max", "zoe"]


def test_a_server_with_room_for_fewer_connections_gets_all_mail_over_those(world: World) -> None:
    async def linger(_recipient: str) -> None:
        await asyncio.sleep(0.05)

    world.hop.stalls, world.hop.room_for = linger, 1
    report = world.once()
    assert (report.sent, report.deferred) == (3, 0)


def test_a_server_that_is_slow_with_one_letter_keeps_no_other_waiting(world: World) -> None:
    """Mail that becomes due while a pass waits for a slow answer goes over the connections that are free."""
    world.stages.enroll()
    world.stages.advance()

    async def story() -> None:
        others_went = asyncio.Event()

        async def stall(recipient: str) -> None:
            if recipient == "zoe@example.com":
                await asyncio.wait_for(others_went.wait(), 10)

        world.hop.stalls = stall
        delivering = asyncio.create_task(world.stages.deliver())
        while len(world.hop.kept) < 2:
            await asyncio.sleep(0.01)
        add_leads(world.database, "eve")
        await asyncio.to_thread(world.stages.enroll)
        await asyncio.to_thread(world.stages.advance)
        while ("eve", "a") not in world.hop.arrived and not delivering.done():
            await asyncio.sleep(0.01)
        others_went.set()
        assert (await delivering).sent == 4

    in_a_loop(story)


def test_a_mistake_outside_every_attempt_ends_the_pass_and_the_next_one_sends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stages.enroll()
    world.stages.advance()
    deliverer = world.stages.deliverer

    def broken(_attempts: Any, _claimed: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr("nurture.pipeline.attempt.Attempts.write", broken)
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            in_a_loop(lambda: asyncio.wait_for(deliverer.deliver(), 20))
    world.advance(minutes=1)
    assert sorted(world.hop.arrived) == [("ada", "a"), ("max", "a"), ("zoe", "a")]
