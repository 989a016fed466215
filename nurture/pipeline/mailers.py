"""Who a letter is from: the senders of config.toml, and the rep who owns a lead, as templates see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from functools import cached_property
from typing import Any

import idna

from nurture.content.dkim import DkimSigner
from nurture.domain.mailbox import sender_as_seen
from nurture.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Mailer:
    """A sender of config.toml, read once."""

    name: str
    address: str
    reply_to: str | None
    server: str
    dkim: Sequence[DkimSigner]
    bounce_domain: str | None = None
    """Of the return path; without it reports go to `address`."""

    @cached_property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()

    @cached_property
    def view(self) -> Mapping[str, str]:
        """As templates see it."""
        return sender_as_seen(self.name, self.address)


def mailers_of(settings: Settings, signers: Mapping[str, Sequence[DkimSigner]]) -> dict[str, Mailer]:
    """name -> the sender, with the keys that sign for its domain."""
    mailers = {}
    for key, sender in settings.senders.items():
        name, address = parseaddr(sender.from_)
        address = _with_ascii_domain(address)
        dkim = signers.get(address.rpartition("@")[2].lower(), ())
        mailers[key] = Mailer(
            name=name,
            address=address,
            reply_to=sender.reply_to,
            server=sender.server,
            dkim=dkim,
            bounce_domain=_in_ascii(sender.bounce_domain) if sender.bounce_domain else None,
        )
    return mailers


def _with_ascii_domain(address: str) -> str:
    """The address as mail servers and Message-IDs have it (IDNA 2008); where the domain is none, as it is."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{_in_ascii(domain)}"


def _in_ascii(domain: str) -> str:
    try:
        return domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain


def owner_view(settings: Settings, owner: str | None) -> dict[str, Any]:
    """The lead's rep as templates see it; nothing where it has none."""
    rep = settings.reps.get(owner) if owner else None
    if rep is None:
        return {}
    fields = {
        "name": rep.name,
        "first_name": rep.name.partition(" ")[0],
        "email": rep.email,
        "title": rep.title,
        "phone": rep.phone,
        "meeting_url": rep.meeting_url,
    }
    return {key: value for key, value in fields.items() if value}
