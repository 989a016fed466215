"""The header block of a letter: what may stand in it, how it is encoded, and the proof that nothing else does.

Names and subjects come from outside and are cleaned; addresses, Message-IDs and URLs are refused when they hold
anything odd. The finished block must match, header by header, what was meant to be written.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

import idna

from nurture.content.problems import RenderProblem
from nurture.domain.characters import is_safe
from nurture.domain.mailbox import read_mailbox

LINE_LIMIT = 76
SUBJECT_LIMIT = 500
NAME_LIMIT = 200

# controls, line and paragraph separators, and what turns the direction of writing (or hides)
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_BEYOND = "\u00a1-\ud7ff\ue000-\U0010ffff"
_AT_DOMAIN = r"@[A-Za-z0-9.-]{1,253}\Z"
_ADDRESS = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*{_AT_DOMAIN}")
# RFC 6532, 3.2: letters beyond ASCII stand as they are, for no encoded word may stand in an address
_INTERNATIONAL = re.compile(rf"[{_BEYOND}{_ATEXT}]+(?:\.[{_BEYOND}{_ATEXT}]+)*{_AT_DOMAIN}")
_URL = re.compile(r"https?://[!-;=?-~]+\Z")
_REPEATED = "DKIM-Signature"
"""One for each key (RFC 6376, 4.2)."""
_OF_ADDRESSES = ("From", "To", "Reply-To")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 '-]{0,60}\Z")
_PHRASE = re.compile(r"[ -~]{1,60}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,200}\Z")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Header = tuple[str, str]


def clean(text: str, limit: int) -> str:
    """One line of text: control and bidi characters and runs of white space become a space, and it is cut to size.

    A lone surrogate, which no encoding can carry, becomes a question mark. An encoded word that hides such a character
    is broken up, for readers that decode twice.
    """
    if text.isascii() and text.isprintable() and "  " not in text and "=?" not in text and len(text) <= limit:
        return text.strip()
    spaced = " ".join(_UNWANTED.sub(" ", text).split()).encode("utf-8", "replace").decode("utf-8")
    if "=?" in spaced and not is_safe(spaced):
        spaced = spaced.replace("=?", "= ?")
    return spaced[:limit].rstrip()


@lru_cache(maxsize=4096)
def subject_value(subject: str) -> str:
    """A cleaned subject as it stands in the header, folded to 76 characters (RFC 5322, 2.2.3; RFC 2047).

    Text that looks like an encoded word is encoded itself, so that it is shown as it is and never decoded.
    """
    if subject.isascii() and "=?" not in subject:
        if len(subject) <= LINE_LIMIT - len("Subject: "):
            return subject
        folded = _folded(subject.split(" "), len("Subject: "))
        if folded is not None:
            return folded
    return _encoded_words(subject, len("Subject: "))


@lru_cache(maxsize=4096)
def mailbox(name: str, address: str, header: str) -> str:
    """`Name <address>`, the name quoted or encoded as it needs. Raises RenderProblem for an odd address."""
    checked = checked_address(address)
    if not name or name == address:
        return checked
    if _PLAIN_NAME.match(name):
        phrase = name
    elif _PHRASE.match(name) and "=?" not in name:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = _encoded_words(name, len(header) + 2)
    last = phrase.rpartition("\n")[2]
    used = len(last) + (0 if "\n" in phrase else len(header) + 2)
    return f"{phrase} <{checked}>" if used + len(checked) + 3 <= LINE_LIMIT else f"{phrase}\r\n <{checked}>"


@lru_cache(maxsize=256)
def mailbox_value(text: str, header: str) -> str:
    """A mailbox as config.toml has it, with or without a name. Raises RenderProblem."""
    try:
        who = read_mailbox(text)
    except ValueError as error:
        raise RenderProblem(str(error)) from None
    return mailbox(clean(who.name, NAME_LIMIT), who.address, header)


@lru_cache(maxsize=4096)
def checked_address(address: str) -> str:
    """The address with its domain in ASCII (IDNA 2008); letters beyond it before the @ stay (RFC 6532).

    Raises RenderProblem.
    """
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise RenderProblem(f"{address!a} has no valid domain") from None
    checked = f"{local}{at}{domain}"
    fits = _ADDRESS.match(checked) or (_INTERNATIONAL.match(checked) and checked.isprintable())
    if not fits or "=?" in checked or len(checked.encode()) > 254:
        raise RenderProblem(f"{address!a} is not an address that can stand in a header")
    return checked


def message_id_value(message_id: str) -> str:
    """`<left@right>`; raises RenderProblem."""
    if len(message_id) > 250 or "=?" in message_id or not _ADDRESS.match(message_id):
        raise RenderProblem(f"{message_id!a} is not a Message-ID")
    return f"<{message_id}>"


def url_value(url: str) -> str:
    """`<url>` on a line of its own; raises RenderProblem."""
    if len(url) > 900 or not _URL.match(url):
        raise RenderProblem(f"{url!a} is not an address that can stand in a header")
    return f"<{url}>"


def token_value(text: str, what: str) -> str:
    if not _TOKEN.match(text):
        raise RenderProblem(f"{text!a} can't be a {what}")
    return text


@lru_cache(maxsize=64)
def date_value(date: datetime) -> str:
    """RFC 5322, 3.3, in UTC and in English whatever the locale."""
    moment = date.astimezone(UTC)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d} "
        f"{moment:%H:%M:%S} +0000"
    )


def header_block(headers: Iterable[Header]) -> str:
    """The block with its empty line. Raises RenderProblem unless the text reads back as exactly these headers."""
    listed = list(headers)
    block = "".join([f"{name}: {value}\r\n" for name, value in listed])
    if not _expected(tuple([name for name, _ in listed])).match(block):
        raise RenderProblem("the headers would not read as they were meant")
    return block + "\r\n"


@lru_cache(maxsize=256)
def _expected(names: tuple[str, ...]) -> re.Pattern[str]:
    """These names in this order, each once but for signatures; values of printable ASCII, but where addresses are,
    continued only by lines that begin with a space and hold more than white space."""
    once = [name for name in names if name != _REPEATED]
    if len(set(once)) != len(once):
        raise RenderProblem("a header stands twice")
    plain = r"[!-~][ -~]{0,990}"
    wider = rf"[!-~{_BEYOND}][ -~{_BEYOND}]{{0,300}}"
    lines = [(name, wider if name in _OF_ADDRESSES else plain) for name in names]
    return re.compile("".join([rf"{re.escape(name)}: {line}(?:\r\n {line})*\r\n" for name, line in lines]) + r"\Z")


def _folded(words: list[str], used: int) -> str | None:
    """Words with line breaks before a space; None where one is too long."""
    lines = [""]
    for word in words:
        room = LINE_LIMIT - (used if len(lines) == 1 else 1)
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= room:
            lines[-1] = joined
        elif len(word) > LINE_LIMIT - 1:
            return None
        else:
            lines.append(word)
    return "\r\n ".join(lines) if lines[0] else None


def _encoded_words(text: str, used: int) -> str:
    """Base64 encoded words of whole characters (RFC 2047, 5), each on a line of its own where one is not enough."""
    data = text.encode("utf-8")
    words = []
    start, room = 0, _bytes_for(LINE_LIMIT - used)
    while start < len(data):
        end = start + room
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(data[start:end]).decode()}?=")
        start, room = end, _bytes_for(LINE_LIMIT - 1)
    return "\r\n ".join(words)


def _bytes_for(characters: int) -> int:
    return (min(characters, 75) - len("=?utf-8?b??=")) // 4 * 3
