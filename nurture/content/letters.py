"""Composes letters: a compiled template and one lead become the bytes that go on the wire.

The bytes are 7-bit, of lines of at most 76 characters in the body, with CRLF everywhere, and end with one CRLF. No line
of them starts with a dot, so there is nothing to stuff: `Letter.wire` goes to the server as it is, then the final dot.
"""

from __future__ import annotations

import hashlib
import quopri
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from markupsafe import escape

from nurture.content import headers as h
from nurture.content.dkim import DkimSigner
from nurture.content.links import (
    LinkCollector,
    LinkStyle,
    destination,
    encode_url,
    encoded_click_base,
)
from nurture.content.parts import OUTPUT_LIMIT
from nurture.content.problems import RenderProblem
from nurture.content.quoted_printable import encode
from nurture.content.templates import CompiledTemplate, TemplateLibrary

__all__ = ["Composer", "Letter", "LetterRequest", "LinkStyle", "PlainRequest", "RenderProblem", "compose_plain"]

# quoted-printable never holds "=_", so no body can contain it (RFC 2045, 6.7)
BOUNDARY = "=_nurture"
_CONTENT_TYPE = f'multipart/alternative; boundary="{BOUNDARY}"'
_TEXT_HEAD = (
    f"--{BOUNDARY}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)
_HTML_HEAD = (
    f"--{BOUNDARY}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)
_END = f"--{BOUNDARY}--\r\n"
_HIDDEN = "display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;mso-hide:all"


@dataclass(frozen=True, kw_only=True)
class LetterRequest:
    """A letter from a template.

    `subject` and `preheader` are Jinja text. `context` holds what templates may see: mappings `lead` (without blank
    fields, `custom` inside), `owner`, `sender`, `workspace`, `event`, `offer`, `vars`, and addresses such as
    `offer_url`; those of `links` are added here. `message_id`, `references` and `list_id` are without angle brackets.
    """

    template: str
    subject: str
    preheader: str = ""
    language: str = "en"
    per_lead: bool = False
    context: Mapping[str, Any]
    from_name: str
    from_address: str
    reply_to: str | None = None
    to_name: str | None = None
    to_address: str
    message_id: str
    date: datetime
    links: LinkStyle
    list_id: str | None = None
    feedback_id: str | None = None
    auto_submitted: bool = False
    references: tuple[str, ...] = ()
    dkim: Sequence[DkimSigner] = ()


@dataclass(frozen=True, kw_only=True)
class PlainRequest:
    """A letter whose text and HTML are ready: mail to a rep, or a confirmation. Nothing in it is tracked."""

    subject: str
    text: str
    html: str
    from_name: str
    from_address: str
    reply_to: str | None = None
    to_name: str | None = None
    to_address: str
    message_id: str
    date: datetime
    list_id: str | None = None
    feedback_id: str | None = None
    auto_submitted: bool = True
    references: tuple[str, ...] = ()
    dkim: Sequence[DkimSigner] = ()


@dataclass(frozen=True, kw_only=True)
class Letter:
    """`wire` is the whole letter without the final dot. `links` are its destinations, by their number."""

    wire: bytes = field(repr=False)
    subject: str
    preheader: str = ""
    links: tuple[str, ...]
    link_digest: str
    """Names the list of destinations: the same list, the same digest."""

    @property
    def html(self) -> str:
        """The HTML part as a reader's program gets it."""
        return _decoded(self.wire, _HTML_HEAD, f"--{BOUNDARY}--")

    @property
    def text(self) -> str:
        """The text part as a reader's program gets it."""
        return _decoded(self.wire, _TEXT_HEAD, _HTML_HEAD)


class Composer:
    """Composes letters from one library. Safe to use from several threads."""

    def __init__(self, library: TemplateLibrary) -> None:
        self._library = library

    def compose(self, request: LetterRequest) -> Letter:
        """The letter for one lead. Raises RenderProblem (this lead's letter can't be made) or TemplateError."""
        style = request.links
        values = {
            **request.context,
            **self._library.functions,
            "unsubscribe_url": style.unsubscribe_url,
            "preferences_url": style.preferences_url,
        }
        if style.view_url is not None:
            values["view_url"] = style.view_url
        template = self._library.compile(request.template, language=request.language, per_lead=request.per_lead)
        if template.per_lead is not None:
            template = template.per_lead.compiled_for(values)
        subject = h.clean(self._library.line(request.subject).render(values), h.SUBJECT_LIMIT)
        if not subject:
            raise RenderProblem("the subject is blank")
        preheader = h.clean(self._library.line(request.preheader).render(values), h.SUBJECT_LIMIT)
        html, text, links = _rendered(template, values, style, preheader)
        return Letter(
            wire=_serialised(request, subject, style.one_click_url, f"{_TEXT_HEAD}{text}{_HTML_HEAD}{html}{_END}"),
            subject=subject,
            preheader=preheader,
            links=links,
            link_digest=link_digest(links),
        )


def compose_plain(request: PlainRequest) -> Letter:
    """A letter of ready texts, with the same care for its headers. Raises RenderProblem."""
    subject = h.clean(request.subject, h.SUBJECT_LIMIT)
    if not subject:
        raise RenderProblem("the subject is blank")
    if len(request.text) + len(request.html) > 2 * OUTPUT_LIMIT:
        raise RenderProblem(f"the letter is larger than {2 * OUTPUT_LIMIT:,} characters")
    text, html = (encode(part.rstrip("\r\n") + "\n") for part in (request.text, request.html))
    body = f"{_TEXT_HEAD}{text}{_HTML_HEAD}{html}{_END}"
    return Letter(
        wire=_serialised(request, subject, None, body), subject=subject, links=(), link_digest=link_digest(())
    )


@lru_cache(maxsize=4096)
def link_digest(links: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(links).encode()).hexdigest()[:32]


def _rendered(
    template: CompiledTemplate, values: dict[str, Any], style: LinkStyle, preheader: str
) -> tuple[str, str, tuple[str, ...]]:
    """Both parts, encoded, and the destinations of the links in them."""
    untracked = [style.unsubscribe_url, style.preferences_url]
    untracked += [values[name] for name in ("view_url", "stay_url", "offer_url", "confirm_url") if name in values]
    base = encoded_click_base(style.click_base)
    collect = LinkCollector(style, encoded_base=base, untracked=untracked)
    values |= {"_link": collect, "_fixed": collect.fixed, "_start": _opening(preheader), "_end": _closing(style)}
    html = template.html.render(values)
    found = collect.found
    replay = LinkCollector(style, encoded_base=base, untracked=untracked, escaped=False, known=found)
    values |= {"_link": replay, "_fixed": replay.fixed}
    text = template.text.render(values)
    return html, text, (*found, *replay.appended())


@lru_cache(maxsize=1024)
def _opening(preheader: str) -> str:
    """The line that inboxes show after the subject, hidden in the letter itself; spacers keep the body out of it."""
    if not preheader:
        return ""
    spacers = "&#847;&zwnj;&nbsp;" * 40
    return encode(f'<div style="{_HIDDEN}">{escape(preheader)}{spacers}</div>')


def _closing(style: LinkStyle) -> str:
    """The honeypot, which no person sees, and the pixel."""
    closing = ""
    if style.click_base is not None:
        closing += _HONEYPOT[0] + encode_url(f"{style.click_base}-h", True) + _HONEYPOT[1]
    if style.open_url is not None:
        closing += _PIXEL[0] + encode_url(destination(style.open_url), True) + _PIXEL[1]
    return closing


_HONEYPOT = (
    encode('<a href="'),
    encode(f'" rel="nofollow" aria-hidden="true" tabindex="-1" style="{_HIDDEN}"></a>'),
)
_PIXEL = (
    encode('<img src="'),
    encode('" width="1" height="1" alt="" style="display:block;border:0;width:1px;height:1px">'),
)


def _serialised(request: LetterRequest | PlainRequest, subject: str, one_click_url: str | None, body: str) -> bytes:
    headers = _headers(request, subject, one_click_url)
    encoded = body.encode("ascii")
    signatures = [signer.signature(headers, encoded, request.date) for signer in request.dkim]
    return h.header_block([*signatures, *headers]).encode("ascii") + encoded


def _headers(request: LetterRequest | PlainRequest, subject: str, one_click_url: str | None) -> list[h.Header]:
    to_name = h.clean(request.to_name, h.NAME_LIMIT) if request.to_name else ""
    headers = [
        ("From", h.mailbox(h.clean(request.from_name, h.NAME_LIMIT), request.from_address, "From")),
        ("To", h.mailbox(to_name, request.to_address, "To")),
        ("Subject", h.subject_value(subject)),
        ("Date", h.date_value(request.date)),
        ("Message-ID", h.message_id_value(request.message_id)),
    ]
    if request.reply_to is not None:
        headers.append(("Reply-To", h.checked_address(request.reply_to)))
    if request.references:
        identifiers: Sequence[str] = [h.message_id_value(each) for each in request.references[-20:]]
        headers += [("In-Reply-To", identifiers[-1]), ("References", "\r\n ".join(identifiers))]
    if request.list_id is not None:
        headers.append(("List-Id", f"<{h.token_value(request.list_id, 'List-Id')}>"))
    if one_click_url is not None:
        headers.append(("List-Unsubscribe", h.url_value(one_click_url)))
        headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    if request.feedback_id is not None:
        headers.append(("Feedback-ID", h.token_value(request.feedback_id, "Feedback-ID")))
    if request.auto_submitted:
        headers.append(("Auto-Submitted", "auto-generated"))
    return [*headers, ("MIME-Version", "1.0"), ("Content-Type", _CONTENT_TYPE)]


def _decoded(wire: bytes, head: str, end: str) -> str:
    part = wire.partition(head.encode())[2].partition(end.encode())[0]
    return quopri.decodestring(part).decode("utf-8").replace("\r\n", "\n")
