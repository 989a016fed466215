"""Statements whose text is made once: what is given is bound, what is constant stands in the text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import BigInteger, Connection, Text, column, insert, literal, select
from sqlalchemy.exc import DBAPIError

from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.decisions import NewDecision, record_decisions
from nurture.store.prepared import Given, Prepared
from nurture.store.spellings import as_given, given_rows

NOW = datetime(2026, 11, 2, 9, 30, 0, 123456, tzinfo=UTC)
ODD = ("O'Hara", "100 % {sure}", 'a "b" \\', ":name", "%(name)s", "é 学 😀", "; DROP TABLE lead --", "")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.transaction() as opened:
        yield opened


@pytest.mark.parametrize("text", ODD)
def test_texts_come_back_as_they_were_bound_or_constant(connection: Connection, text: str) -> None:
    both = Prepared(lambda _: select(Given("said", Text()).label("said"), literal(text).label("constant")))
    (row,) = both.run(connection, said=text)
    assert (row.said, row.constant) == (text, text)


def test_rows_travel_as_one_value(connection: Connection) -> None:
    given = given_rows({"id": BigInteger(), "said": Text()})
    statement = Prepared(lambda _: select(given.c.id, given.c.said).order_by(given.c.id))
    rows = [{"id": number, "said": text} for number, text in enumerate(ODD)]
    for some in (rows, rows[:3], [], [{"id": 2**53 + 1, "said": None}]):
        found = [(int(row.id), row.said) for row in statement.run(connection, given=as_given(some))]
        assert found == [(row["id"], row["said"]) for row in some]


def test_times_are_compared_as_the_table_holds_them(connection: Connection) -> None:
    connection.execute(insert(t.pause), [{"scope": "all", "at": NOW}])
    kind = t.pause.c.at.type
    since = Prepared(lambda _: select(t.pause.c.scope).where(t.pause.c.at >= Given("since", kind)))
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert list(since.run(connection, since=elsewhere).scalars()) == ["all"]
    assert list(since.run(connection, since=NOW + timedelta(microseconds=1)).scalars()) == []


def test_the_text_has_a_mark_for_what_is_given_and_no_other(sqlite_database: Database) -> None:
    """SQLite would plan it anew at each run otherwise: a value may decide whether a partial index can be used."""
    m = t.message.c
    statement = Prepared(
        lambda _: select(m.id).where(m.status.in_(["queued", "deferred"]), m.id == Given("id", m.id.type))
    )
    with sqlite_database.transaction() as connection:
        statement.run(connection, id=1)
    (text,) = statement._texts.values()
    assert text.order == ["id"]
    assert "'queued'" in text.sql


def test_a_failure_is_told_as_any_other(connection: Connection) -> None:
    with pytest.raises(DBAPIError):
        Prepared(lambda _: select(column("nothing"))).run(connection)


def test_decisions_keep_their_details(connection: Connection) -> None:
    detail = {"reply": '550 5.1.1 <zoë@exämple.com> "unknown"', "until": None, "n": [1, 2.5, True], "in": {"a": "%s"}}
    new = NewDecision(lead_id=7, code=Reason.SENT, at=NOW, cadence="tour", step="a", detail=detail)
    record_decisions(connection, [new, NewDecision(lead_id=8, code=Reason.QUEUED, at=NOW)])
    rows = connection.execute(select(t.decision).order_by(t.decision.c.id)).all()
    assert [(row.lead_id, row.code, row.at, row.step, row.detail) for row in rows] == [
        (7, "sent", NOW, "a", detail),
        (8, "queued", NOW, None, {}),
    ]
