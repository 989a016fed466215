"""Leads at the command line, over the acceptance workspace: exact documents, one line for a mistake, no surprises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nurture.cli import main as cli
from nurture.store import tables as t
from nurture.store.database import Database

ACCEPTANCE = Path(__file__).parent.parent / "data" / "acceptance"
TARA = "tara.1002@example.com"


class Output:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """The one line of a mistake."""
        assert (self.code, self.out) == (1, ""), self.out
        [line] = self.err.splitlines()
        return line


Run = Callable[..., Output]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    shutil.copytree(ACCEPTANCE, workspace)
    return workspace


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NURTURE_SECRET_KEY", "a secret of thirty-two characters")
    monkeypatch.chdir(folder)

    def command(*arguments: str) -> Output:
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
def few(folder: Path) -> str:
    """A list of three, small enough to look at."""
    (folder / "few.csv").write_text(
        "Email,First Name,Country,Number of Employees,Tags,Contact owner,Consent,Consent Date\n"
        f"{TARA},Tara,Switzerland,300,guide,Chloé Dubois,yes,2026-06-19\n"
        "max@example.org,[bold]Max[/bold],Germany,3,guide;vip,,yes,2026-06-20\n"
        "no@example.com,No,France,3,,,no,\n",
        encoding="utf-8",
    )
    return "few.csv"


def one(folder: Path, query: Any) -> Any:
    database = Database("sqlite:///nurture.db", root=folder)
    try:
        with database.reading() as connection:
            return connection.execute(query).all()
    finally:
        database.close()


def test_the_acceptance_list_gives_its_numbers_twice(run: Run) -> None:
    expected = json.loads((ACCEPTANCE / "leads-hubspot.expected.json").read_text())
    for _ in range(2):
        output = run("import", "leads-hubspot.csv", "--source", "hubspot", "--json")
        assert {name: output.json[name] for name in expected} == expected
        assert output.err == ""
    listed = run("leads", "list", "--json").json
    assert len(listed) == 1868
    assert len(run("leads", "list", "--limit", "7", "--json").json) == 7


def test_an_import_tells_a_person_what_was_done_with_each_column(run: Run, few: str) -> None:
    told = run("import", few, "--source", "fair", "--rejects", "rejects.csv").out
    assert "3 rows: 2 leads (2 new, 0 changed, 0 unchanged), 0 later rows of one of them, 1 rejected" in told
    assert "no_consent" in told
    assert "custom.employees" in told
    dry = run("import", few, "--source", "fair", "--dry-run").out
    assert dry.startswith("a dry run: nothing was written")


def test_leads_are_listed_by_condition_and_by_segment_with_the_agreed_fields(run: Run, few: str) -> None:
    run("import", few, "--source", "fair")
    [lead] = run("leads", "list", "--where", "custom.employees >= 250", "--json").json
    agreed = ("email", "stage", "fit", "engagement", "score", "owner", "suppression")
    assert [lead[name] for name in agreed] == [TARA, "lead", "unknown", 0, 0, "chloe", None]
    assert {each["email"] for each in run("leads", "list", "--where", "guide_readers", "--json").json} == {
        TARA,
        "max@example.org",
    }
    assert run("leads", "list", "--where", 'tag("nobody")', "--json").json == []


def test_a_name_that_looks_like_markup_is_text(run: Run, few: str) -> None:
    run("import", few, "--source", "fair")
    assert "[bold]Max[/bold]" in run("leads", "list").out
    assert "[bold]Max[/bold]" in run("leads", "show", "max@example.org").out


def test_show_and_export_hold_a_lead_and_its_history(run: Run, few: str) -> None:
    run("import", few, "--source", "fair")
    run("track", TARA, "demo requested", "--value", "5")
    shown = run("leads", "show", TARA.upper(), "--json").json
    history = ("events", "messages", "consents", "enrollments", "stages", "score_ledger")
    assert [len(shown[name]) for name in history] == [1, 0, 1, 0, 1, 0]
    assert (shown["events"][0]["kind"], shown["events"][0]["value"]) == ("demo requested", 5)
    assert (shown["tags"], shown["custom"], shown["country"]) == (["guide"], {"employees": "300"}, "CH")
    assert shown["consented_at"] == "2026-06-19T00:00:00Z"
    exported = run("leads", "export", TARA).json
    assert set(shown) < set(exported)
    assert exported == run("leads", "export", TARA, "--json").json
    assert TARA in run("leads", "show", TARA).out


def test_a_lead_is_changed_by_hand(run: Run, few: str, folder: Path) -> None:
    run("import", few, "--source", "fair")
    changes = ("title=CFO = boss", "custom.plan=pro", "stage=sql", "tag=vip", "untag=guide", "owner=Ben Okafor")
    assert run("leads", "set", TARA, *changes, "--json").json == {"email": TARA, "changed": True}
    assert run("leads", "set", TARA, *changes, "--json").json["changed"] is False
    shown = run("leads", "show", TARA, "--json").json
    assert (shown["title"], shown["custom"]["plan"], shown["stage"]) == ("CFO = boss", "pro", "sql")
    assert (shown["tags"], shown["owner"]) == (["vip"], "ben")
    assert [(row["after"], row["kind"]) for row in shown["stages"]] == [("lead", "consent"), ("sql", "by_hand")]
    run("leads", "set", TARA, "title=")
    assert run("leads", "show", TARA, "--json").json["title"] is None


def test_a_change_with_one_mistake_changes_nothing(run: Run, few: str) -> None:
    run("import", few, "--source", "fair")
    assert "did you mean 'title'" in run("leads", "set", TARA, "stage=sql", "tag=vip", "titel=CFO").problem
    shown = run("leads", "show", TARA, "--json").json
    assert (shown["stage"], shown["tags"]) == ("lead", ["guide"])


def test_an_event_with_its_time_is_recorded_once_and_without_each_time(run: Run, few: str, folder: Path) -> None:
    run("import", few, "--source", "fair")
    dated = ("track", TARA, "deal won", "--at", "2026-11-02 10:00", "--value", "1200", "--prop", "currency=EUR")
    assert [run(*dated, "--json").json["recorded"] for _ in range(2)] == [True, False]
    assert run(*dated, "--prop", "plan=pro", "--json").json["recorded"] is True
    assert [run("track", TARA, "called us", "--json").json["recorded"] for _ in range(2)] == [True, True]
    rows = one(folder, select(t.event).order_by(t.event.c.id))
    assert (rows[0].kind, rows[0].value, rows[0].currency, rows[0].verdict) == ("deal won", 1200, "EUR", "human")
    assert rows[0].at.isoformat() == "2026-11-02T09:00:00+00:00"  # the workspace is in Berlin
    assert rows[1].props == {"plan": "pro"}


def test_properties_keep_their_kind_and_places_stand_where_conditions_look(run: Run, few: str, folder: Path) -> None:
    run("import", few, "--source", "fair")
    props = ("seats=5", "ratio=0.5", "trial=true", "zip=01067x", "path=/pricing/eu", "step=intro", "cadence=welcome")
    run("track", TARA, "page viewed", *(word for prop in props for word in ("--prop", prop)))
    [row] = one(folder, select(t.event))
    assert row.props == {"seats": 5, "ratio": 0.5, "trial": True, "zip": "01067x"}
    assert (row.path, row.step, row.cadence) == ("/pricing/eu", "intro", "welcome")
    assert len(run("leads", "list", "--where", 'visited("/pricing*")', "--json").json) == 1


def test_an_unsubscription_by_hand_ends_the_mail(run: Run, few: str) -> None:
    run("import", few, "--source", "fair")
    run("track", TARA, "unsubscribed")
    shown = run("leads", "show", TARA, "--json").json
    assert (shown["suppression"], shown["consented_at"]) == ("unsubscribed", None)


def test_suppressing_an_address_a_domain_and_a_list_and_lifting(run: Run, few: str, folder: Path) -> None:
    run("import", few, "--source", "fair")
    assert run("suppress", TARA.upper(), "--reason", "asked by phone", "--json").json == {"suppressed": 1, "already": 0}
    assert run("suppress", "@Example.ORG", "--json").json == {"suppressed": 1, "already": 0}
    listed = {each["email"]: each["suppression"] for each in run("leads", "list", "--json").json}
    assert listed == {TARA: "asked by phone", "max@example.org": "by_hand"}
    (folder / "never.csv").write_text(f"email,why\n{TARA},x\n\n# rivals\n@rival.example\nRob@Example.net\n")
    assert run("suppress", "--file", "never.csv", "--json").json == {"suppressed": 2, "already": 1}
    lifted = run("suppress", "--lift", TARA, "--note", "wrote that she wants it", "--json").json
    assert lifted == {"lifted": TARA, "reason": "asked by phone"}
    assert "suppressed by its domain" in run("suppress", "--lift", "max@example.org", "--note", "x").problem
    assert "is not suppressed" in run("suppress", "--lift", TARA, "--note", "again").problem


def test_a_list_of_suppressions_is_taken_whole_or_not_at_all(run: Run, folder: Path) -> None:
    (folder / "never.txt").write_text("ann@example.com\nnot-an-address\n@\n")
    output = run("suppress", "--file", "never.txt")
    assert output.code == 1
    assert "never.txt:2:" in output.err and "never.txt:3:" in output.err
    assert one(folder, select(t.suppression)) == []


def test_who_is_erased_is_gone_and_not_imported_again(run: Run, few: str, folder: Path) -> None:
    run("import", few, "--source", "fair")
    assert run("leads", "erase", TARA, "--yes").out == "erased\n"
    assert "no lead has the address" in run("leads", "show", TARA).problem
    again = run("import", few, "--source", "fair", "--json").json
    assert (again["valid"], again["rejected"]) == (1, {"erased": 1, "no_consent": 1})
    assert TARA not in str(one(folder, select(t.suppression)))


def test_erasing_asks_first(run: Run, few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("import", few, "--source", "fair")
    monkeypatch.setattr("typer.confirm", lambda text, abort: (_ for _ in ()).throw(SystemExit(1)))
    assert run("leads", "erase", TARA).code == 1
    assert run("leads", "show", TARA, "--json").json["email"] == TARA


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "none.csv", "--source", "x"), "none.csv: No such file"),
        (("import", "offers/reporting-guide.pdf", "--source", "x"), "this is a PDF, not CSV"),
        (("import", "cadences", "--source", "x"), "no regular file"),
        (("import", "config.toml", "--source", "x"), "no column holds the e-mail address"),
        (("import", "few.csv", "--source", " "), "--source is blank"),
        (("import", "few.csv", "--source", "x", "--map", "Email"), "write NAME=VALUE"),
        (("import", "few.csv", "--source", "x", "--map", "Emial=email"), "did you mean 'Email'"),
        (("import", "few.csv", "--source", "x", "--tag", "a\nb"), "tag: control"),
        (("import", "few.csv", "--source", "x", "--rejects", "few.csv"), "the list itself"),
        (("leads", "show", "nobody@example.com"), "no lead has the address nobody@example.com"),
        (("leads", "show", "nobody"), "'nobody' is no e-mail address"),
        (("leads", "export", "ann@example.com\x1b[31m"), "a control character is in it"),
        (("leads", "set", "nobody@example.com", "title=x"), "no lead has the address"),
        (("leads", "set", TARA, "title"), "write NAME=VALUE"),
        (("leads", "set", TARA, "stage=mqll"), "did you mean 'mql'"),
        (("leads", "set", TARA, "country=Atlantis"), "is no country"),
        (("leads", "list", "--where", "titel == 1"), "--where:1:"),
        (("leads", "list", "--where", 'stage == "mqll"'), "mql"),
        (("track", "nobody@example.com", "x"), "no lead has the address"),
        (("track", TARA, " "), "an event's name has"),
        (("track", TARA, "x", "--at", "tomorrow"), "is no time"),
        (("track", TARA, "x", "--at", "2126-01-01"), "lies ahead"),
        (("track", TARA, "x", "--prop", "plan"), "write NAME=VALUE"),
        (("suppress", "nobody"), "is no e-mail address and no @domain"),
        (("suppress", "@nobody"), "is no e-mail address and no @domain"),
        (("suppress", TARA, "--reason", "erased"), "use 'nurture leads erase"),
        (("suppress", "--file", "none.txt"), "none.txt: No such file"),
    ],
)
def test_a_mistake_is_one_line_of_what_where_and_what_to_do(
    run: Run, few: str, arguments: tuple[str, ...], told: str
) -> None:
    run("import", few, "--source", "fair")
    problem = run(*arguments).problem
    assert problem.startswith("nurture: ")
    assert told in problem
    assert "\x1b" not in problem


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "few.csv"),
        ("suppress",),
        ("suppress", TARA, "--lift", TARA),
        ("suppress", "--lift", TARA),
        ("track", TARA),
        ("leads", "list", "--limit", "0"),
    ],
)
def test_a_wrong_use_is_told_as_such(run: Run, few: str, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2
