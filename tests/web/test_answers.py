"""A rep answers: looking moves nothing, one press does, and what is missing is said."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from nurture.content.tokens import Purpose
from nurture.store import tables as t
from tests.web.served_world import World


def link(world: World, alert: int) -> str:
    return "/a/" + world.sign(Purpose.ALERT, alert)


def press(world: World, alert: int, **fields: str) -> httpx.Response:
    return world.client.post(link(world, alert), data=fields)


def status(world: World, alert: int) -> str:
    return str(world.rows(t.alert, id=alert)[0].status)


def said(world: World) -> list[tuple[str, str | None, str | None, str]]:
    return [(row.answer, row.reason, row.note, row.rep) for row in world.rows(t.alert_answer)]


def test_looking_moves_nothing_whatever_the_link_asks_for(world: World) -> None:
    alert = world.an_alert(world.a_lead())
    for answer in ("claim", "won", "reject", "nonsense"):
        for method in ("GET", "HEAD"):
            assert world.client.request(method, f"{link(world, alert)}?do={answer}").status_code == 200
    assert (status(world, alert), said(world), world.rows(t.event)) == ("open", [], [])


def test_the_link_of_an_answer_has_chosen_it_already(world: World) -> None:
    alert = world.an_alert(world.a_lead())
    page = world.client.get(f"{link(world, alert)}?do=reject").text
    assert 'value="reject" required checked' in page
    assert page.count(" checked") == 1
    assert " checked" not in world.client.get(link(world, alert)).text


def test_the_page_says_who_why_and_what_may_not_be_done(world: World) -> None:
    lead = world.a_lead(first_name="<b>Zoë</b>", company="{{ 7*7 }}", title="CFO", phone="+49301234567", fit="A")
    alert = world.an_alert(lead)
    page = world.client.get(link(world, alert)).text

    assert "&lt;b&gt;Zoë&lt;/b&gt;" in page
    assert "{{ 7*7 }}" in page
    for words in ("Score 82 (+34 in 7 days)", "Asked for a demo", "asked for a demo", "Mails received: 2", "CFO"):
        assert words in page
    assert "Mon 02 Nov, 11:41" in page  # on the rep's clock, in Berlin
    assert "Next: the mail “roi” of mofu, Wed 04 Nov, 09:00" in page
    # calls were permitted when the rep was told, and are not any more
    assert "no permission to call" in page
    assert "+49301234567" not in page

    consent = {"lead_id": lead, "at": world.clock.now, "kind": "phone", "source": "form", "topics": []}
    world.insert(t.consent, granted=True, **consent)
    assert "+49301234567" in world.client.get(link(world, alert)).text


@pytest.mark.parametrize(
    ("fields", "after", "row"),
    [
        ({"answer": "claim", "note": "calls today"}, "claimed", ("claim", None, "calls today", "ben")),
        ({"answer": "snooze"}, "snoozed", ("snooze", None, None, "ben")),
        ({"answer": "reject", "reason": "budget"}, "rejected", ("reject", "budget", None, "ben")),
        ({"answer": "meeting"}, "meeting", ("meeting", None, None, "ben")),
        ({"answer": "won", "value": "12,000", "currency": "eur"}, "won", ("won", None, None, "ben")),
        ({"answer": "lost", "note": "too late"}, "lost", ("lost", None, "too late", "ben")),
    ],
)
def test_one_press_is_an_answer_and_two_are_one(
    world: World, fields: Mapping[str, str], after: str, row: tuple[str, str | None, str | None, str]
) -> None:
    alert = world.an_alert(world.a_lead())
    answers = [press(world, alert, **fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "Thank you, that is noted." in answers[0].text
    assert "That stands already." in answers[1].text
    assert (status(world, alert), said(world)) == (after, [row])


def test_a_won_deal_is_an_event_with_its_value(world: World) -> None:
    press(world, world.an_alert(world.a_lead()), answer="won", value="12,000", currency="eur")
    (event,) = world.rows(t.event)
    assert (event.kind, event.value, event.currency, event.verdict) == ("deal won", 12_000, "EUR", "human")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"note": "hm"}, "Please choose one of the answers."),
        ({"answer": "explode", "note": "hm"}, "Please choose one of the answers."),
        ({"answer": "reject", "note": "hm"}, "Please choose why it is not for us."),
        ({"answer": "reject", "reason": "boredom", "note": "hm"}, "Please choose why it is not for us."),
        ({"answer": "won", "value": "a lot", "note": "hm"}, "is no deal&#39;s value"),
        ({"answer": "won", "value": "-1", "note": "hm"}, "is no deal&#39;s value"),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_stays(world: World, fields: Mapping[str, str], words: str) -> None:
    alert = world.an_alert(world.a_lead())
    answer = press(world, alert, **fields)
    assert answer.status_code == 422
    assert words in answer.text
    assert ">hm</textarea>" in answer.text
    assert (status(world, alert), said(world)) == ("open", [])


def test_an_answered_alert_asks_for_nothing_more_and_says_what_was_said(world: World) -> None:
    alert = world.an_alert(world.a_lead())
    press(world, alert, answer="reject", reason="student", note="<i>thesis</i>")
    page = world.client.get(link(world, alert)).text
    assert "Nothing left to answer" in page
    assert "A student, “&lt;i&gt;thesis&lt;/i&gt;”" in page
    assert "<button" not in page
    assert (
        "asks for no such answer" in press(world, alert, answer="claim").text
        or "was first" in press(world, alert, answer="claim").text
    )
    assert len(said(world)) == 1


def test_an_alert_of_an_erased_lead_is_not_found(world: World) -> None:
    assert world.client.get(link(world, 4711)).status_code == 404
    assert press(world, 4711, answer="claim").status_code == 404
