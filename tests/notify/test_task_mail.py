"""The mail of a task tells a rep who, what and by when, and what may not be done; the list's mail is a link alone."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from nurture.content.tokens import Purpose
from nurture.domain.rep_link import read_rep_link
from nurture.notify.alert_mail import AlertMail, alert_letter
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent
from nurture.store.database import Database
from tests.pipeline.lifecycle_story import MONDAY, Story
from tests.pipeline.test_hand_over_tasks import a_task, close


@pytest.fixture
def story(sqlite_database: Database) -> Story:
    return Story(database=sqlite_database)


def a_letter(story: Story, what: str) -> AlertMail:
    with story.database.reading() as connection:
        return alert_letter(
            connection,
            what,
            settings=story.settings,
            tokens=story.tokens,
            base_url="https://mail.acme.example/",
            now=story.now,
        )


def a_told_task(story: Story, **lead: object) -> int:
    person = {"first_name": "Zoë", "last_name": "Ziegler", "company": "Wonder AG", "phone": "+49301", "owner": "ben"}
    task_id = a_task(story, story.lead(**(person | lead)), due_at=MONDAY + timedelta(days=1))
    story.hand_over()
    return task_id


def token_in(mail: AlertMail, route: str) -> str:
    found = re.search(rf"https://mail\.acme\.example/{route}/(\S+)", mail.text)
    assert found is not None
    return found[1]


def test_it_says_who_what_and_by_when_on_the_reps_clock(story: Story) -> None:
    task_id = a_told_task(story)
    mail = a_letter(story, f"task:{task_id}")
    assert mail.subject == "Call Zoë Ziegler (Wonder AG): Call about the calculator"
    for said in (
        "Call about the calculator\nCall, due Tue 3 Nov, 10:00.",
        "Phone:   no permission to call",
        "E-mail:  zoe@zoe.example\n",
        "Owner:   Ben Okafor",
        "step call of mofu",
        "Times are Europe/Berlin.",
    ):
        assert said in mail.text
    assert "+49301" not in mail.text + mail.html
    assert story.tokens.read(Purpose.ALERT, token_in(mail, "a")) == f"t{task_id}"
    way_in = read_rep_link(story.tokens.read(Purpose.REP, token_in(mail, "r")))
    assert way_in is not None
    assert not way_in.is_good(story.now)


def test_a_number_stands_there_with_permission_alone(story: Story) -> None:
    task_id = a_told_task(story)
    lead_id = story.row(t.task, task_id).lead_id
    with story.database.transaction() as connection:
        give_consent(connection, lead_id, NewConsent(kind="phone", text="Call me", source="form"), now=story.now)
    assert "Phone:   +49301\n" in a_letter(story, f"task:{task_id}").text


def test_a_reminder_says_since_when_and_is_not_written_once_it_is_closed(story: Story) -> None:
    task_id = a_told_task(story)
    story.later(days=2)
    mail = a_letter(story, f"due:{task_id}")
    assert mail.subject.startswith("Due now: Call Zoë")
    assert "overdue since Tue 3 Nov, 10:00." in mail.text
    close(story, task_id, "skipped")
    with pytest.raises(LookupError):
        a_letter(story, f"due:{task_id}")


def test_nothing_in_it_is_code(story: Story) -> None:
    lead = story.lead(first_name="<script>x</script>", company="{{ 7*7 }}", owner="ben")
    task_id = a_task(story, lead, text='Ask "<b>her</b>" & him')
    story.hand_over()
    mail = a_letter(story, f"task:{task_id}")
    assert "<script>" not in mail.html
    assert "<b>her" not in mail.html
    assert "{{ 7*7 }}" in mail.text


def test_the_link_to_the_list_holds_for_twelve_hours_and_is_for_a_rep_who_is_there(story: Story) -> None:
    mail = a_letter(story, "rep:ben")
    link = read_rep_link(story.tokens.read(Purpose.REP, token_in(mail, "r")))
    assert link is not None
    assert (link.rep, link.is_good(story.now)) == ("ben", True)
    assert not link.is_good(story.now + timedelta(hours=12))
    assert "until Mon 2 Nov, 22:00" in mail.text
    assert mail.html.count("/r/") == mail.text.count("/r/") == 1
    with pytest.raises(LookupError):
        a_letter(story, "rep:nobody")
