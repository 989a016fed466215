"""The headers of an opt-in mail, of the offer that follows, and of a step's mail, as a reader's program parses them."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import select

from nurture.authoring.check import check_workspace
from nurture.domain.addresses import read_address
from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.store import tables as t
from nurture.store.opt_ins import Submission, confirm, submit
from tests.receiving import Receiving, receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
REPLY_TO = 'reply_to = "anna@acme.example"'
LETTER = """<mjml><mj-body><mj-section><mj-column><mj-text><a href="{{ confirm_url }}">Yes</a>
{{ workspace.postal_address }} <a href="{{ unsubscribe_url }}">leave</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiving]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail", "--keep") as receiver:
        yield receiver


def workspace(folder: Path, port: int, *, reply_to: str = REPLY_TO, own_template: bool = False) -> Path:
    root = copy_acceptance(folder / "workspace", smtp_port=port)
    config = root / "config.toml"
    config.write_text(config.read_text().replace(REPLY_TO, reply_to))
    if own_template:
        forms = root / "cadences" / "_forms.yaml"
        said = "double_opt_in: true\n    confirm: {email: sure, subject: Are you sure?}\n"
        forms.write_text(forms.read_text().replace("double_opt_in: true\n", said))
        (root / "templates" / "email" / "sure.mjml").write_text(LETTER)
    return root


def ask_and_confirm(running: Running) -> None:
    """A form sent in, its opt-in mail, the button pressed, the offer's mail."""
    form = running.workspace.forms["guide"]
    submission = Submission(
        form=form,
        address=read_address("zoe@zoe.example"),
        answers={"first_name": "Zoe"},
        consents={"email": "You may write to me."},
        language="en",
        network_address="",
        user_agent="",
        sender="anna",
    )
    with running.installation.database.transaction() as connection:
        submit(connection, submission, secrets=lambda: [SECRET], now=running.clock())
        (opt_in,) = connection.scalars(select(t.opt_in.c.id)).all()
    running.once()
    with running.installation.database.transaction() as connection:
        confirm(connection, opt_in, forms={"guide": form}, sender="anna", network_address="", now=running.clock())
    running.once()


def nurtured(running: Running) -> None:
    """A lead and a step's mail."""
    file = running.installation.root / "people.csv"
    file.write_text("Email,First Name,Time Zone,Tags,Marketing consent\nuwe@uwe.example,Uwe,Europe/Berlin,guide,Yes\n")
    import_leads(running.installation.database, ImportRequest(path=file, source="test"), now=running.clock())
    running.once()
    running.advance(days=4)


def parsed(receiver: Receiving) -> list[EmailMessage]:
    messages = [email.message_from_bytes(raw, policy=email.policy.default) for raw in receiver.messages()]
    assert all(isinstance(each, EmailMessage) for each in messages)
    return messages  # type: ignore[return-value]


@pytest.mark.parametrize("own_template", [False, True])
def test_replies_go_to_a_mailbox_with_a_name_and_a_domain_beyond_ascii(
    tmp_path: Path, receiver: Receiving, own_template: bool
) -> None:
    root = workspace(
        tmp_path,
        receiver.port,
        reply_to='reply_to = "Zoë Meier <zoe@münchen.example>"',
        own_template=own_template,
    )
    assert list(check_workspace(root).findings) == []
    running = start(root, at=MONDAY)
    ask_and_confirm(running)
    nurtured(running)
    opt_in, offer, *steps = parsed(receiver)
    assert opt_in["Subject"] == "Are you sure?" or not own_template
    assert offer["Subject"] == "Here is your reporting guide" and steps
    for message in (opt_in, offer, *steps):
        assert str(message["Reply-To"]) == "Zoë Meier <zoe@xn--mnchen-3ya.example>"
        assert message["From"] == "Anna Meier <anna@acme.example>"
    running.installation.database.close()


@pytest.mark.parametrize("own_template", [False, True])
def test_what_was_just_asked_for_says_that_a_program_sent_it(
    tmp_path: Path, receiver: Receiving, own_template: bool
) -> None:
    running = start(workspace(tmp_path, receiver.port, own_template=own_template), at=MONDAY)
    ask_and_confirm(running)
    nurtured(running)
    opt_in, offer, *steps = parsed(receiver)
    assert [each["Auto-Submitted"] for each in (opt_in, offer)] == ["auto-generated"] * 2
    assert opt_in["List-Unsubscribe"] is offer["List-Unsubscribe"] is None
    assert steps and all(each["Auto-Submitted"] is None and each["List-Unsubscribe"] for each in steps)
    running.installation.database.close()
