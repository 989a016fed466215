"""What stands in line, as rows say it: counted by hand here, and asked without reading what is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, event, insert

from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.gauges import Gauges, Line, read_gauges
from nurture.store.pauses import ALL, cadence_scope, pause, sender_scope
from tests.engine.world import MONDAY

HOUR = timedelta(hours=1)


def messages(connection: Connection, count: int, status: str, **given: Any) -> None:
    shared = {"kind": "step", "to_address": "zoe@example.com", "recipient_domain": "example.com", "payload": {}}
    shared |= {"sender": "anna", "cadence": "tour", "created_at": MONDAY, "not_before": MONDAY, "status": status}
    shared |= {"visit": 1, "attempt": 0, "lease_epoch": 0, **given}
    keys = f"{status}:{given}"
    connection.execute(insert(t.message), [{**shared, "intent_key": f"{keys}:{number}"} for number in range(count)])


def enrollments(connection: Connection, count: int, first_lead: int, **given: Any) -> None:
    shared = {"cadence": "tour", "version": "1", "run": "1", "status": "active", "priority": 50, "concurrent": False}
    shared |= {"visit": 1, "enrolled_at": MONDAY, **given}
    connection.execute(insert(t.enrollment), [{**shared, "lead_id": first_lead + each} for each in range(count)])


def posts(connection: Connection, count: int, **given: Any) -> None:
    shared = {"channel": "crm", "kind": "x", "body": {}, "status": "queued", "created_at": MONDAY, "attempt": 0}
    rows = [{**shared, **given, "post_key": f"{given}:{number}"} for number in range(count)]
    connection.execute(insert(t.post), rows)


def alerts(connection: Connection, *statuses: str) -> None:
    shared = {"rep": "ben", "to": "sales", "channel": "email", "rule": "hot", "reasons": [], "evidence": {}}
    shared |= {"routed_by": "", "created_at": MONDAY, "told_count": 0}
    rows = [{**shared, "lead_id": number, "status": status} for number, status in enumerate(statuses)]
    connection.execute(insert(t.alert), rows)


def gauges(database: Database) -> Gauges:
    with database.reading() as connection:
        return read_gauges(connection, now=MONDAY)


def test_nothing_is_there(database: Database) -> None:
    assert gauges(database) == Gauges(
        messages={"queued": 0, "deferred": 0, "sending": 0, "unknown": 0},
        mail=Line(due=0, age_s=0),
        held=0,
        leases_over=0,
        workers_sending=0,
        enrollments=Line(due=0, age_s=0),
        posts=Line(due=0, age_s=0),
        alerts_open=0,
        paused=frozenset(),
        domains_ill=0,
        senders_blocked=0,
    )


def test_each_is_counted_once_and_where_it_belongs(database: Database) -> None:
    with database.transaction() as connection:
        messages(connection, 3, "queued", not_before=MONDAY - HOUR)
        messages(connection, 2, "deferred", not_before=MONDAY - 2 * HOUR)
        messages(connection, 4, "queued", not_before=MONDAY + HOUR)
        messages(connection, 5, "queued", sender="ben", not_before=MONDAY - 50 * HOUR)
        messages(connection, 1, "queued", cadence="trial", not_before=MONDAY - 60 * HOUR)
        messages(connection, 2, "sending", lease_owner="a:1", lease_until=MONDAY + HOUR)
        messages(connection, 3, "sending", lease_owner="b:2", lease_until=MONDAY - HOUR)
        messages(connection, 2, "unknown")
        for ended in ("sent", "bounced", "failed", "canceled"):
            messages(connection, 7, ended, not_before=MONDAY - 90 * HOUR)
        pause(connection, sender_scope("ben"), now=MONDAY)
        pause(connection, cadence_scope("trial"), now=MONDAY)
        enrollments(connection, 2, 1, due_at=MONDAY - 3 * HOUR)
        enrollments(connection, 3, 10, due_at=MONDAY + HOUR)
        enrollments(connection, 4, 20, due_at=MONDAY - 9 * HOUR, status="paused")
        enrollments(connection, 5, 30, due_at=None)
        posts(connection, 2, not_before=MONDAY - 4 * HOUR)
        posts(connection, 3, not_before=MONDAY + HOUR)
        posts(connection, 4, not_before=MONDAY - 9 * HOUR, status="delivered")
        alerts(connection, "open", "snoozed", "claimed", "won", "open")
    assert gauges(database) == Gauges(
        messages={"queued": 13, "deferred": 2, "sending": 5, "unknown": 2},
        mail=Line(due=5, age_s=7200),
        held=6,
        leases_over=3,
        workers_sending=2,
        enrollments=Line(due=2, age_s=3 * 3600),
        posts=Line(due=2, age_s=4 * 3600),
        alerts_open=3,
        paused=frozenset({"sender:ben", "cadence:trial"}),
        domains_ill=0,
        senders_blocked=0,
    )


def test_while_everything_is_stopped_mail_that_is_no_cadences_is_due_still(database: Database) -> None:
    with database.transaction() as connection:
        messages(connection, 3, "queued", not_before=MONDAY - HOUR)
        messages(connection, 1, "queued", cadence=None, kind="confirmation")
        pause(connection, ALL, now=MONDAY)
    found = gauges(database)
    assert (found.mail.due, found.mail.age_s, found.held) == (1, 0, 3)


def test_mail_that_waits_for_its_recipients_domain_is_held_wherever_its_time_stands(database: Database) -> None:
    pauses = {("shut.example", "anna"): HOUR, ("ill.example", ""): HOUR, ("well.example", ""): -HOUR}
    with database.transaction() as connection:
        for (domain, sender), left in pauses.items():
            row = {"domain": domain, "sender": sender, "since": MONDAY - HOUR, "until": MONDAY + left, "times": 1}
            connection.execute(insert(t.domain_pause).values(**row, reply="no"))
        messages(connection, 1, "deferred", recipient_domain="shut.example", not_before=MONDAY + HOUR)
        messages(connection, 2, "queued", recipient_domain="ill.example", not_before=MONDAY - HOUR)
        messages(connection, 4, "deferred", recipient_domain="ill.example", sender="ben", not_before=MONDAY + HOUR)
        messages(connection, 8, "queued", recipient_domain="shut.example", sender="ben")
        messages(connection, 16, "queued", recipient_domain="well.example")
    found = gauges(database)
    assert (found.mail.due, found.mail.age_s, found.held) == (24, 0, 7)
    assert (found.domains_ill, found.senders_blocked) == (1, 1)


def test_no_question_reads_what_is_done(sqlite_database: Database) -> None:
    """Years of sent mail must not make a scrape slow: each look goes by an index of what is open."""
    asked: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(sqlite_database.engine, "before_cursor_execute", keep)
    gauges(sqlite_database)
    event.remove(sqlite_database.engine, "before_cursor_execute", keep)
    selects = [each for each in asked if each[0].startswith("SELECT")]
    assert len(selects) == 9
    with sqlite_database.reading() as connection:
        for statement, parameters in selects:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            large = [line for line in plan if line.split()[1] in ("message", "enrollment", "post", "alert")]
            assert all("INDEX" in line for line in large), plan
            assert large or "FROM pause" in statement or "FROM domain_pause" in statement, plan
