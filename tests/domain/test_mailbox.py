"""Mailboxes as a header takes them, and nothing that a header would turn into something else."""

from __future__ import annotations

from email import message_from_string, policy

import pytest

from nurture.domain.mailbox import Mailbox, read_mailbox


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Anna Meier <anna@acme.example>", "Anna Meier", "anna@acme.example"),
        ("anna@acme.example", "", "anna@acme.example"),
        ("<anna@acme.example>", "", "anna@acme.example"),
        ('"Meier, Anna" <anna@acme.example>', "Meier, Anna", "anna@acme.example"),
        ('"The \\"A\\" team" <a+b@acme.example>', 'The "A" team', "a+b@acme.example"),
        ("Anna M. Meier <anna@acme.example>", "Anna M. Meier", "anna@acme.example"),
        ("Chloé Dubois <chloe@acme.example>", "Chloé Dubois", "chloe@acme.example"),
    ],
)
def test_a_mailbox_is_read_as_a_header_would_be(text: str, name: str, address: str) -> None:
    assert read_mailbox(text) == Mailbox(name=name, address=address)
    header = message_from_string(f"From: {text}\n\n", policy=policy.default)["from"]
    assert [(each.display_name, each.addr_spec) for each in header.addresses] == [(name, address)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Anna",
        "anna@localhost",
        "Meier, Anna <anna@acme.example>",
        "Anna <anna@acme.example> x",
        "a@acme.example, b@acme.example",
        "A <a@acme.example>, B <b@acme.example>",
        "Anna <anna@acme..example>",
        "Anna <an na@acme.example>",
        "Anna\r\nBcc: x@y.example <anna@acme.example>",
        "Anna\u202e <anna@acme.example>",
        "=?utf-8?q?a=0D=0ABcc=3A_x=40y?= <anna@acme.example>",
        "Anna <anna@acme.example",
    ],
)
def test_what_is_no_single_plain_mailbox_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="mailbox") as caught:
        read_mailbox(text)
    assert "\n" not in str(caught.value)
