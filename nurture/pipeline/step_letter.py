"""What an `email` step says beyond its template and subject: by arm, by language, in a thread, with files, tracked."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from nurture.content.calendar_entry import CalendarEntry
from nurture.content.languages import nearest_language
from nurture.domain.cadence import Cadence, Email, Tracking
from nurture.pipeline.material import ENDS, STARTS, Material
from nurture.store.letter_facts import EarlierMail

Mode = Literal["always", "consent", "hygiene", "never"]
AN_HOUR = timedelta(hours=1)
LONGEST = timedelta(days=31)
MOST_MINUTES = LONGEST / timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Saying:
    """The texts of one arm in one language: Jinja, all of them."""

    template: str
    subject: str
    preheader: str
    vars: Mapping[str, str]


def saying(step: Email, arm: str, language: str) -> Saying:
    """What is missing in a translation stays as it is."""
    nearest = nearest_language(language, step.locales) if step.locales else None
    locale = step.locales[nearest] if nearest is not None else None
    subject, preheader = step.subjects[arm], step.preheader
    if locale is not None:
        subject = locale.subjects.get(arm, locale.subjects.get("", subject))
        preheader = locale.preheader if locale.preheader is not None else preheader
    return Saying(template=step.template_of(arm), subject=subject, preheader=preheader, vars=step.vars_of(arm))


@dataclass(frozen=True, kw_only=True)
class Thread:
    """The mails that one answers: Message-IDs, the first first, and the first one's subject."""

    references: tuple[str, ...]
    subject: str


def thread_of(earlier: Sequence[EarlierMail], cadence: Cadence) -> Thread | None:
    """The thread of the last mail: back to the one that did not answer in a thread itself."""
    found: list[EarlierMail] = []
    for mail in reversed(earlier):
        found.append(mail)
        step = cadence.steps.get(mail.step)
        if not isinstance(step, Email) or not step.reply_in_thread:
            break
    if not found:
        return None
    return Thread(references=tuple(mail.header for mail in reversed(found)), subject=found[-1].subject)


@dataclass(frozen=True, kw_only=True)
class Modes:
    """How one letter is tracked. `told_*`: what its links must tell of it, where the cadence says it and not the
    workspace; else what the workspace says at the time of the hit holds.
    """

    opens: Mode
    clicks: Mode
    told_opens: Mode | None = None
    told_clicks: Mode | None = None


def modes_of(track: Tracking, *, opens: Mode, clicks: Mode) -> Modes:
    """The cadence's word before the workspace's (`opens`, `clicks`)."""
    return Modes(
        opens=track.opens or opens, clicks=track.clicks or clicks, told_opens=track.opens, told_clicks=track.clicks
    )


def is_tracked(mode: Mode, *, agreed: bool) -> bool:
    """Whether a letter's links and pixel lead through the tracker. `consent` asks the lead first; `hygiene` does not,
    because its hits are kept without the person.
    """
    return mode in ("always", "hygiene") or (mode == "consent" and agreed)


@dataclass(frozen=True, kw_only=True)
class Organizer:
    """Whom a calendar entry is from, and the key and host that make its UID."""

    name: str
    address: str
    key: bytes
    public_url: str


def calendar_entry(step: Email, row: Any, material: Material, organizer: Organizer) -> CalendarEntry | None:
    """The entry of a step with `ics: true`; None where the lead has no moment for it.

    Its UID is the same in every mail of the enrollment, or of the same `event.uid` of a lead, so that the later mail
    moves the entry of the earlier one.
    """
    expiry = step.expires.field if step.expires is not None else None
    field = STARTS if STARTS in material.dates or expiry is None else expiry
    starts_at = material.dates.get(field)
    if starts_at is None:
        return None
    event = material.event
    named = event.get("uid")
    what = f"lead:{row.lead_id}:{named}" if isinstance(named, str | int) else f"enrollment:{row.enrollment_id}:{field}"
    mac = hmac.digest(organizer.key, f"calendar:{what}".encode("utf-8", "replace"), "sha256")[:16].hex()
    return CalendarEntry(
        uid=f"{mac}@{urlsplit(organizer.public_url).hostname or 'nurture'}",
        made_at=row.created_at,
        starts_at=starts_at,
        ends_at=_end(starts_at, material, from_event=field == STARTS),
        summary=_text(event.get("title")) or _text(event.get("name")),
        url=_text(event.get("url")),
        location=_text(event.get("location")),
        organizer_name=organizer.name,
        organizer_address=organizer.address,
    )


def _end(starts_at: datetime, material: Material, *, from_event: bool) -> datetime:
    ends_at = material.dates.get(ENDS) if from_event else None
    if ends_at is not None and starts_at < ends_at <= starts_at + LONGEST:
        return ends_at
    try:
        minutes = float(material.event.get("duration", 0))
    except (TypeError, ValueError):
        minutes = 0
    return starts_at + (timedelta(minutes=minutes) if 1 <= minutes <= MOST_MINUTES else AN_HOUR)


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
