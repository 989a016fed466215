"""What real servers say, and what it means for us."""

from __future__ import annotations

import pytest

from nurture.delivery.replies import read_reply

ACCEPTED, SOFT, HARD, BLOCK = "accepted", "soft", "hard", "block"


@pytest.mark.parametrize(
    ("code", "text", "at_rcpt", "klass"),
    [
        (250, "2.0.0 OK 1716 gsmtp", False, ACCEPTED),
        (550, "5.1.1 The email account that you tried to reach does not exist. gsmtp", True, HARD),
        (550, "5.1.1 <x@y.example>: Recipient address rejected: User unknown in virtual mailbox table", True, HARD),
        (550, "5.2.1 The email account that you tried to reach is disabled.", True, HARD),
        (550, "5.5.0 Requested action not taken: mailbox unavailable", True, HARD),
        (554, "delivery error: dd This user doesn't have a yahoo.com account", True, HARD),
        (550, "No such user here", True, HARD),
        (550, "Unrouteable address", True, HARD),
        (553, "5.1.2 Unknown recipient domain", True, HARD),
        (550, "", True, HARD),
        (552, "5.2.2 Mailbox full", True, SOFT),
        (552, "The recipient's mailbox is over quota", True, SOFT),
        (452, "4.2.2 The email account that you tried to reach is over quota", True, SOFT),
        (450, "4.2.0 Greylisted, see http://postgrey.example", True, SOFT),
        (451, "4.7.1 Please try again later", True, SOFT),
        (421, "4.7.0 Try again later, closing connection. (EHLO)", False, SOFT),
        (421, "4.7.28 Our system has detected an unusual rate of unsolicited mail", False, SOFT),
        (550, "5.7.1 Our system has detected that this message is likely unsolicited mail", False, BLOCK),
        (550, "5.7.26 This mail is unauthenticated, which poses a security risk", False, BLOCK),
        (550, "5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus", True, BLOCK),
        (554, "5.7.1 <x>: Relay access denied", True, BLOCK),
        (550, "SC-001 Mail rejected by Outlook for policy reasons", True, BLOCK),
        (550, "5.1.8 Sender address rejected: Domain not found", False, BLOCK),
        (535, "5.7.8 Error: authentication failed", False, BLOCK),
        (530, "5.7.0 Must issue a STARTTLS command first", False, BLOCK),
        (554, "Message rejected due to content", False, BLOCK),
        (550, "Message rejected", False, BLOCK),
        (552, "5.3.4 Message size exceeds fixed limit", False, BLOCK),
        (503, "bad sequence of commands", False, BLOCK),
        (599, "whatever", True, BLOCK),
        (0, "", False, SOFT),
    ],
)
def test_classes(code: int, text: str, at_rcpt: bool, klass: str) -> None:
    assert read_reply(code, text, at_rcpt=at_rcpt).klass.value == klass


def test_a_reply_is_one_bounded_printable_line() -> None:
    reply = read_reply(550, "a\r\nb\x1b[31m" + "x" * 2000)
    assert len(reply.text) <= 500
    assert reply.text.isprintable()
