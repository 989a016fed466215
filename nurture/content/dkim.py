"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), relaxed for headers and simple for the body.

A letter's body is canonical already: quoted-printable lines without white space at their end, and one CRLF at the end
of all. So the body is hashed as it is, and no regular expression walks over it.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nurture.content.headers import Header
from nurture.domain.problem import Problem

SIGNED = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Auto-Submitted",
)
# signed once more than they stand there, so that nobody can add a second one (RFC 6376, 8.15)
OVERSIGNED = ("From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post")

_SIGNED_NAMES = frozenset(SIGNED)
_WHITE = re.compile(r"[ \t\r\n]+")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


class DkimSigner:
    """Signs for one domain with one key. Safe to use from several threads."""

    def __init__(self, *, domain: str, selector: str, private_key_pem: str | bytes) -> None:
        """Raises Problem: not a key, an RSA key under 1024 bits, a domain or selector that can't be one."""
        if not _DOMAIN.match(domain) or not _DOMAIN.match(selector):
            raise Problem(
                f'[dkim."{domain}"] selector "{selector}": write a domain and a selector in letters and digits'
            )
        pem = private_key_pem.encode() if isinstance(private_key_pem, str) else private_key_pem
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Problem(f'[dkim."{domain}"] key: not an unencrypted private key in PEM form') from None
        if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey) or (
            isinstance(key, RSAPrivateKey) and key.key_size < 1024
        ):
            raise Problem(f'[dkim."{domain}"] key: use RSA of 2048 bits, or Ed25519')
        self.domain = domain
        self.selector = selector
        self._key = key
        self._algorithm = "ed25519-sha256" if isinstance(key, Ed25519PrivateKey) else "rsa-sha256"

    def signature(self, headers: Sequence[Header], body: bytes, date: datetime) -> Header:
        """The DKIM-Signature for a letter with these headers. `body` ends with exactly one CRLF."""
        signed = [(name, value) for name, value in headers if name in _SIGNED_NAMES]
        names = [name for name, _ in signed]
        names += [name for name in OVERSIGNED if name in names]
        body_hash = b64encode(hashlib.sha256(body).digest()).decode()
        value = (
            f"v=1; a={self._algorithm}; c=relaxed/simple; d={self.domain};\r\n s={self.selector};"
            f" t={int(date.timestamp())};\r\n h={_listed(names)};\r\n bh={body_hash};\r\n b="
        )
        canonical = [f"{name.lower()}:{_relaxed(text)}\r\n" for name, text in signed]
        canonical.append(f"dkim-signature:{_relaxed(value)}")
        return "DKIM-Signature", value + _wrapped(b64encode(self._sign("".join(canonical).encode())).decode())

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(hashlib.sha256(data).digest())
        return self._key.sign(data, PKCS1v15(), hashes.SHA256())


def _relaxed(value: str) -> str:
    """RFC 6376, 3.4.2: unfolded, runs of white space made one space, none at the ends."""
    return _WHITE.sub(" ", value).strip()


def _listed(names: Sequence[str]) -> str:
    """The names with colons, folded after every fourth."""
    groups = [":".join(names[at : at + 4]) for at in range(0, len(names), 4)]
    return ":\r\n ".join(groups)


def _wrapped(signature: str) -> str:
    """The signature in lines; white space in b= is ignored (RFC 6376, 3.5)."""
    return "\r\n ".join([signature[:70], *(signature[at : at + 72] for at in range(70, len(signature), 72))])
