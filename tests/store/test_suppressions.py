"""An address that gets nothing: one acting row, the strongest reason, lifted but never deleted, whole domains too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from nurture.domain.addresses import erased_key
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.suppressions import has_erased, lift, suppress, suppress_all, suppressed_among, unsuppress_bounced

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ANN = "ann@example.com"


def test_suppressing_twice_is_suppressing_once(database: Database) -> None:
    with database.transaction() as connection:
        assert suppress(connection, ANN, reason="unsubscribed", now=NOW)
        assert not suppress(connection, ANN, reason="unsubscribed", now=LATER)
        assert not suppress(connection, ANN, reason="cold", now=LATER)
        [row] = connection.execute(select(t.suppression)).all()
        assert (row.reason, row.at, row.lifted_at) == ("unsubscribed", NOW, None)


def test_a_stronger_reason_takes_the_place_of_a_weaker_one(database: Database) -> None:
    """Else an opt-in could lift what hides a complaint."""
    with database.transaction() as connection:
        suppress(connection, ANN, reason="unsubscribed", now=NOW)
        assert suppress(connection, ANN, reason="complained", now=LATER)
        assert not suppress(connection, ANN, reason="unsubscribed", now=LATER)
        assert suppressed_among(connection, [ANN]) == {ANN: "complained"}
        rows = connection.execute(select(t.suppression).order_by(t.suppression.c.id)).all()
        assert [(row.reason, row.lifted_at) for row in rows] == [("unsubscribed", LATER), ("complained", None)]


def test_a_bounce_that_is_taken_back_leaves_what_acted_before_it(database: Database) -> None:
    with database.transaction() as connection:
        for key, reason in ((ANN, "unsubscribed"), ("cold@x.example", "cold"), ("old@x.example", "bounced")):
            suppress(connection, key, reason=reason, now=NOW, note="before")
        keys = [ANN, "cold@x.example", "old@x.example", "new@x.example", "angry@x.example"]
        suppress_all(connection, dict.fromkeys(keys, "bounced"), now=LATER)
        suppress(connection, "angry@x.example", reason="complained", now=LATER)
        taken_back = LATER + timedelta(minutes=10)
        for _ in range(2):
            unsuppress_bounced(connection, keys, since=LATER - timedelta(hours=1), now=taken_back, note="ill")
            assert suppressed_among(connection, keys) == {
                ANN: "unsubscribed",
                "cold@x.example": "cold",
                "old@x.example": "bounced",
                "angry@x.example": "complained",
            }


def test_what_is_lifted_stays_on_record_and_may_be_suppressed_again(database: Database) -> None:
    with database.transaction() as connection:
        suppress(connection, ANN, reason="unsubscribed", now=NOW)
        assert lift(connection, ANN, now=LATER, note="asked by phone")
        assert not lift(connection, ANN, now=LATER, note="asked by phone")
        assert suppressed_among(connection, [ANN]) == {}
        assert suppress(connection, ANN, reason="unsubscribed", now=LATER)
        rows = connection.execute(select(t.suppression).order_by(t.suppression.c.id)).all()
        assert [row.lifted_note for row in rows] == ["asked by phone", None]


def test_a_domain_covers_its_addresses_and_no_others(database: Database) -> None:
    with database.transaction() as connection:
        suppress(connection, "@example.com", reason="by_hand", now=NOW)
        suppress(connection, ANN, reason="unsubscribed", now=NOW)
        keys = [ANN, "bob@example.com", "cy@mail.example.com", "di@notexample.com"]
        assert suppressed_among(connection, keys) == {ANN: "unsubscribed", "bob@example.com": "by_hand"}
        assert suppressed_among(connection, []) == {}


def test_many_at_once(database: Database) -> None:
    reasons = {f"p{number}@example.com": "bounced" for number in range(1_200)}
    with database.transaction() as connection:
        suppress(connection, "p7@example.com", reason="complained", now=NOW)
        assert len(suppress_all(connection, reasons, now=NOW, note="import")) == 1_199
        assert suppress_all(connection, reasons, now=LATER) == set()
        found = suppressed_among(connection, list(reasons))
        assert len(found) == 1_200 and found["p7@example.com"] == "complained"


def test_whether_anyone_was_erased(database: Database) -> None:
    with database.transaction() as connection:
        suppress(connection, "harry@example.com", reason="by_hand", now=NOW)
        assert not has_erased(connection)
        suppress(connection, erased_key("secret", ANN), reason="erased", now=NOW)
        assert has_erased(connection)
