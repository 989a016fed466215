"""The preview as a marketer uses it: in a real browser, over the acceptance workspace, with files that change."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from nurture.bootstrap import Unsigned, build_preview_server
from nurture.domain.addresses import read_address
from nurture.rehearsal.clock import VirtualClock
from nurture.settings import load_settings
from nurture.store.database import Database
from nurture.store.leads import LeadInput, save_lead
from tests.conftest import DATA

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
EMAIL = Path("templates") / "email"
INTRO = "/step/guide-followup/intro"


class Previewed:
    """A workspace with its preview served from a thread."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        installation = Unsigned(
            root=root, settings=load_settings(root), database=database, clock=VirtualClock(NOW), rng=random.Random(1)
        )
        self.server, self.pages = build_preview_server(installation, 0)
        self.url = f"http://{self.server.address}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))
        self._thread.start()

    def stop(self) -> None:
        self.pages.closing = self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def edit(self, file: Path | str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def previewed(tmp_path: Path, sqlite_database: Database) -> Iterator[Previewed]:
    root = tmp_path / "workspace"
    shutil.copytree(DATA / "acceptance", root)
    hostile = {"first_name": "Zoë <script>alert(1)</script>", "company": 'Helio "& Sons"'}
    with sqlite_database.transaction() as connection:
        save_lead(connection, LeadInput(address=read_address("zoe@example.com"), fields=hostile), now=NOW)
    started = Previewed(root, sqlite_database)
    yield started
    started.stop()


@pytest.fixture
def http(previewed: Previewed) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=previewed.url, timeout=30) as client:
        yield client


@pytest.fixture
def page(chromium: Any, previewed: Previewed) -> Iterator[Any]:
    context = chromium.new_context(base_url=previewed.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.dialogs = []
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    context.close()


def test_only_this_machine_is_answered(http: httpx.Client, previewed: Previewed) -> None:
    assert previewed.url.startswith("http://127.0.0.1:")
    assert http.get("/").status_code == 200
    assert http.get("/", headers={"host": "evil.example"}).status_code == 400, "a name that resolves to this machine"
    assert http.get("/page.css").status_code == 404, "its own files alone"
    assert http.post("/").status_code == 405


def test_a_change_is_told_to_who_waits(http: httpx.Client, previewed: Previewed) -> None:
    before = http.get("/changed?since=").json()["stamp"]
    previewed.edit(EMAIL / "welcome.mjml", "<mj-body", "<mj-body ")
    assert http.get(f"/changed?since={before}").json()["stamp"] != before


def test_a_step_that_is_gone_leads_to_the_list(http: httpx.Client) -> None:
    assert http.get("/step/guide-followup/nothing").headers["location"] == "/"
    assert http.get("/step/nothing/intro").headers["location"] == "/"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?lead=zoe2@example.com", "did you mean &#39;zoe@example.com&#39;?"),
        ("?lead=%00%3Cb%3E", "is no e-mail address"),
        ("?variant=nope", "no variant &#39;nope&#39; of intro"),
        ("?screen=nonsense&dark=x&images=y&language=../..", "The guide in one minute"),
    ],
)
def test_a_wrong_choice_is_told_on_the_page(http: httpx.Client, query: str, said: str) -> None:
    answer = http.get(INTRO + query)
    assert answer.status_code == 200
    assert said in answer.text


def test_a_config_that_breaks_meanwhile_is_told_and_mended(http: httpx.Client, previewed: Previewed) -> None:
    previewed.edit("config.toml", 'language = "en"', "language = en")
    for address in ("/", INTRO):
        told = http.get(address)
        assert told.status_code == 200
        assert "config.toml:6:" in told.text
    previewed.edit("config.toml", "language = en", 'language = "en"')
    assert "The guide in one minute" in http.get(INTRO).text


def test_from_the_list_to_a_letter_for_a_lead(page: Any) -> None:
    page.goto("/")
    assert page.get_by_role("heading", name="Guide follow-up").first.is_visible()
    page.locator("main").get_by_role("link", name="intro", exact=False).first.click()
    letter = page.frame_locator("#mail")
    assert letter.get_by_text("Hello Zoe,").is_visible(), "a sample lead of whom all is known"
    assert page.locator("#subject").inner_text() == "Zoe, did the guide answer your question?"
    assert page.locator("#snippet").inner_text() == "One minute, three numbers"
    assert page.locator("#size").inner_text().endswith("KB of 102 KB")

    page.get_by_role("link", name="Only an address").click()
    assert letter.get_by_text("Hello there,").is_visible()
    page.get_by_role("link", name="number", exact=True).click()
    assert page.locator("#subject").inner_text().startswith("3 numbers from the guide that most teams")

    page.get_by_label("A lead’s address").fill("zoe@example.com")
    page.get_by_role("button", name="Show").click()
    assert 'Helio "& Sons"' in page.locator("#subject").inner_text(), "the variant was kept"
    assert letter.get_by_text("Hello Zoë <script>alert(1)</script>,").is_visible()
    page.get_by_role("link", name="Text", exact=True).click()
    assert "Hello Zoë <script>alert(1)</script>," in page.locator("#text").inner_text()
    assert page.dialogs == []


def test_the_screens(page: Any) -> None:
    for name, width in (("Desktop", 600), ("Phone", 320)):
        page.goto(INTRO)
        page.get_by_role("link", name=name, exact=True).click()
        frame = page.locator("#mail")
        assert frame.bounding_box()["width"] == width
        inside = page.frame_locator("#mail").locator("html")
        assert inside.evaluate("element => element.scrollWidth") == width, "nothing hangs out"
        page.wait_for_function(
            "() => { const f = document.getElementById('mail'); "
            "return f.clientHeight === f.contentDocument.documentElement.scrollHeight }"
        )


def test_a_letter_runs_nothing_and_shows_images_only_where_they_are_on(page: Any, previewed: Previewed) -> None:
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    page.context.route("**/*.png", refuse)
    hostile = (
        '<mj-raw><script>parent.document.title = "taken"</script></mj-raw>'
        '<mj-image src="https://img.example/team.png" alt="The team" />'
    )
    previewed.edit(EMAIL / "guide-followup.mjml", "<mj-button", f"{hostile}<mj-button")
    page.goto(f"{INTRO}?images=0")
    assert page.frame_locator("#mail").get_by_alt_text("The team").count() == 1
    assert asked == []
    page.get_by_role("link", name="On", exact=True).click()
    page.frame_locator("#mail").get_by_alt_text("The team").wait_for()
    assert asked == ["https://img.example/team.png"]
    assert page.title() != "taken"


def test_dark_is_the_letters_own_or_that_of_programs_that_invert(page: Any, previewed: Previewed) -> None:
    page.goto(f"{INTRO}?dark=1")
    assert page.get_by_text("no dark colours of its own").is_visible()
    previewed.edit(
        EMAIL / "guide-followup.mjml",
        "</mj-head>",
        "<mj-style>@media (prefers-color-scheme: dark) { .lead div { color: #010203 !important; } }</mj-style>"
        "</mj-head>",
    )
    colour = "element => getComputedStyle(element).color"
    text = page.frame_locator("#mail").get_by_text("Hello Zoe,")
    page.get_by_text("no dark colours of its own").wait_for(state="detached")  # it shows itself again
    text.wait_for()
    assert text.evaluate(colour) == "rgb(1, 2, 3)"
    page.goto(INTRO)
    assert text.evaluate(colour) != "rgb(1, 2, 3)"


def test_the_page_shows_itself_again_and_mistakes_with_their_place(page: Any, previewed: Previewed) -> None:
    page.goto(INTRO)
    letter = page.frame_locator("#mail")
    previewed.edit(EMAIL / "guide-followup.mjml", "The guide in one minute", "The guide in two minutes")
    letter.get_by_text("The guide in two minutes").wait_for()

    previewed.edit(EMAIL / "guide-followup.mjml", "<mj-button", "<mj-buton")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "templates/email/guide-followup.mjml:15:9" in alert.inner_text()
    assert page.get_by_role("status").get_by_text("error").is_visible()
    previewed.edit(EMAIL / "guide-followup.mjml", "<mj-buton", "<mj-button")
    letter.get_by_text("The guide in two minutes").wait_for()

    previewed.edit("cadences/guide-followup.yaml", "One minute, three numbers", "Dear {{ lead.first_name }}")
    page.get_by_text("no-default").wait_for()
    page.get_by_role("link", name="Only an address").click()
    assert "lead.first_name is missing and has no default" in alert.inner_text()

    previewed.edit("cadences/guide-followup.yaml", "wait: 3 days", "wait: 3 dayz")
    page.get_by_text("cadences/guide-followup.yaml:17:11").wait_for()
    previewed.edit("cadences/guide-followup.yaml", "wait: 3 dayz", "wait: 3 days")
    page.get_by_text("lead.first_name is missing and has no default").wait_for()
    assert page.url.endswith(f"{INTRO}?lead=bare"), "it is still the page that was chosen"


def test_a_language_that_the_template_has(page: Any, previewed: Previewed) -> None:
    german = (previewed.root / EMAIL / "guide-followup.mjml").read_text().replace("Hello", "Guten Tag")
    (previewed.root / EMAIL / "guide-followup.de.mjml").write_text(german)
    page.goto(INTRO)
    page.get_by_role("link", name="de", exact=True).click()
    assert page.frame_locator("#mail").get_by_text("Guten Tag Zoe,").is_visible()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_a_person(chromium: Any, previewed: Previewed, tmp_path: Path, width: int, scheme: str) -> None:
    """And what can be measured: nothing is wider than the screen, and the console is quiet."""
    context = chromium.new_context(
        base_url=previewed.url, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    def picture(name: str) -> None:
        page.screenshot(path=tmp_path / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"

    page.goto("/")
    picture("list")
    for name, query in (("desktop", ""), ("phone-dark", "?screen=phone&dark=1"), ("text", "?screen=text")):
        page.goto(INTRO + query)
        page.wait_for_timeout(200)
        picture(name)
    page.goto("about:blank")  # the page in front would reload itself in the middle of the next visit
    previewed.edit("cadences/guide-followup.yaml", "wait: 3 days", "wait: 3 dayz")
    previewed.edit(EMAIL / "guide-followup.mjml", "<mj-button", '<mj-image src="https://x.example/a.png" /><mj-buton')
    page.goto(INTRO)
    picture("mistake")
    assert page.get_by_role("alert").is_visible()
    page.goto("about:blank")
    previewed.edit("cadences/guide-followup.yaml", "wait: 3 dayz", "wait: 3 days")
    page.goto(INTRO)
    picture("mistake-in-template")
    page.goto("/")
    picture("list-mistakes")
    context.close()
    assert complaints == []


def test_the_step_that_is_shown_is_in_sight_among_many(page: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 260})
    page.goto("/")
    last = page.locator("nav a").last.get_attribute("href")
    page.goto(last)
    current = page.locator("nav [aria-current]")
    assert current.get_attribute("href") == last
    box = current.bounding_box()
    assert box["y"] + box["height"] <= 260
    assert page.evaluate("scrollY") == 0, "the list has moved, not the page"
    page.set_viewport_size({"width": 360, "height": 260})
    page.reload()
    assert page.evaluate("scrollY") == 0
