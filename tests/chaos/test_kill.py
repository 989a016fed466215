"""The real daemon is killed with SIGKILL again and again while it sends; the receiver's disk says what happened.

The receiver syncs each message before it answers, and sometimes drops the link after the final dot, with or without
having recorded the message. What it recorded is the truth: nobody twice, nobody lost, each undecided one `unknown`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select, update

from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.migrate import upgrade
from tests.receiving import receiving

LEADS = int(os.environ.get("NURTURE_CHAOS_LEADS", "3000"))
KILLS = int(os.environ.get("NURTURE_CHAOS_KILLS", "30"))
SEED = int(os.environ.get("NURTURE_CHAOS_SEED", "20261124"))

CONFIG = """
[workspace]
name = "Acme Analytics"
public_url = "http://127.0.0.1:8080"
postal_address = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
timezone = "Europe/Berlin"
secret_key = "env:NURTURE_SECRET_KEY"
[database]
url = "sqlite:///nurture.db"
[web]
public = "127.0.0.1:0"
[smtp.primary]
host = "127.0.0.1"
port = {port}
security = "none"
connections = 8
[senders.anna]
from = "Anna Meier <anna@acme.example>"
[sending]
sender = "anna"
"""
CADENCE = """
name: To everybody
segment: stage == "lead"
enroll: current_and_future
window: any
steps:
  - email: hello
    id: hello
    subject: "Hello {{ lead.first_name | default('there') }}"
"""
TEMPLATE = """<mjml><mj-body><mj-section><mj-column>
<mj-text>Hello {{ lead.first_name | default('there') }},
<a href="https://www.acme.example/tour">take the tour</a>.</mj-text>
<mj-text>{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


def make_workspace(root: Path, port: int) -> Database:
    (root / "cadences").mkdir()
    (root / "templates" / "email").mkdir(parents=True)
    (root / "config.toml").write_text(CONFIG.format(port=port))
    (root / "cadences" / "everybody.yaml").write_text(CADENCE)
    (root / "templates" / "email" / "hello.mjml").write_text(TEMPLATE)
    database = Database("sqlite:///nurture.db", root=root)
    upgrade(database)
    now = datetime.now(UTC) - timedelta(days=1)  # noqa: TID251  the daemon under test lives in real time
    rows = [
        {
            "email": f"lead{number}@example.com",
            "email_key": f"lead{number}@example.com",
            "email_domain": "example.com",
            "first_name": f"Lead {number}",
            "stage": "lead",
            "consented_at": now,
            "created_at": now,
        }
        for number in range(LEADS)
    ]
    defaults = {"custom": {}, "readings": {}, "fit": "unknown", "fit_points": 0.0, "hot_armed": True, "rescore": False}
    with database.transaction() as connection:
        connection.execute(insert(t.lead), [{**row, **defaults} for row in rows])
    return database


def start_daemon(root: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "NURTURE_SECRET_KEY": "a secret for this test alone"}
    with (root / "daemon.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", "from nurture.cli.main import main; main()", "run", "--only", "work"],
            cwd=root,
            env=environment,
            stderr=log,
            stdout=log,
        )


def statuses(database: Database) -> Counter[str]:
    with database.reading() as connection:
        rows = connection.execute(select(t.message.c.status, func.count()).group_by(t.message.c.status))
        return Counter({row[0]: row[1] for row in rows})


def retry_now(database: Database) -> None:
    """Time moved by hand: what was deferred is due again."""
    with database.transaction() as connection:
        connection.execute(
            update(t.message).where(t.message.c.status == "deferred").values(not_before=datetime.now(UTC))  # noqa: TID251  as above
        )


def finished(database: Database) -> bool:
    counts = statuses(database)
    return counts["sent"] + counts["unknown"] + counts["failed"] == LEADS


def test_nobody_twice_nobody_lost_under_sigkill(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    with receiving(tmp_path / "mail", "--drop", "0.01", "--defer", "0.02", "--seed", str(SEED)) as receiver:
        root = tmp_path / "workspace"
        root.mkdir()
        database = make_workspace(root, receiver.port)
        kills = kill_while_it_sends(root, database, rng)
        deadline = time.monotonic() + 120
        daemon = start_daemon(root)
        while not finished(database) and time.monotonic() < deadline:
            retry_now(database)
            time.sleep(0.3)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=40) == 0, (root / "daemon.log").read_text()[-2000:]
        judge(database, receiver.received(), kills)


def kill_while_it_sends(root: Path, database: Database, rng: random.Random) -> int:
    """SIGKILL at random moments, each after this life of the daemon has sent something."""
    kills = 0
    while kills < KILLS and not finished(database):
        before = sum(statuses(database).values()) - statuses(database)["queued"]
        daemon = start_daemon(root)
        began = time.monotonic()
        while time.monotonic() - began < 20:
            counts = statuses(database)
            if sum(counts.values()) - counts["queued"] > before or counts["sending"]:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        daemon.kill()
        daemon.wait()
        retry_now(database)
        kills += 1
    return kills


def judge(database: Database, received: list[dict[str, object]], kills: int) -> None:
    with database.reading() as connection:
        rows = connection.execute(select(t.message.c.message_id, t.message.c.status, t.message.c.to_address)).all()
    status_of = {row.message_id: row.status for row in rows}
    arrived = Counter(each["message_id"] for each in received)
    people = Counter(each["to"] for each in received)
    counts = Counter(row.status for row in rows)
    twice = [name for name, count in (arrived + Counter()).items() if count > 1] + [
        name for name, count in people.items() if count > 1
    ]
    lost = [row.to_address for row in rows if row.status == "sent" and not arrived[row.message_id]]
    print(
        f"\nkills {kills}, messages {len(rows)}, sent {counts['sent']}, unknown {counts['unknown']}, "
        f"received {len(received)}, twice {len(twice)}, lost {len(lost)}, seed {SEED}"
    )
    assert kills >= KILLS
    assert len(rows) == LEADS
    assert set(counts) <= {"sent", "unknown"}
    assert twice == []
    assert lost == []
    assert {status_of[name] for name in arrived} <= {"sent", "unknown"}
