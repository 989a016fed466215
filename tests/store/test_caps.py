"""A lead's frequency cap is asked about by one worker at a time."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from sqlalchemy import text, update

from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.enrollments import sends_besides
from tests.engine.world import MONDAY, add_leads
from tests.store.test_gauges import messages

DAY = timedelta(days=1)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"


def test_who_asks_for_another_message_of_a_lead_sees_what_became_of_the_first(postgres_database: Database) -> None:
    (lead,) = add_leads(postgres_database, "zoe")
    with postgres_database.transaction() as connection:
        messages(connection, 2, "canceled", lead_id=lead)
        ids = connection.execute(t.message.select().with_only_columns(t.message.c.id)).scalars().all()
    told: list[dict[int, list[datetime]]] = []

    def ask() -> None:
        with postgres_database.transaction() as connection:
            told.append(sends_besides(connection, {ids[1]: lead}, since=MONDAY - DAY, now=MONDAY))

    second = threading.Thread(target=ask)
    with postgres_database.transaction() as first:
        assert sends_besides(first, {ids[0]: lead}, since=MONDAY - DAY, now=MONDAY) == {ids[0]: []}
        second.start()
        while not first.scalar(text(WAITING)):
            assert second.is_alive(), "it did not wait"
            time.sleep(0.01)
        going = update(t.message).where(t.message.c.id == ids[0])
        first.execute(going.values(status="sending"))
    second.join()
    assert told == [{ids[1]: [MONDAY]}]
