"""What a server's reply means for us; the numbers and words of SMTP end here (spec 6.2).

Codes are RFC 5321 section 4.2, enhanced codes RFC 3463. A 5xx is not always the reader's fault: a reply about
reputation, authentication or content (5.7.x and its kin in free text) is a *block*, ours to mend, and never suppresses
anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nurture.domain.message import ReplyClass

_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
# mailbox does not exist or no longer takes mail: RFC 3463 section 3.2 and 3.3
_HARD_CODES = {("1", "0"), ("1", "1"), ("1", "2"), ("1", "3"), ("1", "6"), ("1", "10"), ("2", "1")}
_SOFT_CODES = {("2", "2"), ("2", "3"), ("3", "1"), ("3", "2"), ("4", "4"), ("4", "5"), ("4", "7"), ("5", "3")}
_BLOCK_WORDS = re.compile(
    r"block(ed|list)|black\s?list|spam|reputation|policy|dmarc|dkim|\bspf\b|not authori[sz]ed|authenticat|"
    r"spamhaus|barracuda|rbl|dnsbl|rejected due to|content|banned|relay|access denied|unsolicited",
    re.IGNORECASE,
)
_HARD_WORDS = re.compile(
    r"user unknown|unknown user|no such user|no such recipient|does not exist|doesn't exist|invalid recipient|"
    r"unknown recipient|recipient unknown|mailbox unavailable|mailbox not found|no mailbox|unrouteable|"
    r"doesn't have an? \S+ account|address rejected|"
    r"account (is )?disabled|not a valid mailbox|recipient not found|unknown or illegal alias",
    re.IGNORECASE,
)
_FULL_WORDS = re.compile(r"mailbox (is )?full|over quota|quota exceeded|insufficient (system )?storage", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's answer: its class, and its words for a person (one line, bounded)."""

    klass: ReplyClass
    text: str

    @property
    def accepted(self) -> bool:
        return self.klass is ReplyClass.ACCEPTED


def read_reply(code: int, text: str, *, at_rcpt: bool = False) -> Reply:
    """Class a reply by its code, its enhanced code and, where those leave it open, its words.

    `at_rcpt`: the reply answered RCPT TO, where a bare 550 speaks of the mailbox; elsewhere it speaks of us.
    """
    line = " ".join(f"{code} {text}".split())[:500]
    return Reply(klass=_classify(code, text, at_rcpt), text="".join(c if c.isprintable() else "?" for c in line))


def _classify(code: int, text: str, at_rcpt: bool) -> ReplyClass:
    if 200 <= code < 300:
        return ReplyClass.ACCEPTED
    if not 500 <= code < 600:
        return ReplyClass.SOFT
    enhanced = _ENHANCED.search(text)
    if enhanced and enhanced[1] == "5":
        pair = (enhanced[2], enhanced[3])
        if pair in _SOFT_CODES:
            return ReplyClass.SOFT
        if enhanced[2] == "7" or (enhanced[2] == "1" and enhanced[3] in ("7", "8")):
            return ReplyClass.BLOCK
        if pair in _HARD_CODES:
            # some servers dress a policy refusal as 5.1.1 or 5.1.0
            return ReplyClass.BLOCK if _BLOCK_WORDS.search(text) and not _HARD_WORDS.search(text) else ReplyClass.HARD
    if _FULL_WORDS.search(text):
        return ReplyClass.SOFT
    if _HARD_WORDS.search(text):
        return ReplyClass.HARD
    if _BLOCK_WORDS.search(text) or code in (530, 535, 554) or not at_rcpt:
        return ReplyClass.BLOCK
    return ReplyClass.HARD if code in (550, 551, 553, 556) else ReplyClass.BLOCK
