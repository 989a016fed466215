"""Two who work at once on PostgreSQL: what one decides, the other knows of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from nurture.domain.message import MessageKind, MessageStatus
from nurture.pipeline.by_hand import exit_by_hand
from nurture.store import tables as t
from nurture.store.cadences import in_force, take_up, version_of
from nurture.store.database import Database
from nurture.store.due_mail import due_messages
from nurture.store.enrollments import Placing, claim_due, end, settle
from nurture.store.entries import Entrant, enter
from nurture.store.events import wake_enrollments
from nurture.store.messages import NewMessage, queue_message
from nurture.store.outbox import give_up
from nurture.store.reactions import lock_leads
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps
from tests.migrated import emptied


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    emptied(postgres_url)
    one = HEAD + steps("wait: 3 days", "mail:a")
    opened = open_world(make_root(tmp_path / "workspace", url=postgres_url, one=one, two=one), sole_worker=False)
    add_leads(opened.database, "zoe")
    yield opened
    opened.database.close()


class Aside:
    """Work in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.failure: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error

    def join(self) -> None:
        self._thread.join(20)
        if self.failure is not None:
            raise self.failure


def waits_for_a_lock(database: Database, aside: Aside) -> None:
    """Until the other one waits for us, or has nothing to wait for."""
    for _ in range(100):
        with database.reading() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            if connection.scalar(text(query)) or not aside._thread.is_alive():
                return
        time.sleep(0.02)


def test_who_is_woken_while_it_is_looked_at_is_looked_at_again(world: World) -> None:
    world.stages.enroll()
    with world.database.transaction() as ours:
        (row,) = claim_due(ours, now=MONDAY, limit=1)

        def wake() -> None:
            with world.database.transaction() as theirs:
                wake_enrollments(theirs, [row.lead_id], now=MONDAY)

        waking = Aside(wake)
        waits_for_a_lock(world.database, waking)
        later = MONDAY + timedelta(days=3)
        settle(
            ours,
            [
                Placing(
                    enrollment_id=row.id,
                    step=row.step,
                    due_at=later,
                    since_at=MONDAY,
                    ready_at=later,
                    late_from=None,
                    message_id=None,
                    blocked_by=None,
                    visit=1,
                )
            ],
        )
    waking.join()
    due = {one.id: one.due_at for one in world.rows(t.enrollment, "id", "due_at")}
    assert due[row.id] == MONDAY


def test_of_two_cadences_that_enroll_a_lead_at_once_one_runs(world: World) -> None:
    lead_ids = [row.id for row in world.rows(t.lead, "id")]
    cadences = world.stages.workspace.cadences

    def enroll(name: str, connection: object) -> None:
        cadence = cadences[name]
        entrants = [Entrant(lead_id=each) for each in lead_ids]
        enter(connection, entrants, version=version_of(cadence), cadence=cadence, now=MONDAY, arm_key=None)

    with world.database.transaction() as ours:
        enroll("one", ours)

        def other() -> None:
            with world.database.transaction() as theirs:
                enroll("two", theirs)

        enrolling = Aside(other)
        waits_for_a_lock(world.database, enrolling)
    enrolling.join()
    assert sorted(row.status for row in world.rows(t.enrollment, "status")) == ["active", "paused"]


def test_who_leaves_and_who_claims_its_mail_do_not_lock_each_other_out(world: World) -> None:
    world.stages.enroll()
    e = t.enrollment
    with world.database.transaction() as connection:
        row = connection.execute(select(e).where(e.c.status == "active")).one()
        new = NewMessage(
            intent_key="k",
            kind=MessageKind.STEP,
            to_address="zoe@example.com",
            sender="anna",
            lead_id=row.lead_id,
            enrollment_id=row.id,
        )
        message_id = queue_message(connection, new, now=MONDAY)
        connection.execute(update(e).where(e.c.id == row.id).values(message_id=message_id))
    with world.database.transaction() as advancing:
        claim_due(advancing, now=MONDAY, limit=10)
        held = threading.Event()

        def deliver() -> None:
            with world.database.transaction() as delivering:
                (due,) = due_messages(delivering, now=MONDAY, limit=10)
                held.set()
                give_up(delivering, [due.id], MessageStatus.CANCELED, why="x", now=MONDAY)

        delivering = Aside(deliver)
        held.wait(5)
        waits_for_a_lock(world.database, delivering)
        end(advancing, [row.id], reason="goal", now=MONDAY)
    delivering.join()
    assert [one.status for one in world.rows(t.message, "status")] == ["canceled"]


def test_two_hosts_take_up_a_new_cadence_at_once(world: World) -> None:
    cadences = dict(world.stages.workspace.cadences)
    cadences["three"] = replace(cadences["one"], name="three")
    new: list[list[str]] = []
    with world.database.transaction() as ours:
        new.append(take_up(ours, cadences, now=MONDAY))

        def other() -> None:
            with world.database.transaction() as theirs:
                new.append(take_up(theirs, cadences, now=MONDAY))

        taking = Aside(other)
        waits_for_a_lock(world.database, taking)
    taking.join()
    assert sorted(new) == [[], ["three"]]


def test_who_is_taken_out_by_hand_while_the_cadence_is_removed_leaves_once(world: World) -> None:
    world.stages.enroll()
    (lead_id,) = [row.id for row in world.rows(t.lead, "id")]
    others = {name: each for name, each in world.stages.workspace.cadences.items() if name != "one"}

    def leave() -> None:
        with world.database.transaction() as leaving:
            exit_by_hand(leaving, lead_id, cadence="one", now=MONDAY)

    with world.database.transaction() as editing:
        lock_leads(editing, [lead_id])  # as an edit does first
        aside = Aside(leave)
        waits_for_a_lock(world.database, aside)
        take_up(editing, others, now=MONDAY)
    aside.join()
    exited = [row.exit_reason for row in world.rows(t.enrollment, "cadence", "exit_reason") if row.cadence == "one"]
    assert exited == ["removed"]


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_an_edit_waits_for_who_reacts_and_holds_nothing_that_it_needs(world: World, change: str) -> None:
    world.stages.enroll()
    cadences = dict(world.stages.workspace.cadences)
    if change == "edited":
        cadences["one"] = replace(cadences["one"], priority=90)
    else:
        del cadences["one"]

    def edit() -> None:
        with world.database.transaction() as editing:
            take_up(editing, cadences, now=MONDAY)

    lead_ids = [row.id for row in world.rows(t.lead, "id")]
    with world.database.transaction() as reacting:
        lock_leads(reacting, lead_ids)
        aside = Aside(edit)
        waits_for_a_lock(world.database, aside)
        wake_enrollments(reacting, lead_ids, now=MONDAY)
    aside.join()
    one = next(row for row in world.rows(t.enrollment, "cadence", "status", "priority") if row.cadence == "one")
    assert one.priority == 90 if change == "edited" else one.status == "exited"


def test_nobody_is_enrolled_in_a_version_that_is_no_longer_in_force(world: World) -> None:
    from nurture.pipeline.enroll import Admission, _enroll_batch

    with world.database.reading() as connection:
        before = in_force(connection)["one"]
    world.edit(one=HEAD + steps("wait: 4 days", "mail:a"))
    admission = Admission(vocabulary=world.stages.workspace.vocabulary, arm_key=b"", at_once=None)
    assert _enroll_batch(world.database, before, admission, world.stages.rules.asking(world.clock())) is None
    world.stages.enroll()
    current = version_of(world.stages.workspace.cadences["one"])
    with world.database.reading() as connection:
        query = select(func.count()).where(t.enrollment.c.cadence == "one", t.enrollment.c.version == current)
        assert connection.scalar(query) == 1
