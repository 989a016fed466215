"""Pictures of mails, a mail in the browser, and the button of who stays: over a real server."""

from __future__ import annotations

import httpx
import pytest

from nurture.content.assets import Assets
from nurture.content.tokens import Purpose
from nurture.domain.cadence import ANY_TIME, Cadence, Email
from nurture.store import tables as t
from nurture.store.cadences import take_up, version_of
from tests.web.served_world import World

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
LETTER = (
    "<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ lead.first_name }}, {{ event.title | default('-') }} "
    '<a href="https://acme.example/a">a</a> <a href="{{ unsubscribe_url }}">leave</a></mj-text></mj-column>'
    "</mj-section></mj-body></mjml>"
)


def put(world: World, name: str, content: bytes) -> str:
    path = world.root / "assets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Assets(world.root).path_of(name)


def test_a_picture_is_served_by_its_content_for_ever(world: World) -> None:
    address = put(world, "mails/hero.png", b"\x89PNG one")
    answer = world.client.get(address)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"\x89PNG one", "image/png")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert world.client.head(address).status_code == 200
    vector = world.client.get(put(world, "logo.svg", SVG))
    assert vector.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in vector.headers["content-security-policy"], "its script never runs"


@pytest.mark.parametrize(
    "path",
    [
        "/s/{hash}/../secret.txt",
        "/s/{hash}/..%2f..%2fsecret.txt",
        "/s/{hash}/%2e%2e/%2e%2e/secret.txt",
        "/s/{hash}/link.png",
        "/s/{hash}/other.png",
        "/s/{hash}/a%00.png",
        "/s/{hash}/.hidden.png",
        "/s/{hash}//etc/passwd",
        "/s/0000/hero.png",
        "/s/{hash}/page.exe",
        "/s/{hash}/" + "x" * 3000 + ".png",
    ],
)
def test_nothing_else_is_served(world: World, path: str) -> None:
    digest = put(world, "hero.png", b"one").split("/")[2]
    put(world, "other.png", b"another")
    for name in ("page.exe", ".hidden.png"):
        (world.root / "assets" / name).write_bytes(b"one")
    (world.root / "assets" / "link.png").symlink_to(world.root.parent / "secret.txt")
    assert httpx.get(f"http://{world.address}{path.replace('{hash}', digest)}").status_code == 404
    assert world.client.post(f"/s/{digest}/hero.png").status_code == 405


def a_sent_mail(world: World) -> int:
    folder = world.root / "templates" / "email"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "letter.mjml").write_text(LETTER)
    step = Email(key="case", next=None, template="letter", subjects={"": "S"}, attachments=("offers/gone.pdf",))
    cadence = Cadence(name="mofu", title="M", sender="anna", window=ANY_TIME, first="case", steps={"case": step})
    with world.database.transaction() as connection:
        take_up(connection, {"mofu": cadence}, now=world.clock())
        version = version_of(cadence)
    lead = world.a_lead(first_name="Zoë <b>", language="de")
    return world.a_letter(lead, version=version, message_id="7.x@acme.example")


def test_a_mail_in_the_browser_tracks_nothing(world: World) -> None:
    message = a_sent_mail(world)
    step = world.client.get(f"/w/{world.sign(Purpose.WEB, message)}")
    assert step.status_code == 404, "what it carries is gone"
    (world.root / "offers" / "gone.pdf").write_bytes(b"x")
    page = world.client.get(f"/w/{world.sign(Purpose.WEB, message)}")
    assert page.status_code == 200 and "Hello Zoë &lt;b&gt;, -" in page.text
    assert 'href="https://acme.example/a"' in page.text, "its links are their own"
    assert "/o/" not in page.text and "/c/" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not world.rows(t.hit) and not world.rows(t.event)
    for token in (
        world.sign(Purpose.WEB, 0),
        world.sign(Purpose.CLICK, message),
        "x",
        world.sign(Purpose.WEB, "9" * 30),
    ):
        assert world.client.get(f"/w/{token}").status_code == 404


def test_who_stays_says_so_by_a_button_and_once(world: World) -> None:
    lead = world.a_lead(language="de")
    message = world.a_letter(lead)
    address = f"/k/{world.sign(Purpose.KEEP, message)}"
    assert "Yes, keep me" in world.client.get(address).text
    assert not world.rows(t.event), "a scanner that looks changes nothing"
    for _ in range(2):
        assert "Schön, dass Sie bleiben" in world.client.post(address, data={"action": "stay"}).text
    (event,) = world.rows(t.event)
    assert (event.kind, event.verdict, event.lead_id, event.message_id) == ("stayed", "human", lead, message)
    assert world.client.post(f"/k/{world.sign(Purpose.KEEP, 999)}").status_code == 200, "the same for who is gone"
    assert world.client.post("/k/x").status_code == 404


@pytest.mark.parametrize(
    ("told", "recorded", "is_event"), [("", 1, True), ("~h", 1, False), ("~n", 0, False), ("~c", 0, False)]
)
def test_a_link_tells_how_its_cadence_tracks(world: World, told: str, recorded: int, is_event: bool) -> None:
    message = world.a_letter(world.a_lead())
    answer = world.client.get(f"/c/{world.sign(Purpose.CLICK, f'{message}{told}')}-0")
    assert answer.status_code == 302, "it leads there in any case"
    assert len(world.rows(t.hit)) == recorded and bool(world.rows(t.event)) == is_event
    assert world.client.get(f"/c/{world.sign(Purpose.CLICK, f'{message}~x')}-0").status_code == 404
