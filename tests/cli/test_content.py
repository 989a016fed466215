"""A mail seen before it goes: `render` prints one, `send-test` sends one, and neither leaves a trace."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.client import HTTPConnection
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture.cli import main as cli
from nurture.content.tokens import Purpose, Tokens
from nurture.store import tables as t
from nurture.store.database import Database
from tests.conftest import DATA
from tests.receiving import Receiving, receiving

SECRET = "a secret of thirty-two characters"
ZOE = "zoe@example.com"
LEADS = """Email,First Name,Company,Country,Tags,Consent,Consent Date
zoe@example.com,Zoë & Ann,Helio <b>,Germany,guide,yes,2026-06-19
max@example.org,,,Germany,guide,yes,2026-06-19
"""


class Output:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> str:
        assert (self.code, self.err) == (0, ""), self.err
        return self.out

    @property
    def problem(self) -> str:
        """The one line of a mistake."""
        assert (self.code, self.out) == (1, ""), self.out
        [line] = self.err.splitlines()
        return line


Run = Callable[..., Output]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiving]:
    with receiving(tmp_path / "received", "--keep") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path, receiver: Receiving) -> Path:
    workspace = tmp_path / "workspace"
    shutil.copytree(DATA / "acceptance", workspace)
    config = workspace / "config.toml"
    config.write_text(config.read_text().replace("port = 2525", f"port = {receiver.port}"))
    (workspace / "leads.csv").write_text(LEADS, encoding="utf-8")
    return workspace


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    monkeypatch.chdir(folder)

    def main() -> int:
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def command(*arguments: str) -> Output:
        monkeypatch.setattr("sys.argv", ["nurture", *arguments])
        # in a thread of its own: a browser test of the same process may have a loop running in this one
        with ThreadPoolExecutor(1) as pool:
            code = pool.submit(main).result()
        return Output(code, *capfd.readouterr())

    assert command("import", "leads.csv", "--source", "fair").code == 0
    return command


def counts(folder: Path) -> dict[str, int]:
    """How many rows each table has."""
    database = Database("sqlite:///nurture.db", root=folder)
    try:
        with database.reading() as connection:
            tables = t.lead.metadata.sorted_tables
            return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    finally:
        database.close()


def letter(raw: bytes) -> EmailMessage:
    parsed = message_from_bytes(raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_a_letter_in_three_forms_and_nothing_else_on_standard_output(run: Run, folder: Path) -> None:
    before = counts(folder)
    html = run("render", "guide-followup/intro", "--lead", ZOE).document
    assert html.startswith("<!DOCTYPE html>")
    assert html.rstrip().endswith("</html>")
    assert "We kept Helio &lt;b&gt; in mind." in html
    assert 'href="https://www.acme.example/guide"' in html, "its links are the author's own"
    assert ".gif" not in html, "no pixel"

    text = run("render", "guide-followup/intro", "--lead", ZOE, "--format", "text").document
    assert "Hello Zoë & Ann," in text
    assert "<" not in text.replace("Helio <b>", "")

    eml = letter(run("render", "guide-followup/intro", "--lead", ZOE, "--format", "eml").document.encode())
    assert (eml["to"], eml["from"]) == (ZOE, "Anna Meier <anna@acme.example>")
    assert eml["subject"] == "Zoë & Ann, did the guide answer your question?"
    assert [part.get_content_type() for part in eml.iter_parts()] == ["text/plain", "text/html"]
    assert eml["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert counts(folder) == before


def test_a_variant_by_its_name_and_a_lead_of_whom_little_is_known(run: Run) -> None:
    def subject(*options: str) -> str:
        document = run(
            "render", "guide-followup/intro", "--lead", "MAX@example.org", "--format", "eml", *options
        ).document
        return str(letter(document.encode())["subject"])

    assert subject() == "Hello, did the guide answer your question?"
    assert subject("--variant", "number") == "3 numbers from the guide that most teams should check"


def test_looking_needs_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NURTURE_SECRET_KEY")
    assert "<html" in run("render", "guide-followup/intro", "--lead", ZOE).document
    assert "NURTURE_SECRET_KEY" in run("send-test", "guide-followup/intro", "--to", ZOE).problem


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["guide-folowup/intro", "--lead", ZOE], "no cadence 'guide-folowup': did you mean 'guide-followup'?"),
        (["guide-followup/into", "--lead", ZOE], "no step 'into' in guide-followup: did you mean 'intro'?"),
        (["guide-followup/tell-sales", "--lead", ZOE], "step 'tell-sales' of guide-followup sends no mail"),
        (["intro", "--lead", ZOE], "'intro' names no step: write CADENCE/ID, e.g. guide-followup/intro"),
        (["guide-followup/intro", "--lead", ZOE, "--variant", "numbr"], "did you mean 'number'?"),
        (["guide-followup/case", "--lead", ZOE, "--variant", "a"], "no variant 'a' of case: it has none"),
        (["guide-followup/intro", "--lead", "zoey@example.com"], "did you mean 'zoe@example.com'?"),
        (["guide-followup/intro", "--lead", "nobody@nowhere.test"], "see `nurture leads list`"),
        (["guide-followup/intro", "--lead", "nonsense"], "'nonsense' is no e-mail address"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_right_name(run: Run, arguments: list[str], said: str) -> None:
    assert said in run("render", *arguments).problem


def test_what_a_lead_lacks_is_named(run: Run, folder: Path) -> None:
    (folder / "templates" / "email" / "case-study.mjml").write_text(
        "<mjml><mj-body><mj-section><mj-column><mj-text>Dear {{ lead.first_name }}</mj-text></mj-column></mj-section>"
        '{% include "_footer.mjml" %}</mj-body></mjml>'
    )
    problem = run("render", "guide-followup/case", "--lead", "max@example.org").problem
    assert problem.endswith("can't be written for max@example.org: lead.first_name is missing and has no default")
    (folder / "templates" / "email" / "case-study.mjml").write_text("<mjml><mj-body><mj-txt /></mj-body></mjml>")
    assert "templates/email/case-study.mjml:1:16:" in run("render", "guide-followup/case", "--lead", ZOE).problem


def test_a_test_goes_through_the_senders_server_and_leaves_no_trace(
    run: Run, folder: Path, receiver: Receiving
) -> None:
    before = counts(folder)
    said = run("send-test", "guide-followup/intro", "--to", "me@acme.example", "--lead", ZOE, "--variant", "number")
    assert said.document == f"sent to me@acme.example through 127.0.0.1:{receiver.port}: 250 2.0.0 queued\n"
    run("send-test", "guide-followup/intro", "--to", "me@acme.example")
    assert counts(folder) == before

    first, second = map(letter, receiver.messages())
    assert first["to"] == "me@acme.example"
    assert first["subject"] == "[test] 3 numbers from the guide that Helio <b> should check"
    assert second["subject"] == "[test] Zoe, did the guide answer your question?", "a made-up lead"
    assert first["message-id"] != second["message-id"], "mailboxes drop what they know already"
    html = first.get_body(("html",))
    assert html is not None
    assert 'href="https://www.acme.example/guide"' in html.get_content()


def test_the_way_out_of_a_test_is_nobodys(run: Run, receiver: Receiving) -> None:
    run("send-test", "guide-followup/intro", "--to", "me@acme.example", "--lead", ZOE)
    [sent] = map(letter, receiver.messages())
    token = sent["list-unsubscribe"].strip("<>").rpartition("/u/")[2]
    assert Tokens([SECRET]).read(Purpose.UNSUBSCRIBE, token) == "m0", "rows count from 1"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("unknown@example.com", "refused the test to unknown@example.com: 550 5.1.1 no such user here"),
        ("leaving@example.com", "refused the test to leaving@example.com: 421 4.3.2 shutting down"),
        ("nonsense", "'nonsense' is no e-mail address"),
    ],
)
def test_a_refusal_is_one_line(run: Run, to: str, said: str) -> None:
    assert said in run("send-test", "guide-followup/intro", "--to", to).problem


def test_a_link_lost_after_the_final_dot_leaves_it_open(
    run: Run, folder: Path, tmp_path: Path, receiver: Receiving
) -> None:
    with receiving(tmp_path / "dropping", "--drop", "1") as dropping:
        config = folder / "config.toml"
        config.write_text(config.read_text().replace(f"port = {receiver.port}", f"port = {dropping.port}"))
        problem = run("send-test", "guide-followup/intro", "--to", "me@acme.example").problem
    assert problem.endswith("whether the test arrives is not known")


def test_a_server_that_is_away_is_one_line(run: Run, folder: Path, receiver: Receiving) -> None:
    config = folder / "config.toml"
    config.write_text(config.read_text().replace(f"port = {receiver.port}", "port = 1"))
    problem = run("send-test", "guide-followup/intro", "--to", "me@acme.example").problem
    assert problem.startswith("nurture: the server of sender 'Anna Meier' is not there: 127.0.0.1:1:")


def test_a_preview_whose_port_is_taken_is_one_line(run: Run, receiver: Receiving) -> None:
    assert f"port {receiver.port} of 127.0.0.1 is taken" in run("preview", "--port", str(receiver.port)).problem


def test_a_preview_ends_at_once_though_a_page_waits_for_a_change(run: Run) -> None:
    command = [sys.executable, "-c", "from nurture.cli.main import main; main()", "preview", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://(127\.0\.0\.1:\d+)", process.stderr.readline())
        assert found is not None
        page = HTTPConnection(found[1], timeout=30)
        page.request("GET", "/changed")
        stamp = json.load(page.getresponse())["stamp"]
        page.request("GET", f"/changed?since={stamp}")  # what was sent before the signal is read before the end
        process.send_signal(signal.SIGINT)
        assert json.load(page.getresponse()) == {"stamp": stamp}
        page.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
