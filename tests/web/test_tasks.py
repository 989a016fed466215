"""A rep closes a task with one press, once; a rep's own page shows what is open, for half a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from nurture.content.tokens import Purpose
from nurture.domain.rep_link import RepLink, way_in
from nurture.store import tables as t
from nurture.store.database import Database
from tests.web.served_world import NOON, World

REPS = {
    "ben": {"name": "Ben Okafor", "email": "Ben Okafor <ben@acme.example>", "timezone": "America/New_York"},
    "chloe": {"name": "Chloé Dubois", "email": "chloe@acme.example"},
}


@pytest.fixture
def world(make_world: Callable[..., World], sqlite_database: Database) -> World:
    return make_world(sqlite_database, reps=REPS)


def a_task(world: World, lead: int, **values: Any) -> int:
    row = {
        "task_key": f"k{len(world.rows(t.task))}",
        "lead_id": lead,
        "cadence": "mofu",
        "step": "call",
        "kind": "call",
        "text": "Call about the calculator",
        "to": "owner",
        "rep": "ben",
        "status": "open",
        "created_at": NOON - timedelta(hours=1),
        "told_at": NOON - timedelta(hours=1),
        "due_at": NOON + timedelta(days=1),
    }
    return world.insert(t.task, **(row | values))


def may_be_called(world: World, lead: int) -> None:
    world.insert(t.consent, lead_id=lead, at=NOON, kind="phone", source="form", topics=[], granted=True)


def link(world: World, task: int) -> str:
    return "/a/" + world.sign(Purpose.ALERT, f"t{task}")


def press(world: World, task: int, **fields: str) -> httpx.Response:
    return world.client.post(link(world, task), data=fields)


def own_page(world: World, rep: str = "ben") -> str:
    return "/r/" + world.sign(Purpose.REP, RepLink(rep=rep, made_at=world.clock.now).payload)


# --- one task


def test_looking_moves_nothing(world: World) -> None:
    task = a_task(world, world.a_lead())
    for method in ("GET", "HEAD"):
        assert world.client.request(method, f"{link(world, task)}?outcome=done").status_code == 200
    assert world.rows(t.task)[0].status == "open"


def test_the_page_says_what_who_and_by_when(world: World) -> None:
    lead = world.a_lead(first_name="<b>Zoë</b>", company="{{ 7*7 }}", phone="+49301234567", title="CFO")
    task = a_task(world, lead)
    page = world.client.get(link(world, task)).text
    for words in ("Call about the calculator", "&lt;b&gt;Zoë&lt;/b&gt;", "{{ 7*7 }}", "Due Tue 03 Nov, 07:00", "CFO"):
        assert words in page
    assert "no permission to call" in page
    assert "+49301234567" not in page
    assert "permission for marketing" not in page
    may_be_called(world, lead)
    world.insert(t.suppression, address_key="zoe@example.com", reason="unsubscribed", at=NOON)
    page = world.client.get(link(world, task)).text
    assert 'href="tel:%2B49301234567"' in page
    assert "no permission for marketing" in page


def test_one_press_closes_it_and_a_second_says_what_stands(world: World) -> None:
    task = a_task(world, world.a_lead())
    answer = press(world, task, outcome="done", note="A long talk")
    assert "Thank you, that is noted." in answer.text
    assert "Done, by Ben Okafor, Mon 02 Nov, 07:00." in answer.text
    world.clock.advance(hours=1)
    again = press(world, task, outcome="skipped")
    assert "It was closed before, and that stands." in again.text
    row = world.rows(t.task)[0]
    assert (row.status, row.note, row.closed_by, row.closed_at) == ("done", "A long talk", "ben", NOON)
    assert world.rows(t.lead)[0].contacted_at == NOON


def test_a_wrong_number_goes(world: World) -> None:
    lead = world.a_lead(phone="+49301234567")
    may_be_called(world, lead)
    task = a_task(world, lead)
    assert 'name="phone" value="+49301234567"' in world.client.get(link(world, task)).text
    press(world, task, outcome="wrong number", phone="+49301234567")
    assert world.rows(t.lead)[0].phone is None
    assert "The number was +49301234567." in world.client.get(link(world, task)).text


def test_an_answer_without_an_outcome_is_asked_for_and_keeps_the_note(world: World) -> None:
    task = a_task(world, world.a_lead(), kind="email")
    page = world.client.get(link(world, task)).text
    assert "Wrong number" not in page
    for outcome in ({}, {"outcome": "nonsense"}, {"outcome": "wrong number"}):
        answer = press(world, task, note="half <written>", **outcome)
        assert answer.status_code == 422
        assert "Please choose how it ended." in answer.text
        assert "half &lt;written&gt;" in answer.text
    assert world.rows(t.task)[0].status == "open"


@pytest.mark.parametrize("payload", ["t", "t0", "tt1", "t1~c", "t99", "t" + "9" * 30, "1~x", "~c", ""])
def test_what_was_never_signed_for_a_task_is_not_here(world: World, payload: str) -> None:
    a_task(world, world.a_lead())
    assert world.client.get("/a/" + world.sign(Purpose.ALERT, payload)).status_code == 404


def test_a_token_of_another_purpose_opens_no_task(world: World) -> None:
    task = a_task(world, world.a_lead())
    for purpose in (Purpose.REP, Purpose.CLICK, Purpose.UNSUBSCRIBE):
        assert world.client.get("/a/" + world.sign(purpose, f"t{task}")).status_code == 404


# --- a shared channel


def test_a_room_is_asked_who_answers(world: World) -> None:
    alert = world.an_alert(world.a_lead(), rep="", channel="room")
    shared = "/a/" + world.sign(Purpose.ALERT, f"{alert}~c")
    page = world.client.get(shared).text
    assert "Who are you?" in page
    assert "Chloé Dubois" in page
    for who in ({}, {"who": ""}, {"who": "mallory"}):
        answer = world.client.post(shared, data={"answer": "claim", "note": "mine", **who})
        assert answer.status_code == 422
        assert "Please say who you are." in answer.text
        assert ">mine</textarea>" in answer.text
    assert world.rows(t.alert)[0].status == "open"
    assert "Thank you" in world.client.post(shared, data={"answer": "claim", "who": "chloe"}).text
    assert (world.rows(t.alert)[0].rep, world.rows(t.lead)[0].owner) == ("chloe", "chloe")
    late = world.client.post(shared, data={"answer": "claim", "who": "ben"})
    assert "Chloé Dubois was first." in late.text


def test_a_reps_own_mail_asks_nobody(world: World) -> None:
    alert = world.an_alert(world.a_lead())
    assert "Who are you?" not in world.client.get("/a/" + world.sign(Purpose.ALERT, alert)).text
    shared = world.client.get("/a/" + world.sign(Purpose.ALERT, f"{alert}~c")).text
    assert '<option value="ben" selected>' in shared


# --- a rep's own page


def test_it_shows_what_is_open_and_leads_there_and_back(world: World) -> None:
    zoe = world.a_lead("zoe@example.com", first_name="Zoë", company="A & B")
    max_ = world.a_lead("max@example.com")
    task = a_task(world, zoe, due_at=NOON - timedelta(hours=3))
    a_task(world, max_, rep="chloe", text="Not Ben's")
    a_task(world, max_, status="done", text="Done already")
    world.an_alert(zoe)
    world.an_alert(max_, status="snoozed", due_at=NOON + timedelta(hours=5))
    world.an_alert(max_, status="claimed")
    world.an_alert(max_, status="rejected", reasons=["Rejected already"])
    address = own_page(world)
    page = world.client.get(address).text
    for words in ("Ben Okafor", "1 alert to answer, 1 task to do.", "A &amp; B", "overdue", "due Mon 02 Nov, 04:00"):
        assert words in page
    titles = [part.split("</h2>")[0].rpartition(">")[2] for part in page.split("<h2")[1:]]
    assert titles == ["Waiting for your answer", "To do", "In your hands", "Asleep"]
    assert "Not Ben" not in page
    assert "already" not in page
    assert f'{link(world, task)}?list={address.removeprefix("/r/")}"' in page
    assert "again Mon 02 Nov, 12:00" in page
    closing = world.client.post(f"{link(world, task)}?list={address.removeprefix('/r/')}", data={"outcome": "done"})
    assert f'<a href="{address}">Back to your list</a>' in closing.text


def test_nothing_open_is_said(world: World) -> None:
    assert "Nothing waits for you." in world.client.get(own_page(world)).text


def test_very_many_are_cut(world: World) -> None:
    lead = world.a_lead()
    for _ in range(101):
        a_task(world, lead)
    page = world.client.get(own_page(world)).text
    assert page.count("<li>") == 100
    assert "more than 100 tasks to do" in page
    assert "There are more" in page


def test_after_twelve_hours_it_shows_a_button_and_mails_one_link(world: World) -> None:
    a_task(world, world.a_lead(), text="A secret task")
    address = own_page(world)
    world.clock.advance(hours=12)
    page = world.client.get(address)
    assert page.status_code == 200
    assert "A secret task" not in page.text
    assert "Mail me a new link" in page.text
    assert world.rows(t.message) == []
    answers = [world.client.post(address).text for _ in range(3)]
    (mail,) = world.rows(t.message)
    assert (mail.to_address, mail.payload, mail.kind, mail.lead_id) == (
        "ben@acme.example",
        {"alert": "rep:ben"},
        "alert",
        None,
    )
    world.clock.advance(minutes=10)
    answers.append(world.client.post(address).text)
    assert len(world.rows(t.message)) == 2
    unknown = "/r/" + world.sign(Purpose.REP, way_in("left").payload)
    assert world.client.get(unknown).text == world.client.get("/r/" + world.sign(Purpose.REP, "ben~0")).text
    answers.append(world.client.post(unknown).text)
    assert len(set(answers)) == 1
    assert len(world.rows(t.message)) == 2


def test_a_link_that_was_not_signed_opens_nothing(world: World) -> None:
    made = RepLink(rep="ben", made_at=NOON).payload
    forged = own_page(world).replace("ben~", "chloe~")
    for address in (forged, "/r/x", "/r/" + world.sign(Purpose.ALERT, made), "/r/" + world.sign(Purpose.REP, "ben")):
        for method in ("GET", "POST"):
            assert world.client.request(method, address).status_code == 404
    assert world.rows(t.message) == []


def test_the_answers_page_leads_to_the_button_and_no_further(world: World) -> None:
    alert = world.an_alert(world.a_lead())
    task = a_task(world, world.rows(t.lead)[0].id)
    for address in ("/a/" + world.sign(Purpose.ALERT, alert), link(world, task)):
        for tail in ("", "?list=x", f"?list={world.sign(Purpose.REP, 'ben~0')}"):
            page = world.client.get(address + tail).text
            way = page.split('<a href="/r/', 1)[1].split('"', 1)[0]
            assert "All your open alerts and tasks" in page
            assert "Mail me a new link" in world.client.get(f"/r/{way}").text
