"""A task reaches one rep in the rep's hours, is reminded of once, and is closed once; alerts reach channels as well."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from nurture.content.tokens import Purpose
from nurture.domain.problem import Problem
from nurture.domain.windows import parse_window
from nurture.pipeline.task_answers import Closing, answer_task
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.alerts import raise_alert
from nurture.store.consents import NewConsent, give_consent
from nurture.store.erasure import erase_lead
from nurture.store.posts import NewPost, queue_posts
from nurture.store.tasks import NewTask, open_tasks, task_statuses, task_view
from tests.pipeline.lifecycle_story import MONDAY, SETTINGS, Story, the_settings
from tests.pipeline.test_hand_over import an_alert

OFFICE = parse_window({"days": "mon-fri", "hours": "09:00-18:00", "timezone": "rep"})


def a_task(story: Story, lead_id: int, **changes: Any) -> int:
    known = {
        "task_key": f"{lead_id}:call:{len(story.rows(t.task))}",
        "lead_id": lead_id,
        "enrollment_id": None,
        "cadence": "mofu",
        "step": "call",
        "kind": "call",
        "text": "Call about the calculator",
        "to": "owner",
        "due_at": None,
    }
    with story.database.transaction() as connection:
        open_tasks(connection, [NewTask(**(known | changes))], now=story.now)
    return int(story.rows(t.task)[-1].id)


def close(story: Story, task_id: int, outcome: str, **said: str) -> Closing:
    told = {"rep": "ben", "note": "", "phone": ""} | said
    with story.database.transaction() as connection:
        return answer_task(connection, task_id, outcome=outcome, now=story.now, **told)


def with_channels(**alerts: dict[str, str]) -> Settings:
    return Settings.model_validate(SETTINGS | {"alerts": alerts})


ROOM = {"kind": "slack", "url": "https://hooks.example.com/services/x"}
CRM = {"kind": "webhook", "url": "https://crm.example.com/hook"}


# --- given and told


def test_one_step_gives_one_task_and_its_status_is_found(story: Story) -> None:
    zoe = story.lead()
    for text in ("first", "second"):
        a_task(story, zoe, task_key="7:call:1", text=text)
    assert [row.text for row in story.rows(t.task)] == ["first"]
    keys = ["7:call:1", "unknown", *(f"x{number}" for number in range(1_200))]
    with story.database.reading() as connection:
        assert task_statuses(connection, keys) == {"7:call:1": "open"}


def test_the_owner_gets_one_mail(story: Story) -> None:
    zoe = story.lead(owner="ben")
    task_id = a_task(story, zoe)
    assert story.hand_over().tasks_told == 1
    row = story.row(t.task, task_id)
    assert (row.rep, row.told_at, row.status) == ("ben", story.now, "open")
    (mail,) = story.rows(t.message)
    assert (mail.kind, mail.to_address, mail.intent_key, mail.payload, mail.lead_id) == (
        "alert",
        "ben@acme.example",
        f"task:{task_id}",
        {"alert": f"task:{task_id}"},
        zoe,
    )


def test_without_an_owner_it_goes_to_whom_has_least_to_do_by_weight_and_the_lead_with_it(story: Story) -> None:
    tasks = []
    for number in range(6):
        tasks.append(a_task(story, story.lead(f"lead{number}")))
        story.hand_over()
    given = Counter(row.rep for row in story.rows(t.task))
    assert given == {"chloe": 4, "ben": 2}  # Chloé counts twice
    assert Counter(row.owner for row in story.rows(t.lead)) == given
    for row in story.rows(t.task, rep="chloe"):
        close(story, row.id, "done", rep="chloe")
    a_task(story, story.lead("more"))
    story.hand_over()
    assert story.rows(t.task)[-1].rep == "chloe"


def test_it_follows_a_name_a_territory_and_an_absence_as_alerts_do(story: Story) -> None:
    named = a_task(story, story.lead("one", owner="chloe"), to="ben")
    french = a_task(story, story.lead("two", country="FR"), to="sales")
    story.settings = the_settings(chloe={"away": ["2026-11-02 to 2026-11-06"]})
    stood_in = a_task(story, story.lead("three", owner="chloe"))
    story.hand_over()
    assert [story.row(t.task, each).rep for each in (named, french, stood_in)] == ["ben", "chloe", "ben"]
    assert [row.owner for row in story.rows(t.lead)] == ["chloe", "chloe", "chloe"]


def test_two_tasks_of_one_lead_go_to_one_rep(story: Story) -> None:
    zoe = story.lead()
    for _ in range(3):
        a_task(story, zoe)
    story.hand_over()
    assert len({row.rep for row in story.rows(t.task)}) == 1


def test_a_task_waits_for_the_reps_hours_and_holds_nobody_up(story: Story) -> None:
    story.with_rules(alert_hours=OFFICE)
    story.settings = the_settings(ben={"timezone": "America/New_York"})
    waiting = [a_task(story, story.lead(f"lead{number}", owner="ben")) for number in range(205)]
    at_once = a_task(story, story.lead("last", owner="chloe"))
    assert story.hand_over().tasks_told == 1
    assert story.row(t.task, at_once).told_at == MONDAY
    story.now = datetime(2026, 11, 2, 14, tzinfo=UTC)  # nine in New York
    assert story.hand_over().tasks_told == len(waiting)


def test_without_reps_a_task_waits_until_there_is_one(story: Story) -> None:
    story.with_rules(routing=())
    everybody, story.settings = story.settings, story.settings.model_copy(update={"reps": {}})
    a_task(story, story.lead())
    assert story.hand_over().tasks_told == 0
    story.settings = everybody
    assert story.hand_over().tasks_told == 1


def test_of_an_erased_lead_nobody_is_told_and_nothing_is_kept(story: Story) -> None:
    zoe = story.lead(owner="ben")
    closed = a_task(story, zoe)
    story.hand_over()
    close(story, closed, "no answer", note="her husband answered")
    a_task(story, zoe, text="Ask Zoë again")
    post = NewPost(post_key="k", channel="crm", lead_id=zoe, kind="cadence.step", body={"lead": {"first_name": "Zoë"}})
    with story.database.transaction() as connection:
        queue_posts(connection, [post], now=story.now)
        erase_lead(connection, "zoe@zoe.example", secret="s", now=story.now)
    assert story.hand_over().tasks_told == 0
    assert [(row.status, row.text, row.note) for row in story.rows(t.task)] == [
        ("no answer", "", None),
        ("canceled", "", None),
    ]
    assert [(row.status, row.body) for row in story.rows(t.post)] == [("failed", {})]


def test_a_task_whose_lead_is_gone_before_anybody_is_told_is_canceled(story: Story) -> None:
    untold = a_task(story, story.lead())
    with story.database.transaction() as connection:
        connection.execute(update(t.lead).values(email="", email_domain=""))
    assert story.hand_over().tasks_told == 0
    assert story.row(t.task, untold).status == "canceled"


def test_one_reminder_when_it_is_due_in_office_hours(story: Story) -> None:
    story.with_rules(alert_hours=OFFICE)
    due_at = datetime(2026, 11, 3, 19, tzinfo=UTC)  # a Tuesday evening
    task_id = a_task(story, story.lead(owner="ben"), due_at=due_at)
    done = a_task(story, story.lead("done", owner="ben"), due_at=due_at)
    timeless = a_task(story, story.lead("timeless", owner="ben"))
    story.hand_over()
    close(story, done, "done")
    story.now = due_at
    assert story.hand_over().tasks_reminded == 0
    story.now = datetime(2026, 11, 4, 8, 30, tzinfo=UTC)
    assert story.hand_over().tasks_reminded == 1
    story.later(days=1)
    assert story.hand_over().tasks_reminded == 0
    keys = [mail.intent_key for mail in story.rows(t.message)]
    assert keys == [f"task:{task_id}", f"task:{done}", f"task:{timeless}", f"task:{task_id}:due"]


def test_a_task_that_was_due_before_it_could_be_told_is_told_once(story: Story) -> None:
    a_task(story, story.lead(owner="ben"), due_at=MONDAY - timedelta(hours=1))
    report = story.hand_over()
    assert (report.tasks_told, report.tasks_reminded) == (1, 0)


# --- closed


def an_enrollment(story: Story, lead_id: int) -> int:
    row = {
        "lead_id": lead_id,
        "cadence": "mofu",
        "version": "v",
        "run": "1",
        "status": "active",
        "priority": 50,
        "concurrent": False,
        "visit": 1,
        "enrolled_at": story.now,
        "due_at": story.now + timedelta(days=14),
    }
    with story.database.transaction() as connection:
        made = insert(t.enrollment).values(row).returning(t.enrollment.c.id)
        return int(connection.execute(made).scalar_one())


def test_a_done_call_makes_the_lead_contacted_and_wakes_its_cadences(story: Story) -> None:
    zoe = story.lead(owner="ben")
    enrollment, task_id = an_enrollment(story, zoe), a_task(story, zoe)
    story.later(hours=2)
    assert close(story, task_id, "done", note=" spoke for an hour \x00") == Closing(
        result="taken", status="done", by="ben"
    )
    row = story.row(t.task, task_id)
    assert (row.status, row.closed_at, row.closed_by, row.note) == ("done", story.now, "ben", "spoke for an hour")
    assert story.row(t.lead, zoe).contacted_at == story.now
    assert story.row(t.enrollment, enrollment).due_at == story.now
    with story.database.reading() as connection:
        assert task_statuses(connection, [row.task_key]) == {row.task_key: "done"}


def test_a_second_answer_changes_nothing_and_says_what_stands(story: Story) -> None:
    zoe = story.lead(phone="+49301234567")
    task_id = a_task(story, zoe)
    close(story, task_id, "no answer", rep="ben")
    for outcome in ("no answer", "done", "wrong number"):
        again = close(story, task_id, outcome, rep="chloe", phone="+49301234567")
        assert again == Closing(result="stands", status="no answer", by="ben")
    lead = story.row(t.lead, zoe)
    assert (lead.contacted_at, lead.phone) == (None, "+49301234567")
    assert close(story, 4711, "done") == Closing(result="gone")


@pytest.mark.parametrize(("kind", "outcome", "contacted"), [("call", "no answer", False), ("email", "done", False)])
def test_only_a_call_that_is_done_makes_contact(story: Story, kind: str, outcome: str, contacted: bool) -> None:
    zoe = story.lead()
    close(story, a_task(story, zoe, kind=kind), outcome)
    assert (story.row(t.lead, zoe).contacted_at is not None) is contacted


def test_a_wrong_number_goes_and_is_kept_in_the_note(story: Story) -> None:
    zoe = story.lead(phone="+49301234567", phone_verified_at=MONDAY, rescore=False)
    close(story, a_task(story, zoe), "wrong number", phone="+49301234567", note="A bakery.")
    lead = story.row(t.lead, zoe)
    assert (lead.phone, lead.phone_verified_at, lead.rescore) == (None, None, True)
    assert story.rows(t.task)[0].note == "A bakery. The number was +49301234567."


def test_a_number_that_was_corrected_meanwhile_stays(story: Story) -> None:
    zoe = story.lead(phone="+49307654321")
    close(story, a_task(story, zoe), "wrong number", phone="+49301234567")
    assert story.row(t.lead, zoe).phone == "+49307654321"


@pytest.mark.parametrize(("kind", "outcome"), [("call", "nonsense"), ("call", "open"), ("email", "wrong number")])
def test_another_outcome_is_no_outcome(story: Story, kind: str, outcome: str) -> None:
    task_id = a_task(story, story.lead(), kind=kind)
    with pytest.raises(Problem, match="say how it ended: one of done"):
        close(story, task_id, outcome)
    assert story.row(t.task, task_id).status == "open"


def test_what_may_be_done_is_seen_as_it_is_now(story: Story) -> None:
    zoe = story.lead(phone="+49301234567")
    task_id = a_task(story, zoe)

    def seen() -> tuple[bool, bool]:
        with story.database.reading() as connection:
            view = task_view(connection, task_id, now=story.now)
        assert view is not None
        return view.may_call, view.may_write

    assert seen() == (False, True)
    with story.database.transaction() as connection:
        give_consent(connection, zoe, NewConsent(kind="phone", text="Call me", source="form"), now=story.now)
        suppressed = {"address_key": "zoe@zoe.example", "reason": "unsubscribed", "at": story.now}
        connection.execute(insert(t.suppression).values(suppressed))
    assert seen() == (True, False)


# --- channels


def test_a_step_names_a_room_and_nobody_is_routed(story: Story) -> None:
    story.settings = with_channels(room=ROOM, crm=CRM)
    zoe = story.lead(first_name="<!channel>", company="A & B")
    alert_id = an_alert(story, zoe, rule="mofu/hot", reason="Read @here twice", to="room")
    notice = an_alert(story, zoe, rule="mofu/tell", reason="x", message="Look at <this>", to="room", answerable=False)
    machine = an_alert(story, zoe, rule="mofu/sync", reason="x", message="m", to="crm", answerable=False)
    assert story.hand_over().told == 3
    assert story.rows(t.message) == []
    rows = [story.row(t.alert, each) for each in (alert_id, notice, machine)]
    assert [(row.rep, row.channel, row.routed_by) for row in rows] == [
        ("", "room", "channel"),
        ("", "room", "channel"),
        ("", "crm", "channel"),
    ]
    assert story.row(t.lead, zoe).owner is None
    posts = {row.post_key: row for row in story.rows(t.post)}
    assert set(posts) == {f"alert:{alert_id}:room", f"alert:{notice}:room", f"alert:{machine}:crm"}
    text = posts[f"alert:{alert_id}:room"].body["text"]
    assert "&lt;!channel&gt;" in text
    assert "<!channel>" not in text
    assert "A &amp; B" in text
    assert "• Read @\u200bhere twice" in text
    link = text.rpartition("<https://mail.acme.example/a/")[2]
    token, _, label = link.rstrip(">").partition("|")
    assert label == "Answer"
    assert story.tokens.read(Purpose.ALERT, token) == f"{alert_id}~c"
    assert posts[f"alert:{notice}:room"].body["text"].startswith("Look at &lt;this&gt;\n")
    facts = posts[f"alert:{machine}:crm"]
    assert facts.kind == "alert.notice"
    assert facts.body["lead"]["company"] == "A & B"
    assert facts.body["alert"]["answer_url"] is None


def test_the_lifecycles_channels_hear_of_alerts_beside_the_reps_mail(story: Story) -> None:
    story.settings = with_channels(room=ROOM, crm=CRM)
    story.with_rules(alert_channels=("email", "room", "crm"))
    zoe = story.lead(owner="ben", phone="+49301234567")
    alert_id = an_alert(story, zoe)
    an_alert(story, zoe, answerable=False, message="for the rep alone")
    story.hand_over()
    assert len(story.rows(t.message)) == 2
    posts = {row.channel: row for row in story.rows(t.post)}
    assert set(posts) == {"room", "crm"}
    assert "no permission to call" in posts["room"].body["text"]
    assert "Given to Ben Okafor." in posts["room"].body["text"]
    assert posts["crm"].kind == "alert.told"
    said = posts["crm"].body["alert"]
    assert (said["id"], said["rep"], said["rep_email"]) == (alert_id, "ben", "ben@acme.example")
    story.answer(alert_id, "snooze", rep="ben")
    story.later(days=1)
    story.hand_over()
    assert [row.post_key for row in story.rows(t.post, channel="crm")] == [
        f"alert:{alert_id}:crm",
        f"alert:{alert_id}:2:crm",
    ]


def test_without_email_among_the_channels_only_whom_a_step_names_is_mailed(story: Story) -> None:
    story.settings = with_channels(room=ROOM)
    story.with_rules(alert_channels=("room",))
    an_alert(story, story.lead("one", owner="ben"))
    an_alert(story, story.lead("two", owner="ben"), to="chloe")
    story.hand_over()
    assert [mail.to_address for mail in story.rows(t.message)] == ["chloe@acme.example"]
    assert len(story.rows(t.post)) == 2


def test_a_room_is_told_in_the_workspaces_hours(story: Story) -> None:
    story.settings = with_channels(room=ROOM)
    story.with_rules(alert_hours=OFFICE)
    story.now = datetime(2026, 11, 2, 7, 30, tzinfo=UTC)  # half past eight in Berlin
    an_alert(story, story.lead(), to="room")
    assert story.hand_over().told == 0
    story.later(minutes=30)
    assert story.hand_over().told == 1


def test_who_snoozed_an_alert_of_a_room_is_reminded_alone(story: Story) -> None:
    story.settings = with_channels(room=ROOM)
    alert_id = an_alert(story, story.lead(), to="room")
    story.hand_over()
    story.answer(alert_id, "snooze", rep="chloe")
    story.later(days=1)
    assert story.hand_over().told == 1
    assert [mail.to_address for mail in story.rows(t.message)] == ["chloe@acme.example"]
    assert len(story.rows(t.post)) == 1


def test_a_channel_that_left_the_config_falls_back_to_routing(story: Story) -> None:
    alert_id = an_alert(story, story.lead(owner="ben"), to="room")
    story.hand_over()
    assert story.row(t.alert, alert_id).rep == "ben"


def test_an_alert_of_a_step_joins_the_open_one_and_whom_it_names_hears_of_it(story: Story) -> None:
    zoe = story.lead(owner="ben")
    standing = an_alert(story, zoe)
    story.hand_over()
    for to in ("sales", "ben", "chloe"):
        with story.database.transaction() as connection:
            joined = raise_alert(
                connection,
                zoe,
                rule="mofu/hot",
                reason="Read the cases",
                message="Read the cases",
                to=to,
                now=story.now,
            )
        assert joined is None
    assert story.row(t.alert, standing).reasons == ["score 80", "Read the cases"]
    assert story.hand_over().told == 1
    notice = story.rows(t.alert, status="notice")[-1]
    assert (notice.rep, notice.message, notice.to) == ("chloe", "Read the cases", "chloe")


def test_an_alert_of_a_step_goes_to_whom_it_names(story: Story) -> None:
    alert_id = an_alert(story, story.lead(owner="ben"), rule="mofu/hot", to="chloe")
    story.hand_over()
    assert story.row(t.alert, alert_id).rep == "chloe"
    assert story.answer(alert_id, "claim", rep="chloe").result == "taken"
