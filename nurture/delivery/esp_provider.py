"""What every HTTP provider has in common: a letter, the request that carries it, and what an answer means.

The numbers and words of their APIs end here and in the files of each provider; nothing here touches a network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from enum import Enum
from typing import Any

from nurture.delivery.conversation import LinkLost
from nurture.delivery.replies import Reply
from nurture.domain.message import ReplyCause, ReplyClass

NOBODY_KNOWS = frozenset({502, 504, 520, 524})
"""A gateway had no answer from behind it (RFC 9110 section 15.6; 520 and 524 are Cloudflare's): no verdict at all."""
_OF_AN_ATTEMPT = frozenset({400, 408, 425, 429})
_OF_OUR_ACCOUNT = frozenset({401, 402, 403, 404})
"""No such key, no credit, not allowed, no such endpoint (RFC 9110 section 15.5): nothing was taken, nor would be."""
_STUFFED = re.compile(rb"(^|\r\n)\.")
_SIGNATURE = re.compile(rb"^dkim-signature:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class EspLetter:
    """A letter as it was written, without the dots that SMTP adds."""

    recipient: str
    raw: bytes

    @classmethod
    def from_wire(cls, recipient: str, wire: bytes) -> EspLetter:
        """`wire` is dot-stuffed and ends with CRLF."""
        return cls(recipient=recipient, raw=_STUFFED.sub(rb"\1", wire))

    @property
    def unsigned(self) -> bytes:
        """Without DKIM-Signature, for providers that change what ours covers and sign themselves."""
        head, end, rest = self.raw.partition(b"\r\n\r\n")
        return _SIGNATURE.sub(b"", head + b"\r\n") + end[2:] + rest

    @property
    def parsed(self) -> EmailMessage:
        return BytesParser(policy=policy.default).parsebytes(self.raw)


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A POST; its headers hold the key, so they are in no repr."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpRequest(url={self.url!r}, body={len(self.body)} bytes)"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a provider answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body where it is JSON, else None."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def field(self, name: str) -> str:
        """A text at the top of a JSON object, else nothing."""
        said = self.said
        value = said.get(name) if isinstance(said, dict) else None
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, and how its answer is read. `read` raises LinkLost where the answer is no verdict.

    `read_again` reads the answer to the very same request said a second time, where the provider promises to act once;
    None: it promises nothing, so nothing is said twice.
    """

    request: HttpRequest
    read: Callable[[Answer], Reply]
    read_again: Callable[[Answer], Reply] | None = None


Provider = Callable[[EspLetter, datetime], Exchange]
"""Makes the request for a letter at a moment. Raises CannotCarry."""


class About(Enum):
    """Whom or what a refusal speaks of, by its status or, where the provider says more, by its words."""

    RECIPIENT = ReplyClass.HARD, None
    SENDER = ReplyClass.BLOCK, None
    """Its address or domain is not one that we may write from."""
    ACCOUNT = ReplyClass.SOFT, ReplyCause.OUR_ACCOUNT
    """Nothing of ours is let in."""
    ATTEMPT = ReplyClass.SOFT, None
    """This letter, or this moment: too many, or a mistake of theirs."""


def verdict(answer: Answer, *, accepted_as: str | None, about: About | None = None) -> Reply:
    """`accepted_as`: the provider's id for the message, which a success must bear. `about`: what its words say of a
    refusal, where they do. Raises LinkLost where the answer decides nothing.
    """
    status = answer.status
    if 200 <= status < 300:
        if not accepted_as:
            raise LinkLost(f"{status} without the provider's id is no verdict: is the url in config.toml right?")
        return Reply(klass=ReplyClass.ACCEPTED, text=_one_line(f"{status} accepted as {accepted_as}"))
    if status in NOBODY_KNOWS:
        raise LinkLost(f"{status}: the provider's gateway does not know what became of it")
    klass, cause = (about or _by_status(status)).value
    return Reply(klass=klass, text=_words(answer), cause=cause)


def _by_status(status: int) -> About:
    if status in _OF_AN_ATTEMPT or status >= 500:
        return About.ATTEMPT
    return About.ACCOUNT if status in _OF_OUR_ACCOUNT else About.SENDER


def _words(answer: Answer) -> str:
    """The status and the provider's own words, one line."""
    said = answer.said
    errors = said.get("errors") if isinstance(said, dict) else None
    if isinstance(errors, list):
        words = "; ".join(str(each.get("message")) for each in errors if isinstance(each, dict))
    else:
        words = answer.field("message") or answer.field("Message") or answer.body.decode("utf-8", "replace")
    return _one_line(f"{answer.status} {words}")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split())[:500])
