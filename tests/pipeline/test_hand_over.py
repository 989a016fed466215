"""Alerts reach the right rep, in the rep's hours, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from nurture.domain.windows import parse_window
from nurture.store import tables as t
from nurture.store.alerts import raise_alert
from tests.pipeline.lifecycle_story import MONDAY, Story, the_settings

OFFICE = parse_window({"days": "mon-fri", "hours": "09:00-18:00", "timezone": "rep"})


def an_alert(story: Story, lead_id: int, **changes: object) -> int:
    said = {"rule": "hot", "reason": "score 80", "now": story.now} | changes
    with story.database.transaction() as connection:
        alert_id = raise_alert(connection, lead_id, **said)  # type: ignore[arg-type]  # a test's shorthand
    assert alert_id is not None
    return alert_id


def test_a_rep_gets_one_mail_and_the_lead(story: Story) -> None:
    zoe = story.lead()
    alert_id = an_alert(story, zoe)
    assert story.hand_over().told == 1
    alert = story.row(t.alert, alert_id)
    assert (alert.rep, alert.routed_by, alert.told_at) == ("chloe", "turn: ben, chloe", story.now)
    assert story.row(t.lead, zoe).owner == "chloe"
    (mail,) = story.rows(t.message)
    assert (mail.kind, mail.to_address, mail.sender, mail.intent_key, mail.payload) == (
        "alert",
        "chloe@acme.example",
        "anna",
        f"alert:{alert_id}",
        {"alert": alert_id},
    )
    (decision,) = story.rows(t.decision, code="alerted")
    assert decision.detail == {"rep": "chloe", "rule": "hot", "reason": "score 80"}


def test_turns_follow_the_weights_over_many_alerts(story: Story) -> None:
    leads = [story.lead(f"lead{number}") for number in range(300)]
    for number, lead_id in enumerate(leads):
        an_alert(story, lead_id)
        if number % 30 == 29:
            story.later(hours=7)
            story.hand_over()
    given = Counter(alert.rep for alert in story.rows(t.alert))
    assert abs(given["ben"] - 100) <= 1
    assert given.total() == 300


def test_who_owns_the_lead_or_its_colleagues_comes_first(story: Story) -> None:
    own = story.lead("own", owner="ben")
    colleague = story.lead("new", email_domain="own.example")
    stranger = story.lead("stranger", email_domain="gmail.com", company="Acme Own")
    story.lead("friend", email_domain="gmail.com", owner="ben")
    teammate = story.lead("mate", email_domain="gmx.de", company="Wonder AG")
    story.lead("boss", email_domain="web.de", company="Wonder AG", owner="ben")
    french = story.lead("marie", country="FR")
    unknown = story.lead("orphan", owner="somebody who left")
    alerts = {each: an_alert(story, each) for each in (own, colleague, stranger, teammate, french, unknown)}
    assert story.hand_over().told == 6
    routed = {lead_id: story.row(t.alert, alert_id) for lead_id, alert_id in alerts.items()}
    assert [(row.rep, row.routed_by) for row in routed.values()] == [
        ("ben", "owner"),
        ("ben", "account"),
        ("chloe", "turn: ben, chloe"),  # a freemail domain is no account
        ("ben", "account"),
        ("chloe", "turn: chloe"),
        ("ben", "turn: ben, chloe"),
    ]
    assert story.row(t.lead, colleague).owner == "ben"
    assert story.row(t.lead, unknown).owner == "somebody who left"


def test_an_owner_who_is_away_keeps_the_lead_while_another_stands_in(story: Story) -> None:
    story.settings = the_settings(ben={"away": ["2026-11-02 to 2026-11-06"]})
    zoe = story.lead(owner="ben")
    alert_id = an_alert(story, zoe)
    story.hand_over()
    assert story.row(t.alert, alert_id).rep == "chloe"
    assert story.row(t.lead, zoe).owner == "ben"


def test_who_is_full_is_passed_over_until_an_answer(story: Story) -> None:
    story.settings = the_settings(chloe={"capacity": 2})
    alerts = [an_alert(story, story.lead(f"lead{number}")) for number in range(5)]
    story.hand_over()
    reps = [story.row(t.alert, alert_id).rep for alert_id in alerts]
    assert reps == ["chloe", "ben", "chloe", "ben", "ben"]
    story.answer(alerts[0], "claim", rep="chloe")
    more = an_alert(story, story.lead("more"))
    story.hand_over()
    assert story.row(t.alert, more).rep == "chloe"


def test_who_comes_back_does_not_catch_up(story: Story) -> None:
    story.settings = the_settings(ben={"away": ["2026-11-09 to 2026-11-15"]}, chloe={"weight": 1})
    for number in range(2):
        an_alert(story, story.lead(f"before{number}"))
    story.hand_over()
    story.later(days=8)
    for number in range(9):
        an_alert(story, story.lead(f"away{number}"))
    story.hand_over()
    story.later(days=8)
    alerts = [an_alert(story, story.lead(f"after{number}")) for number in range(4)]
    story.hand_over()
    assert Counter(story.row(t.alert, alert_id).rep for alert_id in alerts) == {"ben": 2, "chloe": 2}


def test_an_alert_waits_for_the_reps_hours(story: Story) -> None:
    story.with_rules(alert_hours=OFFICE)
    story.now = datetime(2026, 11, 6, 18, 30, tzinfo=UTC)  # a Friday evening
    alert_id = an_alert(story, story.lead(country="FR"))
    assert story.hand_over().told == 0
    alert = story.row(t.alert, alert_id)
    assert (alert.rep, alert.due_at) == ("", datetime(2026, 11, 9, 8, tzinfo=UTC))
    story.now = alert.due_at
    assert story.hand_over().told == 1


def test_holidays_of_the_workspace_close_the_desk_where_the_window_says_so(story: Story) -> None:
    story.with_rules(alert_hours=replace(OFFICE, holidays="lead"))
    story.settings = story.settings.model_copy(
        update={"workspace": story.settings.workspace.model_copy(update={"country": "DE"})}
    )
    story.now = datetime(2026, 12, 25, 10, tzinfo=UTC)
    alert_id = an_alert(story, story.lead())
    story.hand_over()
    assert story.row(t.alert, alert_id).due_at == datetime(2026, 12, 28, 8, tzinfo=UTC)


def test_an_alert_whose_event_was_no_person_is_not_told(story: Story) -> None:
    zoe = story.lead()
    story.react()
    clicks = [story.event(zoe, "clicked") for _ in range(3)]
    story.react()
    story.later(seconds=95)
    story.revise(*clicks)  # and `react` has not looked yet
    assert story.hand_over().told == 0
    story.react()
    story.later(minutes=5)
    assert story.hand_over().told == 0
    assert [alert.status for alert in story.rows(t.alert)] == ["closed"]
    assert story.rows(t.message) == []


def test_a_snoozed_alert_is_told_again_to_the_same_rep(story: Story) -> None:
    alert_id = an_alert(story, story.lead())
    story.hand_over()
    story.answer(alert_id, "snooze", rep="chloe", details={"until": (story.now + timedelta(days=2)).isoformat()})
    story.later(days=1)
    assert story.hand_over().told == 0
    story.later(days=1)
    assert story.hand_over().told == 1
    alert = story.row(t.alert, alert_id)
    assert (alert.status, alert.rep, alert.told_count, alert.told_at) == ("open", "chloe", 2, MONDAY)
    assert [mail.intent_key for mail in story.rows(t.message)] == [f"alert:{alert_id}", f"alert:{alert_id}:2"]


def test_a_notice_goes_to_whom_the_step_names(story: Story) -> None:
    zoe = story.lead(owner="chloe")
    notices = {
        to: an_alert(story, zoe, rule="welcome/tell", message="Read the cases", to=to, answerable=False)
        for to in ("sales", "owner", "ben")
    }
    assert story.hand_over().told == 3
    told = {to: story.row(t.alert, alert_id) for to, alert_id in notices.items()}
    assert {to: row.rep for to, row in told.items()} == {"sales": "chloe", "owner": "chloe", "ben": "ben"}
    assert {row.status for row in told.values()} == {"notice"}
    assert story.answer(notices["ben"], "claim").result == "gone"


def test_without_reps_an_alert_waits_and_is_counted(story: Story) -> None:
    story.with_rules(routing=())
    story.settings = story.settings.model_copy(update={"reps": {}})
    alert_id = an_alert(story, story.lead())
    report = story.hand_over()
    assert (report.told, report.unrouted) == (0, 1)
    assert story.row(t.alert, alert_id).due_at == story.now + timedelta(minutes=1)


def test_nobody_is_told_of_a_lead_that_was_erased(story: Story) -> None:
    zoe = story.lead()
    an_alert(story, zoe, answerable=False, message="Call her")
    with story.database.transaction() as connection:
        connection.execute(update(t.lead).values(email="", email_domain=""))
    assert story.hand_over().told == 0
    assert story.rows(t.message) == []
