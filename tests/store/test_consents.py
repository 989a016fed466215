"""Consent is proof: appended, never changed; a withdrawal stands until a newer yes; nothing lifts a complaint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from nurture.domain.addresses import read_address
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent, withdraw_consent
from nurture.store.database import Database
from nurture.store.leads import LeadInput, save_lead
from nurture.store.suppressions import suppress, suppressed_among

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
KEY = "ann@example.com"


def a_visitor(connection: Connection) -> int:
    return save_lead(connection, LeadInput(address=read_address(KEY)), now=NOW).id


def lead(connection: Connection) -> Any:
    return connection.execute(select(t.lead)).one()


def proofs(connection: Connection) -> list[Any]:
    return list(connection.execute(select(t.consent).order_by(t.consent.c.id)))


def test_consent_by_email_makes_a_visitor_a_lead_with_its_history(database: Database) -> None:
    consent = NewConsent(
        text="Send me the guide", source="form:guide", topics=("product",), network_address="192.0.2.7", channel="web"
    )
    with database.transaction() as connection:
        lead_id = a_visitor(connection)
        waiting = {"lead_id": lead_id, "cadence": "c", "version": "v", "enrolled_at": NOW}
        connection.execute(insert(t.enrollment).values(waiting))
        give_consent(connection, lead_id, consent, now=LATER)
        found, [proof] = lead(connection), proofs(connection)
        assert (found.stage, found.stage_at, found.consented_at, found.consent_until) == ("lead", LATER, LATER, None)
        assert found.last_engaged_at == LATER
        assert (proof.text, proof.source, proof.topics, proof.at) == (
            "Send me the guide",
            "form:guide",
            ["product"],
            LATER,
        )
        assert (proof.kind, proof.granted, proof.basis, proof.network_address) == (
            "email",
            True,
            "express",
            "192.0.2.7",
        )
        [move] = connection.execute(select(t.stage_history)).all()
        assert (move.before, move.after, move.kind, move.at) == ("visitor", "lead", "consent", LATER)
        assert connection.scalar(select(t.enrollment.c.due_at)) == LATER


def test_a_second_consent_is_a_second_proof_and_no_second_move(database: Database) -> None:
    with database.transaction() as connection:
        lead_id = a_visitor(connection)
        give_consent(connection, lead_id, NewConsent(text="a", source="x"), now=NOW)
        until = LATER + timedelta(days=180)
        give_consent(connection, lead_id, NewConsent(text="b", source="y", expires_at=until), now=LATER)
        found = lead(connection)
        assert (found.consented_at, found.consent_until, found.last_engaged_at) == (LATER, until, NOW)
        assert len(proofs(connection)) == 2
        assert len(connection.execute(select(t.stage_history)).all()) == 1


def test_consent_by_phone_or_to_tracking_is_none_to_mail(database: Database) -> None:
    with database.transaction() as connection:
        lead_id = a_visitor(connection)
        for kind in ("phone", "tracking"):
            give_consent(connection, lead_id, NewConsent(kind=kind, text="ok", source="x"), now=NOW)
        found = lead(connection)
        assert (found.stage, found.consented_at) == ("visitor", None)
        assert [proof.kind for proof in proofs(connection)] == ["phone", "tracking"]


def test_a_withdrawal_is_appended_once_and_ends_the_permission(database: Database) -> None:
    with database.transaction() as connection:
        lead_id = a_visitor(connection)
        give_consent(connection, lead_id, NewConsent(text="ok", source="x"), now=NOW)
        for _ in range(2):
            withdraw_consent(connection, lead_id, source="preferences", now=LATER)
        assert [(proof.granted, proof.source) for proof in proofs(connection)] == [(True, "x"), (False, "preferences")]
        assert (lead(connection).consented_at, lead(connection).stage) == (None, "lead")
        give_consent(connection, lead_id, NewConsent(text="again", source="x"), now=LATER)
        assert lead(connection).consented_at == LATER


@pytest.mark.parametrize(
    ("reason", "basis", "left"),
    [
        ("unsubscribed", "double_opt_in", None),
        ("cold", "double_opt_in", None),
        ("unsubscribed", "express", "unsubscribed"),
        ("complained", "double_opt_in", "complained"),
        ("bounced", "double_opt_in", "bounced"),
        ("erased", "double_opt_in", "erased"),
        ("by_hand", "double_opt_in", "by_hand"),
    ],
)
def test_only_a_confirmed_opt_in_brings_back_and_only_who_left(
    database: Database, reason: str, basis: str, left: str | None
) -> None:
    with database.transaction() as connection:
        lead_id = a_visitor(connection)
        suppress(connection, KEY, reason=reason, now=NOW)
        give_consent(connection, lead_id, NewConsent(text="ok", source="x", basis=basis), now=LATER)
        assert suppressed_among(connection, [KEY]).get(KEY) == left
