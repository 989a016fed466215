"""One row a person: made once, filled by every door, never blanked, and whoever waits on it is woken."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from nurture.domain.addresses import read_address
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.store import leads as leads_module
from nurture.store import tables as t
from nurture.store.consents import NewConsent
from nurture.store.database import Database
from nurture.store.leads import (
    LeadInput,
    SavedLead,
    find_lead,
    raise_stages,
    save_lead,
    save_leads,
    set_fields,
    tag_lead,
    untag_lead,
)

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
FAR = NOW + timedelta(days=30)


def ann(**changes: Any) -> LeadInput:
    return LeadInput(address=read_address("Ann@Example.com"), **changes)


def row(database: Database, key: str = "ann@example.com") -> Any:
    with database.reading() as connection:
        return find_lead(connection, key)


def settled(connection: Connection, lead_id: int) -> None:
    """Scored, and with an enrollment that waits."""
    connection.execute(update(t.lead).values(rescore=False))
    waiting = {"lead_id": lead_id, "cadence": "c", "version": "v", "enrolled_at": NOW, "due_at": FAR}
    connection.execute(insert(t.enrollment).values(waiting))


def due_at(database: Database) -> Any:
    with database.reading() as connection:
        return connection.scalar(select(t.enrollment.c.due_at))


def test_the_same_person_in_another_spelling_is_one_lead_and_a_blank_says_nothing(database: Database) -> None:
    with database.transaction() as connection:
        first = save_lead(connection, ann(fields={"first_name": "Ann", "company": "Acme"}), now=NOW)
        other = LeadInput(
            address=read_address(" ANN@example.COM "), fields={"first_name": "", "company": "Beta"}, custom={"plan": ""}
        )
        second = save_lead(connection, other, now=LATER)
        third = save_lead(connection, other, now=LATER)
    assert first.created and not first.changed
    assert second == SavedLead(id=first.id, created=False, changed=True)
    assert third == SavedLead(id=first.id, created=False, changed=False)
    found = row(database)
    assert (found.first_name, found.company, found.custom) == ("Ann", "Beta", {})
    assert (found.stage, found.consented_at, found.created_at, found.email) == ("visitor", None, NOW, "Ann@example.com")


def test_custom_fields_join_those_that_are_there_and_are_read_anew(database: Database) -> None:
    with database.transaction() as connection:
        save_lead(connection, ann(custom={"employees": "80", "plan": "team"}), now=NOW)
        save_lead(connection, ann(custom={"employees": "120"}), now=NOW)
    found = row(database)
    assert found.custom == {"employees": "120", "plan": "team"}
    assert found.readings["number"] == {"employees": 120}


def test_the_first_source_stays(database: Database) -> None:
    with database.transaction() as connection:
        save_lead(connection, ann(fields={"source": "fair"}), now=NOW)
        assert not save_lead(connection, ann(fields={"source": "form:guide"}), now=NOW).changed
    assert row(database).source == "fair"


def test_a_change_has_the_lead_scored_anew_and_its_enrollment_looked_at(database: Database) -> None:
    with database.transaction() as connection:
        saved = save_lead(connection, ann(fields={"title": "CFO"}, tags=["a"]), now=NOW)
        settled(connection, saved.id)
    with database.transaction() as connection:
        assert not save_lead(connection, ann(fields={"title": "CFO"}, tags=["a"]), now=LATER).changed
    assert not row(database).rescore and due_at(database) == FAR
    with database.transaction() as connection:
        assert save_lead(connection, ann(tags=["b"]), now=LATER).changed
    assert row(database).rescore and due_at(database) == LATER


def test_fields_are_set_read_and_cleared_by_name(database: Database) -> None:
    with database.transaction() as connection:
        saved = save_lead(connection, ann(), now=NOW)
        fields = {"phone": "030 123456", "country": "Germany", "custom.employees": "80", "timezone": "europe/berlin"}
        settled(connection, saved.id)
        assert set_fields(connection, saved.id, fields, now=LATER)
        assert not set_fields(connection, saved.id, fields, now=LATER)
    found = row(database)
    assert (found.country, found.phone, found.timezone) == ("DE", "+4930123456", "Europe/Berlin")
    assert (found.custom, found.readings["number"]) == ({"employees": "80"}, {"employees": 80})
    assert found.rescore and due_at(database) == LATER
    with database.transaction() as connection:
        assert set_fields(connection, saved.id, {"country": "", "custom.employees": ""}, now=LATER)
    assert (row(database).country, row(database).custom, row(database).readings["number"]) == (None, {}, {})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"titel": "CFO"}, "did you mean 'title'"),
        ({"email": "x@example.com"}, "unknown field 'email'"),
        ({"stage": "mql"}, "unknown field 'stage'"),
        ({"custom.No Good": "x"}, "a custom field's name is small letters"),
        ({"country": "Atlantis"}, "is no country"),
        ({"timezone": "Mars/Base"}, "is no time zone"),
        ({"phone": "12"}, "is no phone number"),
        ({"first_name": "Ann\r\nBcc: x"}, "control or direction characters"),
        ({"first_name": "=?utf-8?q?Bob=0D=0ABcc?="}, "control or direction characters"),
        ({"first_name": "x" * 1001}, "longer than 1000"),
        ({"custom.note": "x" * 10_001}, "longer than 10000"),
    ],
)
def test_what_a_field_cannot_take_is_told_and_nothing_is_set(
    sqlite_database: Database, fields: dict[str, str], told: str
) -> None:
    with sqlite_database.transaction() as connection:
        saved = save_lead(connection, ann(fields={"company": "Acme"}), now=NOW)
        with pytest.raises(Problem) as caught:
            set_fields(connection, saved.id, {"company": "Beta", **fields}, now=NOW)
    assert told in str(caught.value)
    assert row(sqlite_database).company == "Acme"


def test_a_lead_from_outside_is_read_like_any_field(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        for bad in (
            ann(fields={"first_name": "Ann\n"[:-1] + "\0"}),
            ann(fields={"nickname": "A"}),
            ann(custom={"Bad Name": "x"}),
            ann(tags=["x" * 101]),
            ann(custom={f"c{number}": "x" for number in range(501)}),
        ):
            with pytest.raises(Problem):
                save_lead(connection, bad, now=NOW)
        assert connection.scalar(select(t.lead.c.id)) is None
        save_lead(connection, ann(fields={"country": " österreich ", "phone": "01 234567"}), now=NOW)
    assert (row(sqlite_database).country, row(sqlite_database).phone) == ("AT", "+431234567")


def test_tags_are_put_on_and_off_once(database: Database) -> None:
    with database.transaction() as connection:
        saved = save_lead(connection, ann(), now=NOW)
        settled(connection, saved.id)
        assert tag_lead(connection, saved.id, " guide ")
        assert not tag_lead(connection, saved.id, "guide")
        assert connection.scalar(select(t.lead.c.rescore))
        assert untag_lead(connection, saved.id, "guide")
        assert not untag_lead(connection, saved.id, "guide")
        for bad in ("", "  ", "x" * 101, "a\nb"):
            with pytest.raises(Problem):
                tag_lead(connection, saved.id, bad)


def test_many_at_once_are_what_they_would_be_one_by_one(database: Database) -> None:
    addresses = [read_address(f"person.{number}@example.com") for number in range(1_203)]
    consent = NewConsent(text="yes", source="fair", at=NOW - timedelta(days=9))
    inputs = [
        LeadInput(address=each, fields={"first_name": f"P{number}"}, tags=["fair"], consent=consent)
        for number, each in enumerate(addresses)
    ]
    with database.transaction() as connection:
        save_lead(connection, LeadInput(address=addresses[7], fields={"company": "Acme"}), now=NOW)
        saved = save_leads(connection, [*inputs, *inputs], now=LATER)
    assert len(saved) == 1_203
    assert [key for key, one in saved.items() if not one.created] == ["person.7@example.com"]
    known, made = row(database, "person.7@example.com"), row(database, "person.8@example.com")
    assert (known.company, known.first_name, known.stage) == ("Acme", "P7", "visitor")
    assert (made.first_name, made.stage, made.stage_at) == ("P8", "lead", NOW - timedelta(days=9))
    assert made.consented_at == made.last_engaged_at == NOW - timedelta(days=9)
    with database.reading() as connection:
        assert len(connection.execute(select(t.lead_tag)).all()) == 1_203
        proofs = connection.execute(select(t.consent.c.lead_id)).all()
        assert len(proofs) == len(connection.execute(select(t.stage_history.c.lead_id)).all()) == 1_202


def test_two_doors_that_make_the_same_lead_at_once_make_one(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looked before the first had committed, and is told by the unique key."""
    looked, committed = threading.Event(), threading.Event()
    real, results = leads_module.known_leads, {}

    def look_and_wait(connection: Connection, keys: Any) -> Any:
        found = real(connection, keys)
        if threading.current_thread().name == "second" and not looked.is_set():
            looked.set()
            assert committed.wait(10)
        return found

    def second() -> None:
        with postgres_database.transaction() as connection:
            results["second"] = save_lead(connection, ann(fields={"company": "Acme"}), now=NOW)

    monkeypatch.setattr(leads_module, "known_leads", look_and_wait)
    thread = threading.Thread(target=second, name="second")
    thread.start()
    assert looked.wait(10)
    with postgres_database.transaction() as connection:
        first = save_lead(connection, ann(fields={"first_name": "Ann"}), now=NOW)
    committed.set()
    thread.join(10)
    assert first.created
    assert results["second"] == SavedLead(id=first.id, created=False, changed=True)
    found = row(postgres_database)
    assert (found.first_name, found.company) == ("Ann", "Acme")


def test_a_stage_from_another_system_never_moves_back_nor_a_visitor(database: Database) -> None:
    consent = NewConsent(text="yes", source="fair")
    with database.transaction() as connection:
        lead = save_leads(connection, [ann(consent=consent)], now=NOW)["ann@example.com"].id
        visitor = save_lead(connection, LeadInput(address=read_address("v@example.com")), now=NOW).id
        raise_stages(connection, {lead: Stage.SQL, visitor: Stage.MQL}, because="import of crm", now=LATER)
        raise_stages(connection, {lead: Stage.MQL}, because="import of crm", now=LATER)
    assert (row(database).stage, row(database).stage_at) == ("sql", LATER)
    assert row(database, "v@example.com").stage == "visitor"
    with database.reading() as connection:
        history = connection.execute(select(t.stage_history).order_by(t.stage_history.c.id)).all()
    assert [(each.before, each.after, each.kind) for each in history] == [
        ("visitor", "lead", "consent"),
        ("lead", "sql", "by_hand"),
    ]
