"""Mail that answers what somebody did a moment ago: the opt-in mail, and what was promised for it."""

from __future__ import annotations

import email
from pathlib import Path

import pytest

from nurture.domain.message import MessageKind
from nurture.store.messages import NewMessage, queue_message
from tests.engine.world import HEAD, MONDAY, add_leads, make_root, open_world, steps

FORMS = """
forms:
  guide:
    title: The guide
    fields: [email]
    consent: Send me the guide.
    offer: guide
    channel: content
    confirm: {email: hello, subject: Is it you?}
offers:
  guide:
    kind: e-book
    url: https://www.acme.example/guide.pdf
    email: hello
    subject: Here it is
"""


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (MessageKind.CONFIRMATION, {"form": "guide", "opt_in": 1}),
        (MessageKind.DELIVERY, {"offer": "guide", "opt_in": 1}),
    ],
)
def test_it_says_that_a_machine_answers_and_offers_no_list_to_leave(
    tmp_path: Path, kind: MessageKind, payload: dict[str, object]
) -> None:
    """RFC 3834: so that no reader's own machine answers it."""
    root = make_root(tmp_path / "workspace", tour=HEAD + steps("wait: 9 days", "mail:a"), _forms=FORMS)
    world = open_world(root)
    (lead_id,) = add_leads(world.database, "zoe")
    new = NewMessage(
        intent_key="x",
        kind=kind,
        to_address="zoe@example.com",
        sender="anna",
        lead_id=lead_id,
        transactional=kind.value,
        payload=payload,
    )
    with world.database.transaction() as connection:
        queue_message(connection, new, now=MONDAY)
    world.once()
    (kept,) = world.hop.kept
    letter = email.message_from_bytes(kept.wire)
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["List-Unsubscribe"] is None
    world.database.close()
