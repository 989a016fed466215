"""What `deliver` sends: a message row becomes the bytes on the wire, by its kind. No SMTP, no commit happens here.

Whatever rendering needs from the database is read once for a whole claim (`prepare`), so that writing one letter is
pure computation.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.calendar import Calendar
from nurture.content.dkim import DkimSigner
from nurture.content.letters import (
    Composer,
    Letter,
    LetterRequest,
    LinkStyle,
    PlainRequest,
    RenderProblem,
    compose_plain,
)
from nurture.content.templates import TemplateError
from nurture.content.tokens import Purpose, Tokens
from nurture.domain.cadence import Cadence, Email, Window
from nurture.domain.clearance import Waiting
from nurture.domain.decide import window_zone
from nurture.domain.enrollment import EnrollmentStatus
from nurture.domain.forms import Form, Offer
from nurture.domain.message import MessageKind
from nurture.domain.timing import caps_free_at, next_opening, zone_of
from nurture.notify.alert_mail import AlertMail, alert_letter
from nurture.notify.opt_in_mail import opt_in_mail
from nurture.settings import Settings
from nurture.store.cadences import load_versions
from nurture.store.enrollments import sends_besides
from nurture.store.lead_facts import LEAD_FIELDS, lead_view
from nurture.store.suppressions import suppressed_among

UTM_SLOT = re.compile(r"\{(cadence|step|variant)\}")


class RenderFailed(Exception):
    """The letter can't be written: one line that names what is missing."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """Bytes and addresses for one attempt. `wire` is dot-stuffed and ends with CRLF, without the final dot."""

    envelope_from: str
    to: str
    wire: bytes
    subject: str
    link_set: str | None
    links: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mailer:
    """A sender of config.toml, read once."""

    name: str
    address: str
    reply_to: str | None
    smtp: str
    dkim: Sequence[DkimSigner]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()


def _mailers(settings: Settings, signers: Mapping[str, Sequence[DkimSigner]]) -> dict[str, Mailer]:
    mailers = {}
    for key, sender in settings.senders.items():
        name, address = parseaddr(sender.from_)
        dkim = signers.get(address.rpartition("@")[2].lower(), ())
        mailers[key] = Mailer(name=name, address=address, reply_to=sender.reply_to, smtp=sender.smtp, dkim=dkim)
    return mailers


def _takes_a_place(row: Any) -> bool:
    return row.kind == MessageKind.STEP.value and row.transactional is None and row.resent_at is None


class LetterWriter:
    """Writes letters for one workspace. `prepare` before `waiting` and `write`."""

    def __init__(
        self,
        *,
        settings: Settings,
        forms: Mapping[str, Form],
        offers: Mapping[str, Offer],
        composer: Composer,
        tokens: Tokens,
        calendar: Calendar,
        clock: Callable[[], datetime],
        header_key: bytes,
        signers: Mapping[str, Sequence[DkimSigner]],
    ) -> None:
        self._settings = settings
        self._forms = forms
        self._offers = offers
        self._composer = composer
        self._tokens = tokens
        self._calendar = calendar
        self._clock = clock
        self._header_key = header_key
        self._mailers = _mailers(self._settings, signers)
        self._zone = ZoneInfo(self._settings.workspace.timezone)
        self._public = self._settings.workspace.public_url.rstrip("/")
        self._cadences: dict[str, Cadence] = {}
        self._alerts: dict[int, AlertMail | None] = {}

    # --- once a claim

    def prepare(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Read what these rows need beyond themselves: cadence versions, and the alerts of mail to reps."""
        wanted = {row.version for row in rows if row.version is not None} - set(self._cadences)
        self._cadences.update(load_versions(connection, wanted))
        for row in rows:
            if row.kind == MessageKind.ALERT.value:
                self._alerts[row.id] = self._alert(connection, row)

    def _alert(self, connection: Connection, row: Any) -> AlertMail | None:
        try:
            return alert_letter(
                connection,
                row.payload["alert"],
                settings=self._settings,
                tokens=self._tokens,
                base_url=self._public,
                now=self._clock(),
            )
        except LookupError:
            return None  # erased meanwhile

    def waiting(self, connection: Connection, rows: Sequence[Any], now: datetime) -> dict[int, Waiting]:
        """What each message depends on now, for the last look before an attempt."""
        keys = sorted({row.lead_email_key for row in rows if row.lead_email_key is not None})
        suppressed = suppressed_among(connection, keys)
        free = self._free_at(connection, rows, now)
        return {row.id: self._waiting(row, suppressed, free.get(row.id, now), now) for row in rows}

    def _free_at(self, connection: Connection, rows: Sequence[Any], now: datetime) -> dict[int, datetime]:
        """When the frequency caps have room for the messages that waited so long that their place is gone."""
        caps = self._settings.limits.per_lead
        if not caps:
            return {}
        place_gone = now - min(cap.within for cap in caps)
        late = {row.id: row.lead_id for row in rows if row.created_at <= place_gone and _takes_a_place(row)}
        if not late:
            return {}
        sends = sends_besides(connection, late, since=now - max(cap.within for cap in caps))
        free: dict[int, datetime] = {}
        for message_id, lead_id in late.items():
            free[message_id], _ = caps_free_at(caps, sends[message_id], now)
            if free[message_id] <= now:  # it goes now, so that others of this lead's wait
                for other in (each for each, lead in late.items() if lead == lead_id and each != message_id):
                    sends[other].append(now)
        return free

    def _waiting(self, row: Any, suppressed: Mapping[str, str], free_at: datetime, now: datetime) -> Waiting:
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
            is_resent=row.resent_at is not None,
            hold_until=row.lead_hold_until,
            opens_at=self._opens_at(row, now) if kind is MessageKind.STEP else now,
            free_at=free_at,
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
        return f"{row.id}.{mac}@{self._sender(row).domain}"

    def server_of(self, row: Any) -> str:
        return self._sender(row).smtp

    def write(self, row: Any, header: str) -> Outgoing:
        """The letter of this row. Raises RenderFailed."""
        try:
            letter = self._letter(row, header)
        except (RenderProblem, TemplateError) as error:
            raise RenderFailed(str(error)) from None
        return Outgoing(
            envelope_from=self._sender(row).address,
            to=row.to_address,
            wire=letter.wire,
            subject=letter.subject,
            link_set=letter.link_digest if letter.links else None,
            links=letter.links,
        )

    def proof(self, cadence: Cadence, row: Any, header: str, *, mark: str = "") -> Letter:
        """A step's letter for eyes only, of a row that is in no table: its links are the author's own, and its way out
        is nobody's (the row's id is 0). `mark` goes before the subject. Raises RenderProblem, TemplateError.
        """
        self._cadences[row.version] = cadence
        request = self._step_request(row, header)
        links = replace(request.links, click_base=None, open_url=None, utm=())
        return self._composer.compose(replace(request, subject=mark + request.subject, links=links))

    def mailer_of(self, row: Any) -> Mailer:
        """Who this row's letter is from."""
        return self._sender(row)

    def _letter(self, row: Any, header: str) -> Letter:
        match MessageKind(row.kind):
            case MessageKind.STEP:
                return self._composer.compose(self._step_request(row, header))
            case MessageKind.DELIVERY:
                return self._composer.compose(self._delivery_request(row, header))
            case MessageKind.CONFIRMATION:
                return self._confirmation(row, header)
            case MessageKind.ALERT:
                alert = self._alerts.pop(row.id, None)
                if alert is None:
                    raise RenderFailed("the alert is no longer there")
                return self._plain(row, header, subject=alert.subject, text=alert.text, html=alert.html)

    # --- requests, by kind

    def _step_request(self, row: Any, header: str) -> LetterRequest:
        cadence = self._cadences[row.version]
        step = cadence.steps.get(row.step)
        if not isinstance(step, Email) or (row.variant or "") not in step.subjects:
            raise RenderFailed(f"step {row.step} of {row.cadence} no longer sends this")
        marketing = row.transactional not in ("confirmation", "delivery")
        return self._request(
            row,
            header,
            template=step.template,
            subject=step.subjects[row.variant or ""],
            preheader=step.preheader,
            per_lead=step.per_lead,
            one_click=marketing,
            list_name=cadence.topic or cadence.name,
            context={},
        )

    def _delivery_request(self, row: Any, header: str) -> LetterRequest:
        offer = self._offers.get(row.payload["offer"])
        if offer is None:
            raise RenderFailed(f"the offer '{row.payload['offer']}' is no longer in cadences/_forms.yaml")
        token = self._tokens.sign(Purpose.OFFER, f"{row.lead_id}~{offer.name}~{row.id}")
        return self._request(
            row,
            header,
            template=offer.email,
            subject=offer.subject,
            preheader="",
            per_lead=False,
            one_click=False,
            list_name=None,
            context={"offer_url": f"{self._public}/m/{token}", "offer": {"name": offer.name, "kind": offer.kind}},
        )

    def _confirmation(self, row: Any, header: str) -> Letter:
        form = self._forms.get(row.payload["form"])
        if form is None:
            raise RenderFailed(f"the form '{row.payload['form']}' is no longer in cadences/_forms.yaml")
        url = f"{self._public}/d/{self._tokens.sign(Purpose.CONFIRM, str(row.payload['opt_in']))}"
        if form.confirm is not None:
            return self._composer.compose(
                self._request(
                    row,
                    header,
                    template=form.confirm.template,
                    subject=form.confirm.subject,
                    preheader="",
                    per_lead=False,
                    one_click=False,
                    list_name=None,
                    context={"confirm_url": url},
                )
            )
        mail = opt_in_mail(form, url=url, workspace=self._settings.workspace, language=row.lead_language)
        return self._plain(row, header, subject=mail.subject, text=mail.text, html=mail.html)

    def _request(
        self,
        row: Any,
        header: str,
        *,
        template: str,
        subject: str,
        preheader: str,
        per_lead: bool,
        one_click: bool,
        list_name: str | None,
        context: Mapping[str, Any],
    ) -> LetterRequest:
        sender = self._sender(row)
        lead = lead_view({name: getattr(row, f"lead_{name}") for name in (*LEAD_FIELDS, "custom")})
        workspace = self._settings.workspace
        return LetterRequest(
            template=template,
            subject=subject,
            preheader=preheader,
            language=row.lead_language or workspace.language,
            per_lead=per_lead,
            context={
                "lead": lead,
                "owner": self._owner_view(row.lead_owner),
                "sender": {"name": sender.name, "email": sender.address, "first_name": sender.name.partition(" ")[0]},
                "workspace": {
                    "name": workspace.name,
                    "postal_address": workspace.postal_address,
                    "public_url": self._public,
                    "language": workspace.language,
                    "timezone": workspace.timezone,
                },
                **context,
            },
            from_name=sender.name,
            from_address=sender.address,
            reply_to=sender.reply_to,
            to_name=None,
            to_address=row.to_address,
            message_id=header,
            date=self._clock(),
            links=self._links(row, one_click=one_click),
            list_id=f"{list_name}.{sender.domain}" if list_name else None,
            feedback_id=f"{row.cadence}:{row.step}:{sender.domain}" if row.cadence else None,
            auto_submitted=False,
            references=(),
            dkim=sender.dkim,
        )

    def _links(self, row: Any, *, one_click: bool) -> LinkStyle:
        tracking = self._settings.tracking
        unsubscribe = f"{self._public}/u/{self._tokens.sign(Purpose.UNSUBSCRIBE, f'm{row.id}')}"
        clicks = f"{self._public}/c/{self._tokens.sign(Purpose.CLICK, str(row.id))}"
        opens = f"{self._public}/o/{self._tokens.sign(Purpose.OPEN, str(row.id))}.gif"
        return LinkStyle(
            click_base=clicks if tracking.clicks != "never" and one_click else None,
            open_url=opens if tracking.opens != "never" and one_click else None,
            unsubscribe_url=unsubscribe,
            preferences_url=unsubscribe,
            one_click_url=unsubscribe if one_click else None,
            utm=self._utm(row),
            own_domains=frozenset(tracking.own_domains),
        )

    def _utm(self, row: Any) -> tuple[tuple[str, str], ...]:
        """What `[tracking] utm` says of this message, for links to our own domains."""
        said = {"cadence": row.cadence or row.kind, "step": row.step or row.kind, "variant": row.variant or ""}
        return tuple(
            (f"utm_{name}", UTM_SLOT.sub(lambda slot: said[slot[1]], text))
            for name, text in self._settings.tracking.utm.items()
        )

    def _plain(self, row: Any, header: str, *, subject: str, text: str, html: str) -> Letter:
        sender = self._sender(row)
        return compose_plain(
            PlainRequest(
                subject=subject,
                text=text,
                html=html,
                from_name=sender.name,
                from_address=sender.address,
                reply_to=sender.reply_to,
                to_name=None,
                to_address=row.to_address,
                message_id=header,
                date=self._clock(),
                auto_submitted=True,
                dkim=sender.dkim,
            )
        )

    def _owner_view(self, owner: str | None) -> dict[str, Any]:
        rep = self._settings.reps.get(owner) if owner else None
        if rep is None:
            return {}
        fields = {
            "name": rep.name,
            "first_name": rep.name.partition(" ")[0],
            "email": rep.email,
            "title": rep.title,
            "phone": rep.phone,
            "meeting_url": rep.meeting_url,
        }
        return {key: value for key, value in fields.items() if value}

    def _sender(self, row: Any) -> Mailer:
        return self._mailers.get(row.sender) or self._mailers[self._settings.sending.sender]
