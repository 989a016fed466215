"""A catch-all mailbox: an SMTP server on loopback that keeps every message, and a page to read them.

It is a demonstration's mail system, nothing else: it listens on loopback only, stores in memory, and forgets.
"""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from html import escape

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from nurture.rehearsal.clock import VirtualClock

KEPT = 5000


@dataclass(frozen=True)
class Received:
    number: int
    at: datetime
    to: str
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def body(self, kind: str) -> str:
        """The `html` or `plain` part."""
        part = self.message.get_body(preferencelist=(kind,))
        return str(part.get_content()) if part is not None else ""


@dataclass
class Mailbox:
    """All mail that arrived, in order."""

    clock: VirtualClock
    received: list[Received] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        message = email.message_from_bytes(content, policy=email.policy.default)
        number = len(self.received)
        for to in envelope.rcpt_tos:
            self.received.append(Received(number, self.clock(), to, message))
            number += 1
        return "250 2.0.0 kept"


class MailServer:
    """The mailbox's SMTP listener, in a thread of its own."""

    def __init__(self, mailbox: Mailbox, *, port: int) -> None:
        self._controller = Controller(mailbox, hostname="127.0.0.1", port=port, ready_timeout=10)

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()


def mailbox_app(mailbox: Mailbox) -> Starlette:
    """Pages over the mailbox: the list, one message, its HTML in a frame without rights."""

    async def index(_request: Request) -> Response:
        rows = "".join(
            f"<tr><td>{each.at:%d %b %H:%M}</td><td>{escape(each.to)}</td>"
            f'<td><a href="/m/{each.number}">{escape(each.subject)}</a></td></tr>'
            for each in reversed(mailbox.received[-KEPT:])
        )
        return _page("Mailbox", f"<p>{len(mailbox.received)} messages, newest first.</p><table>{rows}</table>")

    async def message(request: Request) -> Response:
        found = _find(mailbox, request)
        if found is None:
            return _page("Not here", '<p>No such message. <a href="/">Mailbox</a></p>', status=404)
        headers = "".join(f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in found.message.items())
        return _page(
            found.subject,
            f'<p><a href="/">Mailbox</a></p><iframe sandbox="allow-popups allow-popups-to-escape-sandbox" '
            f'src="/m/{found.number}/html" title="The message"></iframe>'
            f"<details><summary>Text part</summary><pre>{escape(found.body('plain'))}</pre></details>"
            f"<details><summary>Headers</summary><table>{headers}</table></details>",
        )

    async def body(request: Request) -> Response:
        found = _find(mailbox, request)
        html = found.body("html") if found is not None else ""
        return HTMLResponse(html, headers={"content-security-policy": "script-src 'none'; sandbox allow-popups"})

    return Starlette(routes=[Route("/", index), Route("/m/{number:int}", message), Route("/m/{number:int}/html", body)])


def _find(mailbox: Mailbox, request: Request) -> Received | None:
    number = request.path_params["number"]
    return mailbox.received[number] if 0 <= number < len(mailbox.received) else None


def _page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_SHELL.format(title=escape(title), body=body), status_code=status)


_SHELL = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:32px auto;padding:0 16px}}
table{{border-collapse:collapse;width:100%}}td{{padding:6px 12px 6px 0;border-bottom:1px solid #8883;vertical-align:top;
overflow-wrap:anywhere}}td:first-child{{white-space:nowrap;color:#888}}
iframe{{width:100%;height:560px;border:1px solid #8886;border-radius:8px;background:#fff}}
details{{margin:16px 0}}pre{{white-space:pre-wrap}}</style></head><body><h1>{title}</h1>{body}</body></html>"""
