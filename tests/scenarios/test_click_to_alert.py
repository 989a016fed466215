"""From a reader's click to a rep's answer, over real SMTP and real HTTP; and what a machine does moves nobody."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from sqlalchemy import select

from nurture.bootstrap import build_public_server
from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.store import tables as t
from tests.receiving import Receiving, receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36"
MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LEADS = """Email,First Name,Company Name,Job Title,Country/Region,Time Zone,Tags,Number of Employees,Marketing consent
zoe@fits.example,Zoe,Northwind,Head of Marketing,Germany,Europe/Berlin,guide,250,Yes
"""


class World:
    """A workspace under way, its mail, and a browser."""

    def __init__(self, running: Running, receiver: Receiving, address: str) -> None:
        self.running, self.receiver, self.address = running, receiver, address

    def mails(self, to: str) -> list[str]:
        """The HTML of each mail to that address."""
        found = []
        for raw in self.receiver.messages():
            message = email.message_from_bytes(raw, policy=email.policy.default)
            if str(message["To"]).endswith(to):
                body = message.get_body(("html",))
                assert body is not None
                found.append(body.get_content())
        return found

    def links(self, html: str) -> list[str]:
        return [url for url in re.findall(r'href="(http[^"]+/c/[^"]+)"', html) if not url.endswith("-h")]

    def request(self, method: str, url: str, *, agent: str = BROWSER, form: dict[str, str] | None = None) -> int:
        path = urlsplit(url)
        connection = HTTPConnection(self.address, timeout=10)
        headers = {"User-Agent": agent}
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path.path + (f"?{path.query}" if path.query else ""), body=body, headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def lead(self):
        with self.running.installation.database.reading() as connection:
            return connection.execute(select(t.lead)).one()

    def rows(self, table):
        with self.running.installation.database.reading() as connection:
            return connection.execute(select(table)).all()


@contextmanager
def serving(running: Running) -> Iterator[str]:
    """The public listener in a thread, on a port of its own, at the clock that the test moves."""
    web = running.workspace.settings.web.model_copy(update={"public": "127.0.0.1:0"})
    settings = running.workspace.settings.model_copy(update={"web": web})
    server = build_public_server(running.installation, replace(running.workspace, settings=settings))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        yield server.address
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail", "--keep") as receiver:
        root = copy_acceptance(tmp_path / "workspace", smtp_port=receiver.port)
        template = root / "templates" / "email" / "guide-followup.mjml"
        third = '<mj-text><a href="https://www.acme.example/third">A third link</a></mj-text></mj-column>'
        template.write_text(template.read_text().replace("</mj-column>", third, 1))
        running = start(root, at=MONDAY)
        (root / "one.csv").write_text(LEADS)
        import_leads(running.installation.database, ImportRequest(path=root / "one.csv", source="test"), now=MONDAY)
        running.once()
        with serving(running) as address:
            yield World(running, receiver, address)
        running.installation.database.close()


def test_a_persons_clicks_promote_and_alert_and_a_claim_stops_marketing(world: World) -> None:
    first = world.mails("zoe@fits.example")[0]
    world.running.advance(hours=2)
    assert world.request("GET", world.links(first)[0]) == 302
    world.running.once()
    assert world.lead().stage == "mql"
    assert world.rows(t.alert) == []

    world.running.advance(days=3)
    second = world.mails("zoe@fits.example")[1]
    world.running.advance(hours=1)
    assert world.request("GET", world.links(second)[0]) == 302
    world.running.once()
    assert world.mails("@acme.example") == [], "a hot alert waits until the burst window has passed"
    world.running.advance(seconds=120)
    (alert,) = world.rows(t.alert)
    (mail,) = world.mails("@acme.example")
    assert alert.status == "open"
    assert "Zoe" in mail

    page = re.search(r'href="(http[^"?]+/a/[^"?]+)', mail)
    assert page is not None
    for method in ("GET", "HEAD"):
        world.request(method, page[1] + "?do=claim")
    assert world.rows(t.alert)[0].status == "open", "looking answers nothing"
    assert world.request("POST", page[1], form={"answer": "claim", "note": "mine"}) in (200, 303)
    assert world.rows(t.alert)[0].status == "claimed"
    assert world.lead().hold_reason == "claim"
    before = len(world.mails("zoe@fits.example"))
    world.running.advance(days=5)
    assert len(world.mails("zoe@fits.example")) == before


@pytest.mark.parametrize("how", ["head", "scanner", "burst", "bait"])
def test_what_a_machine_clicks_moves_nobody(world: World, how: str) -> None:
    html = world.mails("zoe@fits.example")[0]
    links = world.links(html)
    world.running.advance(hours=2)
    if how == "head":
        world.request("HEAD", links[0])
    elif how == "scanner":
        world.request("GET", links[0], agent="Mozilla/5.0 (compatible; BarracudaLinkProtect)")
    elif how == "burst":
        assert len(links) == 3
        for url in links:
            world.request("GET", url)
            world.running.clock.advance(timedelta(seconds=0.7))
    else:
        world.request("GET", links[0])
        world.request("GET", links[0].rsplit("-", 1)[0] + "-h")
    world.running.once()
    world.running.advance(minutes=5)
    lead = world.lead()
    assert lead.stage == "lead"
    assert sum(row.points for row in world.rows(t.score_ledger) if row.kind == "engagement") == 0
    assert world.rows(t.alert) == []


def test_one_click_stops_the_next_mail_although_it_is_queued(world: World) -> None:
    html = world.mails("zoe@fits.example")[0]
    unsubscribe = re.search(r'href="(http[^"]+/u/[^"]+)"', html)
    assert unsubscribe is not None
    world.running.clock.advance(timedelta(days=3))
    world.running.stages.advance()  # the next message is an intent now, and not yet sent
    assert [row.status for row in world.rows(t.message)].count("queued") == 1
    for method in ("GET", "HEAD"):
        assert world.request(method, unsubscribe[1]) == 200
    assert world.rows(t.suppression) == []
    assert world.request("POST", unsubscribe[1], agent="mail program", form={"List-Unsubscribe": "One-Click"}) == 200
    world.running.once()
    assert len(world.mails("zoe@fits.example")) == 1
    assert [row.status for row in world.rows(t.enrollment)] == ["exited"]
    assert world.rows(t.enrollment)[0].exit_reason == "unsubscribed"
