"""What the web tests stand on: a workspace's forms and offers, a served application, a clock moved by hand."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, insert, select
from sqlalchemy.sql.schema import Table

from nurture.content.tokens import Purpose, Tokens
from nurture.domain.forms import ConsentBox, Form, FormField, Offer
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.web.public import PublicParts, public_app
from nurture.web.server import make_server

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
CONSENT_TEXT = "Send me the guide and up to three mails a week about reporting. I can leave at any time."
URLS = ["https://acme.example/cases?x=1&y=2", "https://acme.example/roi", "https://acme.example/pricing"]

SETTINGS: dict[str, Any] = {
    "workspace": {
        "name": "Acme Analytics",
        "public_url": "https://mail.acme.example",
        "postal_address": "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany",
        "timezone": "Europe/Berlin",
        "country": "DE",
    },
    "smtp": {"primary": {"host": "127.0.0.1", "port": 2525, "security": "none"}},
    "senders": {"anna": {"from": "Anna Meier <anna@acme.example>"}},
    "sending": {"sender": "anna"},
    "reps": {"ben": {"name": "Ben Okafor", "email": "ben@acme.example"}},
}

GUIDE = Form(
    name="guide",
    title="The reporting guide",
    promise="Find the three numbers that matter in your reports",
    fields=(
        FormField(name="email", label="Work e-mail", kind="email"),
        FormField(name="first_name", label="First name"),
        FormField(name="company", label="Company", required=False),
        FormField(name="custom.employees", label="How many are you?", kind="number", required=False),
    ),
    consents={"email": ConsentBox(text=CONSENT_TEXT)},
    topics=("product",),
    button="Send me the guide",
    offer="reporting-guide",
    channel="content",
    campaign="Reporting guide",
    funnel="awareness",
    tags=("guide",),
    locales={"de": {"title": "Der Berichtsleitfaden", "button": "Schicken"}},
)
OPTIONAL = Form(
    name="optional",
    title="The guide, and nothing else if you like",
    fields=(FormField(name="email", label="E-mail", kind="email"),),
    consents={"email": ConsentBox(text="You may write to me.", required=False)},
    offer="reporting-guide",
)
AT_ONCE = Form(
    name="at-once",
    title="Without a second step",
    fields=(
        FormField(name="email", label="E-mail", kind="email"),
        FormField(name="company", label="Company", required=False),
    ),
    consents={"email": ConsentBox(text="You may write to me.")},
    offer="reporting-guide",
    double_opt_in=False,
    redirect="https://www.acme.example/thanks",
)
EVERYTHING = Form(
    name="everything",
    title="Every kind of field",
    fields=(
        FormField(name="email", label="E-mail", kind="email"),
        FormField(name="phone", label="Phone", kind="tel", required=False),
        FormField(name="custom.start", label="When would you start?", kind="date", required=False),
        FormField(name="custom.plan", label="Plan", kind="select", options=("team", "pro"), required=False),
        FormField(name="custom.role", label="Your role", kind="radio", options=("user", "buyer"), required=False),
        FormField(name="custom.demo", label="I want a demo", kind="checkbox", required=False),
        FormField(name="custom.ref", label="", kind="hidden", required=False),
    ),
    consents={"email": ConsentBox(text="You may write to me."), "phone": ConsentBox(text="Call me.", required=False)},
)
FORMS = {form.name: form for form in (GUIDE, OPTIONAL, AT_ONCE, EVERYTHING)}
OFFERS = {
    "reporting-guide": Offer(
        name="reporting-guide",
        kind="e-book",
        file="offers/reporting-guide.pdf",
        email="guide-delivery",
        subject="Here is your reporting guide",
    ),
    "tool": Offer(name="tool", kind="tool", url="https://tool.acme.example/start", email="tool", subject="Your tool"),
    "outside": Offer(name="outside", kind="e-book", file="../secret.txt", email="x", subject="x"),
}
EVIDENCE: dict[str, Any] = {
    "at": "2026-11-02T11:00:00+00:00",
    "grade": "A",
    "stage": "mql",
    "score": 82.0,
    "score_change": 34.0,
    "actions": [
        {"at": "2026-11-02T10:41:00+00:00", "kind": "demo requested", "text": "asked for a demo"},
        {"at": "2026-11-01T08:12:00+00:00", "kind": "clicked", "text": "clicked https://acme.example/roi"},
        {"at": "2026-10-30T15:30:00+00:00", "kind": "page viewed", "text": "looked at /pricing/enterprise"},
    ],
    "mails": [
        {"at": "2026-10-29T09:00:00+00:00", "subject": "Your ROI in two minutes"},
        {"at": "2026-10-26T09:00:00+00:00", "subject": "Three teams, three stories"},
    ],
    "mails_count": 2,
    "next": {"cadence": "mofu", "text": "the mail “roi”", "at": "2026-11-04T08:00:00+00:00"},
    "may_call": True,
}
PDF = b"%PDF-1.4 a guide\n%%EOF\n"


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class World:
    """A served workspace, and short ways to look into its tables."""

    root: Path
    database: Database
    settings: Settings
    clock: Clock
    tokens: Tokens
    client: httpx.Client
    address: str
    ids: dict[str, int] = field(default_factory=dict)

    def rows(self, table: Table, **where: Any) -> list[Any]:
        statement = select(table).order_by(*table.primary_key.columns)
        for name, value in where.items():
            statement = statement.where(table.c[name] == value)
        with self.database.reading() as connection:
            return list(connection.execute(statement))

    def insert(self, table: Table, **values: Any) -> int:
        with self.database.transaction() as connection:
            return int(connection.execute(insert(table).values(**values).returning(table.c.id)).scalar_one())

    def a_lead(self, email: str = "zoe@example.com", **values: Any) -> int:
        row = {
            "email": email,
            "email_key": email.lower(),
            "email_domain": email.rpartition("@")[2],
            "stage": "lead",
            "consented_at": NOON - timedelta(days=9),
            "custom": {},
            "readings": {},
            "fit_points": 0.0,
            "created_at": NOON - timedelta(days=9),
        }
        return self.insert(t.lead, **(row | values))

    def a_letter(self, lead_id: int, **values: Any) -> int:
        with self.database.transaction() as connection:
            _link_set(connection)
        sent_at = NOON - timedelta(hours=3)
        row = {
            "intent_key": f"step:{len(self.rows(t.message))}",
            "kind": "step",
            "lead_id": lead_id,
            "enrollment_id": 1,
            "cadence": "mofu",
            "step": "case",
            "to_address": "zoe@example.com",
            "recipient_domain": "example.com",
            "sender": "anna",
            "payload": {},
            "status": "sent",
            "created_at": sent_at,
            "not_before": sent_at,
            "sent_at": sent_at,
            "link_set": "three",
            "attempt": 1,
            "lease_epoch": 1,
            "visit": 1,
        }
        return self.insert(t.message, **(row | values))

    def an_alert(self, lead_id: int, **values: Any) -> int:
        """An alert that Ben was told of an hour ago, with what was known then."""
        told_at = NOON - timedelta(hours=1)
        row = {
            "lead_id": lead_id,
            "rep": "ben",
            "status": "open",
            "rule": "hot",
            "reasons": ["Score 82 crossed the hot line", "Asked for a demo"],
            "evidence": EVIDENCE,
            "created_at": told_at,
            "told_at": told_at,
        }
        return self.insert(t.alert, **(row | values))

    def sign(self, purpose: Purpose, payload: object) -> str:
        return self.tokens.sign(purpose, str(payload))

    def form_token(self, form: str) -> str:
        page = self.client.get(f"/f/{form}").text
        return page.split('name="form_token" value="', 1)[1].split('"', 1)[0]

    def send_in(self, form: str, **fields: str) -> httpx.Response:
        """Fill and send a hosted form as a browser without JavaScript does."""
        named = {name.replace("__", "."): value for name, value in fields.items()}
        return self.client.post(f"/f/{form}", data={"form_token": self.form_token(form), **named})


def _link_set(connection: Connection) -> None:
    if connection.execute(select(t.link_set.c.digest)).first() is None:
        connection.execute(insert(t.link_set).values(digest="three", urls=URLS))


class Served:
    """The application behind a real server in a thread of its own."""

    def __init__(self, parts: PublicParts) -> None:
        self.server = make_server(public_app(parts), "127.0.0.1:0")
        self.address = self.server.address
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()
