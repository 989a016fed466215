"""A message is one e-mail from one intent; its states, and the only moves between them.

`sent` means accepted by the next hop. `unknown` means that the end of the message may or may not have been
accepted, so nothing but a later sign or a person may decide; it is never sent again by itself.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

GIVE_UP_AFTER = timedelta(days=2)
"""How long a message is tried (spec 6.2); where a pause held it back, from its end on."""


class MessageStatus(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


class MessageKind(StrEnum):
    """What a message is for: a cadence's step, the double opt-in mail, an offer's delivery, or mail to a rep."""

    STEP = "step"
    CONFIRMATION = "confirmation"
    DELIVERY = "delivery"
    ALERT = "alert"


# from -> the states it may go to; a status is assigned nowhere but through a write guarded by the "from" side.
TRANSITIONS: dict[MessageStatus, frozenset[MessageStatus]] = {
    MessageStatus.QUEUED: frozenset({MessageStatus.SENDING, MessageStatus.CANCELED, MessageStatus.FAILED}),
    MessageStatus.SENDING: frozenset(
        {
            MessageStatus.SENT,
            MessageStatus.DEFERRED,
            MessageStatus.BOUNCED,
            MessageStatus.FAILED,
            MessageStatus.CANCELED,
            MessageStatus.UNKNOWN,
        }
    ),
    MessageStatus.DEFERRED: frozenset({MessageStatus.SENDING, MessageStatus.CANCELED, MessageStatus.FAILED}),
    # a late reply of the same attempt, a DSN, a human event, or a person settles it
    MessageStatus.UNKNOWN: frozenset(
        {MessageStatus.SENT, MessageStatus.BOUNCED, MessageStatus.DEFERRED, MessageStatus.FAILED, MessageStatus.QUEUED}
    ),
    MessageStatus.SENT: frozenset({MessageStatus.BOUNCED}),  # a DSN after acceptance
    MessageStatus.BOUNCED: frozenset({MessageStatus.DEFERRED}),  # refused by a domain that turns out to be ill
    MessageStatus.FAILED: frozenset(),
    MessageStatus.CANCELED: frozenset(),
}

WAITING = (MessageStatus.QUEUED, MessageStatus.DEFERRED)
# What takes a place in a lead's frequency cap: everything that went out, may have, or is about to.
CAPPED = (
    MessageStatus.QUEUED,
    MessageStatus.SENDING,
    MessageStatus.SENT,
    MessageStatus.DEFERRED,
    MessageStatus.BOUNCED,
    MessageStatus.UNKNOWN,
)


class ReplyClass(StrEnum):
    """What an SMTP reply means for us (spec 6.2); the words of SMTP end in delivery/replies.py."""

    ACCEPTED = "accepted"
    SOFT = "soft"
    HARD = "hard"
    BLOCK = "block"


class ReplyCause(StrEnum):
    """What a refusal is about, where more hangs on it than its class says."""

    HOST_UNKNOWN = "host unknown"
    """The domain takes no mail: hard only once it stays so, because name servers fail and are mended."""
    OUR_ACCOUNT = "our account"
    """A provider lets nothing of ours in (the key, the credit, the endpoint): the same for whomever we write to."""
    THIS_ALONE = "this alone"
    """A block of this message or mailbox (too large, a closed group), which says nothing of the domain's other mail."""
