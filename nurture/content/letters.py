"""Composes letters: a compiled template and one lead become the bytes that go on the wire.

The bytes are 7-bit, but for an address beyond ASCII in a header, and of lines of at most 76 characters in the body,
with CRLF everywhere, and end with one CRLF. No line of them starts with a dot, so there is nothing to stuff:
`Letter.wire` goes to the server as it is, then the final dot.
"""

from __future__ import annotations

import hashlib
import quopri
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
from markupsafe import escape

from nurture.content import headers as h
from nurture.content.assets import AssetFunction
from nurture.content.attachments import Attachment
from nurture.content.calendar_entry import FILE as CALENDAR_FILE
from nurture.content.calendar_entry import CalendarEntry, calendar_part
from nurture.content.dkim import DkimSigner
from nurture.content.filters import bounded
from nurture.content.links import (
    LinkCollector,
    LinkStyle,
    destination,
    encode_url,
    encoded_click_base,
    html_slot,
)
from nurture.content.parts import OUTPUT_LIMIT, Line
from nurture.content.problems import RenderProblem, TemplateError
from nurture.content.quoted_printable import encode
from nurture.content.templates import KNOWN_AT_MOST, CompiledTemplate, TemplateLibrary

__all__ = ["Composer", "Letter", "LetterRequest", "LinkStyle", "PlainRequest", "RenderProblem", "compose_plain"]

# quoted-printable never holds "=_", so no body can contain it (RFC 2045, 6.7)
BOUNDARY = "=_nurture"
# neither begins with the other: readers compare only the beginning of a line (RFC 2046, 5.1.1); base64 has no "_"
AROUND = "=_mixed"
_CONTENT_TYPE = f'multipart/alternative; boundary="{BOUNDARY}"'
_TEXT_HEAD = (
    f"--{BOUNDARY}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)
_HTML_HEAD = (
    f"--{BOUNDARY}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
)
_END = f"--{BOUNDARY}--\r\n"
_MIXED_TYPE = f'multipart/mixed; boundary="{AROUND}"'
_MIXED_HEAD = f"--{AROUND}\r\nContent-Type: {_CONTENT_TYPE}\r\n\r\n"
_REPLY = re.compile(r"\s*(?:(?:re|aw|sv|antw|rv)(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)

log = structlog.get_logger()
_HIDDEN = "display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;mso-hide:all"


@dataclass(frozen=True, kw_only=True)
class LetterRequest:
    """A letter from a template.

    `subject`, `preheader` and `vars` are Jinja text. `context` holds what templates may see: mappings `lead` (without
    blank fields, `custom` inside), `owner`, `sender`, `workspace`, `event`, `offer`, and addresses such as
    `confirm_url`; those of `links` are added here. `addresses` are made only where the letter speaks of them.
    `message_id`, `references` and `list_id` are without angle brackets. `base_language` is what a template says that
    does not tell its language. `thread_subject` is the first subject of the thread that the letter answers in.
    """

    template: str
    subject: str
    preheader: str = ""
    language: str = "en"
    base_language: str = "en"
    per_lead: bool = False
    context: Mapping[str, Any]
    vars: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, Callable[[], str]] = field(default_factory=dict)
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
    thread_subject: str | None = None
    attachments: tuple[Attachment, ...] = ()
    calendar: CalendarEntry | None = None
    mark: str = ""
    """Goes before the subject."""
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
    language: str = ""
    """Of the template's file; "" for one that has no language in its name."""
    files: tuple[str, ...] = ()
    """What is attached, by name."""

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
        self._good: dict[tuple[str, str, bool], CompiledTemplate] = {}
        self._told: dict[str, str] = {}

    @property
    def root(self) -> Path:
        """The workspace that the templates are of."""
        return self._library.root

    def asset_function(self, base_url: str) -> AssetFunction:
        """`asset` for the context of letters whose assets are served under this address."""
        return self._library.asset_function(base_url)

    def line(self, text: str, context: Mapping[str, Any]) -> str:
        """A subject as a letter with this context has it. Raises RenderProblem or TemplateError."""
        return h.clean(self._library.line(text).render({**self._library.functions, **context}), h.SUBJECT_LIMIT)

    def compose(self, request: LetterRequest) -> Letter:
        """The letter for one lead. Raises RenderProblem (this lead's letter can't be made) or TemplateError."""
        style = request.links
        values = {
            **self._library.functions,
            **request.context,
            "unsubscribe_url": style.unsubscribe_url,
            "preferences_url": style.preferences_url,
            "_language": html_slot(request.base_language),
        }
        template = self._template(request)
        lines = (self._library.line(request.subject), self._library.line(request.preheader))
        self._add(values, request, template, lines)
        if template.per_lead is not None:
            template = template.per_lead.compiled_for(values)
        subject = _threaded(h.clean(lines[0].render(values), h.SUBJECT_LIMIT), request.thread_subject)
        if not subject:
            raise RenderProblem("the subject is blank")
        subject = f"{request.mark}{subject}"
        preheader = h.clean(lines[1].render(values), h.SUBJECT_LIMIT)
        html, text, links = _rendered(template, values, style, preheader)
        body, content_type, files = _around(f"{_TEXT_HEAD}{text}{_HTML_HEAD}{html}{_END}", request, subject)
        return Letter(
            wire=_serialised(request, subject, style.one_click_url, body, content_type),
            subject=subject,
            preheader=preheader,
            links=links,
            link_digest=link_digest(links),
            language=template.language,
            files=files,
        )

    def _template(self, request: LetterRequest) -> CompiledTemplate:
        """As its files are now; where they are gone or broken, as they last were right in this process.

        A file that is half written, or wrong, must not fail the mail that is under way; `check` and the log say so.
        """
        key = (request.template, request.language, request.per_lead)
        try:
            found = self._library.compile(request.template, language=request.language, per_lead=request.per_lead)
        except TemplateError as error:
            good = self._good.get(key)
            if good is None:
                raise
            if self._told.get(request.template) != str(error):
                self._told[request.template] = str(error)
                log.error(
                    "template_broken", template=request.template, why=str(error), uses="the last one that was right"
                )
            return good
        if self._good.get(key) is not found:
            if len(self._good) >= KNOWN_AT_MOST:
                self._good.clear()
            self._good[key] = found
            self._told.pop(request.template, None)
        return found

    def _add(
        self, values: dict[str, Any], request: LetterRequest, template: CompiledTemplate, lines: tuple[Line, ...]
    ) -> None:
        """The addresses that this letter speaks of, and its `vars`."""
        texts = {name: self._library.line(text) for name, text in request.vars.items()} if request.vars else {}
        for name, make in request.addresses.items():
            if name in template.variables or any(name in line.variables for line in (*lines, *texts.values())):
                values[name] = make()
        if texts:
            values["vars"] = {name: bounded(line.render(values)) for name, line in texts.items()}


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
        wire=_serialised(request, subject, None, body, _CONTENT_TYPE),
        subject=subject,
        links=(),
        link_digest=link_digest(()),
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
    if not template.has_written_text and "\r\n\r\n\r\n" in text:
        text = _GAP.sub("\r\n\r\n", text)
    return html, text, (*found, *replay.appended())


_GAP = re.compile(r"\r\n(?<!=\r\n)\r\n(?:\r\n)+")
"""Several blank lines: what a paragraph leaves that is not for this lead. A line that ends with `=` has no end yet.

It begins with what it looks for: the search for a line's end is fast, for what may stand before one it is not.
"""


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


def _threaded(subject: str, first: str | None) -> str:
    """The subject of an answer: the thread's, with "Re: ", unless the step says another one."""
    if first is None:
        return subject
    bare, own = _without_re(h.clean(first, h.SUBJECT_LIMIT)), _without_re(subject)
    if own and own.casefold() != bare.casefold():
        return subject
    return h.clean(f"Re: {bare}", h.SUBJECT_LIMIT) if bare else ""


def _without_re(subject: str) -> str:
    found = _REPLY.match(subject)
    return subject[found.end() :] if found else subject


def _around(body: str, request: LetterRequest, subject: str) -> tuple[str, str, tuple[str, ...]]:
    """The letter with its files around it, its type, and the files' names. Raises RenderProblem."""
    if not request.attachments and request.calendar is None:
        return body, _CONTENT_TYPE, ()
    parts = [each.part for each in request.attachments]
    names = [each.name for each in request.attachments]
    if request.calendar is not None:
        parts.append(calendar_part(request.calendar, subject))
        names.append(CALENDAR_FILE)
    pieces = [f"{_MIXED_HEAD}{body}", *parts]
    return f"\r\n--{AROUND}\r\n".join(pieces) + f"\r\n--{AROUND}--\r\n", _MIXED_TYPE, tuple(names)


def _serialised(
    request: LetterRequest | PlainRequest, subject: str, one_click_url: str | None, body: str, content_type: str
) -> bytes:
    headers = _headers(request, subject, one_click_url, content_type)
    encoded = body.encode("ascii")
    signatures = [signer.signature(headers, encoded, request.date) for signer in request.dkim]
    return h.header_block([*signatures, *headers]).encode() + encoded


def _headers(
    request: LetterRequest | PlainRequest, subject: str, one_click_url: str | None, content_type: str
) -> list[h.Header]:
    to_name = h.clean(request.to_name, h.NAME_LIMIT) if request.to_name else ""
    headers = [
        ("From", h.mailbox(h.clean(request.from_name, h.NAME_LIMIT), request.from_address, "From")),
        ("To", h.mailbox(to_name, request.to_address, "To")),
        ("Subject", h.subject_value(subject)),
        ("Date", h.date_value(request.date)),
        ("Message-ID", h.message_id_value(request.message_id)),
    ]
    if request.reply_to is not None:
        headers.append(("Reply-To", h.mailbox_value(request.reply_to, "Reply-To")))
    if request.references:
        kept = request.references[:1] + request.references[1:][-19:]
        identifiers: Sequence[str] = [h.message_id_value(each) for each in kept]
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
    return [*headers, ("MIME-Version", "1.0"), ("Content-Type", content_type)]


def _decoded(wire: bytes, head: str, end: str) -> str:
    part = wire.partition(head.encode())[2].partition(end.encode())[0]
    return quopri.decodestring(part).decode("utf-8").replace("\r\n", "\n")
