"""The commands as people and programs call them: one JSON document, a safe CSV, one line for a mistake."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from nurture.cli import main as cli
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.migrate import upgrade

CONFIG = """
[workspace]
name = "Acme"
public_url = "https://mail.acme.example"
postal_address = "Acme, Beispielweg 1, 10115 Berlin"
timezone = "Europe/Berlin"
[smtp.primary]
host = "127.0.0.1"
security = "none"
[senders.anna]
from = "Anna <anna@acme.example>"
[sending]
sender = "anna"
[goals]
lead = "400 per month"
"""
LONG_AGO = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Output:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Output]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "config.toml").write_text(CONFIG)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: str) -> Output:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["nurture", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Output(code, printed.out, printed.err)

    return command


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database("sqlite:///nurture.db", root=tmp_path)
    upgrade(found)
    return found


def add_lead(database: Database, lead_id: int, **fields: Any) -> None:
    values = {"id": lead_id, "email": f"{lead_id}@example.com", "email_key": f"{lead_id}@example.com", "stage": "lead"}
    values |= {"email_domain": "example.com", "fit": "unknown", "fit_points": 0, "custom": {}, "readings": {}}
    values |= {"hot_armed": True, "rescore": False, "created_at": LONG_AGO}
    with database.transaction() as connection:
        connection.execute(insert(t.lead).values(values | fields))


def add_message(database: Database, message_id: int, **fields: Any) -> None:
    row = {"id": message_id, "intent_key": f"m:{message_id}", "kind": "step", "to_address": "1@example.com"}
    row |= {"recipient_domain": "example.com", "sender": "anna", "payload": {}, "status": "sent", "attempt": 1}
    row |= {"created_at": LONG_AGO, "not_before": LONG_AGO, "lease_epoch": 1, "visit": 1, "lead_id": 1}
    with database.transaction() as connection:
        connection.execute(insert(t.message).values(row | fields))


class TestReport:
    def test_json_is_one_document(self, run: Run, database: Database) -> None:
        add_lead(database, 1, channel="content")
        found = run("report", "leads", "--json", "--from", "2026-01-01", "--to", "2026-01-31").json
        assert (found["report"], found["from"], found["to"]) == ("leads", "2026-01-01", "2026-01-31")
        assert found["rows"][0] == {"stage": "lead", "count": 1, "reached": 0, "goal": 400}
        assert run("report", "leads", "--json").json["from"] is None

    def test_people_read_rates_with_their_fraction_and_no_number_where_there_is_none(
        self, run: Run, database: Database
    ) -> None:
        add_lead(database, 1, channel="content", stage="mql")
        add_lead(database, 2, channel="content")
        assert "50.0% (1/2)" in run("report", "funnel").out
        told = run("report", "cost").out
        assert "n/a" in told
        assert "all" in told

    def test_csv_opens_safely_in_a_spreadsheet(self, run: Run, database: Database) -> None:
        for lead_id, channel in enumerate(("=HYPERLINK(1)", "+1", "-1", "@x", "\t=1", "a,b", None), start=1):
            add_lead(database, lead_id, channel=channel)
        rows = list(csv.DictReader(io.StringIO(run("report", "leads", "--by", "channel", "--csv").out)))
        assert {row["channel"] for row in rows} == {"'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\t=1", "a,b", ""}
        assert {row["count"] for row in rows} == {"1"}

    def test_limit(self, run: Run, database: Database) -> None:
        assert len(run("report", "leads", "--json", "--limit", "2").json["rows"]) == 2

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("report", "funel"), "nurture: no report 'funel': use one of leads, funnel, "),
            (("report", "leads", "--from", "yesterday"), "nurture: --from 'yesterday' is no date: use YYYY-MM-DD"),
            (("report", "leads", "--by", "shoe"), "nurture: report leads --by shoe: use one of type, channel, "),
            (("report", "leads", "--json", "--csv"), "nurture: --json and --csv: choose one of them"),
            (("why", "nonsense"), "nurture: 'nonsense' is no e-mail address"),
            (("why", "nobody@example.com"), "nurture: no lead has the address nobody@example.com"),
            (("spend", "import", "nowhere.csv"), "nurture: nowhere.csv: No such file or directory"),
            (("messages", "--where", "stage == 1"), "nurture: --where \"stage == 1\": a message has no field 'stage'"),
            (("messages", "resolve", "7", "--as", "sent"), "nurture: message 7 does not exist"),
        ],
    )
    def test_a_mistake_is_one_line_and_code_1(self, run: Run, arguments: tuple[str, ...], line: str) -> None:
        found = run(*arguments)
        assert found.code == 1
        assert found.out == ""
        assert found.err.replace("'stage == 1'", '"stage == 1"').startswith(line)
        assert found.err.count("\n") == 1

    def test_every_report_prints_on_an_empty_database(self, run: Run) -> None:
        for name in ("leads", "funnel", "cost", "sales", "cadence", "experiments", "alerts", "forms", "links"):
            for form in ((), ("--json",), ("--csv",)):
                assert run("report", name, *form).code == 0


class TestSpend:
    def test_import_then_cost(self, run: Run, database: Database, tmp_path: Path) -> None:
        add_lead(database, 1, channel="content")
        (tmp_path / "spend.csv").write_text("month,channel,campaign,amount,currency\n2026-01,content,,120,EUR\n")
        assert run("spend", "import", "spend.csv", "--json").json == {"imported": 1}
        run("spend", "import", "spend.csv")
        first, overall = run("report", "cost", "--json").json["rows"]
        assert (first["spend"], first["cost_per_lead"]) == (120, 120)
        assert (overall["channel"], overall["spend"]) == ("all", 120)

    def test_one_bad_row_and_nothing_is_taken(self, run: Run, database: Database, tmp_path: Path) -> None:
        rows = "2026-01,content,,120,EUR\nJanuary,content,,1,EUR\n"
        (tmp_path / "spend.csv").write_text("month,channel,campaign,amount,currency\n" + rows)
        found = run("spend", "import", "spend.csv")
        assert found.code == 1
        assert "spend.csv:3: month 'January' is no month" in found.err
        with database.reading() as connection:
            assert connection.execute(select(t.spend)).all() == []


class TestWhy:
    def test_json(self, run: Run, database: Database) -> None:
        add_lead(database, 1, fit_points=20, fit="B")
        with database.transaction() as connection:
            entry = {"lead_id": 1, "at": LONG_AGO, "kind": "fit", "rule": "title", "points": 20}
            connection.execute(insert(t.score_ledger).values(entry))
            decision = {"lead_id": 1, "at": LONG_AGO, "cadence": "welcome", "code": "enrolled", "detail": {}}
            connection.execute(insert(t.decision).values(decision))
        found = run("why", "1@Example.com", "--json").json
        assert set(found) == {"lead", "past", "next", "score"}
        assert found["lead"]["score"] == sum(each["points"] for each in found["score"]) == 20
        assert found["past"] == [
            {
                "at": "2026-01-05T09:00:00Z",
                "code": "enrolled",
                "text": "entered the cadence",
                "cadence": "welcome",
                "step": None,
            }
        ]

    def test_for_people_hostile_text_stays_text(self, run: Run, database: Database) -> None:
        add_lead(database, 1, owner="[bold]\x1b[31mred")
        told = run("why", "1@example.com").out
        assert "[bold]" in told
        assert "\x1b[31m" not in told
        assert "How the score adds up" in told


class TestMessages:
    def test_list_and_unknown(self, run: Run, database: Database) -> None:
        add_message(database, 1, cadence="welcome", step="hello")
        add_message(database, 2, status="unknown", cadence="guide")
        assert [each["id"] for each in run("messages", "--json").json] == [2, 1]
        assert [each["id"] for each in run("messages", "list", "--json", "--limit", "1").json] == [2]
        assert [each["id"] for each in run("messages", "unknown", "--json").json] == [2]
        assert run("messages", "unknown", "--where", "cadence == welcome", "--json").json == []
        assert "hello" in run("messages").out

    def test_resolve(self, run: Run, database: Database) -> None:
        over = datetime.now(UTC) - timedelta(minutes=31)  # noqa: TID251  the command runs by the real clock
        add_message(database, 1, status="unknown", lease_until=over, dotted_at=over)
        add_message(database, 2, status="unknown", lease_until=over + timedelta(minutes=15), dotted_at=over)
        assert run("messages", "resolve", "1", "--as", "resend", "--json").json == {"id": 1, "status": "queued"}
        refused = run("messages", "resolve", "2", "--as", "resend")
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert "it can be sent again from " in refused.err
        assert run("messages", "resolve", "2", "--as", "sent").out == "message 2 is sent now\n"

    def test_a_wrong_word_is_a_usage_error(self, run: Run) -> None:
        assert run("messages", "resolve", "1", "--as", "lost").code == 2
