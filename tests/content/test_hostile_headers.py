"""Whatever a field holds, a letter has the headers it was meant to have, one recipient, and one end.

Letters are made of hostile values, spoken to a server that only listens, and read back from what it heard, by another
parser than the one that proved them. NURTURE_HOSTILE_CASES says how many.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from nurture.content import headers
from nurture.content.calendar_entry import CalendarEntry
from nurture.content.dkim import DkimSigner
from nurture.content.letters import Composer, LetterRequest, RenderProblem
from nurture.delivery.conversation import CannotCarry, Conversation, Patience
from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.characters import is_safe
from nurture.inbound.csv_import import ImportRequest, import_leads
from tests.content.test_dkim import pem, record
from tests.content.writing import library, mjml, request
from tests.engine.world import HEAD, MONDAY, make_root, open_world, steps

CASES = int(os.environ.get("NURTURE_HOSTILE_CASES", "1000"))
SENDER = "anna@acme.example"
KEY = generate_private_key(65537, 2048)
SIGNED_EVERY = 50
CALENDAR_EVERY = 10
EXPECTED = [
    *("From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Id", "List-Unsubscribe"),
    *("List-Unsubscribe-Post", "Feedback-ID", "MIME-Version", "Content-Type"),
]
PIECES = [
    *("\r\nBcc: x@y.example\r\n", "\rBcc: x", "\nSubject: y", "\r\n\r\nbody", "\n.\n", "\r\n.\r\n", "\r.\r", "\r\n.\n"),
    *("\r\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<v@w>\r\nDATA\r\n", "..\r\n", ".", "\n\n", "\r\n ", "\r\n\t", "\n \n"),
    *("\0", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\x85", "\t", " ", "   ", "\xa0", "\xad", "\u2028", "\u2029", "\ufeff"),
    *("\u202e", "\u202d", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\ud800", "\udfff", "\udc80"),
    *("=?utf-8?q?a=0D=0ABcc=3A_x=40y?=", "=?utf-8?b?DQpCY2M6IHg=?=", "=?iso-8859-1?Q?=0A.=0A?=", "=?utf-8?q?..?="),
    *("=?utf-8?q?=E2=80=AE?=", "=?utf-7?q?+AA0ACg-?=", "=?utf-16?b?AA0ACg==?=", "=?x?q?=00?=", "=?utf-8*en?q?=0D?="),
    *("=?", "?=", "=?utf-8?", "?q?", "=?utf-8?q?=?=", "=0D=0A", "=\r\n", "=3D", "=?utf-8?q?a?= =?utf-8?q?b?="),
    *(
        '"',
        "'",
        "\\",
        '\\"',
        "<",
        ">",
        "<x@y.example>",
        ",",
        ";",
        ":",
        "(",
        ")",
        "(c",
        "@",
        "a: b@c.example;",
        "<@x:y@z>",
    ),
    *("Dr. No, MD", "O'Neil", "Zoë", "Анна", "李", "😀", "e\u0301", "क\u094d", "undisclosed-recipients:;", "%0d%0a"),
    *("&#13;&#10;Bcc: x", "{{ 7*7 }}", "--=_nurture", "--=_nurture--", "--=_mixed", "From ", "> ", "BEGIN:VEVENT"),
    *("a" * 1200, "ü" * 400, "=?" * 300, '"' * 300, "x " * 300, "\r\n" * 100, "." * 1000, "a" * 5000, "\u202e" * 5000),
    *(raw.decode("utf-8", "surrogateescape") for raw in (b"M\xfcller", b"\xff\xfe\r\n", b"\xc3\x28", b"\xed\xa0\x80")),
    *(raw.decode("latin-1") for raw in (b"M\xc3\xbcller\x0d\x0a", b"\x80\x85\x8d", b"\xe2\x80\xa8", b"\xff")),
]
LOCAL = ["zoe", "z.b", "jörg", "李", "o'neil", "a+b", "é", "x" * 64, "x" * 65, "-", "a..b", ".a", "a."]
DOMAIN = [
    "example.com",
    "münchen.example",
    "xn--mnchen-3ya.example",
    "a.b",
    "a_b.example",
    "[127.0.0.1]",
    "example",
    "",
]
TEMPLATE = "Hello {% for tag in lead.tags %} {{ tag }}{% endfor %}"


def hostile(rng: random.Random) -> str:
    pieces = [
        rng.choice(PIECES) if rng.random() < 0.8 else chr(rng.randrange(0x11_0000)) for _ in range(rng.randint(1, 5))
    ]
    return "".join(pieces)


def hostile_address(rng: random.Random) -> str:
    """An address with, at times, something in its midst."""
    local, domain = rng.choice(LOCAL), rng.choice(DOMAIN[:3] if rng.random() < 0.7 else DOMAIN)
    parts = [local, rng.choice(("@", "@", "@", "", "@@")), domain]
    if rng.random() < 0.5:
        parts.insert(rng.randint(0, 3), hostile(rng))
    return "".join(parts)


class Listener(asyncio.Transport):
    """A server with pipelining and SMTPUTF8 that takes everything, and writes down what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = bytearray()
        self.conversation = Conversation(self, pipelining=True, smtputf8=True, patience=Patience())

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.heard += data
        if bytes(data).endswith(b"DATA\r\n"):
            self.conversation.data_received(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        elif data == b".\r\n":
            self.conversation.data_received(b"250 ok\r\n")

    async def hear(self, recipient: str, wire: bytes) -> bytes:
        """All that is said for one message. Raises CannotCarry."""
        self.heard.clear()
        assert await self.conversation.offer(SENDER, recipient, wire) is None
        assert (await self.conversation.dot()).accepted
        return bytes(self.heard)


def letter_heard(heard: bytes, recipient: str) -> bytes:
    """The letter as a server takes it from the session, which must be of one message for one recipient."""
    assert not set(heard.replace(b"\r\n", b"")) & set(b"\r\n\0")
    lines = heard.split(b"\r\n")
    extended = b"" if heard.isascii() else b" BODY=8BITMIME SMTPUTF8"
    assert lines[:3] == [f"MAIL FROM:<{SENDER}>".encode() + extended, f"RCPT TO:<{recipient}>".encode(), b"DATA"]
    assert lines[-2:] == [b".", b""]
    body = lines[3:-2]
    assert max(map(len, body)) <= 998
    assert all(line.startswith(b"..") for line in body if line.startswith(b"."))
    return b"\r\n".join(line.removeprefix(b".") for line in body) + b"\r\n"


def check_headers(letter: bytes, expected: list[str], shown: dict[str, str], addresses: dict[str, str]) -> None:
    """`shown` are texts as a reader sees them, `addresses` the only one in each header."""
    raw = BytesHeaderParser(policy=email.policy.compat32).parsebytes(letter)
    message = BytesHeaderParser(policy=email.policy.default).parsebytes(letter.partition(b"\r\n\r\n")[0])
    assert raw.keys() == message.keys() == expected
    found = {name: message[name].addresses for name in addresses}
    for name, address in addresses.items():
        assert [each.addr_spec.encode("utf-8", "surrogateescape").decode() for each in found[name]] == [address]
    for name, text in shown.items():
        decoded = found[name][0].display_name if name in found else str(make_header(decode_header(raw[name])))
        # Python 3.11 puts spaces between the encoded words of a name (RFC 2047, 6.2 says not to)
        assert "".join(decoded.split()) == "".join(text.split())
        assert is_safe(text), "also where it is decoded twice"


def test_hostile_fields_make_no_header_no_recipient_and_no_end(tmp_path: Path) -> None:
    composer = Composer(library(tmp_path, letter=mjml(TEMPLATE)))
    signer = DkimSigner(domain="acme.example", selector="s1", private_key_pem=pem(KEY))
    rng, listener = random.Random(20261102), Listener()

    async def story() -> tuple[int, int]:
        sent = refused = 0
        for number in range(CASES):
            given = made(rng, signer if number % SIGNED_EVERY == 0 else None, calendar=number % CALENDAR_EVERY == 0)
            try:
                letter = composer.compose(given)
            except RenderProblem as problem:
                assert re.search("blank|can stand in a header|no valid domain", str(problem))
                refused += 1
                continue
            heard = letter_heard(await listener.hear(given.to_address, letter.wire), given.to_address)
            check(heard, given)
            sent += 1
        return sent, refused

    sent, refused = asyncio.run(story())
    assert sent + refused == CASES
    assert sent > CASES * 0.8


def made(rng: random.Random, signer: DkimSigner | None, *, calendar: bool) -> LetterRequest:
    """A letter of hostile values; its recipient is one whom the door let in, or a plain one."""
    to = "zoe@example.com"
    with suppress(AddressProblem):
        to = read_address(hostile_address(rng)).text
    entry = CalendarEntry(
        uid="1@acme.example",
        made_at=MONDAY,
        starts_at=MONDAY,
        ends_at=MONDAY + timedelta(hours=1),
        location=hostile(rng),
        organizer_name=hostile(rng),
        organizer_address=SENDER,
    )
    fields = {name: hostile(rng) for name in ("first_name", "company")}
    return request(
        lead={**fields, "tags": [hostile(rng)], "custom": {"note": hostile(rng)}},
        subject="{{ lead.first_name }} {{ lead.custom.note }}",
        preheader="{{ lead.company }}",
        thread_subject=hostile(rng) if rng.random() < 0.1 else None,
        to_name=hostile(rng),
        from_name=hostile(rng),
        to_address=to,
        calendar=entry if calendar else None,
        dkim=[signer] if signer else (),
    )


def check(letter: bytes, given: LetterRequest) -> None:
    lead = given.context["lead"]
    shown = {"To": headers.clean(given.to_name or "", 200), "From": headers.clean(given.from_name, 200)}
    if given.thread_subject is None:
        shown["Subject"] = headers.clean(f"{lead['first_name']} {lead['custom']['note']}", 500)
    to = headers.checked_address(given.to_address)
    expected = [*(["DKIM-Signature"] if given.dkim else []), *EXPECTED]
    check_headers(letter, expected, shown, {"To": to, "From": SENDER, "Reply-To": SENDER})
    if given.dkim:
        assert dkim.verify(letter, dnsfunc=lambda name, timeout=5: record(KEY))
    if given.calendar:
        check_calendar(letter)


def check_calendar(letter: bytes) -> None:
    [part] = [part for part in email.message_from_bytes(letter).walk() if part.get_content_type() == "text/calendar"]
    text = part.get_payload(decode=True).decode("utf-8")  # type: ignore[union-attr]
    assert not set(text.replace("\r\n", "")) & set("\r\n\0")
    names = [re.split("[:;]", line)[0] for line in text.replace("\r\n ", "").split("\r\n")]
    assert [names.count(name) for name in ("BEGIN", "END", "SUMMARY", "LOCATION", "ORGANIZER", "")] == [
        2,
        2,
        1,
        1,
        1,
        1,
    ]


Change = Callable[[str], dict[str, object]]
REFUSED: dict[str, Change] = {
    "recipient": lambda text: {"to_address": text},
    "sender": lambda text: {"from_address": text},
    "reply to": lambda text: {"reply_to": text},
    "Message-ID": lambda text: {"message_id": text},
    "thread": lambda text: {"references": ("1@acme.example", text)},
    "list": lambda text: {"list_id": text},
    "feedback": lambda text: {"feedback_id": text},
    "unsubscribe": lambda text: {
        "links": request().links.__class__(**{**vars(request().links), "one_click_url": text})
    },
}


@pytest.mark.parametrize("where", REFUSED)
def test_what_must_be_a_name_or_an_address_is_one_or_there_is_no_letter(tmp_path: Path, where: str) -> None:
    composer = Composer(library(tmp_path, letter=mjml("Hello")))
    rng, listener = random.Random(where), Listener()
    expected = [*EXPECTED[:6], "In-Reply-To", "References", *EXPECTED[6:]] if where == "thread" else EXPECTED

    async def story() -> int:
        refused = 0
        for _ in range(CASES // 20):
            given = request(**REFUSED[where](hostile_address(rng)))
            try:
                letter = composer.compose(given)
                recipient = headers.checked_address(given.to_address)
                heard = letter_heard(await listener.hear(recipient, letter.wire), recipient)
            except RenderProblem:
                refused += 1
                continue
            check_headers(heard, expected, {}, {"To": recipient})
        return refused

    assert asyncio.run(story()) > CASES // 100


def test_what_the_envelope_is_given_is_an_address_or_nothing_is_said() -> None:
    rng, listener = random.Random(5321), Listener()

    async def story() -> int:
        refused = 0
        for _ in range(CASES):
            recipient = hostile_address(rng)
            try:
                letter_heard(await listener.hear(recipient, b"Subject: x\r\n\r\nx\r\n"), recipient)
            except CannotCarry:
                assert not listener.heard
                refused += 1
        return refused

    assert CASES * 0.3 < asyncio.run(story()) < CASES * 0.95


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "neither"])
def test_what_comes_in_by_a_file_goes_out_as_one_letter_each(tmp_path: Path, encoding: str) -> None:
    rng = random.Random(encoding)
    greeting = (
        "{{ lead.first_name | default('there') }} {{ lead.company | default('') }} {{ lead.custom.note | default('') }}"
    )
    cadence = HEAD.replace('stage == "lead"', "tag('x')") + steps("mail:hello").replace(
        "subject: hello", f'subject: "{greeting}"'
    )
    world = open_world(make_root(tmp_path / "workspace", tour=cadence))
    rows = [b"Email,First Name,Company,note,Tags,Marketing consent"]
    for number in range(CASES // 10):
        fields = [f"lead{number}@example.com", *(spoiled(rng) for _ in range(3)), "x", "Yes"]
        rows.append(b",".join(quoted(field, encoding) for field in fields))
    (tmp_path / "people.csv").write_bytes(b"\r\n".join(rows) + b"\r\n")
    import_leads(world.database, ImportRequest(path=tmp_path / "people.csv", source="test"), now=MONDAY)
    world.once()
    recipients = [kept.to for kept in world.hop.kept]
    for kept in world.hop.kept:
        message = email.message_from_bytes(kept.wire, policy=email.policy.default)
        assert sorted(message.keys()) == sorted({*EXPECTED} - {"Reply-To"})
        assert [each.addr_spec for each in message["To"].addresses] == [kept.to]
        assert not set(kept.wire.replace(b"\r\n", b"")) & set(b"\r\n\0")
        assert is_safe(str(message["Subject"]))
    assert len(set(recipients)) == len(recipients)
    assert len(recipients) > CASES // 40
    world.database.close()


def spoiled(rng: random.Random) -> str:
    """A value as lists have them: most are harmless."""
    return (
        hostile(rng)
        if rng.random() < 0.3
        else rng.choice(("Zoë", "O'Neil", "Dr. No, MD", "Müller & Co", "=?utf-8?q?x?="))
    )


def quoted(field: str, encoding: str) -> bytes:
    text = '"' + field.replace('"', '""') + '"'
    if encoding == "neither":  # as rows of two lists, pasted together
        return text.encode("cp1252", "replace") if len(text) % 2 else text.encode("utf-8", "surrogatepass")
    return text.encode(encoding, "replace")
