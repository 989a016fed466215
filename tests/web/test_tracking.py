"""Opens, clicks and offers over real HTTP."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from nurture.content.tokens import Purpose, Tokens
from nurture.store import tables as t
from nurture.store.database import Database
from tests.web.served_world import PDF, URLS, World


def click(world: World, letter: int, link: int | str = 0, method: str = "GET", **headers: str) -> httpx.Response:
    token = world.sign(Purpose.CLICK, letter)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return world.client.request(method, f"/c/{token}-{link}", headers=named)


def verdicts(world: World) -> list[tuple[str, str]]:
    return [(event.kind, event.verdict) for event in world.rows(t.event)]


def test_a_click_leads_to_the_stored_destination_and_is_durable_before_the_answer(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    answer = click(world, letter)

    assert (answer.status_code, answer.headers["location"]) == (302, URLS[0])
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert verdicts(world) == [("clicked", "human")]


def test_a_machines_click_gets_the_same_answer_and_another_verdict(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    for answer in (
        click(world, letter, method="HEAD"),
        click(world, letter, user_agent="curl/8.9"),
        click(world, letter, 1, sec_purpose="prefetch;prerender"),
        click(world, letter, 0, x_moz="prefetch"),
        click(world, letter, user_agent=""),
    ):
        assert answer.status_code == 302
        assert answer.headers["location"] in URLS
    assert verdicts(world) == [("clicked", "machine")] * 5
    assert [hit.headers for hit in world.rows(t.hit)][2:4] == [
        {"sec-purpose": "prefetch;prerender"},
        {"x-moz": "prefetch"},
    ]


def test_three_links_in_two_seconds_are_a_scanner(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    for link in range(3):
        click(world, letter, link)
        world.clock.advance(seconds=1)
    assert verdicts(world) == [("clicked", "machine")] * 3
    assert len(world.rows(t.verdict_change)) == 3


def test_the_bait_leads_nowhere_and_gives_its_taker_away(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    click(world, letter)
    assert click(world, letter, "h").status_code == 404
    assert verdicts(world) == [("clicked", "machine")] * 2


def test_an_open_is_a_picture_of_one_pixel(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    answer = world.client.get(f"/o/{world.sign(Purpose.OPEN, letter)}.gif")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content[:6] == b"GIF89a"
    assert answer.headers["cache-control"] == "no-store"
    assert verdicts(world) == [("opened", "human")]

    head = world.client.head(f"/o/{world.sign(Purpose.OPEN, letter)}.gif")
    assert (head.status_code, head.content) == (200, b"")
    assert verdicts(world)[1] == ("opened", "machine")


@pytest.mark.parametrize("path", ["/o/{}.gif", "/c/{}-0", "/u/{}", "/d/{}", "/m/{}", "/a/{}"])
def test_a_bad_token_answers_404_whatever_is_wrong_with_it(world: World, path: str) -> None:
    letter = world.a_letter(world.a_lead())
    purpose = {"o": Purpose.CLICK, "c": Purpose.OPEN}.get(path[1], Purpose.REP)
    stranger = Tokens(["another secret"]).sign(Purpose(path[1]), str(letter))
    tampered = world.sign(Purpose(path[1]), letter).replace(f".{letter}.", f".{letter + 1}.")
    bad = [world.sign(purpose, letter), stranger, tampered, "x", "a.b.c", "-", "%00", "é", "a" * 5_000]
    answers = [world.client.request(method, path.format(each)) for each in bad for method in ("GET", "POST")]
    assert {answer.status_code for answer in answers if answer.request.method == "GET"} == {404}
    assert {answer.status_code for answer in answers if answer.request.method == "POST"} <= {404, 405}
    assert len({answer.content for answer in answers if answer.request.method == "GET"}) == 1
    assert (world.rows(t.hit), world.rows(t.event)) == ([], [])


def test_an_index_that_is_none_is_not_found(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    for index in ("3", "-1", "1e3", "١", "00000", "", "hh", "0-0"):
        assert click(world, letter, index).status_code == 404
    assert world.rows(t.hit) == []


def test_a_letter_of_an_erased_lead_still_shows_its_pixel(world: World) -> None:
    answer = world.client.get(f"/o/{world.sign(Purpose.OPEN, 4711)}.gif")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert world.rows(t.hit) == []


def test_many_readers_at_once_share_commits_and_lose_nothing(world: World) -> None:
    letters = [world.a_letter(world.a_lead(f"reader{number}@example.com")) for number in range(20)]
    with ThreadPoolExecutor(10) as readers:
        answers = list(readers.map(lambda letter: click(world, letter, 1), letters * 3))
    assert {answer.status_code for answer in answers} == {302}
    assert len(world.rows(t.hit)) == 60
    assert {event.message_id for event in world.rows(t.event, verdict="human")} == set(letters)


def test_without_its_database_a_click_waits_rather_than_being_lost(world: World) -> None:
    letter = world.a_letter(world.a_lead())
    with world.database.transaction() as connection:
        connection.execute(text("ALTER TABLE link_set RENAME TO link_set_away"))
    answer = click(world, letter)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "Traceback" not in answer.text
    assert world.rows(t.hit) == []

    with world.database.transaction() as connection:
        connection.execute(text("ALTER TABLE link_set_away RENAME TO link_set"))
    assert click(world, letter).status_code == 302


def test_the_address_of_the_reader_comes_from_trusted_proxies_only(
    make_world: Callable[..., World], sqlite_database: Database
) -> None:
    world = make_world(sqlite_database, web={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]})
    letter = world.a_letter(world.a_lead())
    for forwarded in (
        "203.0.113.9",
        "198.51.100.1, 203.0.113.9, 10.1.2.3",  # the first is what a stranger claims
        "2001:db8::7",
        "nonsense",
        "203.0.113.9, nonsense",
        "::ffff:203.0.113.9",
    ):
        click(world, letter, x_forwarded_for=forwarded)
        world.clock.advance(hours=1)
    assert [hit.network_address for hit in world.rows(t.hit)] == [
        "203.0.113.9",
        "203.0.113.9",
        "2001:0db8:0000:0000:0000:0000:0000:0007",
        "127.0.0.1",
        "127.0.0.1",
        "203.0.113.9",
    ]


def test_a_strangers_word_on_where_it_comes_from_is_not_believed(
    make_world: Callable[..., World], sqlite_database: Database
) -> None:
    world = make_world(sqlite_database, web={"trusted_proxies": []})
    click(world, world.a_letter(world.a_lead()), x_forwarded_for="203.0.113.9")
    assert world.rows(t.hit)[0].network_address == "127.0.0.1"


def test_tracking_that_is_switched_off_records_nothing_and_still_leads_on(
    make_world: Callable[..., World], sqlite_database: Database
) -> None:
    world = make_world(sqlite_database, tracking={"opens": "never", "clicks": "hygiene"})
    letter = world.a_letter(world.a_lead())
    assert world.client.get(f"/o/{world.sign(Purpose.OPEN, letter)}.gif").status_code == 200
    assert click(world, letter).headers["location"] == URLS[0]
    assert ([hit.route for hit in world.rows(t.hit)], world.rows(t.event)) == (["c"], [])


def test_an_offers_file_is_handed_out_and_its_taking_recorded(world: World) -> None:
    lead = world.a_lead()
    address = "/m/" + world.sign(Purpose.OFFER, f"{lead}~reporting-guide~{world.a_letter(lead)}")
    answer = world.client.get(address)

    assert (answer.status_code, answer.content) == (200, PDF)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'attachment; filename="reporting-guide.pdf"'
    (event,) = world.rows(t.event)
    assert (event.kind, event.verdict, event.props) == ("offer downloaded", "human", {"offer": "reporting-guide"})

    world.clock.advance(minutes=1)
    assert world.client.head(address).status_code == 200
    assert world.client.get(address, headers={"range": "bytes=5-"}).status_code == 206
    assert len(world.rows(t.event)) == 1
    world.client.get(address, headers={"user-agent": "Mimecast link check"})
    assert [event.verdict for event in world.rows(t.event)] == ["human", "machine"]


def test_an_offer_elsewhere_is_a_way_there(world: World) -> None:
    answer = world.client.get("/m/" + world.sign(Purpose.OFFER, f"{world.a_lead()}~tool~"))
    assert (answer.status_code, answer.headers["location"]) == (302, "https://tool.acme.example/start")
    assert verdicts(world) == [("offer downloaded", "human")]


def test_no_offer_reaches_outside_of_the_workspace(world: World) -> None:
    lead = world.a_lead()
    assert world.client.get("/m/" + world.sign(Purpose.OFFER, f"{lead}~outside~")).status_code == 404
    (world.root / "offers" / "reporting-guide.pdf").unlink()
    (world.root / "offers" / "reporting-guide.pdf").symlink_to("/etc/hostname")
    assert world.client.get("/m/" + world.sign(Purpose.OFFER, f"{lead}~reporting-guide~")).status_code == 404
    assert world.client.get("/m/" + world.sign(Purpose.OFFER, f"{lead}~unknown~")).status_code == 404


def test_health(world: World) -> None:
    assert world.client.get("/healthz").text == "ok"
    assert world.client.get("/readyz").status_code == 200
    database = Path(str(world.database.engine.url.database))
    world.database.close()
    database.rename(database.with_suffix(".away"))
    database.mkdir()  # SQLite would make a file anew, but can't open a folder
    assert world.client.get("/healthz").status_code == 200
    assert world.client.get("/readyz").status_code == 503
    database.rmdir()
    database.with_suffix(".away").rename(database)
    assert world.client.get("/readyz").status_code == 200


def test_every_answer_carries_the_headers_that_keep_pages_safe(world: World) -> None:
    for path in ("/f/guide", "/nowhere", "/u/x"):
        headers = world.client.get(path).headers
        assert "script-src" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert "server" not in headers


def test_the_access_log_holds_no_token_and_no_address(world: World, caplog: pytest.LogCaptureFixture) -> None:
    letter = world.a_letter(world.a_lead())
    with caplog.at_level(logging.INFO, "nurture.web"):
        click(world, letter, 1)
        world.client.get("/u/" + world.sign(Purpose.UNSUBSCRIBE, f"m{letter}"))
    lines = [record.getMessage() for record in caplog.records]
    assert "GET /c/… 302" in lines
    assert "GET /u/… 200" in lines
    assert not any("127.0.0.1" in line for line in lines)


def test_an_error_of_ours_is_a_plain_page_with_a_number(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a clock that broke: secret detail")

    monkeypatch.setattr(type(world.clock), "__call__", lambda _self: broken())
    answer = world.client.get("/f/guide")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.split()[1].rstrip(":") in answer.text


def test_a_body_beyond_the_limit_is_refused_however_it_comes(world: World) -> None:
    path = "/u/" + world.sign(Purpose.UNSUBSCRIBE, f"l{world.a_lead()}")
    assert world.client.post(path, content=b"a=" + b"x" * 70_000).status_code == 413
    chunks = (b"x" * 8_192 for _ in range(20))
    assert world.client.post(path, content=chunks).status_code == 413
    many = "&".join(f"f{number}=1" for number in range(500))
    assert (
        world.client.post(path, content=many, headers={"content-type": "application/x-www-form-urlencoded"}).status_code
        == 400
    )
    assert world.rows(t.suppression) == []


def test_rubbish_on_the_wire_ends_one_connection_only(world: World) -> None:
    host, port = world.address.split(":")
    for rubbish in (
        b"\x16\x03\x01\x02\x00" * 10,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /u/x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(rubbish)
            connection.recv(1000)
    assert world.client.get("/healthz").status_code == 200
