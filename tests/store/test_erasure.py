"""Who asks to be forgotten is: nothing personal is left in any table, what is left still counts, mail stops at once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlmodel import SQLModel

from nurture.domain.addresses import erased_key, read_address
from nurture.domain.message import MessageKind
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.by_hand import GivenEvent, track_event
from nurture.store.consents import NewConsent, give_consent
from nurture.store.database import Database
from nurture.store.erasure import erase_lead
from nurture.store.lead_views import export_lead, list_leads, show_lead
from nurture.store.leads import LeadInput, raise_stages, save_lead
from nurture.store.messages import NewMessage, queue_message
from nurture.store.segments import Asking
from nurture.store.suppressions import suppress

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ASKING = Asking(now=LATER, half_life=timedelta(days=14), engagement_cap=60)
PERSONAL = ("zanzibar", "zoe", "quux.example", "192.0.2.77", "+4930123456", "firefox-of-z")
"""Every value of the story that is Zoë's own holds one of these."""


def a_life(connection: Connection) -> int:
    """Zoë Zanzibar in every table that may know of her."""
    address = read_address("Zoe@quux.example")
    fields = {"first_name": "Zoe", "last_name": "Zanzibar", "company": "Zanzibar Ltd", "phone": "+49 30 123456"}
    lead = LeadInput(address=address, fields={**fields, "channel": "fair"}, custom={"note": "zoe"}, tags=["zoe's tag"])
    lead_id = save_lead(connection, lead, now=NOW).id
    consent = NewConsent(text="zoe says yes", source="form:guide", network_address="192.0.2.77")
    give_consent(connection, lead_id, consent, now=NOW)
    raise_stages(connection, {lead_id: Stage.MQL}, because="import of crm", now=NOW)
    run = {"lead_id": lead_id, "cadence": "c", "version": "v", "enrolled_at": NOW, "due_at": LATER}
    connection.execute(insert(t.enrollment).values(run))
    mail = NewMessage(
        intent_key="step:1:a:1",
        kind=MessageKind.STEP,
        lead_id=lead_id,
        to_address=address.text,
        sender="anna",
        payload={"name": "zoe"},
    )
    message_id = queue_message(connection, mail, now=NOW)
    links = [
        {"digest": "own", "urls": ["https://a.example/?who=zoe"]},
        {"digest": "shared", "urls": ["https://a.example"]},
    ]
    connection.execute(insert(t.link_set), links)
    for link_set, whose in (("own", lead_id), ("shared", lead_id), ("shared", lead_id + 1)):
        row = {
            "intent_key": f"{link_set}{whose}",
            "lead_id": whose,
            "to_address": "",
            "recipient_domain": "",
            "sender": "a",
        }
        row |= {"subject": "Hello, Zoe" if whose == lead_id else "Hi", "status": "sent", "link_set": link_set}
        connection.execute(insert(t.message).values(**row, created_at=NOW, not_before=NOW, payload={}))
    hit = {"at": NOW, "route": "c", "method": "GET", "message_id": message_id, "user_agent": "firefox-of-zoe"}
    connection.execute(insert(t.hit).values(**hit, network_address="192.0.2.77", headers={"x": "zoe"}))
    props = {"form": "guide", "said": "zoe was here"}
    event = GivenEvent(
        name="form submitted", at=NOW, is_dated=True, places={"path": "/zoe", "link": "zoe"}, props=props
    )
    track_event(connection, address.key, event, rng=random.Random(1), now=NOW)
    connection.execute(insert(t.decision).values(lead_id=lead_id, at=NOW, code="sent", detail={"subject": "Hi Zoe"}))
    ledger = {"lead_id": lead_id, "at": NOW, "kind": "fit", "rule": "r", "points": 10, "note": "zoe"}
    connection.execute(insert(t.score_ledger).values(ledger))
    alert = {"lead_id": lead_id, "rule": "hot", "message": "call Zoe", "reasons": ["zoe"], "evidence": {"who": "zoe"}}
    alert_id = connection.execute(insert(t.alert).values(**alert, created_at=NOW).returning(t.alert.c.id)).scalar_one()
    answer = {"alert_id": alert_id, "at": NOW, "answer": "claim", "rep": "ben", "note": "zoe is nice"}
    connection.execute(insert(t.alert_answer).values(**answer, details={"name": "zoe"}))
    opt_in = {"lead_id": lead_id, "form": "guide", "at": NOW, "answers": {"first_name": "Zoe"}, "consents": {}}
    connection.execute(insert(t.opt_in).values(**opt_in, network_address="192.0.2.77", user_agent="firefox-of-zoe"))
    suppress(connection, address.key, reason="unsubscribed", now=NOW, note="zoe wrote")
    return lead_id


def whole(connection: Connection) -> dict[str, list[str]]:
    return {name: [str(row).lower() for row in connection.execute(select(table))] for name, table in _TABLES.items()}


_TABLES = SQLModel.metadata.tables


def personal(connection: Connection) -> dict[str, int]:
    """table -> how many rows hold something of Zoë's."""
    found = {}
    for name, rows in whole(connection).items():
        count = sum(any(mark in row for mark in PERSONAL) for row in rows)
        if count:
            found[name] = count
    return found


def test_nothing_personal_is_left_in_any_table_and_the_rows_still_count(database: Database) -> None:
    with database.transaction() as connection:
        lead_id = a_life(connection)
        known = set(personal(connection))
        assert known >= {
            "lead",
            "lead_tag",
            "consent",
            "message",
            "link_set",
            "hit",
            "event",
            "decision",
            "score_ledger",
        }
        assert known >= {"alert", "alert_answer", "opt_in", "suppression"}
        before = {name: len(rows) for name, rows in whole(connection).items()}
        assert erase_lead(connection, "zoe@quux.example", secret="a secret", now=LATER)
        assert personal(connection) == {}
        after = {name: len(rows) for name, rows in whole(connection).items()}
        assert {name: before[name] - after[name] for name in before if before[name] != after[name]} == {
            "lead_tag": 1,
            "link_set": 1,
        }
        lead = connection.execute(select(t.lead).where(t.lead.c.id == lead_id)).one()
        assert (lead.stage, lead.channel, lead.consented_at) == ("mql", "fair", None)
        event = connection.execute(select(t.event)).one()
        assert (event.kind, event.props) == ("form submitted", {"form": "guide"})


def test_mail_alerts_and_enrollments_end_at_once(database: Database) -> None:
    with database.transaction() as connection:
        a_life(connection)
        erase_lead(connection, "zoe@quux.example", secret="a secret", now=LATER)
        run = connection.execute(select(t.enrollment)).one()
        assert (run.status, run.exit_reason, run.ended_at, run.due_at) == ("exited", "erased", LATER, None)
        statuses = connection.scalars(select(t.message.c.status).order_by(t.message.c.id))
        assert list(statuses) == ["canceled", "sent", "sent", "sent"]
        assert connection.scalar(select(t.alert.c.status)) == "closed"


def test_what_is_left_is_a_hash_that_acts(database: Database) -> None:
    with database.transaction() as connection:
        a_life(connection)
        erase_lead(connection, "zoe@quux.example", secret="a secret", now=LATER)
        [row] = connection.execute(select(t.suppression)).all()
        assert (row.address_key, row.reason) == (erased_key("a secret", "zoe@quux.example"), "erased")
        assert not erase_lead(connection, "zoe@quux.example", secret="a secret", now=LATER)
        assert len(connection.execute(select(t.suppression)).all()) == 1


def test_an_address_that_nobody_has_is_kept_out_as_well(database: Database) -> None:
    with database.transaction() as connection:
        assert not erase_lead(connection, "ann@example.com", secret="a secret", now=NOW)
        assert connection.scalar(select(t.suppression.c.reason)) == "erased"


def test_two_erased_leads_do_not_stand_in_each_others_way_and_are_on_no_list(database: Database) -> None:
    with database.transaction() as connection:
        for name in ("ann", "bob", "cy"):
            save_lead(connection, LeadInput(address=read_address(f"{name}@example.com")), now=NOW)
        for name in ("ann", "bob"):
            assert erase_lead(connection, f"{name}@example.com", secret="a secret", now=LATER)
        assert [row["email"] for row in list_leads(connection, ASKING)] == ["cy@example.com"]
        assert show_lead(connection, "ann@example.com", ASKING) is None


def test_an_export_holds_all_that_an_erasure_would_take(database: Database) -> None:
    with database.transaction() as connection:
        a_life(connection)
        exported: dict[str, Any] = export_lead(connection, "zoe@quux.example", ASKING) or {}
    assert exported["email"] == "Zoe@quux.example"
    assert exported["suppression"] == "unsubscribed"
    sizes = {name: len(value) for name, value in exported.items() if isinstance(value, list)}
    assert sizes == {
        "tags": 1,
        "events": 1,
        "messages": 3,
        "consents": 1,
        "enrollments": 1,
        "stages": 2,
        "score_ledger": 1,
        "alerts": 1,
        "alert_answers": 1,
        "opt_ins": 1,
        "decisions": 1,
        "experiments": 0,
        "hits": 1,
        "suppressions": 1,
    }
