"""The story of a visitor in a real browser, and pictures of every page for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nurture.content.tokens import Purpose
from nurture.store import tables as t
from tests.web.served_world import CONSENT_TEXT, FIREFOX, PDF, World

NARROW, WIDE = 320, 1280
MAX = {"first_name": "Max", "last_name": "Mustermann", "company": "Beispiel AG", "title": "Head of Growth", "fit": "A"}


@pytest.fixture
def page(chromium: Any, world: World) -> Iterator[Any]:
    """A page without JavaScript: everything must work without it."""
    context = chromium.new_context(
        base_url=f"http://{world.address}", user_agent=FIREFOX, java_script_enabled=False, locale="en-GB"
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    yield page
    context.close()


def test_a_visitor_becomes_a_lead_with_proof_and_has_the_guide(world: World, page: Any) -> None:
    page.goto("/f/guide")
    page.get_by_label("Work e-mail").fill("zoe@example.com")
    page.get_by_role("button", name="Send me the guide").click()

    # two things are missing, and each is said where it belongs
    assert page.get_by_role("alert").inner_text() == "2 answers need another look."
    first_name = page.get_by_label("First name")
    assert page.locator(f"#{first_name.get_attribute('aria-describedby')}").inner_text() == "Please fill this in."
    assert page.get_by_label("Work e-mail").input_value() == "zoe@example.com"

    first_name.fill("Zoë")
    page.get_by_label("How many are you?").fill("120")
    page.get_by_label(CONSENT_TEXT).check()
    page.get_by_role("button", name="Send me the guide").click()
    assert page.get_by_role("heading").inner_text() == "Nearly done: check your mail"

    page.goto("/d/" + world.sign(Purpose.CONFIRM, world.rows(t.opt_in)[0].id))
    assert world.rows(t.consent) == []
    page.get_by_role("button", name="Yes, confirm").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Get it now").click()
    assert Path(download.value.path()).read_bytes() == PDF

    (lead,) = world.rows(t.lead)
    assert (lead.stage, lead.first_name, lead.custom["employees"]) == ("lead", "Zoë", "120")
    assert [(row.basis, row.text) for row in world.rows(t.consent)] == [("double_opt_in", CONSENT_TEXT)]
    assert [event.kind for event in world.rows(t.event)] == ["form submitted", "offer downloaded"]
    assert all(event.verdict == "human" for event in world.rows(t.event))


def test_a_reader_leaves_and_comes_back(world: World, page: Any) -> None:
    page.goto("/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{world.a_lead()}"))
    page.get_by_role("button", name="Unsubscribe from everything").click()
    assert page.get_by_role("heading").inner_text() == "You are unsubscribed"
    assert [row.lifted_at for row in world.rows(t.suppression)] == [None]
    page.get_by_role("button", name="Undo").click()
    assert page.get_by_role("heading").inner_text() == "Welcome back"
    assert world.rows(t.suppression)[0].lifted_at is not None


def test_the_form_works_by_keyboard_and_the_bait_is_never_reached(world: World, page: Any) -> None:
    page.goto("/f/guide")
    page.get_by_label("Work e-mail").focus()
    for value in ("zoe@example.com", "Zoë", "Beispiel AG", "120"):
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.get_by_role("heading").inner_text() == "Nearly done: check your mail"
    assert world.rows(t.opt_in)[0].answers["company"] == "Beispiel AG"


def test_a_rep_answers_with_one_press(world: World, page: Any) -> None:
    alert = world.an_alert(world.a_lead())
    page.goto(f"/a/{world.sign(Purpose.ALERT, alert)}?do=claim")
    # what only a rejection or a won deal needs is out of the way
    assert not page.get_by_label("Value").is_visible()
    page.get_by_label("Not for us").first.check()
    assert page.locator("#reason").is_visible()
    page.get_by_label("I take it").check()
    page.get_by_role("button", name="Send my answer").click()
    assert page.get_by_role("status").inner_text() == "Thank you, that is noted."
    assert world.rows(t.alert)[0].status == "claimed"


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_every_page(world: World, chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    """Pictures for a person, and what can be measured: nothing is wider than the screen, every page has its style."""
    context = chromium.new_context(
        base_url=f"http://{world.address}",
        user_agent=FIREFOX,
        viewport={"width": width, "height": 720},
        color_scheme=scheme,
        locale="en-GB",
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    def picture(name: str) -> None:
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
        assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "16px"

    page.goto("/f/guide")
    picture("form")
    page.get_by_role("button").click()
    picture("form-errors")
    page.goto("/f/everything")
    picture("form-everything")
    page.goto("/f/guide?sent=confirmation&lang=en")
    picture("thanks")
    world.send_in("guide", email="zoe@example.com", first_name="Zoë", consent_email="yes")
    page.goto("/d/" + world.sign(Purpose.CONFIRM, world.rows(t.opt_in)[-1].id))
    picture("confirm")
    page.get_by_role("button").click()
    picture("confirmed")
    page.goto("/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{world.rows(t.lead)[0].id}"))
    picture("unsubscribe")
    page.get_by_role("button").click()
    picture("unsubscribed")
    page.goto("/u/nonsense")
    picture("not-found")
    alert = "/a/" + world.sign(Purpose.ALERT, world.an_alert(world.a_lead("max@example.com", **MAX)))
    page.goto(alert)
    picture("alert")
    page.goto(f"{alert}?do=reject")
    page.get_by_role("button").click()
    picture("alert-mistake")
    page.get_by_label("I take it").check()
    page.get_by_label("Note").fill("Calls on Monday at ten")
    page.get_by_role("button").click()
    picture("alert-claimed")
    context.close()
    assert [each for each in complaints if "404" not in each and "422" not in each] == []
