"""The mail to a rep tells who, why and what may not be done, and nothing in it is code."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import insert

from nurture.content.tokens import Purpose
from nurture.domain.event import Verdict
from nurture.notify.alert_mail import AlertMail, alert_letter
from nurture.store import tables as t
from nurture.store.alerts import raise_alert
from nurture.store.consents import NewConsent, give_consent
from nurture.store.database import Database
from tests.pipeline.lifecycle_story import Story


@pytest.fixture
def story(sqlite_database: Database) -> Story:
    return Story(database=sqlite_database)


def a_letter(story: Story, alert_id: int) -> AlertMail:
    with story.database.reading() as connection:
        return alert_letter(
            connection,
            alert_id,
            settings=story.settings,
            tokens=story.tokens,
            base_url="https://mail.acme.example",
            now=story.now,
        )


def a_hot_lead(story: Story, **fields: object) -> int:
    zoe = story.lead(
        **({"first_name": "Zoë", "last_name": "Ziegler", "company": "Wonder AG", "phone": "+49301"} | fields)
    )
    for _ in range(2):
        story.event(zoe, "clicked", link="https://acme.example/roi")
        story.later(hours=1)
    story.event(zoe, "opened")
    story.event(zoe, "clicked", link_name="pricing", verdict=Verdict.MACHINE)
    story.event(zoe, "demo requested")
    story.react()
    story.hand_over()
    return story.rows(t.alert)[0].id


def test_it_says_who_why_and_what_may_not_be_done(story: Story) -> None:
    mail = a_letter(story, a_hot_lead(story))
    assert mail.subject == "Zoë Ziegler (Wonder AG) asked for a demo: fit B, score 85"
    for said in (
        "Fit B, score 85 (+85 in 7 days), stage sql.",
        "Phone:   no permission to call",
        "Owner:   Chloé Dubois",
        "- demo requested",
        "Mon 2 Nov, 10:00  clicked https://acme.example/roi",
        "Mon 2 Nov, 12:00  demo requested",
        "MAILS RECEIVED: 0",
        "Next: no cadence is running.",
        "Times are Europe/Paris.",
    ):
        assert said in mail.text
    assert "opened" not in mail.text
    assert "pricing" not in mail.text
    page = LexborHTMLParser(mail.html)
    assert "no permission to call" in page.text()
    assert page.css_first("h1").text() == "Zoë Ziegler asked for a demo"


def test_its_links_are_signed_for_one_page_and_no_other_purpose(story: Story) -> None:
    alert_id = a_hot_lead(story)
    mail = a_letter(story, alert_id)
    links = re.findall(r"https://mail\.acme\.example/a/(\S+)\?do=(\w+)", mail.text)
    assert [answer for _, answer in links] == ["claim", "snooze", "reject", "meeting", "won", "lost"]
    (token,) = {token for token, _ in links}
    assert story.tokens.read(Purpose.ALERT, token) == str(alert_id)
    assert story.tokens.read(Purpose.REP, token) is None
    hrefs = [link.attributes["href"] for link in LexborHTMLParser(mail.html).css("a.answer")]
    assert hrefs == [f"https://mail.acme.example/a/{token}?do={answer}" for _, answer in links]


def test_a_number_is_told_only_with_permission_to_call(story: Story) -> None:
    zoe = story.lead(phone="+4930123456", stage="mql")
    with story.database.transaction() as connection:
        give_consent(connection, zoe, NewConsent(kind="phone", text="Call me", source="form"), now=story.now)
    story.event(zoe, "replied")
    story.react()
    story.hand_over()
    mail = a_letter(story, story.rows(t.alert)[0].id)
    assert "Phone:   +4930123456" in mail.text
    assert mail.subject.startswith("zoe@zoe.example replied")


def test_what_was_sent_and_what_comes_next_is_told(story: Story) -> None:
    zoe = story.lead()
    sent = {
        "kind": "step", "lead_id": zoe, "cadence": "welcome", "step": "hi", "to_address": "z", "recipient_domain": "z",
        "sender": "anna", "payload": {}, "status": "sent", "created_at": story.now, "not_before": story.now,
    }  # fmt: skip
    with story.database.transaction() as connection:
        for number in range(7):
            row = {"intent_key": f"step:{number}", "subject": f"Letter {number}"}
            at = story.now + timedelta(hours=number)
            connection.execute(insert(t.message).values(**sent, **row, sent_at=at))
    story.event(zoe, "replied")
    story.react()
    story.hand_over()
    mail = a_letter(story, story.rows(t.alert)[0].id)
    assert "MAILS RECEIVED: 7" in mail.text
    assert [number for number in range(7) if f"Letter {number}" in mail.text] == [2, 3, 4, 5, 6]


def test_hostile_fields_are_text(story: Story) -> None:
    hostile = '<script>alert(1)</script>"{{ 7*7 }}'
    alert_id = a_hot_lead(
        story, first_name=hostile, last_name=None, company="<img src=x onerror=alert(1)>", title=hostile
    )
    mail = a_letter(story, alert_id)
    assert "<script" not in mail.html
    assert "<img" not in mail.html
    assert "{{ 7*7 }}" in mail.html
    assert hostile in LexborHTMLParser(mail.html).css_first("h1").text()
    assert all(
        link.attributes["href"].startswith(("https://", "mailto:")) for link in LexborHTMLParser(mail.html).css("a")
    )


def test_a_notice_is_short_and_asks_nothing(story: Story) -> None:
    zoe = story.lead(first_name="Zoë", owner="ben")
    with story.database.transaction() as connection:
        raise_alert(
            connection, zoe, rule="welcome/tell", reason="x", message="Read <b>the</b> cases", to="owner",
            answerable=False, now=story.now,
        )  # fmt: skip
    story.react()
    story.hand_over()
    mail = a_letter(story, story.rows(t.alert)[0].id)
    assert mail.subject == "About Zoë"
    assert mail.text.startswith("Read <b>the</b> cases\n")
    assert "&lt;b&gt;" in mail.html
    assert "/a/" not in mail.text + mail.html


def test_an_alert_that_is_not_there_is_said_so(story: Story) -> None:
    with pytest.raises(LookupError):
        a_letter(story, 7)
