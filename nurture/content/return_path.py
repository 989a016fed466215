"""The return path of a mail (VERP): an address of the sender's bounce domain that names one message, and is signed.

`bounce+KEYID.MESSAGE.MAC@DOMAIN`. What servers on the way refuse comes back to it, so a report needs no reading to be
tied to its message, and a report about somebody else's mail ties to nothing. Some systems change the case of a local
part, so it means the same in any; it is at most 60 octets long, of the 64 that RFC 5321 section 4.5.3.1.1 allows.
"""

from __future__ import annotations

from nurture.content.tokens import Purpose, Tokens

_PREFIX = "bounce+"


def return_path(tokens: Tokens, message_id: int, bounce_domain: str) -> str:
    """Where reports about this message go. `message_id` is its row's."""
    return f"{_PREFIX}{tokens.sign_folded(Purpose.BOUNCE, str(message_id))}@{bounce_domain}"


def message_of(tokens: Tokens, address: str) -> int | None:
    """The row of the message that a report to this address is about; None where we never made that address."""
    local, _, _ = address.strip("<> ").rpartition("@")
    if not local.lower().startswith(_PREFIX):
        return None
    said = tokens.read_folded(Purpose.BOUNCE, local[len(_PREFIX) :])
    return int(said) if said is not None and said.isdigit() else None
