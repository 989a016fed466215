"""What `deliver` sends: a message row becomes the bytes on the wire, by its kind. No SMTP, no commit happens here.

Whatever rendering needs from the database is read once for a whole claim (`prepare`), so that writing one letter is
pure computation.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from nurture.authoring.workspace import Workspace
from nurture.calendar import Calendar
from nurture.content.letters import Composer, Letter, LetterRequest, LinkStyle, PlainRequest, RenderProblem
from nurture.content.templates import TemplateError
from nurture.content.tokens import Purpose, Tokens
from nurture.domain.cadence import Cadence, Email, Window
from nurture.domain.clearance import Waiting
from nurture.domain.decide import window_zone
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.message import MessageKind
from nurture.domain.timing import next_opening, zone_of
from nurture.notify.alert_mail import AlertMail, alert_letter
from nurture.settings import Sender
from nurture.store import tables as t
from nurture.store.cadences import load_versions
from nurture.store.lead_facts import LEAD_FIELDS, lead_view
from nurture.store.suppressions import suppressed_among


class RenderFailed(Exception):
    """The letter can't be written: one line that names what is missing."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """Bytes and addresses for one attempt. `wire` is dot-stuffed and ends with CRLF, without the final dot."""

    envelope_from: str
    to: str
    wire: bytes
    utf8: bool
    subject: str
    link_set: str | None
    links: tuple[str, ...]


class LetterWriter:
    """Writes letters for one workspace. `prepare` before `waiting` and `write`."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        composer: Composer,
        tokens: Tokens,
        calendar: Calendar,
        clock: Callable[[], datetime],
        header_key: bytes,
    ) -> None:
        self._workspace = workspace
        self._settings = workspace.settings
        self._composer = composer
        self._tokens = tokens
        self._calendar = calendar
        self._clock = clock
        self._header_key = header_key
        self._zone = ZoneInfo(self._settings.workspace.timezone)
        self._public = self._settings.workspace.public_url.rstrip("/")
        self._cadences: dict[str, Cadence] = {}
        self._alerts: dict[int, AlertMail] = {}

    # --- once a claim

    def prepare(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Read what these rows need beyond themselves: cadence versions, and the alerts of mail to reps."""
        wanted = {row.version for row in rows if row.version is not None} - set(self._cadences)
        self._cadences.update(load_versions(connection, wanted))
        for row in rows:
            if row.kind == MessageKind.ALERT.value:
                self._alerts[row.id] = alert_letter(
                    connection,
                    row.payload["alert"],
                    settings=self._settings,
                    tokens=self._tokens,
                    base_url=self._public,
                    now=self._clock(),
                )

    def waiting(self, connection: Connection, rows: Sequence[Any], now: datetime) -> dict[int, Waiting]:
        """What each message depends on now, for the last look before an attempt."""
        keys = sorted({row.lead_email_key for row in rows if row.lead_email_key is not None})
        suppressed = suppressed_among(connection, keys)
        return {row.id: self._waiting(row, suppressed, now) for row in rows}

    def _waiting(self, row: Any, suppressed: Mapping[str, str], now: datetime) -> Waiting:
        kind = MessageKind(row.kind)
        consented = row.lead_consented_at is not None and (
            row.lead_consent_until is None or row.lead_consent_until > now
        )
        status = row.enrollment_status
        return Waiting(
            kind=kind,
            transactional=row.transactional is not None,
            give_up_at=row.give_up_at,
            suppressed=suppressed.get(row.lead_email_key) if row.lead_email_key is not None else None,
            consented=consented,
            enrollment_status=EnrollmentStatus(status) if status is not None else None,
            is_awaited=row.awaited_message == row.id,
            hold_until=row.lead_hold_until,
            opens_at=self._opens_at(row, now) if kind is MessageKind.STEP else now,
        )

    def _opens_at(self, row: Any, now: datetime) -> datetime | None:
        window = self._window(row)
        if window is None or window.any_time:
            return now
        lead_zone = zone_of(row.lead_timezone, row.lead_country, self._zone.key)
        zone = window_zone(window, lead=lead_zone, workspace=self._zone)
        return next_opening(window, now, zone=zone, is_holiday=self._calendar.is_holiday(row.lead_country))

    def _window(self, row: Any) -> Window | None:
        cadence = self._cadences[row.version]
        step = cadence.steps.get(row.step)
        return step.window or cadence.window if isinstance(step, Email) else None

    # --- once a message

    def message_id(self, row: Any) -> str:
        """The Message-ID header without <>: deterministic, and nobody can guess another's."""
        mac = hmac.digest(self._header_key, f"message-id:{row.id}".encode(), "sha256")[:9].hex()
        domain = self._address(self._sender(row)).rpartition("@")[2]
        return f"{row.id}.{mac}@{domain}"

    def server_of(self, row: Any) -> str:
        return self._sender(row).smtp

    def write(self, row: Any, header: str) -> Outgoing:
        """The letter of this row. Raises RenderFailed."""
        try:
            letter = self._letter(row, header)
        except (RenderProblem, TemplateError) as error:
            raise RenderFailed(str(error)) from None
        return Outgoing(
            envelope_from=self._address(self._sender(row)),
            to=row.to_address,
            wire=letter.wire,
            utf8=not row.to_address.isascii(),
            subject=letter.subject,
            link_set=letter.link_digest if letter.links else None,
            links=letter.links,
        )

    def _letter(self, row: Any, header: str) -> Letter:
        match MessageKind(row.kind):
            case MessageKind.STEP:
                return self._composer.compose(self._step_request(row, header))
            case MessageKind.DELIVERY:
                return self._composer.compose(self._delivery_request(row, header))
            case MessageKind.CONFIRMATION:
                return self._confirmation(row, header)
            case MessageKind.ALERT:
                alert = self._alerts[row.id]
                return self._plain(row, header, subject=alert.subject, text=alert.text, html=alert.html)
