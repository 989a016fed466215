"""A cadence gives a task, posts a webhook and tells a room, over real SMTP and HTTP; what a rep answers moves it on."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Table, select

from nurture.bootstrap import Rehearsed, build_public_server
from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.notify.webhook import read_secret
from nurture.rehearsal.carrier import InMemoryCarrier
from nurture.store import tables as t
from tests.receiver import SECRET as HOOK_SECRET
from tests.receiver import Receiver, Say
from tests.receiver import receiving as receiving_posts
from tests.receiving import Receiving, receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
LEADS = "Email,First Name,Company,Phone,Owner,Tags,Marketing consent\n"
ZOE = "zoe@fits.example,<!channel>,A & B,+493012345678,ben,sales-ready,Yes\n"
CADENCE = """name: Sales ready
segment: tag("sales-ready")
enroll: current_and_future
window: any
steps:
  - webhook: crm
    id: first
  - webhook: unsigned
    id: second
  - notify: room
    id: tell
    message: "{{ lead.first_name }} is ready"
    alert: true
  - task: Call {{ lead.company }}
    id: call
    kind: call
    due: 1 business day
    wait: true
    up_to: 10 days
  - if: task(step="call", outcome="done")
    then:
      - tag: called
    else:
      - tag: missed
  - webhook: crm
    id: last
"""


@dataclass
class World:
    running: Running
    mail: Receiving
    posts: Receiver
    web: httpx.Client

    def rows(self, table: Table) -> list[Any]:
        with self.running.installation.database.reading() as connection:
            return list(connection.execute(select(table)))

    def tags(self) -> set[str]:
        return {row.tag for row in self.rows(t.lead_tag)}

    def mails(self, to: str) -> list[tuple[str, str]]:
        """(subject, text) of each mail to that address."""
        found = []
        for raw in self.mail.messages():
            message = email.message_from_bytes(raw, policy=email.policy.default)
            body = message.get_body(("plain",))
            assert body is not None
            if str(message["To"]).endswith(to):
                found.append((str(message["Subject"]), body.get_content()))
        return found

    def hooked(self, path: str) -> list[Any]:
        return [got for got in self.posts.got if got.path == path]


def a_path(text: str, route: str) -> str:
    found = re.search(rf"http://127\.0\.0\.1:8080(/{route}/\S+)", text)
    assert found is not None
    return found[1]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    monkeypatch.setenv("HOOK_SECRET", HOOK_SECRET)
    with receiving(tmp_path / "mail", "--keep") as mail, receiving_posts() as posts:
        monkeypatch.setenv("ROOM_URL", f"{posts.url}/services/T1/B2")
        root = copy_acceptance(tmp_path / "workspace", smtp_port=mail.port)
        (root / "cadences" / "sales-ready.yaml").write_text(CADENCE)
        for name in ("welcome.yaml", "guide-followup.yaml", "guide-followup.test.yaml"):
            (root / "cadences" / name).unlink()
        with (root / "config.toml").open("a") as config:
            config.write(
                f'[alerts.crm]\nkind = "webhook"\nurl = "{posts.url}/crm"\nsecret = "env:HOOK_SECRET"\n'
                f'[alerts.unsigned]\nkind = "webhook"\nurl = "{posts.url}/unsigned"\n'
                '[alerts.room]\nkind = "slack"\nurl = "env:ROOM_URL"\n'
            )
        running = start(root, at=MONDAY)
        (root / "one.csv").write_text(LEADS + ZOE)
        import_leads(running.installation.database, ImportRequest(path=root / "one.csv", source="test"), now=MONDAY)
        web = running.workspace.settings.web.model_copy(update={"public": "127.0.0.1:0"})
        settings = running.workspace.settings.model_copy(update={"web": web})
        server = build_public_server(running.installation, replace(running.workspace, settings=settings))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        with httpx.Client(base_url=f"http://{server.address}") as client:
            yield World(running, mail, posts, client)
        server.should_exit = True
        thread.join()
        running.installation.database.close()


def test_one_pass_posts_tells_and_gives_and_a_done_call_moves_it_on(world: World) -> None:
    world.running.once()

    (first,) = world.hooked("/crm")
    assert first.is_signed_with(HOOK_SECRET)
    assert first.json["type"] == "cadence.step"
    data = first.json["data"]
    assert (data["cadence"], data["step"], data["lead"]["email"]) == ("sales-ready", "first", "zoe@fits.example")
    (own,) = world.hooked("/unsigned")
    assert own.is_signed_with(world.running.installation.webhook_secret("unsigned"))
    assert not own.is_signed_with(HOOK_SECRET)
    (told,) = world.hooked("/services/T1/B2")
    assert "&lt;!channel&gt; is ready" in told.json["text"]
    assert "<!channel>" not in told.json["text"]
    assert "webhook-signature" not in told.headers

    ((subject, text),) = world.mails("ben@acme.example")
    assert subject == "Call <!channel> (A & B): Call A & B"
    assert "no permission to call" in text
    page = a_path(text, "a")
    assert world.web.get(page).status_code == 200
    world.running.advance(hours=1)
    assert world.tags() == {"sales-ready"}

    world.web.post(page, data={"outcome": "done"})
    world.running.once()
    assert world.tags() == {"sales-ready", "called"}
    assert [row.status for row in world.rows(t.enrollment)] == ["completed"]
    assert world.rows(t.lead)[0].contacted_at is not None
    assert [got.json["data"]["step"] for got in world.hooked("/crm")] == ["first", "last"]
    assert len({got.id for got in world.posts.got if "webhook-id" in got.headers}) == 3
    before = len(world.posts.got)
    world.running.advance(days=5)
    assert len(world.posts.got) == before
    assert len(world.mails("ben@acme.example")) == 1, "a task that is done is not reminded of"


def test_nobody_calls_and_the_cadence_goes_on_by_itself(world: World) -> None:
    world.running.once()
    world.running.advance(days=1, hours=1)
    subjects = [subject for subject, _ in world.mails("ben@acme.example")]
    assert [subject.startswith("Due now: ") for subject in subjects] == [False, True]
    world.running.advance(days=9)
    assert world.tags() == {"sales-ready", "missed"}
    assert [row.status for row in world.rows(t.task)] == ["open"]


def test_a_receiver_that_is_down_gets_everything_later_in_order(world: World) -> None:
    world.posts.answer = lambda got: Say(status=503)
    world.running.once()
    (_, text) = world.mails("ben@acme.example")[0]
    world.web.post(a_path(text, "a"), data={"outcome": "no answer"})
    world.running.advance(minutes=1)
    assert {got.json["data"]["step"] for got in world.hooked("/crm")} == {"first"}
    world.posts.answer = lambda got: Say()
    world.running.advance(minutes=10)
    assert [got.json["data"]["step"] for got in world.hooked("/crm")][-2:] == ["first", "last"]
    assert {row.status for row in world.rows(t.post)} == {"delivered"}


def test_a_rep_asks_for_the_list_and_works_through_it(world: World) -> None:
    world.running.once()
    (_, text) = world.mails("ben@acme.example")[0]
    way_in = a_path(text, "r")
    assert "Call A &amp; B" not in world.web.get(way_in).text
    world.web.post(way_in)
    world.running.once()
    subject, text = world.mails("ben@acme.example")[-1]
    assert subject == "Your open alerts and tasks at Acme Analytics"
    own_page = a_path(text, "r")
    listed = world.web.get(own_page).text
    assert "Call A &amp; B" in listed
    item = re.search(r'<a href="(/a/[^"]+)"', listed)
    assert item is not None
    closed = world.web.post(item[1], data={"outcome": "skipped"}).text
    assert "Back to your list" in closed
    assert "Nothing waits for you." in world.web.get(own_page).text
    world.running.advance(hours=13)
    assert "Mail me a new link" in world.web.get(own_page).text


def test_a_rehearsal_posts_nowhere(world: World) -> None:
    installation = world.running.installation
    rehearsed = Rehearsed(
        root=installation.root,
        settings=installation.settings,
        database=installation.database,
        clock=installation.clock,
        rng=installation.rng,
        seed="x",
    )
    channels = rehearsed.channels(installation.settings)
    assert {each.url for each in channels.values()} == {"https://rehearsal.invalid"}
    assert isinstance(rehearsed.carrier(), InMemoryCarrier)


def test_a_missing_secret_stops_no_mail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOM_URL")
    monkeypatch.delenv("HOOK_SECRET")
    again = start(world.running.installation.root, at=MONDAY)
    again.once()
    assert len(world.mails("ben@acme.example")) == 1
    replies = {row.channel: row.reply for row in world.rows(t.post)}
    assert "HOOK_SECRET" in replies["crm"]
    assert "ROOM_URL" in replies["room"]
    again.installation.database.close()


def test_the_key_that_signs_without_a_secret_is_one_a_receiver_can_use(world: World) -> None:
    secret = world.running.installation.webhook_secret("unsigned")
    assert len(read_secret(secret)) == 32
    assert secret != world.running.installation.webhook_secret("crm")
