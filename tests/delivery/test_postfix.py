"""A real Postfix as the next hop: TLS and logins hold, refusals and reports come back, letters arrive as they were."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from sqlalchemy import update

from nurture.content.return_path import message_of
from nurture.content.tokens import Tokens
from nurture.store import tables as t
from tests.content.test_dkim import Key, VerifyKey, pem, record
from tests.delivery.postfix import PASSWORD, USERNAME, Authority, Postfix, running_postfix, skip_where_missing
from tests.engine.world import HEAD, SECRET, World, add_leads, make_root, open_world, steps
from tests.receiving import receiving

Begin = Callable[..., World]
CLEAR = 'port = 9\nsecurity = "none"'
SENDER = "Anna Meier <anna@acme.example>"
SIGNING = """
[dkim]
"acme.example" = [{selector = "r1", key = "file:r1"}, {selector = "e1", key = "file:e1"}]
"""


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    skip_where_missing()
    onward = tmp_path_factory.mktemp("onward")
    with receiving(onward) as receiver, running_postfix(onward_port=receiver.port) as running:
        yield running


@pytest.fixture
def begin(tmp_path: Path, postfix: Postfix, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Makes a workspace whose next hop is one of Postfix's ports, which it trusts unless told otherwise."""
    opened: list[World] = []

    def make(port: str, *leads: str, security: str = "starttls", login: str = "", **more: str) -> World:
        root = make_root(tmp_path / "workspace", config=more.get("config", ""), tour=HEAD + steps("mail:hello"))
        config = (root / "config.toml").read_text()
        said = f'port = {getattr(postfix.ports, port)}\nsecurity = "{security}"\n{login}'
        config = config.replace(CLEAR, said).replace(SENDER, more.get("sender", SENDER))
        (root / "config.toml").write_text(config, encoding="utf-8")
        for name, key in (("r1", RSA), ("e1", ED25519)):
            (root / name).write_bytes(pem(key))
            (root / name).chmod(0o600)
        monkeypatch.setenv("SSL_CERT_FILE", more.get("trusting", str(postfix.authority)))
        world = open_world(root, in_memory=False)
        add_leads(world.database, *leads)
        opened.append(world)
        return world

    yield make
    for each in opened:
        each.database.close()


RSA: Key = generate_private_key(65537, 2048)
ED25519: Key = Ed25519PrivateKey.generate()


def outcomes(world: World) -> dict[str, tuple[str, str]]:
    """name -> the state of its message, and what the server said of it."""
    return {
        row.to_address.partition("@")[0]: (row.status, row.reply or "")
        for row in world.rows(t.message, "to_address", "status", "reply")
    }


def run(world: World) -> None:
    """Twice, and again a day later: what was sent must not be sent again."""
    world.once()
    world.once()
    world.advance(days=1)


def parsed(letter: bytes) -> EmailMessage:
    return email.message_from_bytes(letter, policy=email.policy.default)  # type: ignore[return-value]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_letter_arrives_once_over_tls_as_it_was_signed(
    begin: Begin, postfix: Postfix, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(postfix.mail("zoe"))
    world = begin(security, "zoe", security=security, config=SIGNING)
    run(world)
    assert outcomes(world)["zoe"][0] == "sent", outcomes(world)
    letters = postfix.arrived("zoe", before + 1)[before:]
    assert len(letters) == 1
    message = parsed(letters[0])
    assert message["Return-Path"] == "<anna@acme.example>"
    assert "with ESMTPS id" in message["Received"]
    assert signatures_that_verify(letters[0], monkeypatch) == ["r1", "e1"]
    assert re.fullmatch(r"<http://127\.0\.0\.1:8080/u/[\w.~-]+>", message["List-Unsubscribe"])
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert max(map(len, letters[0].split(b"\r\n"))) <= 200
    assert letters[0].isascii()


def test_a_bounce_domain_makes_a_return_path_that_names_the_message(begin: Begin, postfix: Postfix) -> None:
    before = len(postfix.mail("zoe"))
    world = begin("starttls", "zoe", sender=f'{SENDER}"\nbounce_domain = "bounces.acme.example')
    run(world)
    message = parsed(postfix.arrived("zoe", before + 1)[-1])
    [row] = world.rows(t.message, "id")
    path = message["Return-Path"]
    assert re.fullmatch(r"<bounce\+[a-z0-9.]+@bounces\.acme\.example>", path)
    assert message_of(Tokens([SECRET]), path) == row.id
    assert message["From"] == SENDER


def signatures_that_verify(letter: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The selectors of the signatures that dkimpy verifies."""
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature),
    )
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)
    records = {b"r1._domainkey.acme.example.": record(RSA), b"e1._domainkey.acme.example.": record(ED25519)}
    verified = []
    for at in range(letter.count(b"\r\nDKIM-Signature:")):
        verifier = dkim.DKIM(letter)
        if verifier.verify(idx=at, dnsfunc=lambda name, timeout=5: records[name]):
            verified.append(verifier.selector.decode())
    return verified


@pytest.mark.parametrize(
    ("port", "security", "trusted", "why"),
    [
        ("starttls", "starttls", False, "certificate verify failed"),
        ("tls", "tls", False, "certificate verify failed"),
        ("elsewhere", "starttls", True, "IP address mismatch"),
        ("clear", "starttls", True, "STARTTLS"),
    ],
    ids=["another authority", "another authority, TLS at once", "another host", "no TLS offered"],
)
def test_where_tls_does_not_hold_nothing_is_said_and_all_is_deferred(
    begin: Begin, postfix: Postfix, tmp_path: Path, port: str, security: str, trusted: bool, why: str
) -> None:
    letters, sessions = len(postfix.mail("zoe")), len(postfix.sessions(port, 0))
    authority = postfix.authority if trusted else Authority(tmp_path).file
    login = f'username = "{USERNAME}"\npassword = "env:MAIL_PASSWORD"\n'
    world = begin(port, "zoe", security=security, login=login, trusting=str(authority))
    world.once()
    [(status, reply)] = outcomes(world).values()
    assert status == "deferred"
    assert why in reply
    said = postfix.sessions(port, sessions + 1)[sessions:]
    assert [each for each in said if re.search("auth=|mail=|rcpt=|data=", each)] == []
    assert len(postfix.mail("zoe")) == letters


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)


def test_a_login_opens_the_door_and_a_wrong_one_defers(
    begin: Begin, postfix: Postfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = f'username = "{USERNAME}"\npassword = "env:MAIL_PASSWORD"\n'
    monkeypatch.setenv("MAIL_PASSWORD", "wrong horse")
    world = begin("auth", "ben", login=login)
    world.once()
    [(status, reply)] = outcomes(world).values()
    assert status == "deferred"
    assert "535" in reply or "authentication failed" in reply
    assert world.rows(t.suppression, "reason") == []
    assert [each for each in postfix.sessions("auth", 1) if "mail=" in each] == []
    world.database.close()

    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    again = open_world(world.installation.root, clock=world.clock, in_memory=False)
    again.advance(hours=1)
    again.once()
    again.database.close()
    [letter] = postfix.arrived("ben")
    assert "with ESMTPSA id" in parsed(letter)["Received"]


def test_an_unknown_user_is_suppressed_and_the_others_get_their_mail(begin: Begin, postfix: Postfix) -> None:
    before = len(postfix.mail("zoe"))
    world = begin("starttls", "nobody", "zoe")
    run(world)
    said = outcomes(world)
    assert said["zoe"][0] == "sent"
    assert said["nobody"][0] == "bounced"
    assert said["nobody"][1].startswith("550 5.1.1")
    assert [row.reason for row in world.rows(t.suppression, "reason")] == ["bounced"]
    assert len(postfix.arrived("zoe", before + 1)) == before + 1


def test_what_is_refused_further_on_comes_back_as_a_report_that_names_the_message(
    begin: Begin, postfix: Postfix
) -> None:
    before = len(postfix.mail("anna"))
    world = begin("starttls", "unknown")
    with world.database.transaction() as connection:
        address = {"email": "unknown@later.example", "email_key": "unknown@later.example"}
        connection.execute(update(t.lead).values(email_domain="later.example", **address))
    run(world)
    assert outcomes(world)["unknown"][0] == "sent"
    report = parsed(postfix.arrived("anna", before + 1)[-1])
    assert report["Return-Path"] == "<>"
    assert report.get_content_type() == "multipart/report"
    _, told, letter = report.iter_parts()
    of_us, of_recipient = told.get_payload()
    assert of_us["Reporting-MTA"] == "dns; receiver.example"
    assert of_recipient["Final-Recipient"] == "rfc822; unknown@later.example"
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.1.1")
    [original] = letter.get_payload()
    [row] = world.rows(t.message, "message_id")
    assert original["Message-ID"] == f"<{row.message_id}>"


def test_a_server_that_leaves_in_mid_session_keeps_nobody_from_their_mail(begin: Begin, postfix: Postfix) -> None:
    before, sessions = len(postfix.mail("zoe")), len(postfix.sessions("strict", 0))
    world = begin("strict", "nobody", "noone", "nemo", "zoe")
    run(world)
    assert {name: status for name, (status, _) in outcomes(world).items()} == {
        **dict.fromkeys(("nobody", "noone", "nemo"), "bounced"),
        "zoe": "sent",
    }
    assert len(postfix.arrived("zoe", before + 1)) == before + 1
    assert len(postfix.sessions("strict", sessions + 3)) >= sessions + 3, "each mistake ended a session with 421"


def test_an_address_beyond_ascii_goes_where_it_can_be_carried(
    begin: Begin, postfix: Postfix, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(begin("starttls", "jörg", config=SIGNING))
    [letter] = postfix.arrived("jörg")
    assert "with UTF8SMTPS id" in parsed(letter)["Received"]
    assert "To: jörg@example.com\r\n".encode() in letter
    assert signatures_that_verify(letter, monkeypatch) == ["r1", "e1"]


def test_an_address_beyond_ascii_fails_alone_where_it_cannot(begin: Begin, postfix: Postfix) -> None:
    before = len(postfix.mail("zoe"))
    world = begin("no_utf8", "jörg", "zoe")
    run(world)
    said = outcomes(world)
    assert said["jörg"] == ("failed", "the server takes addresses in ASCII only: it does not offer SMTPUTF8")
    assert said["zoe"][0] == "sent"
    assert world.rows(t.suppression, "reason") == []
    assert len(postfix.arrived("zoe", before + 1)) == before + 1


def test_a_domain_beyond_ascii_goes_as_punycode(begin: Begin, postfix: Postfix) -> None:
    before = len(postfix.mail("zoe"))
    run(begin("no_utf8", "zoe", sender="Anna Meier <anna@münchen.example>"))
    message = parsed(postfix.arrived("zoe", before + 1)[-1])
    assert message["Return-Path"] == "<anna@xn--mnchen-3ya.example>"
    assert message["From"] == "Anna Meier <anna@xn--mnchen-3ya.example>"
    assert message["Message-ID"].endswith("@xn--mnchen-3ya.example>")
