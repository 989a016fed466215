"""Holds, pauses and limits over time: who is kept waiting by what, for how long, and what a wait then counts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from nurture.delivery.replies import Reply
from nurture.domain.message import ReplyClass
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.pauses import cadence_scope, pause, resume
from tests.engine.world import HEAD, MONDAY, World, add_leads, make_root, open_world, steps

GREY = Reply(klass=ReplyClass.SOFT, text="451 4.7.1 later")
LOW, HIGH = HEAD + "priority: 10\n", HEAD.replace('stage == "lead"', 'tag("big")') + "priority: 90\n"


class Play:
    """A world that is looked at every hour."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0

    def hours(self, count: float) -> None:
        end = self.world.clock() + timedelta(hours=count)
        while self.world.clock() < end:
            self.world.clock.move_to(min(end, self.world.clock() + timedelta(hours=1)))
            self.world.once()

    def days(self, count: float) -> None:
        self.hours(24 * count)

    def happens(
        self, kind: str, lead: int = 1, *, props: dict[str, Any] | None = None, enrollment: int | None = None
    ) -> None:
        self.count += 1
        now = self.world.clock()
        with self.world.database.transaction() as connection:
            new = NewEvent(
                lead_id=lead,
                kind=kind,
                at=now,
                source="test",
                source_id=str(self.count),
                enrollment_id=enrollment,
                props=props or {},
            )
            record_event(connection, new, now=now)
            wake_enrollments(connection, [lead], now=now)
        self.world.once()

    def change(self, table: Any, **values: Any) -> None:
        with self.world.database.transaction() as connection:
            connection.execute(update(table).values(**values))

    def got(self) -> list[tuple[str, str, float]]:
        """(lead, subject, days since the beginning) of each mail that arrived."""
        pairs = zip(self.world.hop.kept, self.world.hop.arrived, strict=True)
        return [(name, subject, round((kept.at - MONDAY) / timedelta(days=1), 2)) for kept, (name, subject) in pairs]

    def told(self, code: str) -> list[float]:
        rows = self.world.rows(t.decision, "code", "at")
        return [round((row.at - MONDAY) / timedelta(days=1), 2) for row in rows if row.code == code]

    def enrollments(self) -> list[tuple[int, str, str, str | None]]:
        rows = self.world.rows(t.enrollment, "lead_id", "cadence", "status", "exit_reason")
        return [tuple(row) for row in rows]


Begin = Callable[..., Play]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    opened: list[World] = []

    def open_with(*names: str, domain: str = "example.com", **cadences: str) -> Play:
        world = open_world(make_root(tmp_path / "workspace", **cadences))
        opened.append(world)
        add_leads(world.database, *(names or ("zoe",)), email_domain=domain)
        world.once()
        return Play(world)

    yield open_with
    for world in opened:
        world.database.close()


def tagged(play: Play, lead: int, tag: str) -> None:
    with play.world.database.transaction() as connection:
        connection.execute(t.lead_tag.insert().values(lead_id=lead, tag=tag))
    play.world.once()


def test_transactional_mail_and_the_waits_before_it_go_on_behind_another_cadence(begin: Begin) -> None:
    reminder = "email: hello\n    id: seat\n    subject: seat\n    transactional: reminder"
    play = begin(
        low=LOW + steps("mail:a", "wait: 1 day", reminder, "wait: 1 hour", "mail:z"), high=HIGH + steps("wait: 5 days")
    )
    tagged(play, 1, "big")
    play.days(4)
    assert play.got() == [("zoe", "a", 0), ("zoe", "seat", 1)]
    play.days(2)
    assert play.got()[2:] == [("zoe", "z", 5)], "what is no transaction waited for its turn"


def test_after_a_pause_a_wait_counts_from_what_was_really_done(begin: Begin) -> None:
    task = "task: Call"
    play = begin(low=LOW + steps("wait: 1 day", task, "wait: 3 days", "mail:a"), high=HIGH + steps("wait: 8 days"))
    tagged(play, 1, "big")
    play.days(12)
    assert play.told("tasked") == [8]
    assert play.got() == [("zoe", "a", 11)]


def test_a_weekday_is_the_next_one_after_the_pause(begin: Begin) -> None:
    play = begin(tour=HEAD + steps("wait: 3 days", "wait_until: tuesday 09:00", "mail:a"))
    play.days(1)
    with play.world.database.transaction() as connection:
        pause(connection, cadence_scope("tour"), now=play.world.clock())
    play.days(8)
    with play.world.database.transaction() as connection:
        resume(connection, cadence_scope("tour"), now=play.world.clock())
    play.days(8)
    assert play.got() == [("zoe", "a", 15)], "paused till Wednesday, so the Tuesday of the week after"


def test_a_sales_hold_stops_every_step_and_what_waits_goes_on_after_it(begin: Begin) -> None:
    play = begin(tour=HEAD + steps("mail:a", "wait: 1 day", "tag: b", "notify: sales\n    message: now", "mail:c"))
    play.change(t.lead, hold_until=MONDAY + timedelta(days=5), hold_reason="meeting")
    play.days(4)
    assert (play.told("tagged"), play.told("notified"), play.got()) == ([], [], [("zoe", "a", 0)])
    play.days(2)
    assert (play.told("tagged"), play.got()[1:]) == ([5], [("zoe", "c", 5)])


def test_an_automatic_reply_holds_its_own_enrollment_until_the_reader_is_back(begin: Begin) -> None:
    other = HEAD + "concurrent: true\n" + steps("wait: 1 day", "mail:z")
    play = begin(tour=HEAD + steps("mail:a", "wait: 1 day", "mail:b", "wait: 1 day", "mail:c"), other=other)
    (tour,) = [row.id for row in play.world.rows(t.enrollment, "id", "cadence") if row.cadence == "tour"]
    play.hours(12)
    play.happens("auto replied", enrollment=tour)
    play.days(5.5)
    assert play.got() == [("zoe", "a", 0), ("zoe", "z", 1), ("zoe", "b", 5.5)]
    back = (play.world.clock() + timedelta(days=9)).isoformat()
    play.happens("auto replied", enrollment=tour, props={"until": back})
    play.days(10)
    assert play.got()[3:] == [("zoe", "c", 15)]


def test_an_enroll_step_heeds_the_limits_of_the_other_cadence(begin: Begin) -> None:
    second = HEAD.replace('segment: stage == "lead"\nenroll: current_and_future\n', "")
    limited = second + "concurrent: true\nenroll_limit: 1 per day\n" + steps("mail:x", "wait: 30 days")
    full = second + "concurrent: true\naccount: {at_once: 1}\n" + steps("mail:y", "wait: 2 days")
    first = HEAD + steps("enroll: limited", "enroll: full")
    play = begin("ada", "bob", domain="corp.example", first=first, limited=limited, full=full)
    play.days(4)
    assert [row for row in play.got() if row[1] == "x"] == [("ada", "x", 0), ("bob", "x", pytest.approx(1, abs=0.05))]
    assert [row for row in play.got() if row[1] == "y"] == [("ada", "y", 0), ("bob", "y", pytest.approx(2, abs=0.05))]


@pytest.mark.parametrize("sign", ["clicked", "form submitted", "page viewed"])
def test_who_was_let_go_as_cold_is_written_to_again_after_a_sign_of_life(begin: Begin, sign: str) -> None:
    play = begin(tour=HEAD + steps("sunset: no sign of life"))

    def is_cold() -> bool:
        with play.world.database.reading() as connection:
            return connection.scalar(select(t.suppression.c.lifted_at)) is None

    play.days(1)
    play.happens("auto replied")
    assert is_cold()
    play.happens(sign)
    assert not is_cold()


def test_exits_act_on_mail_that_waits_for_a_server(begin: Begin) -> None:
    play = begin(tour=HEAD + "exit: days_since(created_at) >= 1\n" + steps("mail:a", "wait: 9 days"))
    play.world.hop.refuse["zoe@example.com"] = GREY
    play.change(t.message, status="deferred", not_before=MONDAY + timedelta(hours=1))
    play.world.hop.kept.clear()
    play.hours(20)
    play.world.hop.refuse.clear()
    play.change(t.message, not_before=MONDAY + timedelta(hours=25))
    play.hours(8)
    assert play.got() == []
    assert play.enrollments() == [(1, "tour", "exited", "condition")]


def test_a_colleagues_deal_ends_or_holds_mail_that_waits(begin: Begin) -> None:
    head = HEAD + "account: {won: exit, hold: pause_colleagues}\n"
    play = begin("ada", "bob", domain="corp.example", tour=head + steps("wait: 1 day", "mail:a", "wait: 5 days"))
    play.world.hop.refuse["ada@corp.example"] = GREY
    play.days(1.1)
    play.happens("meeting booked", lead=2)
    play.world.hop.refuse.clear()
    play.days(1)
    assert [name for name, _, _ in play.got()] == ["bob"], play.got()
    with play.world.database.transaction() as connection:
        customer = {"stage": "customer", "stage_at": play.world.clock()}
        connection.execute(update(t.lead).where(t.lead.c.id == 2).values(customer))
    play.happens("deal won", lead=2)
    assert play.enrollments()[0] == (1, "tour", "exited", "account_won")


def test_colleagues_are_let_go_with_the_lead_that_was_lost(begin: Begin) -> None:
    head = HEAD + "account: {hold: pause_colleagues}\n"
    play = begin("ada", "bob", domain="corp.example", tour=head + steps("wait: 2 days", "mail:a"))
    play.days(1)
    play.happens("deal opened", lead=2)
    play.days(2)
    assert play.got() == []
    play.happens("deal lost", lead=2)
    assert [name for name, _, _ in play.got()] == ["ada", "bob"] or [name for name, _, _ in play.got()] == ["ada"]
    assert play.got()[0] == ("ada", "a", 3)


def test_the_cap_of_one_step_excuses_no_other_for_being_late(begin: Begin) -> None:
    config = '\n[limits]\nper_lead = ["1 per day"]\n'
    moment = "wait_until: 2026-10-20 09:00"
    play = begin(tour=HEAD + steps("mail:a", "mail:b", moment, "mail:d"), config=config)
    play.days(3)
    assert [subject for _, subject, _ in play.got()] == ["a", "b"]
    assert len(play.told("skipped_late")) == 1


@pytest.mark.parametrize("head", ["exit: days_since(created_at) > 3\n", "goal: days_since(created_at) > 3\n"])
def test_an_exit_that_time_alone_brings_acts_while_a_step_waits(begin: Begin, head: str) -> None:
    play = begin(tour=HEAD + head + steps("mail:a", "wait: 10 days", "mail:b"))
    play.days(4)
    rows: list[datetime] = [row.ended_at for row in play.world.rows(t.enrollment, "ended_at")]
    assert rows[0] is not None
    assert timedelta(days=3) < rows[0] - MONDAY <= timedelta(days=3, hours=1)


def test_a_wait_is_over_when_time_alone_makes_its_condition_true(begin: Begin) -> None:
    play = begin(tour=HEAD + steps("wait_for: days_since(created_at) > 3\n    up_to: 10 days", "mail:b"))
    play.days(4)
    ((name, subject, day),) = play.got()
    assert (name, subject) == ("zoe", "b")
    assert 3 < day <= 3.05


def test_nobody_enters_by_a_step_whom_the_other_cadence_would_not_take(begin: Begin) -> None:
    second = HEAD.replace('segment: stage == "lead"\nenroll: current_and_future\n', "") + "concurrent: true\n"
    play = begin(first=HEAD + steps("enroll: done"), done=second + 'goal: stage == "lead"\n' + steps("mail:x"))
    assert play.enrollments() == [(1, "first", "completed", None)]


def test_files_that_check_calls_wrong_are_not_taken_up(begin: Begin) -> None:
    from nurture.authoring.check import load_sound_workspace

    play = begin(tour=HEAD + steps("mail:a"))
    root = play.world.installation.root
    assert load_sound_workspace(root).cadences.keys() == {"tour"}
    template = root / "templates" / "email" / "hello.mjml"
    for broken, why in (
        (template.read_text().replace("Hello", "{{ lead.frist_name }}"), "frist_name"),
        (template.read_text().replace("{{ unsubscribe_url }}", "#"), "unsubscribe"),
    ):
        before = template.read_text()
        template.write_text(broken)
        with pytest.raises(Problem, match=why):
            load_sound_workspace(root)
        template.write_text(before)


def test_who_unsubscribed_and_then_asks_gets_what_was_asked_for_and_no_more(begin: Begin) -> None:
    head = "name: Guide\ntrigger: {event: form submitted}\nwindow: any\nreentry: each_event\n"
    given = "email: hello\n    id: guide\n    subject: guide\n    transactional: delivery"
    play = begin(guide=head + steps(given, "mail:more"), news=head + steps("mail:news"))
    play.happens("unsubscribed")
    play.hours(1)
    play.happens("form submitted")
    assert [subject for _, subject, _ in play.got()] == ["guide"]
    assert play.enrollments() == [(1, "guide", "exited", "unsubscribed")]
    play.happens("complained")
    play.happens("form submitted")
    assert len(play.got()) == 1, "nobody is written to who called it spam"
    assert b"List-Unsubscribe" not in play.world.hop.kept[0].wire
