"""The acceptance workspace and list, unchanged, for a month: the right mail, in its window, on its branch, once.

What should have happened is computed here from the rules in plain words, not by the engine's own code.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from sqlalchemy import select

from nurture.domain.event import EventName
from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.store import tables as t
from nurture.store.events import NewEvent, record_event
from tests.receiving import receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

MONDAY = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
EXPECTED = {"rows": 2008, "valid": 1868, "updated_duplicates": 40}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("month")
    with pytest.MonkeyPatch.context() as patch, receiving(folder / "mail") as receiver:
        patch.setenv("NURTURE_SECRET_KEY", SECRET)
        root = copy_acceptance(folder / "workspace", smtp_port=receiver.port)
        running = start(root, at=MONDAY)
        request = ImportRequest(path=root / "leads-hubspot.csv", source="hubspot")
        report = import_leads(running.installation.database, request, now=running.clock())
        assert {name: getattr(report, name) for name in EXPECTED} == EXPECTED
        for hour in range(30 * 24 // 2):
            running.advance(hours=2)
            if hour % 12 == 6:
                click_some(running)
            assert running.once().sent == 0, "a second look at the same moment sends nothing"
        yield running, receiver.received()


def click_some(running: Running) -> None:
    """Every third reader clicks what it got within a day."""
    now = running.clock()
    with running.installation.database.transaction() as connection:
        m = t.message.c
        rows = connection.execute(
            select(m.id, m.lead_id, m.enrollment_id, m.cadence, m.step).where(
                m.status == "sent", m.sent_at > now - timedelta(days=1), m.lead_id % 3 == 0
            )
        ).all()
        for row in rows:
            click = NewEvent(
                lead_id=row.lead_id,
                kind=EventName.CLICKED.value,
                at=now,
                source="test",
                source_id=str(row.id),
                message_id=row.id,
                enrollment_id=row.enrollment_id,
                cadence=row.cadence,
                step=row.step,
            )
            record_event(connection, click, now=now)


def sends(running: Running) -> dict[int, list[tuple[str, str, datetime]]]:
    by_lead = defaultdict(list)
    with running.installation.database.reading() as connection:
        m = t.message.c
        rows = connection.execute(
            select(m.lead_id, m.cadence, m.step, m.sent_at)
            .where(m.status == "sent", m.kind == "step")
            .order_by(m.sent_at, m.id)
        )
        for row in rows:
            by_lead[row.lead_id].append((row.cadence, row.step, row.sent_at))
    return by_lead


def leads(running: Running) -> dict[int, dict[str, object]]:
    with running.installation.database.reading() as connection:
        return {row["id"]: dict(row) for row in connection.execute(select(t.lead)).mappings()}


def clicks(running: Running) -> set[tuple[int, str]]:
    with running.installation.database.reading() as connection:
        e = t.event.c
        rows = connection.execute(select(e.lead_id, e.step).where(e.kind == "clicked"))
        return {(row.lead_id, row.step) for row in rows}


def test_everything_sent_arrived_once(month) -> None:
    running, received = month
    headers = [each["message_id"] for each in received]
    assert len(headers) == len(set(headers))
    assert sum(len(each) for each in sends(running).values()) == len(
        [each for each in received if not str(each["to"]).endswith("@acme.example")]
    )


def test_no_step_twice_for_anyone(month) -> None:
    running, _ = month
    for lead_id, found in sends(running).items():
        steps = [(cadence, step) for cadence, step, _ in found]
        assert len(steps) == len(set(steps)), (lead_id, steps)


def test_every_mail_lies_in_its_readers_window(month) -> None:
    running, _ = month
    people = leads(running)
    for lead_id, found in sends(running).items():
        zone = people[lead_id]["timezone"]
        if zone is None:
            continue
        for _, step, at in found:
            local = at.astimezone(ZoneInfo(str(zone)))
            assert local.isoweekday() <= 5, (lead_id, step, local)
            assert 9 <= local.hour < 17, (lead_id, step, local)
            country = people[lead_id]["country"]
            if country in holidays.list_supported_countries():
                assert local.date() not in holidays.country_holidays(str(country)), (lead_id, country, local)


def test_nobody_got_more_than_the_caps_allow(month) -> None:
    running, _ = month
    for found in sends(running).values():
        times = [at for _, _, at in found]
        for place, at in enumerate(times):
            for count, days in ((1, 1), (3, 7), (8, 30)):
                within = [each for each in times[: place + 1] if each > at - timedelta(days=days)]
                assert len(within) <= count


def test_readers_are_in_the_cadence_of_their_segment(month) -> None:
    running, _ = month
    with running.installation.database.reading() as connection:
        tagged = set(connection.scalars(select(t.lead_tag.c.lead_id).where(t.lead_tag.c.tag == "guide")))
        stages = dict(connection.execute(select(t.stage_history.c.lead_id, t.stage_history.c.after)).all())
    assert stages
    for lead_id, found in sends(running).items():
        expected = "guide-followup" if lead_id in tagged else "welcome"
        assert {cadence for cadence, _, _ in found} == {expected}, lead_id


def test_the_branch_follows_the_click(month) -> None:
    running, _ = month
    clicked = clicks(running)
    followed = 0
    for lead_id, found in sends(running).items():
        steps = {step: at for cadence, step, at in found if cadence == "guide-followup"}
        if "case" in steps or "intro-again" in steps:
            followed += 1
            assert ("case" in steps) is ((lead_id, "intro") in clicked)
            assert not ("case" in steps and "intro-again" in steps)
            second = steps.get("case") or steps["intro-again"]
            assert second - steps["intro"] >= timedelta(days=3)
    assert followed > 300


def test_everyone_under_way_was_reached_and_every_enrollment_ends_or_has_a_next_date(month) -> None:
    running, _ = month
    with running.installation.database.reading() as connection:
        e = t.enrollment.c
        rows = connection.execute(select(e.status, e.due_at, e.message_id, e.lead_id)).all()
    reached = sends(running)
    assert len(rows) > 1500
    for row in rows:
        assert row.status in ("completed", "exited") or row.due_at is not None or row.message_id is not None
    missing = [row.lead_id for row in rows if row.lead_id not in reached]
    assert missing == []


def test_a_click_promoted_those_who_fit(month) -> None:
    running, _ = month
    with running.installation.database.reading() as connection:
        moved = connection.execute(
            select(t.stage_history.c.lead_id, t.stage_history.c.because).where(t.stage_history.c.after == "mql")
        ).all()
    assert moved
    clicked = clicks(running)
    by_step = [row.lead_id for row in moved if row.because.startswith("guide-followup/")]
    assert by_step
    assert all((lead_id, "case") in clicked for lead_id in by_step)
