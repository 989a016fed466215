"""E-mail addresses: read once at the door, and folded to the key by which one person is one lead.

Syntax only (RFC 5321 and 6531, as email-validator reads them); whether a mailbox exists is for delivery to find out.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from nurture.domain.characters import has_control, trimmed
from nurture.domain.problem import Problem

LONGEST = 254
"""RFC 5321, 4.5.3.1.3, less the angle brackets."""
ERASED = "h:"
"""Begins the keyed hash that stands for an erased address."""

# Plain ASCII addresses, the many: at least as strict as email-validator, and forty times faster. What this does not
# take (international ones, rare top-level domains, mistakes) is for email-validator to judge.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?!(?:arpa|invalid|local|localhost|onion|test)$)(?!..--)[a-z]{{2,63}}")


@dataclass(frozen=True, slots=True)
class Address:
    """`text` is the address as it is written to; `key` is what makes it the same person; `domain` is ASCII."""

    text: str
    key: str
    domain: str


class AddressProblem(Problem):
    """There is no address in the text, or a bad one; `reason` is the import's word for it."""

    def __init__(self, reason: Literal["no_address", "bad_address"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_address(text: str) -> Address:
    """One bare address (no display name), blanks around it taken off. Raises AddressProblem."""
    bare = trimmed(text)
    if not bare:
        raise AddressProblem("no_address", "there is no address")
    local, _, domain = bare.rpartition("@")
    domain = domain.lower()
    if len(local) <= 64 and len(bare) <= LONGEST and _PLAIN_LOCAL.fullmatch(local) and _is_plain_domain(domain):
        address = f"{local}@{domain}"
        return Address(address, address.lower(), domain)
    return _read_any(bare)


def erased_key(secret: str, address_key: str) -> str:
    """What is kept of an erased address: nobody without the secret can tell whom it meant, or try a list of names."""
    digest = hmac.digest(secret.encode(), b"erased:" + address_key.encode(), "sha256")
    return ERASED + digest.hex()


@lru_cache(maxsize=4096)
def _is_plain_domain(domain: str) -> bool:
    return len(domain) <= 253 and _PLAIN_DOMAIN.fullmatch(domain) is not None


def _read_any(bare: str) -> Address:
    from email_validator import EmailNotValidError, validate_email

    if has_control(bare):
        raise AddressProblem("bad_address", "a control character is in it")
    if len(bare) > 4 * LONGEST:
        raise AddressProblem("bad_address", "it is too long")
    try:
        # `test_environment` lets the reserved domain .test through: no mail reaches it, and many lists try with it
        found = validate_email(bare, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as problem:
        raise AddressProblem("bad_address", str(problem)) from None
    domain = found.ascii_domain.lower()
    if "." not in domain or has_control(found.normalized):
        raise AddressProblem("bad_address", "the part after the @-sign is no domain")
    address = f"{found.local_part}@{domain}"  # the domain as it goes on the wire, so that any server takes it
    return Address(address, address.lower(), domain)
