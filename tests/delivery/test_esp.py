"""Letters over HTTP: what was lost before the last byte was not sent, and each provider's answers mean what it says."""

from __future__ import annotations

import asyncio
import base64
import email
import importlib.util
import os
import re
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from nurture.delivery.connections import Connections
from nurture.delivery.conversation import CannotCarry, Conversation, LinkLost, Patience
from nurture.delivery.esp import EspServer, esp_address
from nurture.delivery.esp_provider import EspLetter
from nurture.delivery.esp_signature import signed_headers
from nurture.delivery.replies import Reply
from nurture.delivery.servers import ServerUnavailable
from nurture.domain.message import ReplyCause, ReplyClass
from nurture.domain.problem import Problem
from tests.delivery.provider import LEAVE_EARLY, LEAVE_LATE, SILENCE, TOO_EARLY, Said, StandIn, stand_in

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
KEYS = {"ses": "AKIDEXAMPLE:the-secret-half"}
KEY = "key-that-nobody-may-see"
PATIENCE = Patience(command=2, data=2, block=2, dot=4)
HEADERS = (
    b"From: =?utf-8?q?M=C3=BCller=2C_Anna?= <anna@acme.example>\r\n"
    b"To: ben@example.com\r\n"
    b"Reply-To: replies@acme.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 02 Nov 2026 09:00:00 +0000\r\n"
    b"Message-ID: <12.ab@acme.example>\r\n"
    b"List-Unsubscribe: <https://m.acme.example/u/abc>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"List-Id: <product.acme.example>\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; d=acme.example;\r\n\tb=abc\r\n"
    b"MIME-Version: 1.0\r\n"
)
PARTS = (
    b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n'
    b'--m\r\nContent-Type: multipart/alternative; boundary="a"\r\n\r\n'
    b"--a\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=C3=BC=C3=9Fe\r\n..a line with a dot\r\n"
    b"--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>\r\n--a--\r\n"
    b"--m\r\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n"
    b'--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="a.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nUERG\r\n--m--\r\n"
)
WIRE = HEADERS + PARTS
KEPT = {
    "Message-ID": "<12.ab@acme.example>",
    "List-Unsubscribe": "<https://m.acme.example/u/abc>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "List-Id": "<product.acme.example>",
}
ACCEPTED = {
    "ses": Said(status=200, body={"MessageId": "0107-ab"}),
    "sendgrid": Said(status=202, headers={"X-Message-Id": "sg-14"}),
    "mailgun": Said(status=200, body={"id": "<12.ab@acme.example>", "message": "Queued. Thank you."}),
    "postmark": Said(
        status=200,
        body={"To": "ben@example.com", "MessageID": "b7bc2f4a", "ErrorCode": 0, "Message": "OK", "SubmittedAt": "2026"},
    ),
    "brevo": Said(status=201, body={"messageId": "<2026@smtp-relay.mailin.fr>"}),
}
PROVIDERS = sorted(ACCEPTED)
BY_ANYMAIL = {"brevo", "postmark", "sendgrid"}


@pytest.fixture(autouse=True)
def _anymail(request: pytest.FixtureRequest) -> None:
    provider = getattr(getattr(request.node, "callspec", None), "params", {}).get("provider", "brevo")
    if (
        provider in BY_ANYMAIL
        and importlib.util.find_spec("anymail") is None
        and not os.environ.get("NURTURE_REQUIRE_ESP")
    ):
        pytest.skip("django-anymail (the extra `esp`) is not installed")


def server_for(provider: str, url: str, **more: Any) -> EspServer:
    address = esp_address(
        "esp.it",
        provider=provider,
        api_key=KEYS.get(provider, KEY),
        url=url,
        stream=more.pop("stream", None),
        connections=2,
    )
    return EspServer(address, patience=PATIENCE, ask_after_s=(0, 0), **({"clock": lambda: NOW} | more))


@asynccontextmanager
async def talking(provider: str, *answers: Said | str, **more: Any) -> AsyncIterator[tuple[StandIn, Conversation]]:
    """A provider that answers so, and a conversation with it."""
    async with stand_in(*answers) as there:
        server = server_for(provider, there.url, **more)
        conversation = await server.conversation()
        try:
            yield there, conversation
        finally:
            conversation.abort()
            await server.close()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def said_to(provider: str, *answers: Said | str, **more: Any) -> tuple[Reply, StandIn]:
    """The reply to one letter, and what was asked for it."""
    kept: list[tuple[Reply, StandIn]] = []

    async def story() -> None:
        async with talking(provider, *answers, **more) as (there, conversation):
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            assert there.asked == []  # nothing is asked before the end
            kept.append((await conversation.dot(), there))

    run(story)
    return kept[0]


# --- what is asked


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_letter_is_accepted_under_the_providers_own_id(provider: str) -> None:
    reply, there = said_to(provider, ACCEPTED[provider])
    said = ACCEPTED[provider]
    own = said.headers.get("X-Message-Id") or next(
        str(said.body[key]) for key in ("MessageId", "id", "MessageID", "messageId") if key in said.body
    )
    assert (reply.klass, reply.text) == (ReplyClass.ACCEPTED, f"{said.status} accepted as {own}")
    assert len(there.asked) == 1


def test_ses_has_the_letter_as_it_was_written_but_for_a_signature_that_would_not_hold() -> None:
    _, there = said_to("ses", ACCEPTED["ses"])
    asked = there.asked[0]
    assert asked.path == "/v2/email/outbound-emails"
    assert asked.json["Destination"] == {"ToAddresses": ["ben@example.com"]}
    raw = base64.b64decode(asked.json["Content"]["Raw"]["Data"])
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=acme.example;\r\n\tb=abc\r\n"
    assert raw == WIRE.replace(signature, b"").replace(b"\r\n..a line", b"\r\n.a line")
    assert asked.headers["x-amz-date"] == "20261102T090000Z"
    assert "Credential=AKIDEXAMPLE/20261102/us-east-1/ses/aws4_request" in asked.headers["authorization"]
    assert "the-secret-half" not in str(asked)


def test_a_signature_is_the_one_that_aws_publishes_for_its_example() -> None:
    headers = signed_headers(  # `post-vanilla` of the Signature Version 4 test suite
        "https://example.amazonaws.com/",
        b"",
        headers={},
        key_id="AKIDEXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        service="service",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["authorization"].endswith("5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")


@pytest.mark.parametrize(
    "path, endpoint",
    [("", "/v3/acme.example/messages.mime"), ("/v3/mg.acme.example", "/v3/mg.acme.example/messages.mime")],
)
def test_mailgun_has_the_letter_as_it_was_written(path: str, endpoint: str) -> None:
    async def story() -> None:
        async with stand_in(ACCEPTED["mailgun"]) as there:
            server = server_for("mailgun", there.url + path)
            conversation = await server.conversation()
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            await conversation.dot()
            await conversation.quit()
        asked = there.asked[0]
        assert asked.path == endpoint
        assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"api:{KEY}"
        form = email.message_from_bytes(f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode() + asked.body)
        fields = {str(part.get_param("name", header="content-disposition")): part for part in form.get_payload()}  # type: ignore[union-attr]
        assert fields["to"].get_payload() == "ben@example.com"  # type: ignore[union-attr]
        assert fields["o:tracking"].get_payload() == "no"  # type: ignore[union-attr]
        assert WIRE.replace(b"\r\n..a line", b"\r\n.a line") in asked.body

    run(story)


def test_sendgrid_has_all_of_the_letter_and_changes_no_link_in_it() -> None:
    _, there = said_to("sendgrid", ACCEPTED["sendgrid"])
    asked = there.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/mail/send", f"Bearer {KEY}")
    letter = asked.json
    assert letter["headers"] == KEPT
    assert letter["from"] == {"email": "anna@acme.example", "name": "Müller, Anna"}
    assert letter["personalizations"] == [{"to": [{"email": "ben@example.com"}]}]
    assert letter["reply_to_list"] == [{"email": "replies@acme.example"}]
    assert letter["subject"] == "Grüße"
    assert [part["value"].split() for part in letter["content"]] == [
        ["Grüße", ".a", "line", "with", "a", "dot"],
        ["<p>Hello</p>"],
    ]
    assert [(each["filename"], each["type"].partition(";")[0]) for each in letter["attachments"]] == [
        ("invite.ics", "text/calendar"),
        ("a.pdf", "application/pdf"),
    ]
    assert "method" in letter["attachments"][0]["type"]
    off = {"enable": False}
    assert letter["tracking_settings"] == {"click_tracking": off, "open_tracking": off, "subscription_tracking": off}
    assert letter["custom_args"] == {"message_id": "<12.ab@acme.example>"}


def test_postmark_keeps_our_message_id_and_sends_in_the_stream_that_is_named() -> None:
    _, there = said_to("postmark", ACCEPTED["postmark"], stream="broadcast")
    asked = there.asked[0]
    assert (asked.path, asked.headers["x-postmark-server-token"]) == ("/email", KEY)
    letter = asked.json
    assert {each["Name"]: each["Value"] for each in letter["Headers"]} == {**KEPT, "X-PM-KeepID": "true"}
    assert (letter["MessageStream"], letter["TrackLinks"], letter["TrackOpens"]) == ("broadcast", "None", False)
    assert (letter["To"], letter["ReplyTo"], letter["Subject"]) == ("ben@example.com", "replies@acme.example", "Grüße")


def test_brevo_has_a_key_by_which_it_acts_once() -> None:
    _, there = said_to("brevo", ACCEPTED["brevo"])
    asked = there.asked[0]
    assert (asked.path, asked.headers["api-key"]) == ("/smtp/email", KEY)
    headers = asked.json["headers"]
    assert uuid.UUID(headers.pop("idempotencyKey")).version == 4
    assert headers == {**KEPT, "X-Mailin-custom": '{"message_id": "<12.ab@acme.example>"}'}


def test_each_attempt_at_brevo_has_a_key_of_its_own() -> None:
    provider = server_for("brevo", "http://127.0.0.1:1")._provider
    letter = EspLetter.from_wire("ben@example.com", WIRE)
    bodies = [provider(letter, NOW + timedelta(seconds=seconds)).request.body for seconds in (0, 0, 1)]
    assert bodies[0] == bodies[1] != bodies[2]


def test_what_a_provider_has_no_place_for_is_refused_before_anything_is_asked() -> None:
    async def story() -> None:
        async with talking("brevo", ACCEPTED["brevo"]) as (there, conversation):
            odd = WIRE.replace(b"List-Id: <", b"List-Id: =?utf-8?q?M=C3=BC?= <")
            with pytest.raises(CannotCarry, match=r"^Brevo does not support non-ASCII characters in 'List-Id' header"):
                await conversation.offer("anna@acme.example", "ben@example.com", odd)
            assert there.connections == 0

    run(story)


# --- what an answer means

INACTIVE = (
    "You tried to send to a recipient that has been marked as inactive.\nFound inactive addresses: ben@example.com.\n"
    "Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
)
NO_ADDRESS = "parameter is not a valid address. please check documentation"


def from_sendgrid(status: int, message: str, at: str | None = None) -> tuple[str, Said]:
    return "sendgrid", Said(status=status, body={"errors": [{"message": message, "field": at, "help": None}]})


def from_postmark(status: int, code: int, message: str) -> tuple[str, Said]:
    return "postmark", Said(status=status, body={"ErrorCode": code, "Message": message})


def from_mailgun(status: int, message: str) -> tuple[str, Said]:
    return "mailgun", Said(status=status, body={"message": message})


def from_brevo(status: int, code: str, message: str) -> tuple[str, Said]:
    return "brevo", Said(status=status, body={"code": code, "message": message})


def from_ses(status: int, kind: str, message: str) -> tuple[str, Said]:
    return "ses", Said(status=status, body={"message": message}, headers={"x-amzn-ErrorType": kind})


HARD = [
    from_sendgrid(400, "Does not contain a valid address.", "personalizations.0.to.0.email"),
    from_postmark(422, 406, INACTIVE),
    from_postmark(422, 300, "Invalid 'To' address: 'ben@example.com'."),
    from_mailgun(400, f"to {NO_ADDRESS}"),
    from_brevo(400, "invalid_parameter", "email is not valid in to"),
]
BLOCK = [
    from_postmark(422, 300, "Invalid 'From' address: 'anna@acme.example'."),
    from_postmark(422, 400, "The 'From' address you supplied is not a Sender Signature on your account."),
    from_sendgrid(400, "Does not contain a valid address.", "from.email"),
    from_sendgrid(403, "The from address does not match a verified Sender Identity.", "from"),
    from_mailgun(400, f"from {NO_ADDRESS}"),
    from_mailgun(404, "Domain not found: acme.example"),
    from_mailgun(403, "Domain acme.example is not allowed to send: it is disabled"),
    from_ses(403, "AccessDeniedException", "User is not authorized to perform: ses:SendEmail on identity/acme.example"),
    from_brevo(400, "invalid_parameter", "email is not valid in sender"),
    from_ses(400, "MessageRejected", "Email address is not verified."),
]
OURS = [
    from_sendgrid(401, "The provided authorization grant is invalid, expired, or revoked"),
    from_sendgrid(403, "access forbidden"),
    from_postmark(401, 10, "Request does not contain a valid Server token."),
    from_mailgun(404, "not found"),
    ("mailgun", Said(status=401, body="Forbidden")),
    from_brevo(401, "unauthorized", "Key not found"),
    from_brevo(402, "not_enough_credits", "not enough credits"),
    from_ses(403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    from_ses(400, "AccountSuspendedException", "Your account is suspended."),
]
SOFT = [
    *OURS,
    from_sendgrid(400, "Bad Request"),
    from_ses(400, "LimitExceededException:http://internal.amazon.com/", "Daily message quota exceeded"),
]
REFUSALS = [
    (*each, klass)
    for klass, said in ((ReplyClass.HARD, HARD), (ReplyClass.BLOCK, BLOCK), (ReplyClass.SOFT, SOFT))
    for each in said
]


@pytest.mark.parametrize("provider, said, klass", REFUSALS)
def test_a_refusal_is_of_the_class_that_the_provider_gives_it(provider: str, said: Said, klass: ReplyClass) -> None:
    reply, _ = said_to(provider, said)
    assert reply.klass is klass
    assert reply.text.startswith(f"{said.status} ")
    assert "\n" not in reply.text and "{" not in reply.text


@pytest.mark.parametrize("provider, said", OURS)
def test_a_refusal_of_our_account_rests_the_whole_server_for_a_minute(provider: str, said: Said) -> None:
    moments = [NOW]

    async def story() -> None:
        async with stand_in(said) as there:
            server = server_for(provider, there.url, clock=lambda: moments[-1])
            first, second = await server.conversation(), await server.conversation()
            await server.give_back(second)
            assert await first.offer("anna@acme.example", "ben@example.com", WIRE) is None
            reply = await first.dot()
            await server.give_back(first)
            assert (reply.klass, reply.cause) == (ReplyClass.SOFT, ReplyCause.OUR_ACCOUNT)
            connections = Connections(clock=lambda: moments[-1], warn=lambda *_: None, down={})
            for _ in range(2):
                assert server.why_resting is not None and server.why_resting.startswith(f"{said.status} ")
                with pytest.raises(ServerUnavailable, match=f"^{said.status} "):
                    async with connections.conversation(server):
                        raise AssertionError("it rests")
            moments.append(NOW + timedelta(minutes=1))
            async with connections.conversation(server) as again:
                assert again in (first, second)
            first.abort()
            second.abort()
            await server.close()

    run(story)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_too_many_and_their_own_mistakes_are_for_later(provider: str, status: int) -> None:
    reply, there = said_to(provider, Said(status=status, body={"message": "later"}))
    assert (reply.klass, len(there.asked)) == (ReplyClass.SOFT, 1)


def test_a_key_that_a_provider_repeats_is_in_no_reply() -> None:
    reply, _ = said_to("mailgun", Said(status=401, body=f"no such key: {KEY}"))
    assert reply.text == "401 no such key: …"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_is_in_no_repr(provider: str) -> None:
    server = server_for(provider, "http://127.0.0.1:1")
    exchange = server.exchange("ben@example.com", WIRE)
    said = f"{server.address!r} {server._provider!r} {exchange!r}"
    assert not re.search(f"{KEY}|the-secret-half", said)


# --- what is lost


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_there_is_a_server_that_is_down(provider: str) -> None:
    async def story() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = server_for(provider, f"http://127.0.0.1:{probe.getsockname()[1]}")
            conversation = await server.conversation()
            with pytest.raises(ServerUnavailable):
                await conversation.offer("anna@acme.example", "ben@example.com", WIRE)
            conversation.abort()
            await server.close()

    run(story)


def test_a_provider_that_leaves_before_the_end_was_sent_nothing() -> None:
    async def story() -> None:
        async with talking("mailgun", LEAVE_EARLY) as (there, conversation):
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            async with asyncio.timeout(5):
                while conversation.open:  # as soon as its leaving has arrived
                    await asyncio.sleep(0.001)
            assert there.asked == []

    run(story)


def test_a_letter_that_was_offered_and_is_called_off_never_arrives() -> None:
    async def story() -> None:
        async with talking("mailgun", ACCEPTED["mailgun"]) as (there, conversation):
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            assert conversation.open
            conversation.abort()
            assert not conversation.open
            with pytest.raises(LinkLost):
                await conversation.offer("anna@acme.example", "ben@example.com", WIRE)
        assert (there.connections, there.asked) == (1, [])

    run(story)


def test_an_answer_that_came_before_the_end_is_the_verdict() -> None:
    reply, there = said_to("mailgun", TOO_EARLY)
    assert (reply.klass, reply.text, there.asked) == (ReplyClass.BLOCK, "413 too large", [])


@pytest.mark.parametrize("provider", ["ses", "sendgrid", "mailgun", "postmark"])
@pytest.mark.parametrize("answer", [LEAVE_LATE, Said(status=502), Said(status=504), Said(status=200, body="welcome!")])
def test_without_a_verdict_nobody_knows_and_nothing_is_asked_twice(provider: str, answer: Said | str) -> None:
    async def story() -> None:
        async with talking(provider, answer) as (there, conversation):
            await conversation.offer("anna@acme.example", "ben@example.com", WIRE)
            with pytest.raises(LinkLost):
                await conversation.dot()
            assert len(there.asked) == 1

    run(story)


def test_a_provider_that_says_nothing_is_waited_for_no_longer_than_patience_has_it() -> None:
    async def story() -> None:
        async with stand_in(SILENCE) as there:
            address = esp_address("esp.it", provider="mailgun", api_key=KEY, url=there.url, stream=None, connections=1)
            server = EspServer(address, patience=Patience(dot=0.2), clock=lambda: NOW)
            conversation = await server.conversation()
            await conversation.offer("anna@acme.example", "ben@example.com", WIRE)
            with pytest.raises(LinkLost):
                await conversation.dot()
            conversation.abort()
            await server.close()
            assert len(there.asked) == 1

    run(story)


@pytest.mark.parametrize(
    "second, reply",
    [
        (ACCEPTED["brevo"], "201 accepted as <2026@smtp-relay.mailin.fr>"),
        (
            Said(status=400, body={"code": "duplicate_request", "message": "seen"}),
            "400 accepted before, its answer was lost",
        ),
    ],
)
@pytest.mark.parametrize("first", [LEAVE_LATE, Said(status=504)])
def test_brevo_is_asked_again_with_the_same_key_where_its_answer_was_lost(first: Any, second: Said, reply: str) -> None:
    said, there = said_to("brevo", first, second)
    assert (said.klass, said.text) == (ReplyClass.ACCEPTED, reply)
    one, two = there.asked
    assert one.body == two.body


def test_what_brevo_says_of_the_second_asking_alone_decides_nothing() -> None:
    async def story() -> None:
        async with talking("brevo", LEAVE_LATE, Said(status=429, body={"message": "slow"}), LEAVE_LATE) as (
            there,
            talk,
        ):
            await talk.offer("anna@acme.example", "ben@example.com", WIRE)
            with pytest.raises(LinkLost):
                await talk.dot()
            assert len(there.asked) == 3

    run(story)


# --- links


def test_letters_go_one_after_the_other_over_a_link_that_stays_open() -> None:
    async def story() -> None:
        async with stand_in(ACCEPTED["postmark"]) as there:
            server = server_for("postmark", there.url)
            connections = Connections(clock=lambda: NOW, warn=lambda *_: None, down={})
            for _ in range(3):
                async with connections.conversation(server) as conversation:
                    assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
                    assert (await conversation.dot()).accepted
            await server.close()
            assert (len(there.asked), there.connections) == (3, 1)

    run(story)


def test_a_provider_that_leaves_is_seen_through_tls_as_well(tmp_path: Path) -> None:
    """After the handshake a server says tickets, which nobody asked for either, and which mean nothing."""
    theirs, ours = _certificate(tmp_path)

    async def story() -> None:
        async with stand_in(ACCEPTED["mailgun"], LEAVE_EARLY, tls=theirs) as there:
            server = server_for("mailgun", there.url, tls=ours)
            conversation = await server.conversation()
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            await asyncio.sleep(0)
            assert conversation.open
            assert (await conversation.dot()).accepted
            assert await conversation.offer("anna@acme.example", "ben@example.com", WIRE) is None
            async with asyncio.timeout(5):
                while conversation.open:
                    await asyncio.sleep(0.001)
            conversation.abort()
            await server.close()
            assert len(there.asked) == 1

    run(story)


def test_a_provider_whose_certificate_is_anothers_is_told_nothing(tmp_path: Path) -> None:
    theirs, _ = _certificate(tmp_path)

    async def story() -> None:
        async with stand_in(ACCEPTED["mailgun"], tls=theirs) as there:
            server = server_for("mailgun", there.url)
            conversation = await server.conversation()
            with pytest.raises(ServerUnavailable, match="certificate verify failed"):
                await conversation.offer("anna@acme.example", "ben@example.com", WIRE)
            conversation.abort()
            await server.close()
            assert there.asked == []

    run(story)


def _certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "stand-in.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    return theirs, ssl.create_default_context(cadata=made.public_bytes(Encoding.PEM).decode())


# --- what is said in config.toml


@pytest.mark.parametrize("key, url", [("no colon", "https://email.eu-central-1.amazonaws.com"), ("a:b", None)])
def test_ses_says_what_it_needs(key: str, url: str | None) -> None:
    address = esp_address("esp.it", provider="ses", api_key=key, url=url, stream=None, connections=1)
    with pytest.raises(Problem, match=r"^\[esp.it\] provider = \"ses\" needs an api_key") as caught:
        EspServer(address, patience=PATIENCE, clock=lambda: NOW)
    assert key not in str(caught.value)


def test_a_region_is_the_one_of_the_endpoint() -> None:
    async def story() -> None:
        server = server_for("ses", "https://email.eu-central-1.amazonaws.com")
        request = server.exchange("ben@example.com", WIRE).request
        assert "/eu-central-1/ses/aws4_request" in request.headers["authorization"]

    run(story)


def test_a_dot_in_front_of_a_line_is_there_once() -> None:
    assert EspLetter.from_wire("b@example.com", b"..a\r\n\r\n...\r\nb.\r\n").raw == b".a\r\n\r\n..\r\nb.\r\n"
