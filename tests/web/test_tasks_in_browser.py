"""Tasks and a rep's own page in a real browser: without JavaScript, by keyboard, from 320 pixels, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.content.tokens import Purpose
from nurture.domain.rep_link import way_in
from nurture.store import tables as t
from nurture.store.database import Database
from tests.web.served_world import FIREFOX, NOON, World
from tests.web.test_tasks import REPS, a_task, link, may_be_called, own_page

LONG = "a.very.long.address.without.any.break.in.it.at.all.whatsoever@an-equally-long-domain.example"


@pytest.fixture
def world(make_world: Callable[..., World], sqlite_database: Database) -> World:
    return make_world(sqlite_database, reps=REPS)


def opened(chromium: Any, world: World, **options: Any) -> Any:
    context = chromium.new_context(
        base_url=f"http://{world.address}", user_agent=FIREFOX, locale="en-GB", java_script_enabled=False, **options
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def page(chromium: Any, world: World) -> Iterator[Any]:
    """A page without JavaScript: everything must work without it."""
    page = opened(chromium, world)
    yield page
    page.context.close()


def test_a_rep_goes_through_the_list_by_keyboard(world: World, page: Any) -> None:
    zoe = world.a_lead(first_name="Zoë", phone="+49301234567")
    may_be_called(world, zoe)
    a_task(world, zoe)
    page.goto(own_page(world))
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.get_by_role("heading", level=1).inner_text() == "Call about the calculator"
    assert page.get_by_role("group", name="How did it end?").is_visible()
    page.get_by_label("Done").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("No answer").is_checked()
    page.get_by_label("Note").fill("Voice mail")
    page.get_by_role("button", name="Close the task").click()
    assert page.get_by_role("status").inner_text() == "Thank you, that is noted."
    page.get_by_role("link", name="Back to your list").click()
    assert page.get_by_text("Nothing waits for you.").is_visible()
    row = world.rows(t.task)[0]
    assert (row.status, row.note) == ("no answer", "Voice mail")


def test_an_old_link_asks_for_a_new_one(world: World, page: Any) -> None:
    page.goto("/r/" + world.sign(Purpose.REP, way_in("ben").payload))
    page.get_by_role("button", name="Mail me a new link").click()
    assert "on its way" in page.get_by_role("status").inner_text()
    assert len(world.rows(t.message)) == 1


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(world: World, chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    zoe = world.a_lead("zoe@example.com", first_name="Zoë", company="Wonder Analytics GmbH & Co. KG")
    long = world.a_lead(LONG)
    task = a_task(world, zoe, due_at=NOON - timedelta(hours=3), text="Call before the board meets on Thursday " * 4)
    a_task(world, long, kind="linkedin", text="x" * 200)
    world.an_alert(zoe)
    room = world.an_alert(long, rep="", channel="room")
    pages = {
        "rep": own_page(world),
        "nothing": own_page(world, "chloe"),
        "old": "/r/" + world.sign(Purpose.REP, way_in("ben").payload),
        "task": link(world, task),
        "room": "/a/" + world.sign(Purpose.ALERT, f"{room}~c"),
    }
    context = chromium.new_context(
        base_url=f"http://{world.address}", viewport={"width": width, "height": 720}, color_scheme=scheme
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for name, address in pages.items():
        page.goto(address)
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
        assert page.evaluate("[...document.querySelectorAll('a, button')].every(e => e.innerText.trim())"), name
    assert [text for text in complaints if "404" not in text] == []  # browsers ask for a favicon
    context.close()
