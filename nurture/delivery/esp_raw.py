"""Amazon SES and Mailgun: they take a letter as we wrote it, MIME and all."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit

import httpx

from nurture.delivery.esp_provider import About, Answer, EspLetter, Exchange, HttpRequest, verdict
from nurture.delivery.esp_signature import signed_headers
from nurture.delivery.replies import Reply

SES_PATH = "/v2/email/outbound-emails"
MAILGUN = "https://api.mailgun.net/v3"
_SES_HOST = re.compile(r"email(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\Z")
_SES_ABOUT = {
    **dict.fromkeys(("TooManyRequestsException", "ThrottlingException", "LimitExceededException"), About.ATTEMPT),
    **dict.fromkeys(("MessageRejected", "MailFromDomainNotVerifiedException"), About.SENDER),
    "AccessDeniedException": About.SENDER,  # rights are given for each identity
    **dict.fromkeys(("AccountSuspendedException", "SendingPausedException"), About.ACCOUNT),
}
_MAILGUN_INVALID = re.compile(r"\b(to|from)\b'? parameter is not a valid address", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Ses:
    """SendEmail of the SES API v2 with raw content. SES puts a Message-ID and a Date of its own in the place of ours,
    so a DKIM signature of ours would not hold: it is left out, and the identity's own (Easy DKIM) signs.
    """

    key_id: str
    secret: str = field(repr=False)
    url: str

    @property
    def region(self) -> str:
        """The one in the endpoint's name; another host is taken for a stand-in, which asks for none in particular."""
        named = _SES_HOST.match(urlsplit(self.url).hostname or "")
        return named[1] if named else "us-east-1"

    def __call__(self, letter: EspLetter, now: datetime) -> Exchange:
        content = {"Raw": {"Data": b64encode(letter.unsigned).decode()}}
        body = json.dumps({"Destination": {"ToAddresses": [letter.recipient]}, "Content": content}).encode()
        url = self.url.rstrip("/") + SES_PATH
        headers = signed_headers(
            url,
            body,
            headers={"content-type": "application/json"},
            key_id=self.key_id,
            secret=self.secret,
            region=self.region,
            service="ses",
            now=now,
        )
        return Exchange(request=HttpRequest(url=url, headers=headers, body=body), read=_read_ses)


def _read_ses(answer: Answer) -> Reply:
    """Whether an address exists SES tells by events later; no answer to a request says it."""
    kind = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    return verdict(
        answer,
        accepted_as=answer.field("MessageId"),
        about=_SES_ABOUT.get(kind) if answer.status < 500 else None,
    )


@dataclass(frozen=True, kw_only=True)
class Mailgun:
    """`messages.mime`. Where `url` names no sending domain, that of From is it."""

    api_key: str = field(repr=False)
    url: str

    def __call__(self, letter: EspLetter, now: datetime) -> Exchange:
        del now
        message = letter.parsed
        form = {
            "to": letter.recipient,
            "o:tracking": "no",
            "o:tracking-clicks": "no",
            "o:tracking-opens": "no",
            "v:message_id": str(message["Message-ID"] or ""),
        }
        request = httpx.Request(
            "POST",
            self._endpoint(message["From"].addresses[0].domain),
            data=form,
            files={"message": ("message.eml", letter.raw, "message/rfc822")},
        )
        key = b64encode(f"api:{self.api_key}".encode()).decode()
        headers = {"content-type": request.headers["content-type"], "authorization": f"Basic {key}"}
        body = request.read()
        return Exchange(request=HttpRequest(url=str(request.url), headers=headers, body=body), read=_read_mailgun)

    def _endpoint(self, domain: str) -> str:
        base = self.url.rstrip("/")
        if not urlsplit(base).path.strip("/"):
            base += "/v3"
        if base.endswith("/v3"):
            base += f"/{quote(domain, safe='')}"
        return f"{base}/messages.mime"


def _read_mailgun(answer: Answer) -> Reply:
    """A wrong address of the API itself is answered with 200 and a greeting; only "Queued" is acceptance."""
    said = answer.field("message")
    return verdict(
        answer,
        accepted_as=answer.field("id") if said.startswith("Queued") else None,
        about=_mailgun_speaks_of(answer.status, said),
    )


def _mailgun_speaks_of(status: int, said: str) -> About | None:
    if said.startswith("Domain") and ("not found" in said or "is not allowed to send" in said):
        return About.SENDER
    found = _MAILGUN_INVALID.search(said) if status == 400 else None
    return None if found is None else About.RECIPIENT if found[1].lower() == "to" else About.SENDER
