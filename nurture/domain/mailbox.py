"""A mailbox of RFC 5322, section 3.4, as people write one in a file: `Anna Meier <anna@acme.example>`.

Only what comes out of a header as it went in is taken: no control characters, no encoded-words, one address.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_ATOM = r"[^\s\"(),:;<>@\[\]\\]+"
_QUOTED = r'"(?:[^"\\\r\n]|\\[^\r\n])*"'
_ADDRESS = re.compile(rf"^({_ATOM}|{_QUOTED})@([^\s\"(),:;<>@\[\]\\.]+(?:\.[^\s\"(),:;<>@\[\]\\.]+)+)$")
_NAMED = re.compile(rf"^(?P<name>(?:{_ATOM}|{_QUOTED})(?:\s+(?:{_ATOM}|{_QUOTED}))*)?\s*<(?P<address>[^<>]*)>$")


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """`name` without quotes, "" where there is none."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()


def sender_as_seen(name: str, address: str) -> dict[str, str]:
    """Whoever a letter is from, as templates see them."""
    return {"name": name, "email": address, "first_name": name.partition(" ")[0]}


def read_mailbox(text: str) -> Mailbox:
    """Raises ValueError with a line for a person."""
    if any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in text):
        raise ValueError("a mailbox without control or invisible characters, please")
    if "=?" in text:
        raise ValueError(f"'{text}': '=?' is not allowed in a mailbox")
    stripped = text.strip()
    named = _NAMED.match(stripped)
    address = named["address"].strip() if named else stripped
    if not _ADDRESS.match(address) or ".." in address:
        cure = (
            "use e.g. 'Anna Meier <anna@acme.example>', a name with a comma or dot-and-bracket signs in double quotes"
        )
        raise ValueError(f"'{text}' is no mailbox: {cure}")
    name = (named["name"] or "") if named else ""
    return Mailbox(name=_unquoted(name), address=address)


def _unquoted(name: str) -> str:
    return re.sub(r'"((?:[^"\\]|\\.)*)"', lambda match: re.sub(r"\\(.)", r"\1", match[1]), name).strip()
