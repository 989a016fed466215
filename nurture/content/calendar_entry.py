"""A calendar entry (RFC 5545) that goes along with a mail: `invite.ics`, to be put into any calendar.

METHOD:PUBLISH tells and does not ask, so nobody has to answer. The same UID with a higher SEQUENCE moves an entry that
a reader has already. Texts come from outside, so each is one escaped, folded line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nurture.content.attachments import attached
from nurture.content.headers import NAME_LIMIT, SUBJECT_LIMIT, clean
from nurture.content.links import destination
from nurture.content.problems import RenderProblem

FILE = "invite.ics"
LINE_OCTETS = 75
"""RFC 5545, 3.1, without the line break."""
_ESCAPED = re.compile(r"([\\;,])")
_UNQUOTABLE = re.compile('[";:,]')
_SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class CalendarEntry:
    """What is entered. `summary` None: the mail's subject. `made_at` orders the versions of one `uid`."""

    uid: str
    made_at: datetime
    starts_at: datetime
    ends_at: datetime
    summary: str | None = None
    url: str | None = None
    location: str | None = None
    organizer_name: str = ""
    organizer_address: str


def calendar_part(entry: CalendarEntry, subject: str) -> str:
    """The entry as a MIME part with the file's name."""
    content = calendar_text(entry, subject).encode("utf-8")
    return attached(FILE, "text/calendar", content, parameters="; charset=utf-8; method=PUBLISH")


def calendar_text(entry: CalendarEntry, subject: str) -> str:
    """The iCalendar object, lines folded and ended with CRLF."""
    url = _address(entry.url)
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//nurture//mail//EN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        f"UID:{clean(entry.uid, NAME_LIMIT)}",
        f"DTSTAMP:{_utc(entry.made_at)}",
        f"SEQUENCE:{max(0, int((entry.made_at - _SINCE).total_seconds()))}",
        f"DTSTART:{_utc(entry.starts_at)}",
        f"DTEND:{_utc(max(entry.ends_at, entry.starts_at + timedelta(minutes=1)))}",
        f"SUMMARY:{_text(entry.summary or '') or _text(subject)}",
        *([f"LOCATION:{_text(entry.location)}"] if entry.location else []),
        *([f"URL:{url}"] if url else []),
        f"ORGANIZER{_common_name(entry.organizer_name)}:mailto:{entry.organizer_address}",
        "STATUS:CONFIRMED",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "".join(f"{folded(line)}\r\n" for line in lines)


def folded(line: str) -> str:
    """No physical line of more than 75 octets, no character cut in two (RFC 5545, 3.1)."""
    pieces, piece, used = [], "", 0
    for character in line:
        octets = len(character.encode("utf-8"))
        if used + octets > LINE_OCTETS:
            pieces.append(piece)
            piece, used = "", 1  # the space that continues a line
        piece += character
        used += octets
    return "\r\n ".join([*pieces, piece])


def _text(value: str) -> str:
    """RFC 5545, 3.3.11; line breaks and controls have become spaces."""
    return _ESCAPED.sub(r"\\\1", clean(value, SUBJECT_LIMIT))


def _common_name(name: str) -> str:
    quoted = _UNQUOTABLE.sub(" ", clean(name, NAME_LIMIT)).strip()
    return f';CN="{quoted}"' if quoted else ""


def _address(url: str | None) -> str | None:
    """A web address as it may stand there; None for anything else."""
    try:
        found = destination(url) if url else ""
    except RenderProblem:
        return None
    return found if found[:4].lower() == "http" else None


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
