"""The peer: what one writes by hand to send a mailing, with the usual libraries and without waste.

Jinja templates compiled once, the 13 links already pointed at the tracker in them, `EmailMessage` for each letter,
aiosmtplib on connections that stay open, uvloop, and a commit for each row that is sent. The same leads out of the same
SQLite file, with the same settings of durability, and the same letter.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import aiosmtplib
import css_inline
import mjml
import uvloop
from jinja2 import Environment, Template

SENDER = "anna@acme.example"
TRACKER = "https://mail.acme.example"
ADDRESS = "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"
SUBJECT = "{{ lead.first_name }}, a letter for {{ lead.company | default('your team') }}"
QUEUED = """SELECT message.id, lead.email, lead.first_name, lead.company FROM message JOIN lead ON lead.id = lead_id
            WHERE message.status = 'queued' ORDER BY message.id LIMIT ?"""

Write = Callable[[sqlite3.Row], bytes]


def send_plainly(root: Path, *, port: int, count: int, connections: int, letters: Sequence[bytes] = ()) -> float:
    """Messages a second over so many of the queued rows; `letters`: those are made already, and only sent."""
    with closing(sqlite3.connect(root / "nurture.db", isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA synchronous=FULL")
        rows = database.execute(QUEUED, (count,)).fetchall()
        write = (lambda row: letters[row["id"] % len(letters)]) if letters else writer(root)
        return len(rows) / uvloop.run(_send_all(database, rows, write, port, connections))


async def _send_all(database: sqlite3.Connection, rows: list[Any], write: Write, port: int, connections: int) -> float:
    began = time.perf_counter()
    waiting = iter(rows)
    await asyncio.gather(*(_one_connection(database, waiting, write, port) for _ in range(connections)))
    return time.perf_counter() - began


async def _one_connection(database: sqlite3.Connection, rows: Iterator[Any], write: Write, port: int) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    await client.connect()
    for row in rows:
        await client.sendmail(SENDER, [row["email"]], write(row))
        database.execute("UPDATE message SET status = 'sent', sent_at = datetime() WHERE id = ?", (row["id"],))
    await client.quit()


def writer(root: Path) -> Write:
    """Makes the letter of a row."""
    source = (root / "templates" / "email" / "letter.mjml").read_text(encoding="utf-8")
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)
    compiled, links = _tracked(inliner.inline(mjml.mjml2html(source, fonts={})))
    environment = Environment(autoescape=True)
    html, subject = environment.from_string(compiled), Environment(autoescape=False).from_string(SUBJECT)
    text = Environment(autoescape=False).from_string(_plain(compiled, links))

    def write(row: sqlite3.Row) -> bytes:
        return _letter(row, html, text, subject)

    return write


def _tracked(html: str) -> tuple[str, list[str]]:
    """The HTML with its links led over the tracker, and where they lead."""
    links: list[str] = []

    def over_the_tracker(link: re.Match[str]) -> str:
        links.append(link[2])
        return f"{link[1]}{TRACKER}/c/{{{{ token }}}}-{len(links) - 1}"

    return re.sub(r'(<a\b[^>]*?href=")(https?://[^"]*)', over_the_tracker, html), links


def _plain(html: str, links: list[str]) -> str:
    """A text part of about the size of ours, made once."""
    body = re.sub(r"<(style|head)\b.*?</\1>", "", html, flags=re.DOTALL)
    words = re.sub(r"<[^>]*>", " ", body)
    lines = re.sub(r"[ \t]*\n\s*", "\n", re.sub(r"[ \t]+", " ", words)).strip()
    return lines + "\n" + "\n".join(f"{TRACKER}/c/{{{{ token }}}}-{number}" for number in range(len(links)))


def _letter(row: sqlite3.Row, html: Template, text: Template, subject: Template) -> bytes:
    token = f"{row['id']}.{hmac.digest(b'secret', str(row['id']).encode(), hashlib.sha256)[:16].hex()}"
    leave = f"{TRACKER}/u/{token}"
    lead = {"first_name": row["first_name"], "company": row["company"], "custom": {}}
    values = {
        "lead": lead,
        "token": token,
        "workspace": {"postal_address": ADDRESS},
        "unsubscribe_url": leave,
        "preferences_url": f"{leave}?page=preferences",
    }
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Anna Meier <{SENDER}>"
    message["To"] = row["email"]
    message["Subject"] = subject.render(values)
    message["Message-ID"] = f"<{token}@acme.example>"
    message["List-Unsubscribe"] = f"<{leave}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text.render(values))
    message.add_alternative(html.render(values), subtype="html")
    return message.as_bytes()
