"""What a server's reply means for us; the numbers and words of SMTP end here (spec 6.2).

Codes are RFC 5321 section 4.2, enhanced codes RFC 3463. A 5xx is not always the reader's fault: a reply about
reputation, authentication or content (5.7.x and its kin in free text) is a *block*, ours to mend, and never suppresses
anybody. Where a reply can be read in two ways it is read in the one that suppresses nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nurture.domain.message import ReplyCause, ReplyClass

# where it belongs, at the start of a line, or anywhere among the words; never a part of an address such as 5.7.1.22
_ENHANCED = (
    re.compile(r"^\W?([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.\d)", re.MULTILINE),
    re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.\d)"),
)
# mailbox does not exist or no longer takes mail: RFC 3463 sections 3.2 and 3.3; 5.1.10 is RFC 7505, and Exchange's
_NO_MAILBOX = {(1, 0), (1, 1), (1, 3), (1, 6), (1, 10), (2, 1)}
_NO_HOST = {(1, 2), (4, 4), (4, 310)}
_OF_THE_SENDER = {(1, 7), (1, 8)}
_TOO_LARGE = {(2, 3), (3, 4)}
_CLOSED_MAILBOX = {(7, 2), (7, 124), (7, 129), (7, 133), (7, 134), (7, 135), (7, 136)}
_PROTOCOL = {500, 501, 502, 503, 504, 555}


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_NO_USER = _words(
    r"no such (user|recipient|mailbox|account|person|address)",
    r"(user|mailbox|account|recipient|alias|address)( \S+)? (is |was )?(unknown|not found|does(n.t| not) exist)",
    r"(unknown|invalid) (or illegal alias|user|recipient|mailbox|account|local part)",
    r"account( that you tried to reach)? (does not exist|(is |has been )?disabled)",
    r"doesn't have an? \S+ account|no mailbox|not a valid mailbox|not our customer|unrouteable|RecipNotFound",
    r"RecipientNotFound",
)
_MAYBE_NO_USER = _words(r"mailbox unavailable", r"address rejected", r"recipient rejected")
_OURS = _words(
    r"sender (address|domain|verif|rejected|denied|not |ip )|(bad|invalid)( outbound)? sender|verification failed for",
    r"\bmail from\b|return.path|from (address|domain)|client host|\bhelo\b|\bptr\b|reverse dns",
)
_BLOCKED = _words(
    r"block(ed|.?list)|black.?list|spam|reputation|polic(y|ies)|dmarc|dkim|\bspf\b|spamhaus|\brbl\b|dnsbl|banned",
    r"unsolicited|unusual sending|administrative prohibition|spoof|rejected by destination",
)
_MAYBE_BLOCKED = _words(r"not authori[sz]ed|authenticat|content|relay|access denied|rejected due to|denied")
_FULL = _words(
    r"(mailbox|inbox) (is )?full|over.?quota|quota (is )?exceeded|exceeded (its |the )?(storage|quota)",
    r"insufficient (system )?storage|out of storage|QuotaExceeded",
)
_LATER = _words(
    r"rate.?limit|frequency limit|too many (messages|mails|connections|recipients|requests)|at a rate|too quickly",
    r"sending limit|throttl|try(ing)? (again |it )?later|greylist|gr[ae]y.?list",
)
_LARGE = _words(r"(message|mail|e-?mail)( file)? (size|too (big|large))", r"size (limit )?exceed")
_HOST = _words(
    r"(recipient|destination|dns) (domain|host).*(not exist|not found|unknown)", r"\bunknown (domain|host)\b"
)
_HOST_OR_SENDER = _words(r"domain not found", r"host(name)? (or domain name )?not found", r"no (mx|a) record")
_CLOSED = _words(
    r"RESOLVER\.RST\.(Auth|Sender|Restrict|NotAuth)", r"allowed.senders|only accepts? (mail|messages) from"
)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A server's answer: its class, and its words for a person (one line, bounded)."""

    klass: ReplyClass
    text: str
    cause: ReplyCause | None = None

    @property
    def accepted(self) -> bool:
        return self.klass is ReplyClass.ACCEPTED


def read_reply(code: int, text: str, *, at_rcpt: bool = False) -> Reply:
    """Class a reply by its code, its enhanced code and, where those leave it open, its words.

    `at_rcpt`: the reply answered RCPT TO, where a bare 550 speaks of the mailbox; elsewhere it speaks of us.
    """
    line = " ".join(f"{code} {text}".split())[:500]
    klass, cause = _classify(code, text, at_rcpt)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "?" for c in line)
    return Reply(klass=klass, text=line, cause=cause)


_Class = tuple[ReplyClass, ReplyCause | None]
_SOFT: _Class = (ReplyClass.SOFT, None)
_HARD: _Class = (ReplyClass.HARD, None)
_BLOCK: _Class = (ReplyClass.BLOCK, None)
_NO_SUCH_HOST: _Class = (ReplyClass.HARD, ReplyCause.HOST_UNKNOWN)
_NOT_THIS: _Class = (ReplyClass.BLOCK, ReplyCause.THIS_ALONE)
_MEANINGS = (
    (_FULL, _SOFT),
    (_LARGE, _NOT_THIS),
    (_OURS, _BLOCK),
    (_NO_USER, _HARD),
    (_LATER, _SOFT),
    (_BLOCKED, _BLOCK),
    (_MAYBE_NO_USER, _HARD),
    (_MAYBE_BLOCKED, _BLOCK),
)


def _classify(code: int, text: str, at_rcpt: bool) -> _Class:
    """The first of these rules that speaks: what a code says outright, then what the words do, then the bare code."""
    if 200 <= code < 300:
        return ReplyClass.ACCEPTED, None
    digit, enhanced = _enhanced(text)
    ours = _OURS.search(text) is not None
    no_host = not ours and (enhanced in _NO_HOST or _says(_HOST, text) or _says(_HOST_OR_SENDER, text))
    if not 500 <= code < 600 or digit == 4:  # a server of two minds is asked again
        return ReplyClass.SOFT, ReplyCause.HOST_UNKNOWN if no_host and 400 <= code < 600 else None
    if no_host:
        return _NO_SUCH_HOST
    return _by_enhanced(enhanced, text, ours) or _by_words(text) or _by_code(code, at_rcpt)


def _by_enhanced(enhanced: tuple[int, int] | None, text: str, ours: bool) -> _Class | None:
    """What an enhanced code says of itself, and what is known of servers that use it for something else."""
    if enhanced is None:
        return None
    subject, _ = enhanced
    if enhanced in _TOO_LARGE or subject == 6:
        return _NOT_THIS
    if subject == 7:
        if enhanced in _CLOSED_MAILBOX or _says(_CLOSED, text):
            return _NOT_THIS
        return _HARD if not ours and _says(_NO_USER, text) and not _says(_BLOCKED, text) else _BLOCK
    if enhanced in _OF_THE_SENDER or ours:
        return _BLOCK
    if enhanced == (2, 2) or _says(_FULL, text) or _says(_LATER, text):
        return _SOFT
    if subject in (3, 4) or enhanced == (5, 3):
        if _says(_BLOCKED, text):
            return _BLOCK
        # Exchange Online gives 5.4.1 "Recipient address rejected: Access denied" for a mailbox that is not there
        return _HARD if enhanced == (4, 1) and _says(_MAYBE_NO_USER, text) else _SOFT
    if enhanced in _NO_MAILBOX:
        # some servers dress a policy refusal as 5.1.1 or 5.1.0
        blocked = _says(_BLOCKED, text) or _says(_MAYBE_BLOCKED, text)
        return _BLOCK if blocked and not (_says(_NO_USER, text) or _says(_MAYBE_NO_USER, text)) else _HARD
    return None


def _by_words(text: str) -> _Class | None:
    """The first that is said; what leaves no doubt stands before what may mean something else."""
    return next((meaning for words, meaning in _MEANINGS if _says(words, text)), None)


def _by_code(code: int, at_rcpt: bool) -> _Class:
    if code in _PROTOCOL:
        return _NOT_THIS
    return _HARD if at_rcpt and code in (550, 551, 553, 556) else _BLOCK


def _enhanced(text: str) -> tuple[int | None, tuple[int, int] | None]:
    """The class digit, and subject with detail."""
    for place in _ENHANCED:
        found = place.search(text)
        if found is not None:
            return int(found[1]), (int(found[2]), int(found[3]))
    return None, None


def _says(words: re.Pattern[str], text: str) -> bool:
    return words.search(text) is not None
