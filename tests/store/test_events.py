"""Events are appended once, whatever they carry."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import insert, select

from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def test_an_event_is_recorded_once_and_takes_hostile_text(database: Database) -> None:
    lead = {"email": "zoe@example.com", "email_key": "zoe@example.com", "email_domain": "example.com"}
    defaults = {"custom": {}, "readings": {}, "stage": "lead", "fit": "unknown", "fit_points": 0.0}
    flags = {"hot_armed": True, "rescore": False, "created_at": NOW}
    hostile = {"na\0me": "a\0b\ud800c", "inner": ["\0", {"x": "\udfff"}], "count": 3}
    with database.transaction() as connection:
        lead_id = connection.execute(insert(t.lead).values(**lead, **defaults, **flags)).inserted_primary_key[0]
        new = NewEvent(
            lead_id=lead_id, kind="page viewed", at=NOW, source="test", source_id="1", path="/\0", props=hostile
        )
        assert record_event(connection, new, now=NOW) is not None
        assert record_event(connection, new, now=NOW) is None
    with database.reading() as connection:
        row = connection.execute(select(t.event)).one()
    assert (row.path, row.props) == ("/", {"name": "ab?c", "inner": ["", {"x": "?"}], "count": 3})
