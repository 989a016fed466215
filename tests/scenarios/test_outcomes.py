"""What each answer of the world does to a message, to its reader and to the cadence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.store import tables as t
from tests.receiving import Receiving, receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
PEOPLE = ("zoe", "unknown", "blocked", "greylisted", "leaving")
HEAD = "Email,First Name,Time Zone,Tags,Marketing consent\n"


def leads(*names: str) -> str:
    return HEAD + "".join(f"{name}@{name}.example,{name.title()},Europe/Berlin,guide,Yes\n" for name in names)


def open_world(folder: Path, port: int, *names: str) -> Running:
    root = copy_acceptance(folder / "workspace", smtp_port=port)
    running = start(root, at=MONDAY)
    (root / "people.csv").write_text(leads(*names))
    import_leads(running.installation.database, ImportRequest(path=root / "people.csv", source="test"), now=MONDAY)
    return running


def messages(running: Running) -> dict[str, list[str]]:
    """name -> the statuses of its messages, in order."""
    found: dict[str, list[str]] = {}
    with running.installation.database.reading() as connection:
        for row in connection.execute(select(t.message).order_by(t.message.c.id)):
            found.setdefault(row.to_address.partition("@")[0], []).append(row.status)
    return found


def enrollments(running: Running) -> dict[str, tuple[str, str | None]]:
    e, lead = t.enrollment, t.lead
    with running.installation.database.reading() as connection:
        rows = connection.execute(select(lead.c.email, e.c.status, e.c.exit_reason).join(e, e.c.lead_id == lead.c.id))
        return {row.email.partition("@")[0]: (row.status, row.exit_reason) for row in rows}


def suppressed(running: Running) -> dict[str, str]:
    with running.installation.database.reading() as connection:
        return {row.address_key: row.reason for row in connection.execute(select(t.suppression))}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Receiving]]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail") as receiver:
        running = open_world(tmp_path, receiver.port, *PEOPLE)
        yield running, receiver
        running.installation.database.close()


def test_accepted_bounced_blocked_and_greylisted(world: tuple[Running, Receiving]) -> None:
    running, _ = world
    report = running.once()
    assert (report.sent, report.bounced, report.deferred) == (1, 1, 3)
    assert messages(running) == {
        "zoe": ["sent"],
        "unknown": ["bounced"],
        "blocked": ["deferred"],
        "greylisted": ["deferred"],
        "leaving": ["deferred"],
    }
    assert suppressed(running) == {"unknown@unknown.example": "bounced"}, "only a hard bounce is the reader's"
    assert enrollments(running)["unknown"] == ("exited", "bounced")
    assert enrollments(running)["blocked"] == ("active", None)
    assert running.once().deferred == 0, "not before the back-off is over"


def test_a_deferred_message_is_given_up_after_two_days_and_the_cadence_goes_on(
    world: tuple[Running, Receiving],
) -> None:
    running, receiver = world
    for _ in range(3 * 12):
        running.advance(hours=2)
    assert messages(running)["greylisted"][0] == "failed"
    assert [each["to"] for each in receiver.received()].count("greylisted@greylisted.example") == 0
    for _ in range(4 * 12):
        running.advance(hours=2)
    assert len(messages(running)["greylisted"]) == 2, "the next step came"


def test_no_server_defers_everything_and_the_next_hour_sends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    names = [f"reader{number}" for number in range(40)]
    running = open_world(tmp_path, 1, *names)
    report = running.once()
    assert (report.sent, report.deferred, report.failed) == (0, 40, 0)
    config = tmp_path / "workspace" / "config.toml"
    with receiving(tmp_path / "mail") as receiver:
        config.write_text(config.read_text().replace("port = 1\n", f"port = {receiver.port}\n"))
        again = start(tmp_path / "workspace", at=MONDAY + timedelta(hours=1))
        assert again.once().sent == 40
        assert again.once().sent == 0
        assert len(receiver.received()) == 40


def test_a_letter_that_cannot_be_written_fails_alone_and_its_cadence_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail") as receiver:
        running = open_world(tmp_path, receiver.port, "zoe", "max")
        template = tmp_path / "workspace" / "templates" / "email" / "guide-followup.mjml"
        template.write_text(
            template.read_text()
            .replace("One minute", "One")
            .replace("{{ lead.first_name | default('there') }}", "{{ lead.company }}")
        )
        report = running.once()
        assert (report.sent, report.failed) == (0, 2)
        with running.installation.database.reading() as connection:
            why = connection.scalar(select(t.message.c.reply).limit(1))
        assert "lead.company" in str(why)
        running.advance(days=3)
        assert [statuses[1:] for statuses in messages(running).values()] == [["failed"], ["failed"]]
        running.installation.database.close()
