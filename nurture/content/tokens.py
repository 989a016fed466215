"""Signed tokens for addresses in mail: `KEYID.PAYLOAD.MAC`, bound to one purpose each.

A token says which row it speaks of and nothing else. It is an HMAC-SHA256 (RFC 2104) cut to 128 bits over purpose and
payload; the key id lets several keys verify while the first one signs. Tokens do not expire by themselves: whoever
reads one with a time in its payload judges that. One message has one token; its links add their index (`TOKEN-3`),
which needs no signature of its own, because the destinations are stored with the message.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode, urlsafe_b64encode
from enum import StrEnum


class Purpose(StrEnum):
    OPEN = "o"
    CLICK = "c"
    UNSUBSCRIBE = "u"
    CONFIRM = "d"
    OFFER = "m"
    ALERT = "a"
    REP = "r"
    VISITOR = "v"
    WEB = "w"
    """A mail in the browser."""
    KEEP = "k"
    """Who was quiet says: keep me."""
    BOUNCE = "b"
    """The return path of a mail."""


class Tokens:
    """Signs with the first secret, verifies with all."""

    def __init__(self, secrets: list[str]) -> None:
        if not secrets:
            raise ValueError("a token needs a secret")
        self._keys = {_key_id(secret): hmac.new(secret.encode(), digestmod="sha256") for secret in secrets}
        self._signing_id = _key_id(secrets[0])

    def sign(self, purpose: Purpose, payload: str) -> str:
        """`payload` is made of letters, digits and `_`, `-`, `~` only (row ids, usually)."""
        return f"{self._signing_id}.{payload}.{self._mac(self._keys[self._signing_id], purpose, payload)}"

    def read(self, purpose: Purpose, token: str) -> str | None:
        """The payload, or None for anything that this purpose never signed."""
        key_id, dot, rest = token.partition(".")
        payload, second_dot, mac = rest.rpartition(".")
        key = self._keys.get(key_id)
        if not dot or not second_dot or key is None or not token.isascii():
            return None
        return payload if hmac.compare_digest(mac, self._mac(key, purpose, payload)) else None

    def sign_folded(self, purpose: Purpose, payload: str) -> str:
        """A token that means the same in any case, for the local part of an address; `payload` is in small letters."""
        mac = _folded(self._keyed(self._keys[self._signing_id], purpose, payload))
        return f"{self._signing_id}.{payload}.{mac}"

    def read_folded(self, purpose: Purpose, token: str) -> str | None:
        """The payload of a token by `sign_folded`, in whatever case it came back."""
        key_id, _, rest = token.lower().partition(".")
        payload, _, mac = rest.rpartition(".")
        key = self._keys.get(key_id)
        if key is None or not token.isascii():
            return None
        return payload if hmac.compare_digest(mac, _folded(self._keyed(key, purpose, payload))) else None

    @classmethod
    def _mac(cls, key: hmac.HMAC, purpose: Purpose, payload: str) -> str:
        return urlsafe_b64encode(cls._keyed(key, purpose, payload)).rstrip(b"=").decode()

    @staticmethod
    def _keyed(key: hmac.HMAC, purpose: Purpose, payload: str) -> bytes:
        # a copy of the keyed state: `hmac.digest` would let other threads in for each of these few bytes
        keyed = key.copy()
        keyed.update(f"{purpose.value}:{payload}".encode())
        return keyed.digest()[:16]


def _folded(mac: bytes) -> str:
    return b32encode(mac).rstrip(b"=").decode().lower()


def _key_id(secret: str) -> str:
    return hashlib.sha256(b"nurture key id:" + secret.encode()).hexdigest()[:4]
