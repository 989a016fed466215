"""What `deliver` sends: a message row becomes the bytes on the wire, by its kind. No SMTP, no commit happens here.

Whatever rendering needs from the database is read once for a whole claim (`prepare`, `gather`), so that writing one
letter is pure computation. A letter that can't be written is that letter's fault alone.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection

from nurture.calendar import Calendar
from nurture.content.assets import AssetFunction
from nurture.content.attachments import read_attachments
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
from nurture.content.return_path import return_path
from nurture.content.templates import TemplateError
from nurture.content.tokens import Purpose, Tokens
from nurture.domain.cadence import JUST_ASKED, Cadence, Email, Tracking
from nurture.domain.clearance import Waiting
from nurture.domain.forms import Form, Offer
from nurture.domain.message import MessageKind
from nurture.domain.problem import Problem
from nurture.notify.alert_mail import AlertMail, alert_letter
from nurture.notify.opt_in_mail import opt_in_mail
from nurture.pipeline.last_look import LastLook
from nurture.pipeline.mailers import Mailer, mailers_of, owner_view
from nurture.pipeline.material import NOTHING, Material, Wants, gather
from nurture.pipeline.rules import Rules
from nurture.pipeline.step_letter import (
    Modes,
    Organizer,
    calendar_entry,
    is_tracked,
    modes_of,
    saying,
    thread_of,
)
from nurture.settings import Settings
from nurture.store.cadences import load_versions
from nurture.store.lead_facts import LEAD_FIELDS, view_of
from nurture.store.letter_facts import EarlierMail

UTM_SLOT = re.compile(r"\{(cadence|step|variant)\}")

_lead_of = attrgetter(*(f"lead_{name}" for name in LEAD_FIELDS))

# what odd data of one letter raises; anything else (memory, the disk) may pass, so it is tried again
_ODD_DATA = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)

log = structlog.get_logger()


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
        self._clock = clock
        self._header_key = header_key
        self._mailers = mailers_of(self._settings, signers)
        self._public = self._settings.workspace.public_url.rstrip("/")
        self._workspace = self._settings.workspace.as_seen()
        self._cadences: dict[str, Cadence] = {}
        self._look = LastLook(settings, calendar)
        self._asset: AssetFunction = composer.asset_function(self._public)
        self._wants = Wants(
            step_of=self.step_of, zone_of=self._look.zone, asks_consent=self._asks_consent, alert_of=self._alert
        )

    # --- once a claim

    def prepare(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Read the cadence versions that these rows are of; one that is not there fails its own letters alone."""
        wanted = {row.version for row in rows if row.version is not None} - set(self._cadences)
        if wanted:
            self._cadences.update(load_versions(connection, wanted))

    def waiting(self, connection: Connection, rows: Sequence[Any], rules: Rules, now: datetime) -> dict[int, Waiting]:
        """What each message depends on now, for the last look before an attempt."""
        return self._look.waiting(connection, rows, self.step_of, rules, now)

    def gather(self, connection: Connection, rows: Sequence[Any]) -> dict[int, Material]:
        """What these letters need beyond their rows: events, threads, dates, alerts. message row -> its material."""
        return gather(connection, rows, self._wants)

    def step_of(self, row: Any) -> tuple[Cadence, Email] | None:
        """The step that this row is of; None where its version has no such step that sends."""
        cadence = self._cadences.get(row.version)
        step = cadence.steps.get(row.step) if cadence is not None else None
        return (cadence, step) if cadence is not None and isinstance(step, Email) else None

    def _asks_consent(self, cadence: Cadence) -> bool:
        modes = self._modes(cadence.track)
        return "consent" in (modes.opens, modes.clicks)

    def _modes(self, track: Tracking) -> Modes:
        tracking = self._settings.tracking
        return modes_of(track, opens=tracking.opens, clicks=tracking.clicks)

    def _alert(self, connection: Connection, row: Any) -> AlertMail:
        return alert_letter(
            connection,
            row.payload["alert"],
            settings=self._settings,
            tokens=self._tokens,
            base_url=self._public,
            now=self._clock(),
        )

    # --- once a message

    def message_id(self, row: Any) -> str:
        """The Message-ID header without <>: deterministic, and nobody can guess another's."""
        mac = hmac.digest(self._header_key, f"message-id:{row.id}".encode(), "sha256")[:9].hex()
        return f"{row.id}.{mac}@{self._sender(row).domain}"

    def server_of(self, row: Any) -> str:
        return self._sender(row).server

    def senders_besides(self, servers: Collection[str]) -> list[str]:
        """The senders of config.toml whose mail goes over others than these."""
        return [name for name, mailer in self._mailers.items() if mailer.server not in servers]

    def write(self, row: Any, header: str, material: Material) -> Outgoing:
        """The letter of this row. Raises RenderFailed."""
        try:
            letter = self._letter(row, header, material)
        except (RenderProblem, TemplateError, Problem) as error:
            raise RenderFailed(str(error)) from None
        except _ODD_DATA as error:
            log.exception("letter_not_written", message=row.id)
            raise RenderFailed(f"a mistake inside nurture: {type(error).__name__}") from None
        return Outgoing(
            envelope_from=self._return_path(row),
            to=row.to_address,
            wire=letter.wire,
            subject=letter.subject,
            link_set=letter.link_digest if letter.links else None,
            links=letter.links,
        )

    def proof(
        self, cadence: Cadence, row: Any, header: str, *, material: Material | None = None, mark: str = ""
    ) -> Letter:
        """A step's letter for eyes only, of a row that is in no table: its links are the author's own, and its way out
        is nobody's (the row's id is 0). `mark` goes before the subject. Raises RenderProblem, TemplateError, Problem.
        """
        self._cadences[row.version] = cadence
        request = self._step_request(row, header, material or NOTHING)
        return self._composer.compose(replace(untracked(request), mark=mark))

    def page(self, row: Any, material: Material) -> str:
        """The letter of a message that went out, as a page: nothing in it is tracked, nothing is attached.

        Raises RenderFailed for what can't be shown.
        """
        kind = MessageKind(row.kind)
        try:
            if kind is MessageKind.STEP:
                request = self._step_request(row, row.message_id or "shown@nurture", material)
            elif kind is MessageKind.DELIVERY:
                request = self._delivery_request(row, row.message_id or "shown@nurture")
            else:
                raise RenderFailed(f"a {kind.value} is not shown as a page")
            return self._composer.compose(replace(untracked(request), attachments=(), calendar=None, dkim=())).html
        except (RenderProblem, TemplateError, Problem, *_ODD_DATA) as error:
            raise RenderFailed(str(error)) from None

    def earlier_of(self, cadence: Cadence, row: Any, material: Material) -> list[EarlierMail]:
        """For a proof: the mail before this one in the file, as if it had been sent to this lead; its subject alone."""
        before = [step for step in cadence.steps.values() if isinstance(step, Email)]
        keys = [step.key for step in before]
        mails = []
        for step in before[: keys.index(row.step)]:
            arm = row.variant if row.variant in step.subjects else next(iter(step.subjects))
            said = saying(step, arm or "", row.lead_language or self._settings.workspace.language)
            subject = self._composer.line(said.subject, self._context(row, {"event": material.event}))
            mails.append(EarlierMail(step=step.key, header=f"{step.key}@{self._sender(row).domain}", subject=subject))
        return mails

    def sender_for(self, name: str, owner: str | None) -> str:
        """The sender that a step's or cadence's `sender` means for a lead of this owner."""
        if name != "owner":
            return name
        rep = self._settings.reps.get(owner) if owner else None
        return (rep.sender if rep is not None else None) or self._settings.sending.sender

    def zone_of(self, row: Any) -> ZoneInfo:
        """The lead's zone."""
        return self._look.zone(row)

    def mailer_of(self, row: Any) -> Mailer:
        """Who this row's letter is from."""
        return self._sender(row)

    def _letter(self, row: Any, header: str, material: Material) -> Letter:
        if material.problem is not None:
            raise RenderFailed(material.problem)
        match MessageKind(row.kind):
            case MessageKind.STEP:
                return self._composer.compose(self._step_request(row, header, material))
            case MessageKind.DELIVERY:
                return self._composer.compose(self._delivery_request(row, header))
            case MessageKind.CONFIRMATION:
                return self._confirmation(row, header)
            case MessageKind.ALERT:
                alert = material.alert
                if alert is None:
                    raise RenderFailed("the alert is no longer there")
                return self._plain(row, header, subject=alert.subject, text=alert.text, html=alert.html)

    # --- requests, by kind

    def _step_request(self, row: Any, header: str, material: Material) -> LetterRequest:
        of, arm = self.step_of(row), row.variant or ""
        if of is None or arm not in of[1].subjects:
            raise RenderFailed(f"step {row.step} of {row.cadence} no longer sends this")
        cadence, step = of
        said = saying(step, arm, row.lead_language or self._settings.workspace.language)
        offer = self._offers.get(row.lead_offer) if row.lead_offer else None
        request = self._request(
            row,
            header,
            template=said.template,
            subject=said.subject,
            preheader=said.preheader,
            per_lead=step.per_lead,
            one_click=row.transactional not in JUST_ASKED,
            list_name=cadence.topic or cadence.name,
            context={"event": material.event, "offer": _offer_view(offer)},
            modes=self._modes(cadence.track),
            agreed=material.agreed,
        )
        if offer is not None:
            offer_url = {"offer_url": lambda: self._offer_url(row, offer)}
            request = replace(request, addresses={**request.addresses, **offer_url})
        return self._with_more(request, row, cadence, step, said.vars, material) if _says_more(step) else request

    def _with_more(
        self,
        request: LetterRequest,
        row: Any,
        cadence: Cadence,
        step: Email,
        texts: Mapping[str, str],
        material: Material,
    ) -> LetterRequest:
        """What few steps have: vars, files, a calendar entry, a thread."""
        thread = thread_of(material.earlier, cadence) if step.reply_in_thread else None
        if step.reply_in_thread and thread is None and not request.subject:
            raise RenderFailed("no mail of this cadence was sent before, so there is no thread whose subject it has")
        calendar = None
        if step.ics:
            sender = self._sender(row)
            organizer = Organizer(
                name=sender.name, address=sender.address, key=self._header_key, public_url=self._public
            )
            calendar = calendar_entry(step, row, material, organizer)
            if calendar is None and row.id:  # not of a proof
                log.warning("calendar_entry_left_out", message=row.id, cadence=row.cadence, step=row.step)
        return replace(
            request,
            vars=texts,
            attachments=read_attachments(self._composer.root, step.attachments) if step.attachments else (),
            calendar=calendar,
            references=thread.references if thread is not None else (),
            thread_subject=thread.subject if thread is not None else None,
        )

    def _delivery_request(self, row: Any, header: str) -> LetterRequest:
        offer = self._offers.get(row.payload["offer"])
        if offer is None:
            raise RenderFailed(f"the offer '{row.payload['offer']}' is no longer in cadences/_forms.yaml")
        return self._request(
            row,
            header,
            template=offer.email,
            subject=offer.subject,
            preheader="",
            per_lead=False,
            one_click=False,
            list_name=None,
            context={"offer_url": self._offer_url(row, offer), "offer": _offer_view(offer)},
        )

    def _offer_url(self, row: Any, offer: Offer) -> str:
        return f"{self._public}/m/{self._tokens.sign(Purpose.OFFER, f'{row.lead_id}~{offer.name}~{row.id}')}"

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
        modes: Modes | None = None,
        agreed: bool = False,
    ) -> LetterRequest:
        sender = self._sender(row)
        language = self._settings.workspace.language
        return LetterRequest(
            template=template,
            subject=subject,
            preheader=preheader,
            language=row.lead_language or language,
            base_language=language,
            per_lead=per_lead,
            context=self._context(row, context),
            addresses={
                "view_url": lambda: f"{self._public}/w/{self._tokens.sign(Purpose.WEB, str(row.id))}",
                "stay_url": lambda: f"{self._public}/k/{self._tokens.sign(Purpose.KEEP, str(row.id))}",
            },
            from_name=sender.name,
            from_address=sender.address,
            reply_to=sender.reply_to,
            to_name=None,
            to_address=row.to_address,
            message_id=header,
            date=self._clock().replace(microsecond=0),
            links=self._links(row, modes or self._modes(_AS_THE_WORKSPACE), one_click=one_click, agreed=agreed),
            list_id=f"{list_name}.{sender.domain}" if list_name else None,
            feedback_id=f"{row.cadence}:{row.step}:{sender.domain}" if row.cadence else None,
            auto_submitted=list_name is None,  # an answer to what somebody did (RFC 3834)
            references=(),
            dkim=sender.dkim,
        )

    def _context(self, row: Any, more: Mapping[str, Any]) -> dict[str, Any]:
        """What templates see."""
        return {
            "lead": view_of(_lead_of(row), row.lead_custom),
            "owner": owner_view(self._settings, row.lead_owner),
            "sender": self._sender(row).view,
            "workspace": self._workspace,
            "asset": self._asset,
            **more,
        }

    def _links(self, row: Any, modes: Modes, *, one_click: bool, agreed: bool) -> LinkStyle:
        tracking = self._settings.tracking
        unsubscribe = f"{self._public}/u/{self._tokens.sign(Purpose.UNSUBSCRIBE, f'm{row.id}')}"
        clicks = opens = None
        if one_click and is_tracked(modes.clicks, agreed=agreed):
            clicks = f"{self._public}/c/{self._tokens.sign(Purpose.CLICK, told(row.id, modes.told_clicks))}"
        if one_click and is_tracked(modes.opens, agreed=agreed):
            opens = f"{self._public}/o/{self._tokens.sign(Purpose.OPEN, told(row.id, modes.told_opens))}.gif"
        return LinkStyle(
            click_base=clicks,
            open_url=opens,
            unsubscribe_url=unsubscribe,
            preferences_url=unsubscribe,
            one_click_url=unsubscribe if one_click else None,
            utm=self._utm(row),
            own_domains=frozenset(tracking.own_domains),
        )

    def _utm(self, row: Any) -> tuple[tuple[str, str], ...]:
        """What `[tracking] utm` says of this message, for links to our own domains."""
        if not self._settings.tracking.utm:
            return ()
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
                date=self._clock().replace(microsecond=0),
                auto_submitted=True,
                dkim=sender.dkim,
            )
        )

    def _return_path(self, row: Any) -> str:
        sender = self._sender(row)
        return (
            sender.address if sender.bounce_domain is None else return_path(self._tokens, row.id, sender.bounce_domain)
        )

    def _sender(self, row: Any) -> Mailer:
        return self._mailers.get(row.sender) or self._mailers[self._settings.sending.sender]


_AS_THE_WORKSPACE = Tracking()


def untracked(request: LetterRequest) -> LetterRequest:
    """The same letter with its authors' own addresses, and no pixel."""
    return replace(request, links=replace(request.links, click_base=None, open_url=None, utm=()))


def told(message_id: int, mode: str | None) -> str:
    """What a tracked address says: the message, and where a cadence has a mode of its own its first letter."""
    return str(message_id) if mode is None else f"{message_id}~{mode[0]}"


def _offer_view(offer: Offer | None) -> dict[str, str]:
    return {} if offer is None else {"name": offer.name, "kind": offer.kind}


def _says_more(step: Email) -> bool:
    return bool(step.vars or step.attachments or step.ics or step.reply_in_thread)
