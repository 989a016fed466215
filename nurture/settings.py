"""config.toml as frozen values. Keys are validated strictly, and every mistake has its line and column.

A secret is written `env:NAME` or `file:PATH` and is looked up where it is used (`resolve_secret`), so that `check`,
which needs no secret, can read a config whose secrets live elsewhere. Nothing here holds or shows a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from nurture.documents.document import Document
from nurture.documents.finding import Finding, has_errors
from nurture.documents.nearest import suggest
from nurture.documents.strict import Strict, validate
from nurture.documents.toml_file import read_toml
from nurture.documents.values import (
    Cap,
    Duration,
    Goal,
    HostName,
    MailDomain,
    Name,
    PerSecond,
    SecretOrText,
    SecretRef,
    Text,
    WindowText,
    Zone,
    mail_domain,
)
from nurture.domain.cadence import Window
from nurture.domain.mailbox import read_mailbox
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage

CONFIG = "config.toml"


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"'{value}' is no web address: use e.g. 'https://mail.acme.example'")
    return value.rstrip("/")


def _listener(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"'{value}' is no address to listen on: use HOST:PORT, e.g. '127.0.0.1:8080'")
    return value


def _database_url(value: str) -> str:
    if not re.match(r"^(sqlite:///.+|postgres(ql)?(\+psycopg)?://|env:.+|file:.+)", value):
        raise ValueError(
            f"'{_without_password(value)}' is no database: use sqlite:///FILE or postgresql://USER@HOST/NAME"
        )
    return value


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", url)


def _mailbox(value: str) -> str:
    read_mailbox(value)
    return value


def _country(value: str) -> str:
    if not re.match(r"^[A-Z]{2}$", value):
        raise ValueError(f"'{value}' is no country: use two capitals such as 'DE'")
    return value


def _away(value: str) -> str:
    first, _, last = value.partition(" to ")
    if _day(first) > _day(last or first):
        raise ValueError(f"'{value}' ends before it begins")
    return value


def _extra_holiday(value: str) -> str:
    day, _, country = value.partition(" ")
    _day(day)
    if country:
        _country(country)
    return value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"'{text}' is no day: use e.g. '2026-12-24'") from None


def _private_listener(value: str) -> str:
    host = _listener(value).rpartition(":")[0].strip("[]")
    if not _is_loopback(host):
        raise ValueError(
            f"'{value}' can be reached from other machines, and nobody has to log in there: use e.g. '127.0.0.1:8081'"
        )
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
Listener = Annotated[str, AfterValidator(_listener)]
PrivateListener = Annotated[str, AfterValidator(_private_listener)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Country = Annotated[str, AfterValidator(_country)]
Away = Annotated[str, AfterValidator(_away)]
ExtraHoliday = Annotated[str, AfterValidator(_extra_holiday)]
Filled = Annotated[str, Field(min_length=1)]


class Workspace(Strict):
    name: Filled
    public_url: WebAddress
    postal_address: Filled
    timezone: Zone = "UTC"
    country: Country | None = None
    language: Annotated[str, Field(min_length=2)] = "en"
    secret_key: SecretRef | Annotated[list[SecretRef], Field(min_length=1)] = "env:NURTURE_SECRET_KEY"  # noqa: S105  a reference

    def as_seen(self) -> dict[str, str]:
        """As templates see it."""
        return {
            "name": self.name,
            "postal_address": self.postal_address,
            "public_url": self.public_url.rstrip("/"),
            "language": self.language,
            "timezone": self.timezone,
        }


class DatabaseSettings(Strict):
    url: DatabaseUrl = "sqlite:///nurture.db"


class Web(Strict):
    public: Listener = "127.0.0.1:8080"
    private: PrivateListener = "127.0.0.1:8081"
    trusted_proxies: list[Text] = Field(default=["127.0.0.1"])


class Api(Strict):
    write_keys: list[SecretRef] = Field(default=[])
    browser_keys: list[SecretRef] = Field(default=[])
    browser_events: list[Text] = Field(default=[])


TrackingMode = Literal["always", "consent", "hygiene", "never"]


class Tracking(Strict):
    opens: TrackingMode = "always"
    clicks: TrackingMode = "always"
    utm: dict[str, Text] = Field(default={})
    own_domains: list[Text] = Field(default=[])


class Smtp(Strict):
    host: Filled
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: Text | None = None
    password: SecretRef | None = None
    connections: int = Field(default=8, ge=1, le=1000)
    rate: PerSecond | None = None


class Esp(Strict):
    """An HTTP provider instead of SMTP. `url`: another endpoint than its usual one; `stream`: Postmark's."""

    provider: Literal["ses", "sendgrid", "mailgun", "postmark", "brevo"]
    api_key: SecretRef
    url: WebAddress | None = None
    stream: Text | None = None
    connections: int = Field(default=8, ge=1, le=1000)
    rate: PerSecond | None = None


class WarmUp(Strict):
    start: int = Field(ge=1)
    growth: float = Field(gt=1)


class Sender(Strict):
    from_: Mailbox = Field(alias="from")
    reply_to: Mailbox | None = None
    smtp: Text = "primary"
    esp: Text | None = None
    bounce_domain: HostName | None = None
    daily: int | None = Field(default=None, ge=1)
    warm_up: WarmUp | None = None
    tracking_domain: HostName | None = None

    @property
    def server(self) -> str:
        """The one its mail goes over, among `Settings.servers`."""
        return self.smtp if self.esp is None else f"esp.{self.esp}"


class DkimKey(Strict):
    selector: Filled
    key: SecretRef


class DomainLimits(Strict):
    connections: int | None = Field(default=None, ge=1)
    rate: PerSecond | None = None


class Inbox(Strict):
    """Where replies, bounces and complaints arrive: a maildir's `path`, or an IMAP account."""

    kind: Literal["maildir", "imap"] = "maildir"
    path: Text | None = None
    host: Text | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "tls"
    username: Text | None = None
    password: SecretRef | None = None
    folder: Text = "INBOX"


class Hook(Strict):
    provider: Literal["ses", "sendgrid", "mailgun", "postmark", "brevo"]
    secret: SecretRef | None = None


class Rep(Strict):
    name: Filled
    email: Mailbox
    timezone: Zone | None = None
    weight: float = Field(default=1, ge=0)
    capacity: int | None = Field(default=None, ge=0)
    sender: Text | None = None
    title: Text | None = None
    phone: Text | None = None
    meeting_url: WebAddress | None = None
    away: list[Away] = Field(default=[])


class AlertChannel(Strict):
    """Where alerts and `webhook` steps are posted to. `secret` signs a webhook; without one a key of ours does."""

    kind: Literal["slack", "webhook"]
    url: SecretOrText
    secret: SecretRef | None = None
    digest: Text | None = None


FieldType = Literal["text", "number", "date", "datetime", "boolean"] | list[str]


class Limits(Strict):
    per_lead: list[Cap] = Field(default=[])
    enroll_at_once: int = Field(default=5000, ge=1)


class Sending(Strict):
    sender: Text
    window: WindowText = Window()
    hold_over: int = Field(default=1000, ge=1)


class HolidaySettings(Strict):
    extra: list[ExtraHoliday] = Field(default=[])


class Retention(Strict):
    hits: Duration = timedelta(days=90)
    messages: Duration = timedelta(days=730)
    unconfirmed: Duration = timedelta(days=30)
    inactive_leads: Duration | None = None


class ConsentTerms(Strict):
    inquiry: Duration | None = None
    existing_customer: Duration | None = None


class Settings(Strict):
    workspace: Workspace
    database: DatabaseSettings = DatabaseSettings()
    web: Web = Web()
    api: Api = Api()
    tracking: Tracking = Tracking()
    smtp: dict[Name, Smtp] = Field(default={})
    esp: dict[Name, Esp] = Field(default={})
    senders: Annotated[dict[Name, Sender], Field(min_length=1)]
    dkim: dict[str, DkimKey | list[DkimKey]] = Field(default={})
    domains: dict[MailDomain, DomainLimits] = Field(default={})
    inbox: dict[Name, Inbox] = Field(default={})
    hooks: dict[Name, Hook] = Field(default={})
    reps: dict[Name, Rep] = Field(default={})
    alerts: dict[Name, AlertChannel] = Field(default={})
    topics: dict[Name, Text] = Field(default={})
    fields: dict[Name, FieldType] | None = None
    limits: Limits = Limits()
    sending: Sending
    goals: dict[str, Goal] = Field(default={})
    holidays: HolidaySettings = HolidaySettings()
    consent: dict[str, ConsentTerms] = Field(default={})
    retention: Retention = Retention()

    @property
    def servers(self) -> dict[str, Smtp | Esp]:
        """What takes mail on, by the name that nothing else has."""
        return {**self.smtp, **{f"esp.{name}": esp for name, esp in self.esp.items()}}


def read_settings(root: Path) -> tuple[Settings | None, Document | None, list[Finding]]:
    """config.toml of the workspace at `root`: its settings (None where it has an error), its places, its mistakes."""
    document, findings = read_toml(root, CONFIG)
    if document is None:
        return None, None, findings
    settings, findings = validate(document, Settings, context={"root": root})
    if settings is not None:
        findings = list(_cross_checks(settings, document))
    return (None if has_errors(findings) else settings), document, sorted(findings)


def require_config(root: Path) -> None:
    """Raises Problem where there is no workspace."""
    if not (root / CONFIG).is_file():
        raise Problem(f"no {CONFIG} in {root.absolute()}: change to a workspace, or make one with `nurture init DIR`")


def load_settings(root: Path) -> Settings:
    """As `read_settings`, for those who cannot go on without: raises Problem with every mistake, a line each."""
    require_config(root)
    settings, _, findings = read_settings(root)
    if settings is None:
        raise Problem("\n".join(str(finding) for finding in findings if finding.level == "error"))
    return settings.model_copy(update={"database": DatabaseSettings(url=database_url(settings, root))})


def database_url(settings: Settings, root: Path) -> str:
    """Where the database is, `env:` and `file:` looked up. Raises Problem where they name none."""
    url = settings.database.url
    if not url.startswith(("env:", "file:")):
        return url
    try:
        return _database_url(resolve_secret(_rooted(url, root)))
    except ValueError as error:
        raise Problem(f"config.toml takes the place of the database from {url}: {error}") from None


def _rooted(reference: str, root: Path) -> str:
    kind, _, name = reference.partition(":")
    return f"file:{(root / name).absolute()}" if kind == "file" else reference


def resolve_secret(reference: str) -> str:
    """The secret behind `env:NAME` or `file:PATH`, without a final line end. Raises Problem that says what is wrong."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name, "")
        if not value:
            raise Problem(f"the environment variable {name} is not set: config.toml takes a secret from it")
        return value
    if kind != "file":
        raise Problem("a secret in config.toml is neither 'env:NAME' nor 'file:PATH'")
    try:
        value = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Problem(f"the secret file {name} cannot be read: {cause}") from None
    if not value:
        raise Problem(f"the secret file {name} is empty")
    return value


RESERVED_CHANNELS = ("email", "sales", "owner")
"""What `notify:` and `channels:` understand besides the names of channels."""


def check_channel_url(url: str) -> None:
    """Raises ValueError where nothing may be posted to: no web address, or one that would carry leads in the clear."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or parts.scheme not in ("https", "http"):
        raise ValueError("url is no web address: use e.g. 'https://hooks.example.com/services/…'")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("url would carry leads' data in the clear: use https")


def _is_loopback(host: str) -> bool:
    """This machine itself, by its address or by the one name that is never anything else (RFC 6761)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _channel_checks(settings: Settings, document: Document) -> Iterator[Finding]:
    for name, channel in settings.alerts.items():
        if name in RESERVED_CHANNELS or name in settings.reps:
            message = f"a channel cannot be called '{name}': that name means somebody else in `notify:`"
            yield document.finding(document.key_at(("alerts", name)), "channel-name", message)
        if channel.kind == "slack" and channel.secret is not None:
            message = 'nothing is signed for kind = "slack": its url is the secret'
            yield document.finding(document.key_at(("alerts", name, "secret")), "channel-secret", message)
        if not channel.url.startswith(("env:", "file:")):
            try:
                check_channel_url(channel.url)
            except ValueError as error:
                yield document.finding(document.value_at(("alerts", name, "url")), "channel-url", str(error))


def _esp_checks(settings: Settings, document: Document) -> Iterator[Finding]:
    for name, esp in settings.esp.items():
        if esp.provider == "ses" and esp.url is None:
            message = "missing key 'url': provider = \"ses\" needs its endpoint, e.g. 'https://email.eu-central-1.amazonaws.com'"
            yield document.finding(document.value_at(("esp", name)), "missing-key", message)
        if esp.stream is not None and esp.provider != "postmark":
            message = f"'stream' means nothing to {esp.provider}: it is Postmark's"
            yield document.finding(document.key_at(("esp", name, "stream")), "esp-stream", message)
        parts = urlsplit(esp.url or "")
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            message = "url would carry the key in the clear: use https"
            yield document.finding(document.value_at(("esp", name, "url")), "esp-url", message)


def _domain_checks(document: Document) -> Iterator[Finding]:
    """Two spellings of one domain: only one of their limits would be kept."""
    first: dict[str, str] = {}
    for written in document.data.get("domains", {}):
        other = first.setdefault(mail_domain(written), written)
        if other != written:
            message = f"'{written}' is the same domain as '{other}' above: keep one of them"
            yield document.finding(document.key_at(("domains", written)), "duplicate-key", message)


def _cross_checks(settings: Settings, document: Document) -> Iterator[Finding]:
    """What one key says about another."""

    def unknown(path: tuple[str, ...], kind: str, choices: Iterable[str]) -> Iterator[Finding]:
        value = document.data
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        known = list(choices)
        if isinstance(value, str) and value not in known:
            message = f"unknown {kind} '{value}'{suggest(value, known)}"
            yield document.finding(document.value_at(path), f"unknown-{kind}", message)

    yield from unknown(("sending", "sender"), "sender", settings.senders)
    yield from _channel_checks(settings, document)
    for name, sender in settings.senders.items():
        yield from unknown(("senders", name, "smtp"), "smtp", settings.smtp)
        yield from unknown(("senders", name, "esp"), "esp", settings.esp)
        if sender.esp is None and sender.smtp not in settings.smtp and not document.holds(("senders", name, "smtp")):
            message = f"sender '{name}' has no smtp = \"…\" and there is no [smtp.primary]"
            yield document.finding(document.key_at(("senders", name)), "unknown-smtp", message)
    for name in settings.reps:
        yield from unknown(("reps", name, "sender"), "sender", settings.senders)
    for name in settings.goals:
        if name not in list(Stage):
            place = document.key_at(("goals", name))
            yield document.finding(place, "unknown-stage", f"unknown stage '{name}'{suggest(name, list(Stage))}")
    for name in settings.consent:
        if not re.match(r"^[A-Z]{2}$", name):
            message = f"'{name}' is no country: use two capitals such as 'CA'"
            yield document.finding(document.key_at(("consent", name)), "country", message)
    for name, inbox in settings.inbox.items():
        missing = "path" if inbox.kind == "maildir" and inbox.path is None else None
        missing = "host" if inbox.kind == "imap" and inbox.host is None else missing
        if missing:
            message = f"missing key '{missing}': kind = \"{inbox.kind}\" needs it"
            yield document.finding(document.value_at(("inbox", name)), "missing-key", message)
    yield from _esp_checks(settings, document)
    yield from _domain_checks(document)
    for name, server in settings.smtp.items():
        if (server.username is None) != (server.password is None):
            message = "'username' and 'password' go together"
            yield document.finding(document.value_at(("smtp", name)), "missing-key", message)
