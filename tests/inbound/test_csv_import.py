"""A list of leads becomes leads with consent, exactly and twice the same; whatever is wrong with a row is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select, update

from nurture.domain.addresses import erased_key, read_address
from nurture.domain.problem import Problem
from nurture.inbound import csv_import
from nurture.inbound.csv_import import ImportReport, ImportRequest, import_leads
from nurture.store import tables as t
from nurture.store.consents import NewConsent, give_consent, withdraw_consent
from nurture.store.database import Database
from nurture.store.leads import LeadInput, save_lead
from nurture.store.suppressions import lift, suppress, suppressed_among

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
ACCEPTANCE = Path(__file__).parent.parent / "data" / "acceptance"
HEADER = ["Email", "First Name", "Company", "Marketing consent"]


def take(database: Database, path: Path, now: datetime = NOW, **request: Any) -> ImportReport:
    return import_leads(database, ImportRequest(path=path, **{"source": "fair", **request}), now=now)


def a_list(tmp_path: Path, header: Sequence[str], *rows: Sequence[str], name: str = "list.csv") -> Path:
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def everything(database: Database) -> dict[str, list[Any]]:
    """Every row of every table, but for the log of imports."""
    tables: list[Table] = [table for name, table in t.SQLModel.metadata.tables.items() if name != "import_run"]
    with database.reading() as connection:
        return {table.name: sorted(map(str, connection.execute(select(table)).all())) for table in tables}


def lead(database: Database, key: str) -> Any:
    with database.reading() as connection:
        return connection.execute(select(t.lead).where(t.lead.c.email_key == key)).one_or_none()


def rows(database: Database, table: Table) -> list[Any]:
    with database.reading() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def settled(database: Database) -> None:
    """As after `react`: every fit is computed."""
    with database.transaction() as connection:
        connection.execute(update(t.lead).values(rescore=False))


def test_a_hubspot_export_gives_exactly_the_expected_numbers_twice_and_changes_nothing(database: Database) -> None:
    expected = json.loads((ACCEPTANCE / "leads-hubspot.expected.json").read_text())
    path = ACCEPTANCE / "leads-hubspot.csv"
    first = take(database, path).counts()
    assert {name: first[name] for name in expected} == expected
    assert (first["created"], first["changed"], first["unchanged"]) == (1868, 0, 0)
    settled(database)
    before = everything(database)
    second = take(database, path, now=LATER).counts()
    assert {name: second[name] for name in expected} == expected
    assert (second["created"], second["changed"], second["unchanged"]) == (0, 0, 1868)
    assert everything(database) == before


def test_the_columns_of_an_export_become_fields(database: Database) -> None:
    take(database, ACCEPTANCE / "leads-hubspot.csv", source="hubspot")
    found = lead(database, "tara.1002@example.com")
    assert (found.first_name, found.last_name, found.company) == ("Tara", "Frey", "Hotz Baur & Söhne")
    assert (found.title, found.country, found.timezone) == ("VP Marketing", "CH", "Europe/Zurich")
    assert (found.channel, found.campaign, found.source) == ("webinar", "Spring webinar", "hubspot")
    assert found.custom == {"employees": "3", "plan": "team"}
    assert found.readings["number"] == {"employees": 3}
    assert (found.stage, found.external_id) == ("lead", "1002")
    assert found.created_at == datetime(2026, 6, 19, 16, 52, tzinfo=UTC)
    assert found.consented_at == found.last_engaged_at == found.stage_at == datetime(2026, 6, 19, tzinfo=UTC)
    [proof] = [row for row in rows(database, t.consent) if row.lead_id == found.id]
    assert (proof.kind, proof.granted, proof.basis, proof.source) == ("email", True, "express", "hubspot")
    assert (proof.text, proof.at) == ("Marketing consent: Yes", found.consented_at)
    [move] = [row for row in rows(database, t.stage_history) if row.lead_id == found.id]
    assert (move.before, move.after, move.kind, move.at) == ("visitor", "lead", "consent", found.consented_at)


def test_names_that_look_like_code_are_names(database: Database) -> None:
    take(database, ACCEPTANCE / "leads-hubspot.csv")
    assert lead(database, "awkward.0@example.com").first_name == '=HYPERLINK("http://evil.example")'
    assert lead(database, "awkward.3@example.com").first_name == "{{ 7*7 }}"


def test_reasons_are_told_in_their_order(sqlite_database: Database, tmp_path: Path) -> None:
    unsafe, no = "Bob\r\nBcc: eve@example.net", "No"
    path = a_list(
        tmp_path,
        HEADER,
        ["", unsafe, "", no],
        ["broken@", unsafe, "", no],
        ["tab\there@example.com", "Ann", "", "Yes"],
        ["a@example.com", unsafe, "", no],
        ["b@example.com", "Ann", "", no],
        ["c@mailinator.com", "Ann", "", no],
        ["d@mailinator.com", "Ann", "", "Yes"],
    )
    rejects = tmp_path / "rejects.csv"
    report = take(sqlite_database, path, rejects=rejects)
    with rejects.open(newline="", encoding="utf-8") as file:
        told = [row["rejected_reason"] for row in csv.DictReader(file)]
    assert told == [
        *("no_address", "bad_address", "bad_address", "unsafe_characters", "no_consent", "no_consent", "disposable")
    ]
    assert (report.rows, report.valid) == (7, 0)
    assert rows(sqlite_database, t.lead) == []


def test_a_file_without_a_column_of_consent_rejects_all_unless_a_text_says_that_all_gave_it(
    database: Database, tmp_path: Path
) -> None:
    path = a_list(tmp_path, ["Email"], ["ann@example.com"], ["bob@example.com"])
    assert take(database, path).counts()["rejected"] == {"no_consent": 2}
    report = take(database, path, consent_text="Signed up on paper at the fair")
    assert (report.valid, report.created) == (2, 2)
    assert [row.text for row in rows(database, t.consent)] == ["Signed up on paper at the fair"] * 2
    again = take(database, path, now=LATER, consent_text="Signed up on paper at the fair")
    assert (again.valid, again.unchanged) == (2, 2)
    assert len(rows(database, t.consent)) == 2


def test_a_consent_column_must_say_yes_even_where_a_text_is_given(sqlite_database: Database, tmp_path: Path) -> None:
    yes = ["Yes", "TRUE", "1", "ja", "Oui", "sí", "opt-in", "Subscribed"]
    no = ["", "No", "0", "unknown", "maybe", "Yes but", "unsubscribed"]
    path = a_list(
        tmp_path, ["Email", "Consent"], *([f"a{number}@example.com", said] for number, said in enumerate([*yes, *no]))
    )
    report = take(sqlite_database, path, consent_text="Our terms of 2026")
    assert (report.valid, report.rejected) == (len(yes), {"no_consent": len(no)})
    assert {row.text for row in rows(sqlite_database, t.consent)} == {"Our terms of 2026"}


def test_opt_outs_and_bounces_of_the_list_suppress_whatever_it_says_of_consent(
    database: Database, tmp_path: Path
) -> None:
    header = ["Email", "Marketing consent", "Unsubscribed from all email", "Hard bounce", "Email status"]
    path = a_list(
        tmp_path,
        header,
        ["left@example.com", "Yes", "TRUE", "", ""],
        ["gone@example.com", "Yes", "", "Yes", ""],
        ["spam@example.com", "No", "Yes", "Yes", "Complained"],
        ["here@example.com", "Yes", "No", "false", "Subscribed"],
    )
    report = take(database, path)
    assert report.rejected == {"suppressed": 2, "no_consent": 1}
    assert (report.valid, report.suppressed) == (1, 3)
    with database.reading() as connection:
        found = suppressed_among(connection, ["left@example.com", "gone@example.com", "spam@example.com"])
    assert found == {
        "left@example.com": "unsubscribed",
        "gone@example.com": "bounced",
        "spam@example.com": "complained",
    }
    assert lead(database, "left@example.com") is None
    assert take(database, path, now=LATER).suppressed == 0


def test_who_is_suppressed_is_refused_and_stays_so(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        suppress(connection, "left@example.com", reason="unsubscribed", now=NOW)
        suppress(connection, "@rival.example", reason="by_hand", now=NOW)
    path = a_list(
        tmp_path,
        HEADER,
        ["Left@Example.com", "Lea", "", "Yes"],
        ["any@rival.example", "Rob", "", "Yes"],
        ["ann@example.com", "Ann", "", "Yes"],
    )
    report = take(database, path)
    assert (report.valid, report.rejected) == (1, {"suppressed": 2})


def test_who_was_erased_is_not_brought_back_also_after_the_secret_changed(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        suppress(connection, erased_key("old secret", "ann@example.com"), reason="erased", now=NOW)
    path = a_list(tmp_path, HEADER, ["ANN@example.com", "Ann", "", "Yes"], ["bob@example.com", "Bob", "", "Yes"])
    report = take(database, path, secrets=lambda: ["new secret", "old secret"])
    assert (report.valid, report.rejected) == (1, {"erased": 1})
    assert lead(database, "ann@example.com") is None


def test_the_secret_is_needed_only_where_somebody_was_erased(sqlite_database: Database, tmp_path: Path) -> None:
    def missing() -> Sequence[str]:
        raise Problem("the environment variable NURTURE_SECRET_KEY is not set")

    path = a_list(tmp_path, HEADER, ["ann@example.com", "Ann", "", "Yes"])
    assert take(sqlite_database, path, secrets=missing).valid == 1
    with sqlite_database.transaction() as connection:
        suppress(connection, erased_key("a secret", "bob@example.com"), reason="erased", now=NOW)
    with pytest.raises(Problem, match="NURTURE_SECRET_KEY"):
        take(sqlite_database, path, secrets=missing)


def test_a_later_row_updates_an_earlier_one_and_blanks_overwrite_nothing(database: Database, tmp_path: Path) -> None:
    path = a_list(
        tmp_path,
        ["Email", "First Name", "Company", "Tags", "Plan", "Consent"],
        ["ann@example.com", "Ann", "Old Ltd", "a;b", "team", "Yes"],
        ["bob@example.com", "Bob", "", "", "", "Yes"],
        [" ANN@EXAMPLE.COM ", "", "New Ltd", "c", "", "Yes"],
    )
    report = take(database, path)
    assert (report.rows, report.valid, report.updated_duplicates) == (3, 2, 1)
    found = lead(database, "ann@example.com")
    assert (found.first_name, found.company, found.custom) == ("Ann", "New Ltd", {"plan": "team"})
    with database.reading() as connection:
        assert sorted(connection.scalars(select(t.lead_tag.c.tag))) == ["a", "b", "c"]


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_list_that_says_two_things_of_one_person_changes_nothing_the_second_time(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(csv_import, "BATCH", batch)
    others = [[f"other.{number}@example.com", "O", "", "Yes"] for number in range(3)]
    path = a_list(
        tmp_path,
        HEADER,
        ["ann@example.com", "Ann", "First Ltd", "Yes"],
        *others,
        ["ann@example.com", "Anna", "", "Yes"],
        ["ann@example.com", "", "Last Ltd", "Yes"],
    )
    first = take(sqlite_database, path)
    assert (first.valid, first.updated_duplicates, first.created) == (4, 2, 4)
    found = lead(sqlite_database, "ann@example.com")
    assert (found.first_name, found.company) == ("Anna", "Last Ltd")
    settled(sqlite_database)
    before = everything(sqlite_database)
    second = take(sqlite_database, path, now=LATER)
    assert (second.valid, second.updated_duplicates, second.changed) == (4, 2, 0)
    assert everything(sqlite_database) == before


def test_a_changed_lead_is_scored_anew_and_its_enrollment_is_looked_at(database: Database, tmp_path: Path) -> None:
    take(database, a_list(tmp_path, HEADER, ["ann@example.com", "Ann", "Old", "Yes"], ["b@x.example", "B", "", "Yes"]))
    settled(database)
    with database.transaction() as connection:
        for key in ("ann@example.com", "b@x.example"):
            lead_id = connection.scalar(select(t.lead.c.id).where(t.lead.c.email_key == key))
            connection.execute(
                t.enrollment.insert().values(
                    lead_id=lead_id, cadence="c", version="v", enrolled_at=NOW, due_at=LATER + timedelta(days=30)
                )
            )
    report = take(
        database,
        a_list(tmp_path, HEADER, ["ann@example.com", "", "New", "Yes"], ["b@x.example", "", "", "Yes"]),
        now=LATER,
    )
    assert (report.changed, report.unchanged) == (1, 1)
    assert lead(database, "ann@example.com").rescore and not lead(database, "b@x.example").rescore
    assert [row.due_at for row in rows(database, t.enrollment)] == [LATER, LATER + timedelta(days=30)]


def test_stages_of_another_system_only_move_forward(database: Database, tmp_path: Path) -> None:
    header = ["Email", "Lifecycle Stage", "Consent"]
    stages = ["Subscriber", "Marketing Qualified Lead", "salesqualifiedlead", "Customer", "Weird", ""]
    path = a_list(tmp_path, header, *([f"a{n}@example.com", stage, "yes"] for n, stage in enumerate(stages)))
    take(database, path)
    found = [lead(database, f"a{number}@example.com").stage for number in range(len(stages))]
    assert found == ["lead", "mql", "sql", "customer", "lead", "lead"]
    back = a_list(tmp_path, header, *([f"a{n}@example.com", "Lead", "yes"] for n in range(len(stages))))
    take(database, back, now=LATER)
    assert [lead(database, f"a{number}@example.com").stage for number in range(len(stages))] == found
    moves = [(row.before, row.after, row.kind) for row in rows(database, t.stage_history) if row.after == "mql"]
    assert moves == [("lead", "mql", "by_hand")]


def test_who_withdrew_is_not_brought_back_by_an_older_consent(database: Database, tmp_path: Path) -> None:
    header = ["Email", "Consent", "Consent Date"]
    old = a_list(tmp_path, header, ["ann@example.com", "Yes", "2026-06-01"])
    take(database, old)
    with database.transaction() as connection:
        lead_id = connection.execute(select(t.lead.c.id)).scalar_one()
        withdraw_consent(connection, lead_id, source="preferences", now=NOW)
    report = take(database, old, now=LATER, source="another fair")
    assert report.notes == {"consent_withdrawn_since": 1}
    assert lead(database, "ann@example.com").consented_at is None
    new = a_list(tmp_path, header, ["ann@example.com", "Yes", "2026-11-02"], name="new.csv")
    take(database, new, now=LATER)
    assert lead(database, "ann@example.com").consented_at == datetime(2026, 11, 2, tzinfo=UTC)


def test_a_visitor_becomes_a_lead_by_the_lists_consent(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        save_lead(connection, LeadInput(address=read_address("ann@example.com")), now=NOW)
    assert lead(database, "ann@example.com").stage == "visitor"
    report = take(database, a_list(tmp_path, HEADER, ["ann@example.com", "", "", "Yes"]), now=LATER)
    found = lead(database, "ann@example.com")
    assert (found.stage, found.consented_at, report.created) == ("lead", LATER, 0)


def test_a_double_opt_in_keeps_its_proof_beside_the_lists(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        saved = save_lead(connection, LeadInput(address=read_address("ann@example.com")), now=NOW)
        consent = NewConsent(text="Send me the guide", source="form:guide", basis="double_opt_in")
        give_consent(connection, saved.id, consent, now=NOW)
    take(database, a_list(tmp_path, HEADER, ["ann@example.com", "", "", "Yes"]), now=LATER)
    assert [row.basis for row in rows(database, t.consent)] == ["double_opt_in", "express"]


def test_consent_is_never_in_the_future_and_a_date_that_nobody_can_read_is_noted(
    sqlite_database: Database, tmp_path: Path
) -> None:
    header = ["Email", "Consent", "Consent Date", "Create Date"]
    dates = [("2030-01-01", ""), ("", "2026-05-05 10:00"), ("30.06.2026", ""), ("6/30/2026", ""), ("5/6/2026", "")]
    path = a_list(tmp_path, header, *([f"a{n}@example.com", "yes", *each] for n, each in enumerate(dates)))
    report = take(sqlite_database, path)
    assert [lead(sqlite_database, f"a{number}@example.com").consented_at for number in range(len(dates))] == [
        NOW,
        datetime(2026, 5, 5, 10, tzinfo=UTC),
        datetime(2026, 6, 30, tzinfo=UTC),
        datetime(2026, 6, 30, tzinfo=UTC),
        NOW,
    ]
    assert report.notes == {"unreadable_consent_date": 1}


def test_values_that_are_none_are_left_out_and_counted(sqlite_database: Database, tmp_path: Path) -> None:
    header = ["Email", "Phone", "Country", "Time Zone", "Language", "Consent"]
    path = a_list(
        tmp_path,
        header,
        ["a@example.com", "030 123456", "Deutschland", "europe_slash_berlin", "de-AT", "yes"],
        ["b@example.com", "12", "Atlantis", "Mars/Base", "Klingon", "yes"],
    )
    report = take(sqlite_database, path)
    found = lead(sqlite_database, "a@example.com")
    assert (found.phone, found.country, found.timezone, found.language) == ("+4930123456", "DE", "Europe/Berlin", "de")
    lost = lead(sqlite_database, "b@example.com")
    assert (lost.phone, lost.country, lost.timezone, lost.language) == (None, None, None, None)
    assert report.counts()["notes"] == {
        "unreadable_country": 1,
        "unreadable_language": 1,
        "unreadable_phone": 1,
        "unreadable_timezone": 1,
    }


def test_map_tag_owner_and_a_whole_name(sqlite_database: Database, tmp_path: Path) -> None:
    path = a_list(
        tmp_path,
        ["Contact", "Name", "Owner", "Tier", "Secret", "OK?"],
        ["ann@example.com", "Ann van Dam", "BEN OKAFOR", "gold", "x", "yes"],
        ["bob@example.com", "Bob", "somebody else", "", "x", "yes"],
    )
    mapping = {"Contact": "email", "Tier": "custom.plan", "Secret": "ignore", "ok": "consent"}
    take(sqlite_database, path, mapping=mapping, tags=["fair 2026"], owners={"ben okafor": "ben"})
    ann, bob = lead(sqlite_database, "ann@example.com"), lead(sqlite_database, "bob@example.com")
    assert (ann.first_name, ann.last_name, ann.owner, ann.custom) == ("Ann", "van Dam", "ben", {"plan": "gold"})
    assert (bob.first_name, bob.last_name, bob.owner) == ("Bob", None, "somebody else")
    with sqlite_database.reading() as connection:
        assert list(connection.scalars(select(t.lead_tag.c.tag))) == ["fair 2026", "fair 2026"]


def test_a_note_of_several_lines_is_kept_and_a_name_of_several_is_refused(
    sqlite_database: Database, tmp_path: Path
) -> None:
    path = a_list(
        tmp_path,
        ["Email", "First Name", "Notes", "Consent"],
        ["ann@example.com", "Ann", "met at the fair\r\nwants a call", "yes"],
        ["bob@example.com", "Bob\nBcc: eve@example.com", "", "yes"],
        ["cy@example.com", "Cy", "nul\0byte", "yes"],
        ["di@example.com", "Di" * 600, "", "yes"],
        ["ed@example.com", "Ed", "x" * 10_001, "yes"],
    )
    report = take(sqlite_database, path)
    assert report.rejected == {"unsafe_characters": 2, "bad_row": 2}
    assert lead(sqlite_database, "ann@example.com").custom == {"notes": "met at the fair\r\nwants a call"}


def test_broken_rows_are_told_with_their_line_and_the_others_are_taken(
    sqlite_database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(
        b"Email,First Name,Consent\nann@example.com,Ann,yes\nbob@example.com,Bob\n"
        b'cy@example.com,"Cy,yes\ndi@example.com,Di,yes\nfay@example.com,\xc3\xa9,yes\ned@example.com,\xe9,yes\n'
    )
    rejects = tmp_path / "rejects.csv"
    report = take(sqlite_database, path, rejects=rejects)
    assert (report.rows, report.valid, report.rejected) == (6, 3, {"bad_row": 3})
    text = rejects.read_bytes().decode("utf-8", "surrogateescape")
    told = list(csv.reader(text.splitlines()))
    assert told[0] == ["rejected_line", "rejected_reason", "rejected_detail", "Email", "First Name", "Consent"]
    assert [row[0] for row in told[1:]] == ["3", "4", "7"]
    assert b"\xe9" in rejects.read_bytes()  # as it came


def test_the_file_of_rejects_can_be_mended_and_taken_in(sqlite_database: Database, tmp_path: Path) -> None:
    path = a_list(tmp_path, HEADER, ["ann@", "Ann", "Acme", "Yes"])
    rejects = tmp_path / "rejects.csv"
    take(sqlite_database, path, rejects=rejects)
    rejects.write_text(rejects.read_text(encoding="utf-8").replace("ann@", "ann@example.com"), encoding="utf-8")
    assert take(sqlite_database, rejects).valid == 1
    assert lead(sqlite_database, "ann@example.com").custom == {}


def test_the_file_of_rejects_is_never_the_list_itself(sqlite_database: Database, tmp_path: Path) -> None:
    path = a_list(tmp_path, HEADER, ["ann@example.com", "Ann", "", "No"])
    before = path.read_bytes()
    with pytest.raises(Problem, match="the list itself"):
        take(sqlite_database, path, rejects=path)
    with pytest.raises(Problem, match="--rejects"):
        take(sqlite_database, path, rejects=tmp_path / "no folder" / "rejects.csv")
    assert path.read_bytes() == before


def test_a_dry_run_tells_the_numbers_and_writes_nothing(database: Database) -> None:
    path = ACCEPTANCE / "leads-hubspot.csv"
    before = everything(database)
    dry = take(database, path, dry_run=True).counts()
    assert everything(database) == before
    assert rows(database, t.import_run) == []
    assert dry == take(database, path).counts()


def test_an_import_that_was_broken_off_is_finished_by_running_it_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_import, "BATCH", 10)
    path = a_list(tmp_path, HEADER, *([f"a{number}@example.com", "A", "", "Yes"] for number in range(35)))

    def break_off(done: int, size: int) -> None:
        assert done <= size
        if len(rows(database, t.lead)) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_leads(database, ImportRequest(path=path, source="fair"), now=NOW, progress=break_off)
    assert len(rows(database, t.lead)) == 20
    report = take(database, path)
    assert (report.valid, report.created, report.unchanged) == (35, 15, 20)
    assert len(rows(database, t.consent)) == len(rows(database, t.stage_history)) == 35


def test_each_import_is_logged_with_its_counts(sqlite_database: Database, tmp_path: Path) -> None:
    path = a_list(tmp_path, HEADER, ["ann@example.com", "Ann", "", "Yes"])
    take(sqlite_database, path)
    [run] = rows(sqlite_database, t.import_run)
    assert (run.file, run.source, run.at, run.counts["valid"]) == ("list.csv", "fair", NOW, 1)
    assert lead(sqlite_database, "ann@example.com").import_id == run.id


def test_a_lifted_suppression_lets_the_list_in_again(sqlite_database: Database, tmp_path: Path) -> None:
    path = a_list(tmp_path, HEADER, ["ann@example.com", "Ann", "", "Yes"])
    request = ImportRequest(path=path, source="fair")
    with sqlite_database.transaction() as connection:
        suppress(connection, "ann@example.com", reason="by_hand", now=NOW)
    assert import_leads(sqlite_database, request, now=NOW).valid == 0
    with sqlite_database.transaction() as connection:
        lift(connection, "ann@example.com", now=NOW, note="asked by phone")
    assert import_leads(sqlite_database, replace(request, source="fair"), now=LATER).valid == 1
