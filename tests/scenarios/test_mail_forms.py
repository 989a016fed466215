"""What an `email` step may say beyond subject and template, from the file to the bytes a reader's program parses."""

from __future__ import annotations

import email
import email.policy
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.store import tables as t
from nurture.store.by_hand import GivenEvent, track_event
from tests.receiving import Receiving, receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
HEAD = "Email,First Name,Time Zone,Language,Tags,Marketing consent\n"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")

CADENCE = """\
name: The webinar
trigger: {event: webinar registered}
window: any
track: {opens: never, clicks: hygiene}
steps:
  - email: seat
    id: seat
    subject: "Your seat at {{ event.title }}"
    preheader: See you there
    vars: {hero: "hero.png", greeting: "Hello {{ lead.first_name | default('there') }}"}
    locales: {de: {subject: "Ihr Platz: {{ event.title }}", preheader: Bis bald}}
    attachments: [offers/reporting-guide.pdf]
    ics: true
  - wait: 2 days
  - email: again
    id: again
    reply_in_thread: true
    subject: "Your seat at {{ event.title }}"
    expires: {at: event.starts_at, offset: -1 hour}
  - wait: 1 day
  - email: other
    id: other
    reply_in_thread: true
    subject: How was it?
"""
FOOT = '{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">leave</a>'


def mjml(body: str) -> str:
    return (
        f"<mjml><mj-body><mj-section><mj-column>{body}<mj-text>{FOOT}</mj-text></mj-column></mj-section>"
        "</mj-body></mjml>"
    )


TEMPLATES = {
    "seat.mjml": mjml(
        '<mj-image src="{{ asset(vars.hero) }}" alt="The room" />'
        '<mj-text>{{ vars.greeting }}, {{ event.title }} <a href="https://acme.example/a">a</a> '
        '<a href="{{ view_url }}">view</a> <a href="{{ stay_url }}">stay</a></mj-text>'
    ),
    "seat.de.mjml": mjml("<mj-text>Guten Tag, {{ event.title }}</mj-text>"),
    "again.mjml": mjml("<mj-text>Tomorrow</mj-text>"),
    "other.mjml": mjml("<mj-text>Well?</mj-text>"),
}


def open_world(folder: Path, port: int) -> Running:
    root = copy_acceptance(folder / "workspace", smtp_port=port)
    for file in (root / "cadences").glob("[!_]*"):
        file.unlink()
    (root / "cadences" / "webinar.yaml").write_text(CADENCE)
    for name, text in TEMPLATES.items():
        (root / "templates" / "email" / name).write_text(text)
    (root / "assets").mkdir()
    (root / "assets" / "hero.png").write_bytes(PNG)
    running = start(root, at=MONDAY)
    people = "zoe@zoe.example,Zoe,Europe/Berlin,,guide,Yes\nuwe@uwe.example,Uwe,Europe/Berlin,de-DE,guide,Yes\n"
    (root / "people.csv").write_text(HEAD + people)
    import_leads(running.installation.database, ImportRequest(path=root / "people.csv", source="test"), now=MONDAY)
    running.once()
    return running


def register(running: Running, address: str, **props: str) -> None:
    with running.installation.database.transaction() as connection:
        given = GivenEvent(name="webinar registered", at=running.clock(), is_dated=False, props=props)
        track_event(connection, address, given, rng=random.Random(address), now=running.clock())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Receiving]]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail", "--keep") as receiver:
        running = open_world(tmp_path, receiver.port)
        yield running, receiver
        running.installation.database.close()


def parsed(receiver: Receiving) -> list[EmailMessage]:
    found = []
    for raw in receiver.messages():
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        assert not [defect for part in message.walk() for defect in part.defects]
        found.append(message)
    return found


def html_of(message: Any) -> str:
    html: str = message.get_body(("html",)).get_content()
    return html


def decisions(running: Running, step: str) -> list[str]:
    with running.installation.database.reading() as connection:
        rows = connection.execute(select(t.decision).where(t.decision.c.step == step).order_by(t.decision.c.id))
        return [row.code for row in rows]


def statuses(running: Running) -> dict[str, str]:
    """step -> the status of its message, of one lead."""
    with running.installation.database.reading() as connection:
        return {row.step: row.status for row in connection.execute(select(t.message).order_by(t.message.c.id))}


SEAT = {"title": "Less, better", "starts_at": "2026-11-06T16:00:00+01:00", "duration": "90", "location": "Room 1; left"}


def test_the_seat_mail_has_its_picture_its_file_and_its_calendar_entry(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    register(running, "zoe@zoe.example", **SEAT)
    assert running.once().sent == 1
    running.once()
    (message,) = parsed(receiver)
    assert message["Subject"] == "Your seat at Less, better"
    assert message.get_content_type() == "multipart/mixed"
    letter, guide, invite = message.iter_parts()
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    html = html_of(letter)
    picture = re.search(r'src="(http://127.0.0.1:8080/s/[0-9a-f]+/hero.png)"', html)
    assert picture, "the picture's address names its content"
    assert "Hello Zoe, Less, better" in html and 'lang="en"' in html
    guide_file = running.installation.root / "offers" / "reporting-guide.pdf"
    assert (guide.get_content_type(), guide.get_filename()) == ("application/pdf", "reporting-guide.pdf")
    assert guide.get_content() == guide_file.read_bytes()
    assert invite.get_filename() == "invite.ics" and invite.get_content_type() == "text/calendar"
    lines = invite.get_content().split("\r\n") if "\r\n" in invite.get_content() else invite.get_content().split("\n")
    assert {"DTSTART:20261106T150000Z", "DTEND:20261106T163000Z", "SUMMARY:Less\\, better"} <= set(lines)
    assert "LOCATION:Room 1\\; left" in lines


def test_the_cadences_own_tracking_rules_its_links(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    register(running, "zoe@zoe.example", **SEAT)
    running.once()
    (message,) = parsed(receiver)
    html = html_of(message)
    assert "/o/" not in html, "opens are never tracked"
    assert re.search(r"/c/\w+\.\d+~h\.", html), "clicks are, and the link tells how"


def test_a_translation_is_chosen_by_the_leads_language(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    register(running, "uwe@uwe.example", **SEAT)
    running.once()
    (message,) = parsed(receiver)
    assert message["Subject"] == "Ihr Platz: Less, better"
    html = html_of(message)
    assert "Guten Tag" in html and 'lang="de"' in html and "Bis bald" in html


def test_follow_ups_answer_in_the_thread_and_an_own_subject_stays(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    register(running, "zoe@zoe.example", **SEAT)
    running.once()
    running.advance(days=2)
    running.advance(days=1)
    first, second, third = parsed(receiver)
    assert [each["Subject"] for each in (second, third)] == ["Re: Your seat at Less, better", "How was it?"]
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert third["In-Reply-To"] == second["Message-ID"]
    assert third["References"].split() == [first["Message-ID"], second["Message-ID"]]


def test_a_message_that_expires_while_it_waits_is_called_off_and_the_cadence_goes_on(
    world: tuple[Running, Receiving],
) -> None:
    running, receiver = world
    register(running, "zoe@zoe.example", **SEAT)
    running.once()
    config = running.installation.root / "config.toml"
    assert config.exists()
    with running.installation.database.transaction() as connection:  # sales holds the lead past the webinar
        connection.execute(update(t.lead).values(hold_until=MONDAY + timedelta(hours=47)))
    running.clock.advance(timedelta(days=2))
    running.stages.advance()
    with running.installation.database.transaction() as connection:
        connection.execute(update(t.lead).values(hold_until=MONDAY + timedelta(days=9)))
    running.once()
    assert statuses(running) == {"seat": "sent", "again": "queued"}
    running.clock.advance(timedelta(days=2, hours=4))  # Friday 13:00 UTC; it expires at 14:00
    running.once()
    assert statuses(running)["again"] == "queued"
    running.advance(hours=1)
    running.advance(hours=1)
    assert statuses(running)["again"] == "canceled"
    assert decisions(running, "again")[-1] == "skipped_expired"
    with running.installation.database.transaction() as connection:
        connection.execute(update(t.lead).values(hold_until=None))
    running.advance(days=1)
    running.advance(hours=1)
    subjects = [each["Subject"] for each in parsed(receiver)]
    assert subjects == ["Your seat at Less, better", "How was it?"]


def test_no_moment_no_entry_and_a_missing_property_fails_that_mail_alone(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    register(running, "zoe@zoe.example", title="No date yet", starts_at="soon")
    register(running, "uwe@uwe.example", starts_at="2026-11-06T16:00:00+01:00")
    report = running.once()
    assert (report.sent, report.failed) == (1, 1)
    (message,) = parsed(receiver)
    assert [part.get_filename() for part in message.iter_attachments()] == ["reporting-guide.pdf"]
    with running.installation.database.reading() as connection:
        failed = connection.execute(select(t.message.c.reply).where(t.message.c.status == "failed")).scalar_one()
    assert failed == "event.title is missing and has no default"


def test_a_file_that_is_gone_fails_the_mail_and_a_template_that_breaks_does_not(
    world: tuple[Running, Receiving],
) -> None:
    running, receiver = world
    root = running.installation.root
    register(running, "zoe@zoe.example", **SEAT)
    running.once()
    (root / "templates" / "email" / "seat.mjml").write_text("<mjml>{{ half")
    (root / "templates" / "email" / "seat.de.mjml").unlink()
    with running.installation.database.transaction() as connection:
        connection.execute(update(t.lead).values(language=None))
    running.clock.advance(timedelta(hours=1))
    register(running, "uwe@uwe.example", **SEAT)
    assert running.once().sent == 1, "as the template last was right"
    assert "Hello Uwe" in html_of(parsed(receiver)[1])


def test_one_odd_message_keeps_no_other_from_going(world: tuple[Running, Receiving]) -> None:
    running, receiver = world
    for name in ("zoe", "uwe"):
        register(running, f"{name}@{name}.example", **SEAT)
    running.stages.react()
    running.stages.enroll()
    running.stages.advance()
    odd = {"kind": "alert", "to_address": "ben@acme.example", "sender": "anna", "recipient_domain": "acme.example"}
    times = {"created_at": MONDAY, "not_before": MONDAY}
    with running.installation.database.transaction() as connection:
        for number, payload in enumerate(({}, {"alert": "task:nonsense"}, {"alert": 999})):
            connection.execute(insert(t.message).values(**odd, **times, intent_key=f"odd:{number}", payload=payload))
        uwe = t.message.c.to_address == "uwe@uwe.example"
        connection.execute(update(t.message).where(uwe).values(version="of no cadence"))
    report = running.once()
    assert (report.sent, report.failed) == (1, 4)
    assert [each["To"] for each in parsed(receiver)] == ["zoe@zoe.example"]
    with running.installation.database.reading() as connection:
        why = set(connection.scalars(select(t.message.c.reply).where(t.message.c.status == "failed")))
    assert why == {
        "the alert is no longer there",
        "the alert can't be written: ValueError",
        "step seat of webinar no longer sends this",
    }
