"""Leaving: a GET shows, a POST acts before it answers, and a second one adds nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from nurture.content.tokens import Purpose
from nurture.store import tables as t
from tests.web.served_world import World

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def leave(world: World, payload: str, **fields: str) -> httpx.Response:
    address = "/u/" + world.sign(Purpose.UNSUBSCRIBE, payload)
    return world.client.post(address, data=fields or {"action": "unsubscribe"})


def one_click(world: World, payload: str) -> httpx.Response:
    return world.client.post("/u/" + world.sign(Purpose.UNSUBSCRIBE, payload), data=ONE_CLICK)


def standing(world: World) -> list[Any]:
    return [row.reason for row in world.rows(t.suppression) if row.lifted_at is None]


def test_looking_changes_nothing(world: World) -> None:
    lead = world.a_lead()
    address = "/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{lead}")
    for method in ("GET", "HEAD"):
        assert world.client.request(method, address).status_code == 200
    assert "Unsubscribe from everything" in world.client.get(address).text
    assert (world.rows(t.suppression), world.rows(t.event), world.rows(t.consent)) == ([], [], [])


def test_one_click_ends_all_marketing_at_once(world: World) -> None:
    lead = world.a_lead()
    sent = world.a_letter(lead)
    queued = world.a_letter(lead, status="queued", sent_at=None)
    deferred = world.a_letter(lead, status="deferred", sent_at=None)
    sending = world.a_letter(lead, status="sending", sent_at=None)
    delivery = world.a_letter(lead, status="queued", sent_at=None, kind="delivery", transactional="delivery")
    colleague = world.a_letter(world.a_lead("max@example.com"), status="queued", sent_at=None)

    answer = one_click(world, f"m{sent}")

    assert (answer.status_code, answer.history) == (200, [])
    assert "set-cookie" not in answer.headers
    assert standing(world) == ["unsubscribed"]
    (withdrawal,) = world.rows(t.consent)
    assert (withdrawal.granted, withdrawal.source) == (False, "one-click")
    (event,) = world.rows(t.event)
    assert (event.kind, event.verdict, event.message_id, event.cadence) == ("unsubscribed", "human", sent, "mofu")
    statuses = {row.id: row.status for row in world.rows(t.message)}
    assert statuses == {
        sent: "sent",
        queued: "canceled",
        deferred: "canceled",
        sending: "sending",  # its last look before the dot finds the suppression
        delivery: "queued",
        colleague: "queued",
    }
    assert [row.code for row in world.rows(t.decision)] == ["canceled", "canceled"]
    assert world.rows(t.lead, id=lead)[0].consented_at is None


def test_one_click_as_multipart_is_the_same(world: World) -> None:
    # RFC 8058, section 3.2 allows both encodings
    address = "/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{world.a_lead()}")
    answer = world.client.post(address, files={"List-Unsubscribe": (None, "One-Click")})
    assert (answer.status_code, standing(world)) == (200, ["unsubscribed"])


def test_a_second_post_adds_nothing(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    for _ in range(3):
        assert one_click(world, f"m{letter}").status_code == 200
        assert leave(world, f"m{letter}").status_code == 200
        world.clock.advance(hours=1)
    assert [len(world.rows(table)) for table in (t.suppression, t.event, t.consent)] == [1, 1, 1]


def test_a_link_of_two_letters_is_one_unsubscription(world: World) -> None:
    lead = world.a_lead()
    for letter in (world.a_letter(lead), world.a_letter(lead)):
        leave(world, f"m{letter}")
    assert len(world.rows(t.event)) == 1


def test_the_page_takes_it_back(world: World) -> None:
    lead = world.a_lead()
    page = leave(world, f"l{lead}")
    assert "You are unsubscribed" in page.text

    world.clock.advance(minutes=1)
    back = leave(world, f"l{lead}", action="resubscribe")
    assert "Welcome back" in back.text
    assert standing(world) == []
    _withdrawn, given = world.rows(t.consent)
    assert (given.granted, given.basis, given.source) == (True, "express", "preferences page")
    assert "Undo" in given.text

    world.clock.advance(minutes=1)
    leave(world, f"l{lead}", action="resubscribe")
    assert len(world.rows(t.consent)) == 2  # there was nothing to take back

    leave(world, f"l{lead}")
    assert standing(world) == ["unsubscribed"]
    assert [event.kind for event in world.rows(t.event)] == ["unsubscribed", "unsubscribed"]


@pytest.mark.parametrize("reason", ["complained", "bounced", "by_hand"])
def test_nothing_else_is_ever_taken_back_by_a_button(world: World, reason: str) -> None:
    lead = world.a_lead()
    world.insert(t.suppression, address_key="zoe@example.com", reason=reason, at=world.clock.now)
    assert leave(world, f"l{lead}", action="resubscribe").status_code == 200
    assert standing(world) == [reason]
    assert world.rows(t.consent) == []


def test_known_unknown_and_erased_get_the_same_page(world: World) -> None:
    lead = world.a_lead()
    payloads = [f"l{lead}", "l4711", "m4711", f"m{world.a_letter(lead)}"]
    shown = {world.client.get("/u/" + world.sign(Purpose.UNSUBSCRIBE, each)).text for each in payloads}
    left = {leave(world, each).text for each in payloads}
    back = {leave(world, each, action="resubscribe").text for each in payloads}
    clicked = {(one_click(world, each).status_code, one_click(world, each).text) for each in payloads}
    assert [len(each) for each in (shown, left, back, clicked)] == [1, 1, 1, 1]
    assert {event.lead_id for event in world.rows(t.event)} == {lead}


def test_the_page_speaks_the_leads_language(world: World) -> None:
    lead = world.a_lead(language="de-AT")
    page = world.client.get("/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{lead}"))
    assert '<html lang="de">' in page.text
    assert "Von allem abmelden" in page.text


def test_a_token_for_something_else_unsubscribes_nobody(world: World) -> None:
    lead = world.a_lead()
    for payload in (f"x{lead}", str(lead), "l", "m", "l-1", "l" + "9" * 40):
        assert leave(world, payload).status_code == 404
    assert world.rows(t.suppression) == []
