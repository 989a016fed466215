"""Hosted forms: what is asked, what is kept, and what mail follows; and that nobody can misuse them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from nurture.content.tokens import Purpose
from nurture.domain.addresses import erased_key
from nurture.store import tables as t
from nurture.store.database import Database
from tests.web.served_world import CONSENT_TEXT, FORMS, GUIDE, PDF, World

ZOE = {
    "email": "Zoe@Example.com",
    "first_name": "Zoë",
    "company": "Beispiel AG",
    "custom__employees": "120",
    "consent_email": "yes",
}


def confirm(world: World, opt_in_id: int) -> str:
    answer = world.client.post("/d/" + world.sign(Purpose.CONFIRM, opt_in_id))
    assert answer.status_code == 200
    return answer.text


def mails(world: World) -> list[tuple[str, str]]:
    return [(row.kind, row.to_address) for row in world.rows(t.message)]


def test_from_the_form_to_a_lead_with_proof_and_the_offer_in_hand(world: World) -> None:
    answer = world.send_in("guide", **ZOE)
    assert answer.status_code == 303
    assert "check your mail" in world.client.get(answer.headers["location"]).text

    # pending: a visitor of whom nothing but the address is taken for true
    (lead,) = world.rows(t.lead)
    assert (lead.stage, lead.consented_at, lead.first_name, lead.email_verified_at) == ("visitor", None, None, None)
    (opt_in,) = world.rows(t.opt_in)
    assert opt_in.consents == {"email": CONSENT_TEXT}
    (mail,) = world.rows(t.message)
    assert (mail.kind, mail.transactional, mail.payload) == (
        "confirmation",
        "confirmation",
        {"opt_in": opt_in.id, "form": "guide"},
    )
    assert (mail.sender, mail.to_address.lower()) == ("anna", "zoe@example.com")
    assert (world.rows(t.event), world.rows(t.consent)) == ([], [])

    # scanners follow the link: nothing happens
    world.clock.advance(minutes=5)
    link = "/d/" + world.sign(Purpose.CONFIRM, opt_in.id)
    for method in ("GET", "HEAD"):
        assert world.client.request(method, link).status_code == 200
    assert CONSENT_TEXT in world.client.get(link).text
    assert world.rows(t.opt_in)[0].confirmed_at is None

    page = confirm(world, opt_in.id)
    (lead,) = world.rows(t.lead)
    assert (lead.stage, lead.first_name, lead.company) == ("lead", "Zoë", "Beispiel AG")
    assert (lead.custom["employees"], lead.channel, lead.campaign) == ("120", "content", "Reporting guide")
    assert (lead.offer, lead.source) == ("reporting-guide", "form:guide")
    assert lead.consented_at == lead.email_verified_at == world.clock.now
    (consent,) = world.rows(t.consent)
    assert (consent.kind, consent.granted, consent.basis, consent.text) == (
        "email",
        True,
        "double_opt_in",
        CONSENT_TEXT,
    )
    assert (consent.source, consent.topics, consent.network_address) == ("form:guide", ["product"], "127.0.0.1")
    assert [row.tag for row in world.rows(t.lead_tag)] == ["guide"]
    (event,) = world.rows(t.event)
    assert (event.kind, event.verdict) == ("form submitted", "human")
    assert event.props == {"form": "guide", "offer": "reporting-guide", "funnel": "awareness"}
    delivery = world.rows(t.message, kind="delivery")[0]
    assert (delivery.transactional, delivery.payload) == (
        "delivery",
        {"offer": "reporting-guide", "opt_in": opt_in.id},
    )
    download = page.split('class="button" href="', 1)[1].split('"', 1)[0]
    assert world.client.get(download).content == PDF

    # the button twice: the same page, nothing new
    world.clock.advance(minutes=5)
    assert confirm(world, opt_in.id) == page
    assert [len(world.rows(table)) for table in (t.consent, t.message, t.lead_tag)] == [1, 2, 1]
    assert [event.kind for event in world.rows(t.event)] == ["form submitted", "offer downloaded"]


def test_what_is_wrong_is_said_beside_its_field_and_what_was_typed_stays(world: World) -> None:
    answer = world.send_in("guide", email="zoe at example", first_name="<b>Zoë</b>", custom__employees="many")
    assert answer.status_code == 422
    assert "3 answers need another look" in answer.text
    assert 'value="zoe at example"' in answer.text
    assert "&lt;b&gt;Zoë&lt;/b&gt;" in answer.text
    assert "<b>Zoë</b>" not in answer.text
    for number in (1, 4):
        assert f'aria-describedby="field-{number}-error"' in answer.text
        assert f'id="field-{number}-error"' in answer.text
    assert "Please tick this box" in answer.text
    assert (world.rows(t.lead), world.rows(t.opt_in)) == ([], [])


def test_boxes_are_unticked_until_somebody_ticks_them(world: World) -> None:
    assert "checked" not in world.client.get("/f/guide").text
    assert "checked" in world.send_in("guide", email="nobody", consent_email="yes").text


def test_every_kind_of_field_is_read_by_its_kind(world: World) -> None:
    world.send_in(
        "everything",
        email="zoe@example.com",
        phone="030 1234567",
        custom__start="2026-12-01",
        custom__plan="pro",
        custom__role="buyer",
        custom__demo="true",
        custom__ref="news",
        consent_email="yes",
        custom__smuggled="in",
        stage="customer",
    )
    assert world.rows(t.opt_in)[0].answers == {
        "phone": "+49301234567",
        "custom.start": "2026-12-01",
        "custom.plan": "pro",
        "custom.role": "buyer",
        "custom.demo": "true",
        "custom.ref": "news",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone", "call me"),
        ("custom__start", "31.12.2026"),
        ("custom__start", "2026-02-30"),
        ("custom__plan", "enterprise"),
        ("custom__role", "user,buyer"),
        ("custom__ref", "x" * 201),
        ("email", "zoe@example.com\r\nBcc: all@example.com"),
        ("email", "x" * 300 + "@example.com"),
    ],
)
def test_a_value_that_is_none_is_refused(world: World, field: str, value: str) -> None:
    fields = {"email": "zoe@example.com", "consent_email": "yes", field: value}
    assert world.send_in("everything", **fields).status_code == 422
    assert world.rows(t.opt_in) == []


def test_control_and_bidi_characters_never_get_in(world: World) -> None:
    world.send_in("guide", **ZOE | {"first_name": " Zo\u202eë\x00\r\n\tx ", "company": "\u200b"})
    assert world.rows(t.opt_in)[0].answers["first_name"] == "Zo ë x"
    assert "company" not in world.rows(t.opt_in)[0].answers


def test_a_form_of_somebody_elses_making_is_not_taken(world: World) -> None:
    token = world.form_token("guide")
    data = {name.replace("__", "."): value for name, value in ZOE.items()}
    for bad in ("", "x", token[:-1], world.form_token("optional")):
        answer = world.client.post("/f/guide", data=data | {"form_token": bad})
        assert answer.status_code == 403
        assert "Please press the button again" in answer.text
        assert 'value="Zoë"' in answer.text
    world.clock.advance(hours=13)
    assert world.client.post("/f/guide", data=data | {"form_token": token}).status_code == 403
    assert world.rows(t.opt_in) == []


def test_who_fills_the_bait_is_thanked_and_forgotten(world: World) -> None:
    answer = world.send_in("guide", **ZOE, leave_this_empty="https://spam.example")
    assert answer.status_code == 303
    assert (world.rows(t.lead), world.rows(t.opt_in), world.rows(t.message)) == ([], [], [])


def test_one_address_gets_one_opt_in_mail_a_day_and_three_in_all(world: World) -> None:
    for _ in range(6):
        for _ in range(2):
            assert world.send_in("guide", **ZOE).status_code == 303
            world.clock.advance(hours=1)
        world.clock.advance(days=1)
    assert len(mails(world)) == 3
    assert len(world.rows(t.opt_in)) == 12


def test_whoever_confirmed_may_ask_for_more_the_same_day(world: World) -> None:
    world.send_in("guide", **ZOE)
    confirm(world, world.rows(t.opt_in)[0].id)
    world.send_in("optional", email="zoe@example.com", consent_email="yes")
    assert [kind for kind, _ in mails(world)] == ["confirmation", "delivery", "confirmation"]


def test_one_network_sends_twenty_forms_an_hour(world: World) -> None:
    answers = [world.send_in("guide", **ZOE | {"email": f"a{number}@example.com"}) for number in range(22)]
    assert [answer.status_code for answer in answers] == [303] * 20 + [429] * 2
    assert answers[-1].headers["retry-after"] == "3600"
    world.clock.advance(minutes=61)
    assert world.send_in("guide", **ZOE).status_code == 303


def test_one_ipv6_household_is_one_network(make_world: Callable[..., World], sqlite_database: Database) -> None:
    world = make_world(sqlite_database)
    for number in range(21):
        world.client.headers["x-forwarded-for"] = f"2001:db8:0:1::{number:x}"
        answer = world.send_in("guide", **ZOE | {"email": f"a{number}@example.com"})
    assert answer.status_code == 429
    world.client.headers["x-forwarded-for"] = "2001:db8:0:2::1"
    assert world.send_in("guide", **ZOE).status_code == 303


def test_the_answer_is_the_same_for_known_unknown_and_suppressed(world: World) -> None:
    world.a_lead("known@example.com")
    for address, reason in (
        ("a@example.com", "complained"),
        ("b@example.com", "bounced"),
        ("c@example.com", "by_hand"),
    ):
        world.insert(t.suppression, address_key=address, reason=reason, at=world.clock.now)
    answers = [
        world.send_in("guide", **ZOE | {"email": address})
        for address in ("known@example.com", "new@example.com", "a@example.com", "b@example.com", "c@example.com")
    ]
    assert len({(answer.status_code, answer.headers["location"], answer.text) for answer in answers}) == 1
    assert [address for _, address in mails(world)] == ["known@example.com", "new@example.com"]


def test_an_erased_person_stays_erased(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NURTURE_SECRET_KEY", "the workspace's secret")
    key = erased_key("the workspace's secret", "zoe@example.com")
    world.insert(t.suppression, address_key=key, reason="erased", at=world.clock.now)
    assert world.send_in("guide", **ZOE).status_code == 303
    assert (world.rows(t.lead), world.rows(t.opt_in), world.rows(t.message)) == ([], [], [])
    assert world.send_in("guide", **ZOE | {"email": "max@example.com"}).status_code == 303
    assert len(world.rows(t.message)) == 1


def test_a_stranger_changes_no_lead_by_typing_its_address(world: World) -> None:
    lead = world.a_lead(first_name="Zoë", company="Acme")
    world.send_in("guide", **ZOE | {"first_name": "Mallory"})
    row = world.rows(t.lead, id=lead)[0]
    assert (row.first_name, row.company, row.channel, row.custom) == ("Zoë", "Acme", None, {})


def test_a_confirmed_lead_keeps_where_it_first_came_from(world: World) -> None:
    lead = world.a_lead(channel="webinar", source="import")
    world.send_in("guide", **ZOE)
    confirm(world, world.rows(t.opt_in)[0].id)
    row = world.rows(t.lead, id=lead)[0]
    assert (row.channel, row.source, row.campaign, row.first_name) == ("webinar", "import", "Reporting guide", "Zoë")


def test_a_confirmed_opt_in_lifts_an_unsubscription_and_nothing_worse(world: World) -> None:
    world.insert(t.suppression, address_key="zoe@example.com", reason="unsubscribed", at=world.clock.now)
    world.send_in("guide", **ZOE)
    assert world.rows(t.suppression)[0].lifted_at is None
    confirm(world, world.rows(t.opt_in)[0].id)
    assert world.rows(t.suppression)[0].lifted_at is not None


def test_a_complaint_before_the_confirmation_ends_it(world: World) -> None:
    world.send_in("guide", **ZOE)
    world.insert(t.suppression, address_key="zoe@example.com", reason="complained", at=world.clock.now)
    assert "Confirmed" in confirm(world, world.rows(t.opt_in)[0].id)
    assert (world.rows(t.consent), world.rows(t.event)) == ([], [])
    assert [kind for kind, _ in mails(world)] == ["confirmation"]


def test_an_offer_without_consent_to_marketing_brings_the_offer_and_nothing_else(world: World) -> None:
    answer = world.send_in("optional", email="zoe@example.com")
    assert "on its way" in world.client.get(answer.headers["location"]).text
    assert [kind for kind, _ in mails(world)] == ["delivery"]
    (lead,) = world.rows(t.lead)
    assert (lead.stage, lead.consented_at, world.rows(t.consent), world.rows(t.event)) == ("visitor", None, [], [])
    world.send_in("optional", email="zoe@example.com")
    assert len(mails(world)) == 1


def test_a_form_without_a_second_step_gives_consent_at_once(world: World) -> None:
    lead = world.a_lead(stage="visitor", consented_at=None, company="Acme")
    answer = world.send_in("at-once", email="zoe@example.com", company="Mallory Ltd", consent_email="yes")
    assert answer.headers["location"] == "https://www.acme.example/thanks"
    (row,) = world.rows(t.lead)
    assert (row.id, row.stage, row.company, row.email_verified_at) == (lead, "lead", "Acme", None)
    assert [consent.basis for consent in world.rows(t.consent)] == ["express"]
    assert [kind for kind, _ in mails(world)] == ["delivery"]
    policy = world.client.get("/f/at-once").headers["content-security-policy"]
    assert "form-action 'self' https://www.acme.example;" in policy


def test_an_opt_in_that_was_purged_says_so(world: World) -> None:
    link = "/d/" + world.sign(Purpose.CONFIRM, 4711)
    assert world.client.get(link).status_code == 200
    assert "too old" in world.client.post(link).text


def test_the_form_speaks_the_visitors_language_where_it_can(world: World) -> None:
    german = world.client.get("/f/guide", headers={"accept-language": "de-CH,de;q=0.9,en;q=0.5"}).text
    assert "Der Berichtsleitfaden" in german
    assert "freiwillig" in german
    assert "The reporting guide" in world.client.get("/f/guide", headers={"accept-language": "fr"}).text
    assert "Schicken" in world.client.get("/f/guide?lang=de").text
    # this form has no German texts, so its page does not mix languages
    assert '<html lang="en">' in world.client.get("/f/optional", headers={"accept-language": "de"}).text


def test_views_by_people_are_counted_by_the_day(world: World) -> None:
    for agent in (None, None, "Googlebot/2.1", ""):
        world.client.get("/f/guide", headers={} if agent is None else {"user-agent": agent})
    world.client.head("/f/guide")
    world.clock.advance(days=1)
    world.client.get("/f/guide")
    assert [(row.form, row.day, row.views) for row in world.rows(t.form_view)] == [
        ("guide", "2026-11-02", 2),
        ("guide", "2026-11-03", 1),
    ]


def test_a_form_with_a_page_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.root / "templates" / "forms"
    folder.mkdir(parents=True)
    (folder / "guide.html").write_text("<title>{{ form.title }}</title><style>b{}</style>{{ fields }}")
    monkeypatch.setitem(FORMS, "guide", replace(GUIDE, template="forms/guide.html"))
    page = world.client.get("/f/guide")
    assert page.text.startswith("<title>The reporting guide</title>")
    assert "style-src 'self' 'unsafe-inline'" in page.headers["content-security-policy"]
    assert world.send_in("guide", **ZOE).status_code == 303


def test_an_unknown_form_is_not_found(world: World) -> None:
    assert world.client.get("/f/nothing").status_code == 404
    assert world.client.post("/f/nothing", data={"a": "b"}).status_code == 404
