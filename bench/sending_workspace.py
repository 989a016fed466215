"""A workspace whose letters are queued and ready to go, and one pass of the deliver stage over them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Connection, String, cast, func, insert, literal, select, text, update
from sqlalchemy.sql.schema import Table

from bench.letter_template import write_template
from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import Installation, build_stages, open_installation
from nurture.engines.stages import Stages
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.due_mail import due_messages

DKIM = ("none", "rsa-2048", "ed25519")
CONFIG = """
[workspace]
name = "Acme Analytics"
public_url = "https://mail.acme.example"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "Europe/Berlin"
secret_key = "env:NURTURE_SECRET_KEY"
[database]
url = "{url}"
[web]
public = "127.0.0.1:{web_port}"
[smtp.primary]
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
[senders.anna]
from = "Anna Meier <anna@acme.example>"
[sending]
sender = "anna"
"""
SIGNED = """
[dkim."acme.example"]
selector = "s1"
key = "file:dkim.pem"
"""
CADENCE = """
name: Bench
segment: stage == "lead"
enroll: current_and_future
window: any
steps:
  - email: letter
    id: letter
    subject: "{{ lead.first_name }}, a letter for {{ lead.company | default('your team') }}"
    preheader: One minute
"""
SQLITE = "sqlite:///nurture.db"


def make_workspace(
    root: Path, *, port: int, connections: int = 16, url: str = SQLITE, dkim: str = "none", web_port: int = 0
) -> Path:
    """Files alone; nothing is queued."""
    os.environ.setdefault("NURTURE_SECRET_KEY", "a secret for the benchmark alone")
    (root / "cadences").mkdir(parents=True)
    config = CONFIG.format(port=port, connections=connections, url=url, web_port=web_port)
    if dkim != "none":
        key = generate_private_key(65537, 2048) if dkim == "rsa-2048" else Ed25519PrivateKey.generate()
        (root / "dkim.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (root / "dkim.pem").chmod(0o600)
        config += SIGNED
    (root / "config.toml").write_text(config)
    (root / "cadences" / "bench.yaml").write_text(CADENCE)
    write_template(root / "templates" / "email")
    return root


def set_connections(root: Path, connections: int) -> None:
    """For whatever opens the workspace from now on."""
    config = root / "config.toml"
    config.write_text(re.sub(r"(?m)^connections = \d+$", f"connections = {connections}", config.read_text()))


def queue_letters(root: Path, leads: int) -> None:
    """So many leads, each with its enrollment and its message in the queue.

    The first goes through the stages; the others are its copies, made inside the database: a million in a minute.
    """
    installation = open_installation(root)
    with installation.database.transaction() as connection:
        connection.execute(insert(t.lead), [_lead(1, installation)])
    stages = build_stages(installation, load_workspace(root), sole_worker=True)
    stages.enroll()
    stages.advance()
    with installation.database.transaction() as connection:
        _copy_leads(connection, leads)
        key = t.lead.c.id
        _copy(connection, t.enrollment, {"id": key, "lead_id": key, "message_id": key})
        address = {"to_address": t.lead.c.email, "recipient_domain": t.lead.c.email_domain}
        intent = {"id": key, "intent_key": literal("bench:") + cast(key, String)}
        _copy(connection, t.message, {**intent, **address, "lead_id": key, "enrollment_id": key})
    settle(installation.database)
    installation.database.close()


def _lead(number: int, installation: Installation) -> dict[str, object]:
    now = installation.clock()
    return {
        "id": number,
        "email": f"lead{number}@example.com",
        "email_key": f"lead{number}@example.com",
        "email_domain": "example.com",
        "first_name": f"Lead {number}",
        "company": "Company 1",
        "stage": "lead",
        "consented_at": now,
        "created_at": now,
        "custom": {},
        "readings": {},
        "fit": "unknown",
        "fit_points": 0.0,
        "hot_armed": True,
        "rescore": False,
    }


def _copy_leads(connection: Connection, leads: int) -> None:
    first = select(literal(2).label("i")).where(literal(2) <= leads)
    numbers = first.cte("n", recursive=True)
    numbers = numbers.union_all(select(numbers.c.i + 1).where(numbers.c.i < leads))
    number = cast(numbers.c.i, String)
    address = literal("lead") + number + literal("@example.com")
    named = {
        "id": numbers.c.i,
        "email": address,
        "email_key": address,
        "first_name": literal("Lead ") + number,
        "company": literal("Company ") + cast(numbers.c.i % 97, String),
    }
    columns = [column for column in t.lead.c if column.name not in named]
    values = select(*named.values(), *columns).select_from(numbers).join(t.lead, t.lead.c.id == 1)
    connection.execute(insert(t.lead).from_select([*named, *(each.name for each in columns)], values))


def _copy(connection: Connection, table: Table, named: dict[str, Any]) -> None:
    """The first lead's row of this table for every other lead, with what is each one's own."""
    columns = [column for column in table.c if column.name not in named]
    first = select(func.min(table.c.id)).scalar_subquery()
    values = select(*named.values(), *columns).select_from(t.lead).join(table, table.c.id == first)
    connection.execute(
        insert(table).from_select([*named, *(each.name for each in columns)], values.where(t.lead.c.id > 1))
    )


def settle(database: Database) -> None:
    """What a database does by and by, done now: statistics, and a checkpoint (SQLite's comes with the last close)."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"))
        if not database.is_sqlite:
            connection.execute(text("CHECKPOINT"))


def queue_again(database: Database, now: datetime) -> None:
    """The same messages for the next round, as if they had just been queued."""
    with database.transaction() as connection:
        again = {"status": "queued", "attempt": 0, "sent_at": None, "dotted_at": None, "ended_at": None}
        queued = {"created_at": now, "not_before": now}
        connection.execute(update(t.message).where(t.message.c.status != "queued").values(again | queued))
        connection.execute(update(t.enrollment).where(t.enrollment.c.due_at.is_not(None)).values(due_at=None))


def put_off(database: Database, *, besides: int) -> None:
    """All but so many messages are due tomorrow."""
    with database.transaction() as connection:
        due = connection.execute(select(t.message.c.not_before).limit(1)).scalar_one()
        later = {"not_before": due + timedelta(days=1)}
        connection.execute(update(t.message).where(t.message.c.id > besides).values(later))


class Chain:
    """Sending as the daemon does it: claim, render, compose, durable commits, SMTP. One for all rounds."""

    def __init__(self, root: Path, *, sole_worker: bool = True) -> None:
        self.installation = open_installation(root)
        self.stages: Stages = build_stages(self.installation, load_workspace(root), sole_worker=sole_worker)

    @property
    def database(self) -> Database:
        return self.installation.database

    def letters(self, count: int) -> Sequence[bytes]:
        """The first letters of the queue as they would go over the wire; nothing is claimed."""
        writer = self.stages.deliverer.equipment.letters
        with self.database.reading() as connection:
            rows = due_messages(connection, now=self.installation.clock(), limit=count)
            writer.prepare(connection, rows)
            materials = writer.gather(connection, rows)
        return [writer.write(row, writer.message_id(row), materials[row.id]).wire for row in rows]

    def attend(self) -> None:
        """Be seen by the other workers, as a daemon is before its first mail is due."""
        uvloop.run(self.stages.deliverer.attend())

    def send(self) -> tuple[int, float]:
        """(messages that were sent, seconds) of one pass over everything that is due."""

        async def one_pass() -> tuple[int, float]:
            began = time.perf_counter()
            report = await self.stages.deliver()
            seconds = time.perf_counter() - began
            await self.stages.deliverer.close()
            return report.sent, seconds

        return uvloop.run(one_pass())

    def rate(self, expected: int) -> float:
        """Messages a second of a pass that has to send so many, which are queued again afterwards."""
        sent, seconds = self.send()
        if sent != expected:
            raise SystemExit(f"{sent} messages were sent, not {expected}")
        self.queue_again()
        return sent / seconds

    def queue_again(self) -> None:
        """The same messages for the next round."""
        queue_again(self.database, self.installation.clock())

    def close(self) -> None:
        self.database.close()
