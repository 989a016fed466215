"""A worker that is killed while a receiver thinks posts again when its lease is over, under the same id."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from nurture.store.database import Database
from tests.pipeline.test_post import Office
from tests.receiver import Say, receiving

WORKER = """
import asyncio, random, sys
from datetime import UTC, datetime
from pathlib import Path
from nurture.notify.carrier import HttpCarrier
from nurture.notify.channels import Channel
from nurture.pipeline.post import PostEquipment, Poster
from nurture.store.database import Database

root, url, now = sys.argv[1:]
poster = Poster(
    database=Database("sqlite:///nurture.db", root=Path(root)),
    equipment=PostEquipment(
        channels={"crm": Channel(name="crm", kind="webhook", url=url, secret=b"x")}, id_key=b"ids"
    ),
    carrier=HttpCarrier(),
    clock=lambda: datetime.fromtimestamp(float(now), UTC),
    rng=random.Random(1),
)
asyncio.run(poster.post())
"""


def test_it_is_posted_again_under_the_same_id(sqlite_database: Database, tmp_path: Path) -> None:
    with receiving() as receiver:
        office = Office(sqlite_database, receiver)
        receiver.says(Say(stalls=True), Say())
        office.queue("a", "b")
        arguments = [str(tmp_path), receiver.url, str(office.now.timestamp())]
        worker = subprocess.Popen([sys.executable, "-c", WORKER, *arguments])
        for _ in range(1_000):
            if receiver.got:
                break
            time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(10) == -signal.SIGKILL
        assert len(receiver.got) == 1

        assert office.passed().posted == 0, "its lease still holds"
        office.now = datetime.fromtimestamp(office.now.timestamp() + 121, UTC)
        assert office.passed().posted == 2
        assert office.arrived() == ["a", "a", "b"]
        assert receiver.got[0].id == receiver.got[1].id != receiver.got[2].id
        assert receiver.got[0].body == receiver.got[1].body
