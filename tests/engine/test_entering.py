"""Who enters a cadence, when, and how often: triggers, bounds, limits, holdouts, companies, and what a person stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nurture.domain.event import Verdict
from nurture.domain.stages import MoveKind, Stage
from nurture.store import tables as t
from nurture.store.cadences import held_back, release
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import tag_lead
from nurture.store.pauses import ALL, cadence_scope, pause, resume, sender_scope
from nurture.store.stages import move_stage
from nurture.store.trials import take_up_trial
from tests.engine.world import MONDAY, World, add_leads, make_root, open_world, steps

Make = Callable[..., World]
LIVE = "segment: stage == 'lead'\nenroll: current_and_future\nwindow: any\n"


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[Make]:
    opened: list[World] = []

    def open_with(head: str, *said: str, config: str = "", leads: tuple[str, ...] = ("zoe",), **others: str) -> World:
        root = make_root(tmp_path / "workspace", url=database_url, config=config, tour=head + steps(*said), **others)
        world = open_world(root)
        if leads:
            add_leads(world.database, *leads)
        opened.append(world)
        return world

    yield open_with
    for world in opened:
        world.database.close()


def ids(world: World) -> dict[str, int]:
    return {row.email.partition("@")[0]: row.id for row in world.rows(t.lead, "email", "id")}


def happen(
    world: World, name: str, kind: str, *, source_id: str = "", verdict: Verdict = Verdict.HUMAN, **props: Any
) -> None:
    now = world.clock()
    with world.database.transaction() as connection:
        event = NewEvent(
            lead_id=ids(world)[name],
            kind=kind,
            at=now,
            source="test",
            source_id=source_id or f"{name}{kind}{now}",
            verdict=verdict,
            props=props,
        )
        record_event(connection, event, now=now)


def runs(world: World) -> list[tuple[str, str, str]]:
    """(lead, run, status) of each enrollment."""
    names = {lead_id: name for name, lead_id in ids(world).items()}
    return [(names[row.lead_id], row.run, row.status) for row in world.rows(t.enrollment, "lead_id", "run", "status")]


ON_TRIAL = "trigger: {event: trial started, where: 'event.plan == \"pro\"'}\nwindow: any\n"


def test_an_event_that_meets_the_condition_starts_one_run(make: Make) -> None:
    world = make(ON_TRIAL, "mail:a", leads=("zoe", "max", "bot"))
    happen(world, "zoe", "trial started", plan="pro")
    happen(world, "max", "trial started", plan="team")
    happen(world, "bot", "trial started", plan="pro", verdict=Verdict.MACHINE)
    world.once()
    happen(world, "zoe", "trial started", plan="pro", source_id="again")
    world.advance(days=1)
    assert runs(world) == [("zoe", "1", "completed")]
    assert world.hop.arrived == [("zoe", "a")]


def test_both_segment_and_trigger_must_hold(make: Make) -> None:
    world = make("segment: tag('guide')\n" + ON_TRIAL, "mail:a")
    happen(world, "zoe", "trial started", plan="pro")
    world.once()
    assert runs(world) == []
    with world.database.transaction() as connection:
        connection.execute(t.lead_tag.insert().values(lead_id=ids(world)["zoe"], tag="guide"))
    world.once()
    assert runs(world) == [("zoe", "1", "completed")]


def test_only_future_takes_no_event_from_before_and_none_that_is_old(make: Make) -> None:
    world = make("trigger: {event: trial started}\nwindow: any\n", "mail:a", leads=("zoe", "max"))
    past = world.clock() - timedelta(days=1)
    with world.database.transaction() as connection:
        event = NewEvent(lead_id=ids(world)["zoe"], kind="trial started", at=past, source="test", source_id="before")
        record_event(connection, event, now=world.clock())
        connection.execute(
            update(t.lead).where(t.lead.c.id == ids(world)["max"]).values(hold_until=MONDAY + timedelta(days=40))
        )
    happen(world, "max", "trial started")
    world.once()
    world.advance(days=41)
    assert runs(world) == [], "the hold outlasted the event"


def test_each_event_starts_a_run_of_its_own(make: Make) -> None:
    world = make("trigger: {event: webinar registered}\nreentry: each_event\nwindow: any\n", "mail:a", "wait: 3 days")
    happen(world, "zoe", "webinar registered", source_id="first")
    world.once()
    world.advance(days=1)
    happen(world, "zoe", "webinar registered", source_id="second")
    world.once()
    assert [(lead, status) for lead, _, status in runs(world)] == [("zoe", "active"), ("zoe", "paused")]
    world.advance(days=2)
    world.advance(days=4)
    assert [status for _, _, status in runs(world)] == ["completed", "completed"]
    assert world.hop.arrived == [("zoe", "a")] * 2


def test_a_lead_comes_again_after_the_stated_time(make: Make) -> None:
    world = make(LIVE + "reentry: after 30 days\n", "mail:a")
    world.once()
    world.advance(days=29)
    assert len(runs(world)) == 1
    world.advance(days=2)
    assert runs(world) == [("zoe", "1", "completed"), ("zoe", "2", "completed")]
    assert world.hop.arrived == [("zoe", "a")] * 2


def test_a_single_mailing_goes_to_who_is_there_when_it_starts(make: Make) -> None:
    head = "segment: stage == 'lead'\nenroll: only_current\nstarts: 2026-11-03\nwindow: any\n"
    world = make(head, "mail:a")
    world.once()
    assert runs(world) == []
    add_leads(world.database, "max")
    world.advance(days=1)
    add_leads(world.database, "late")
    world.advance(days=1)
    assert sorted(lead for lead, _, _ in runs(world)) == ["max", "zoe"]


def test_nobody_enters_after_the_end_and_who_is_in_goes_on(make: Make) -> None:
    world = make(LIVE + "ends: 2026-11-02\n", "wait: 3 days", "mail:a")
    world.once()
    world.advance(days=1)
    add_leads(world.database, "late")
    world.advance(days=4)
    assert runs(world) == [("zoe", "1", "completed")]


def test_a_limit_lets_so_many_in_and_the_latest_engaged_first(make: Make) -> None:
    world = make(LIVE + "enroll_limit: 2 per day\n", "wait: 90 days", leads=("a", "b", "c", "d", "e"))
    with world.database.transaction() as connection:
        late = update(t.lead).where(t.lead.c.id == ids(world)["d"])
        connection.execute(late.values(last_engaged_at=MONDAY - timedelta(days=1)))
    world.once()
    world.once()
    assert [lead for lead, _, _ in runs(world)] == ["d", "a"]
    world.advance(hours=23)
    assert len(runs(world)) == 2
    world.advance(hours=2)
    assert len(runs(world)) == 4


def test_a_holdout_is_drawn_once_and_never_mailed(make: Make) -> None:
    names = tuple(f"lead{number}" for number in range(200))
    world = make(LIVE + "holdout: 25%\n", "mail:a", leads=names)
    world.once()
    world.advance(days=1)
    held = world.decisions()["held_out"]
    assert 25 <= held <= 75, "a quarter of two hundred, more or less"
    assert len(runs(world)) == 200 - held == len(world.hop.arrived)


def test_of_one_company_only_so_many_are_written_to_at_once(make: Make) -> None:
    world = make(LIVE + "account: {at_once: 2}\n", "mail:a", "wait: 5 days", leads=())
    add_leads(world.database, "a", "b", "c", email_domain="acme.example")
    add_leads(world.database, "x", "y", "z", email_domain="gmail.com")
    world.once()
    assert sorted(lead for lead, _, _ in runs(world)) == ["a", "b", "x", "y", "z"]
    world.advance(days=6)
    world.once()
    assert sorted(lead for lead, _, _ in runs(world)) == ["a", "b", "c", "x", "y", "z"]


def test_what_sales_does_with_one_holds_the_colleagues_and_a_won_deal_ends_it(make: Make) -> None:
    head = LIVE + "account: {hold: pause_colleagues, won: exit}\n"
    world = make(head, "wait: 1 day", "mail:a", "wait: 9 days", "mail:b", leads=())
    add_leads(world.database, "a", "b", email_domain="acme.example")
    add_leads(world.database, "other", email_domain="other.example")
    world.once()
    with world.database.transaction() as connection:
        held = update(t.lead).where(t.lead.c.id == ids(world)["a"])
        connection.execute(held.values(hold_until=MONDAY + timedelta(days=3), hold_reason="claim"))
    world.advance(days=1)
    assert world.hop.arrived == [("other", "a")]
    world.advance(days=2)
    assert sorted(world.hop.arrived) == [("a", "a"), ("b", "a"), ("other", "a")]
    with world.database.transaction() as connection:
        move_stage(
            connection, ids(world)["a"], Stage.CUSTOMER, kind=MoveKind.PROMOTION, because="won", now=world.clock()
        )
    world.advance(days=9)
    ended = {row.lead_id: row.exit_reason for row in world.rows(t.enrollment, "lead_id", "exit_reason", "id")}
    assert [ended[ids(world)[name]] for name in ("a", "b", "other")] == ["stage", "account_won", None]


def test_what_is_paused_by_hand_stands_still_and_goes_on_without_being_late(make: Make) -> None:
    world = make(LIVE, "mail:a", "wait: 1 day", "mail:b")
    world.once()
    for scope in (cadence_scope("tour"), ALL, sender_scope("anna")):
        with world.database.transaction() as connection:
            assert pause(connection, scope, now=world.clock())
            assert not pause(connection, scope, now=world.clock())
    add_leads(world.database, "max")
    world.advance(days=10)
    assert world.hop.arrived == [("zoe", "a")]
    assert runs(world) == [("zoe", "1", "active")], "nobody enters"
    for scope in (cadence_scope("tour"), ALL):
        with world.database.transaction() as connection:
            assert resume(connection, scope, now=world.clock())
    world.once()
    assert world.hop.arrived == [("zoe", "a")], "the sender still rests; the mail waits for it"
    world.advance(days=5)
    with world.database.transaction() as connection:
        assert resume(connection, sender_scope("anna"), now=world.clock())
        assert not resume(connection, sender_scope("anna"), now=world.clock())
    world.once()
    assert sorted(world.hop.arrived) == [("max", "a"), ("zoe", "a"), ("zoe", "b")]


def test_mail_of_a_cadence_that_its_file_pauses_waits(make: Make) -> None:
    world = make(LIVE, "mail:a")
    world.stages.enroll()
    world.stages.advance()
    paused = LIVE + "status: paused\n" + steps("mail:a")
    world.edit(tour=paused)
    world.advance(days=10)
    assert world.hop.arrived == []
    world.edit(tour=LIVE + steps("mail:a"))
    world.once()
    assert world.hop.arrived == [("zoe", "a")]


def test_a_change_that_would_enroll_very_many_waits_for_a_person(make: Make) -> None:
    world = make(LIVE, "mail:a", config="[limits]\nenroll_at_once = 3\n", leads=("a", "b", "c", "d"))
    assert world.stages.enroll().enrolled == 0
    with world.database.transaction() as connection:
        assert held_back(connection) == {"tour": 4}
        assert release(connection, "tour") == 4
        assert release(connection, "tour") is None
    assert world.stages.enroll().enrolled == 4


def test_one_pass_by_hand_does_not_wait(make: Make) -> None:
    world = make(LIVE, "mail:a", config="[limits]\nenroll_at_once = 3\n", leads=("a", "b", "c", "d"))
    assert world.once().enrolled == 4


def test_a_paused_enrollment_takes_its_exits_at_once(make: Make) -> None:
    world = make(LIVE + "exit: tag('left')\n", "wait: 5 days", "mail:a")
    world.once()
    world.edit(first=LIVE + "priority: 90\n" + steps("wait: 9 days"))
    world.once()
    assert [status for _, _, status in runs(world)] == ["paused", "active"]
    with world.database.transaction() as connection:
        tag_lead(connection, ids(world)["zoe"], "left")
        wake_enrollments(connection, [ids(world)["zoe"]], now=world.clock())
    world.once()
    assert [status for _, _, status in runs(world)] == ["exited", "active"]


def test_max_pause_is_the_cadences_own(make: Make) -> None:
    world = make(LIVE + "max_pause: 2 days\n", "wait: 5 days", "mail:a")
    world.once()
    world.edit(first=LIVE + "priority: 90\n" + steps("wait: 9 days"))
    world.once()
    world.advance(days=1)
    assert [status for _, _, status in runs(world)] == ["paused", "active"]
    world.advance(days=2)
    ended = world.rows(t.enrollment, "status", "exit_reason", "id")[0]
    assert (ended.status, ended.exit_reason) == ("exited", "superseded")


def test_who_is_pinned_finishes_on_the_old_version_and_restart_begins_again(make: Make) -> None:
    world = make(LIVE + "on_edit: pin\n", "mail:a", "wait: 2 days", "mail:b")
    world.once()
    world.edit(tour=LIVE + "on_edit: pin\n" + steps("mail:a", "wait: 2 days", "mail:c"))
    add_leads(world.database, "max")
    world.once()
    world.advance(days=2)
    assert sorted(world.hop.arrived) == [("max", "a"), ("max", "c"), ("zoe", "a"), ("zoe", "b")]


def test_restart_repeats_no_message(make: Make) -> None:
    world = make(LIVE, "mail:a", "wait: 9 days", "mail:b")
    world.once()
    world.advance(days=1)
    world.edit(tour=LIVE + "on_edit: restart\n" + steps("mail:a", "wait: 1 day", "mail:c"))
    world.once()
    world.advance(days=1)
    assert world.hop.arrived == [("zoe", "a"), ("zoe", "c")]


def test_another_cadence_is_entered_by_a_step_once(make: Make) -> None:
    more = "window: any\npriority: 90\n" + steps("wait: 1 day", "mail:b")
    world = make(LIVE, "tag: x", "enroll: more", "mail:a", more=more)
    world.once()
    world.advance(days=2)
    world.advance(hours=1)
    assert [(lead, status) for lead, _, status in runs(world)] == [("zoe", "completed")] * 2
    assert sorted(world.hop.arrived) == [("zoe", "a"), ("zoe", "b")]
    assert world.decisions()["enrolled_in"] == 1


def mailed(world: World, lead: str, cadence: str = "tour") -> list[str]:
    return [subject for name, subject in world.hop.arrived if name == lead]


def test_a_change_with_a_canary_goes_ahead_for_the_first_and_then_for_all(make: Make) -> None:
    world = make(LIVE, "mail:a", "wait: 1 day", "mail:b")
    world.once()
    world.edit(tour=LIVE + "canary: 2\n" + steps("mail:a", "wait: 1 day", "mail:new"))
    add_leads(world.database, "one", "two", "three")
    world.once()
    world.advance(days=1)
    assert [mailed(world, lead) for lead in ("zoe", "one", "two", "three")] == [
        ["a", "b"],
        ["a", "new"],
        ["a", "new"],
        ["a", "b"],
    ]
    world.advance(days=3)
    world.once()
    add_leads(world.database, "four")
    world.once()
    world.advance(days=1)
    assert mailed(world, "four") == ["a", "new"], "nobody was harmed for three days: it is taken up for all"


def test_a_change_that_does_harm_is_stopped_and_a_person_decides(make: Make) -> None:
    old, new = tuple(f"old{number}" for number in range(60)), tuple(f"new{number}" for number in range(60))
    world = make(LIVE, "mail:a", "wait: 90 days", "mail:b", leads=old)
    world.once()
    changed = LIVE + "canary: 60\n" + steps("mail:worse", "wait: 2 days", "mail:worst")
    world.edit(tour=changed)
    add_leads(world.database, *new)
    world.once()
    assert len(world.hop.arrived) == 120
    with world.database.transaction() as connection:
        sent = {row.lead_id: row.id for row in connection.execute(t.message.select())}
    for number, lead in enumerate(new[:40]):
        with world.database.transaction() as connection:
            lead_id = ids(world)[lead]
            event = NewEvent(
                lead_id=lead_id,
                kind="bounced",
                at=world.clock(),
                source="test",
                source_id=str(number),
                message_id=sent[lead_id],
            )
            record_event(connection, event, now=world.clock())
    world.advance(days=2)
    world.once()
    assert len(world.hop.arrived) == 120, "those who are in it stand still"
    add_leads(world.database, "later")
    world.once()
    assert mailed(world, "later") == ["a"], "who comes now goes by what is in force"
    world.edit(tour=LIVE + "canary: 60\n" + steps("mail:worse", "wait: 2 days", "mail:better"))
    world.once()
    assert {subject for _, subject in world.hop.arrived[121:]} == {"better"}, "mended, they go on in the mended one"
    world.edit(tour=LIVE + steps("mail:a", "wait: 90 days", "mail:b"))
    world.once()
    running = [row.version for row in world.rows(t.enrollment, "version", "status", "id") if row.status == "active"]
    assert len(set(running)) == 1, "the file is as before: all go on by it"


def test_a_stopped_change_may_be_taken_up_by_hand(make: Make) -> None:
    world = make(LIVE, "mail:a", "wait: 1 day", "mail:b")
    world.once()
    world.edit(tour=LIVE + "canary: 5\n" + steps("mail:a", "wait: 1 day", "mail:new"))
    with world.database.transaction() as connection:
        assert take_up_trial(connection, "tour", now=world.clock())
        assert not take_up_trial(connection, "tour", now=world.clock())
    world.advance(days=1)
    assert mailed(world, "zoe") == ["a", "new"]
