"""SendGrid, Postmark and Brevo, who want a letter in pieces: django-anymail makes the payloads and reads the answers.

Nothing of Django but the settings that anymail asks for, and nothing of anymail that speaks on a wire: its own sending
can't tell what was lost before the end of a request from what was lost after it, and holds no last byte back.
Needs the extra `esp`; importing this file without it raises ImportError.
"""

from __future__ import annotations

import hashlib
import io
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Any

import requests
from django.conf import settings as django_settings

if not django_settings.configured:
    django_settings.configure(USE_I18N=False, ANYMAIL={})

from anymail.backends import brevo, postmark, sendgrid
from anymail.exceptions import AnymailError, AnymailNotSupportedWarning
from django.core.mail import EmailMultiAlternatives

from nurture.delivery.conversation import CannotCarry, LinkLost
from nurture.delivery.esp_provider import About, Answer, EspLetter, Exchange, HttpRequest, verdict
from nurture.delivery.replies import Reply
from nurture.domain.message import ReplyClass

_IN_FIELDS = frozenset({"from", "to", "subject", "reply-to"})
_THEIR_OWN = frozenset({"date", "mime-version", "content-type", "content-transfer-encoding", "dkim-signature"})
"""What a provider that puts the letter together anew writes itself; ours would not fit what it makes."""
_BREVO_SEEN = "duplicate_request"


@dataclass(frozen=True, kw_only=True)
class AnymailProvider:
    """One of anymail's backends, and what is particular about it.

    `adjust` sets what the provider alone understands; `about`: what the words of an answer speak of, where they tell;
    `acts_once`: a request with the same idempotency key is acted on once.
    """

    backend: Any = field(repr=False)
    adjust: Callable[[Any, datetime], None]
    about: Callable[[Answer], About | None]
    acts_once: bool = False

    def __call__(self, letter: EspLetter, now: datetime) -> Exchange:
        message = _django_message(letter)
        self.adjust(message, now)
        try:
            payload = self.backend.build_message_payload(message, self.backend.send_defaults)
            request = _plain(payload.get_request_params(self.backend.api_url))
        except AnymailError as error:
            raise CannotCarry(" ".join(str(error.args[0]).split())) from None

        def read(answer: Answer) -> Reply:
            return self._read(answer, payload, message)

        def read_again(answer: Answer) -> Reply:
            return _read_again(answer, read(answer))

        return Exchange(request=request, read=read, read_again=read_again if self.acts_once else None)

    def _read(self, answer: Answer, payload: Any, message: Any) -> Reply:
        response = _as_response(answer)
        about, accepted_as = self.about(answer), answer.headers.get("x-message-id")
        try:
            self.backend.raise_for_status(response, payload, message)
            statuses = self.backend.parse_recipient_status(response, payload, message)
        except AnymailError:
            statuses = {}
        for status in statuses.values():
            about = About.RECIPIENT if status.status in ("invalid", "rejected") else about
            accepted_as = status.message_id or accepted_as
        return verdict(answer, accepted_as=accepted_as, about=about)


def sendgrid_provider(api_key: str, url: str | None) -> AnymailProvider:
    def adjust(message: Any, _now: datetime) -> None:
        message.track_clicks = message.track_opens = False
        message.esp_extra = {"tracking_settings": {"subscription_tracking": {"enable": False}}}

    with warnings.catch_warnings():
        # anymail has nobody who tries it against SendGrid itself any more; its payloads are as SendGrid documents them
        warnings.simplefilter("ignore", AnymailNotSupportedWarning)
        backend = sendgrid.EmailBackend(api_key=api_key, generate_message_id=False, **_at(url))
    return AnymailProvider(backend=backend, adjust=adjust, about=_sendgrid_speaks_of)


def postmark_provider(api_key: str, url: str | None, stream: str | None) -> AnymailProvider:
    def adjust(message: Any, _now: datetime) -> None:
        message.track_clicks = message.track_opens = False
        message.extra_headers["X-PM-KeepID"] = "true"  # else Postmark puts a Message-ID of its own in the place of ours

    backend = postmark.EmailBackend(server_token=api_key, message_stream=stream, **_at(url))
    return AnymailProvider(backend=backend, adjust=adjust, about=lambda _: None)


def brevo_provider(api_key: str, url: str | None) -> AnymailProvider:
    """Each attempt has a key of its own, so that a refusal before does not stand in the way of a new one."""

    def adjust(message: Any, now: datetime) -> None:
        attempt = f"{message.extra_headers.get('Message-ID')} {now.isoformat()}"
        message.extra_headers["idempotencyKey"] = str(
            uuid.UUID(bytes=hashlib.sha256(attempt.encode()).digest()[:16], version=4)
        )

    backend = brevo.EmailBackend(api_key=api_key, **_at(url))
    return AnymailProvider(backend=backend, adjust=adjust, about=_brevo_speaks_of, acts_once=True)


def _at(url: str | None) -> dict[str, str]:
    return {} if url is None else {"api_url": url}


def _sendgrid_speaks_of(answer: Answer) -> About | None:
    """What every one of its errors is about."""
    said = answer.said
    errors = said.get("errors") if isinstance(said, dict) else None
    if answer.status not in (400, 403) or not isinstance(errors, list):
        return None
    fields = {str(each.get("field")) for each in errors if isinstance(each, dict)}
    if fields == {"personalizations.0.to.0.email"} and answer.status == 400:
        return About.RECIPIENT
    return About.SENDER if fields and fields <= {"from", "from.email"} else None


def _brevo_speaks_of(answer: Answer) -> About | None:
    if answer.status != 400 or answer.field("code") != "invalid_parameter":
        return None
    _, _, field_name = answer.field("message").rpartition(" is not valid in ")
    return {"to": About.RECIPIENT, "sender": About.SENDER}.get(field_name)


def _read_again(answer: Answer, reply: Reply) -> Reply:
    """Only what says that the letter was taken decides; a refusal of the second request says nothing of the first."""
    if answer.field("code") == _BREVO_SEEN:
        return Reply(klass=ReplyClass.ACCEPTED, text=f"{answer.status} accepted before, its answer was lost")
    if not reply.accepted:
        raise LinkLost(f"asked again: {reply.text}")
    return reply


def _django_message(letter: EspLetter) -> Any:
    """The letter in Django's form. What is neither its text nor its HTML becomes an attachment."""
    parsed = letter.parsed
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    message = EmailMultiAlternatives(
        subject=str(parsed["Subject"]),
        body=text.get_content() if text is not None else "",
        from_email=str(parsed["From"].addresses[0]),
        to=[letter.recipient],
        reply_to=[str(each) for each in parsed["Reply-To"].addresses] if parsed["Reply-To"] else None,
        headers=_headers(parsed),
    )
    if html is not None:
        message.attach_alternative(html.get_content(), "text/html")
    for part in parsed.walk():
        if not part.is_multipart() and part is not text and part is not html:
            message.attach(_file_name(part), part.get_payload(decode=True), _media_type(part))
    message.metadata = {"message_id": str(parsed["Message-ID"] or "")}  # comes back with every event
    return message


def _headers(parsed: EmailMessage) -> dict[str, str]:
    left_out = _IN_FIELDS | _THEIR_OWN
    return {name: str(value) for name, value in parsed.items() if name.lower() not in left_out}


def _file_name(part: EmailMessage) -> str:
    return part.get_filename() or ("invite.ics" if part.get_content_type() == "text/calendar" else "attachment")


def _media_type(part: EmailMessage) -> str:
    """With a calendar entry's method, without which mail programs show a file and no invitation."""
    method = part.get_param("method")
    return f"{part.get_content_type()}; method={method}" if isinstance(method, str) else part.get_content_type()


def _plain(params: Mapping[str, Any]) -> HttpRequest:
    names = ("method", "url", "params", "data", "headers", "files", "auth")
    prepared: Any = requests.Request(**{name: params[name] for name in names}).prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    headers = {name.lower(): value for name, value in prepared.headers.items() if name.lower() != "content-length"}
    return HttpRequest(url=prepared.url or "", headers=headers, body=body)


def _as_response(answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.headers.update(answer.headers)
    response.raw = io.BytesIO(answer.body)
    return response
