"""config.toml as frozen values. Keys are validated strictly; secrets are resolved here and shown nowhere.

A secret is written `env:NAME` or `file:PATH` and becomes a `SecretStr` when the settings are resolved, so that
`check`, which needs no secret, can read a config whose secrets live elsewhere.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from nurture.domain.cadence import FrequencyCap, Window
from nurture.domain.spans import parse_cap, parse_duration, parse_rate
from nurture.domain.windows import parse_window


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"unknown time zone '{value}': use a name such as 'Europe/Berlin'")
    return value


def _secret_reference(value: Any) -> Any:
    if isinstance(value, str) and not re.match(r"^(env|file):.+", value):
        raise ValueError("a secret is never written here: use 'env:NAME' or 'file:PATH'")
    return value


def _cap(value: Any) -> Any:
    return parse_cap(value) if isinstance(value, str) else value


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _rate(value: Any) -> Any:
    return parse_rate(value) if isinstance(value, str) else value


def _window(value: Any) -> Any:
    return value if isinstance(value, Window) else parse_window(value)


Zone = Annotated[str, AfterValidator(_known_zone)]
SecretRef = Annotated[str, BeforeValidator(_secret_reference)]
Cap = Annotated[FrequencyCap, BeforeValidator(_cap)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
PerSecond = Annotated[float, BeforeValidator(_rate)]
"""Messages a second, written '50 per second' or '600 per minute'."""
WindowText = Annotated[Window, BeforeValidator(_window)]


class Workspace(Strict):
    name: str
    public_url: str
    postal_address: str
    timezone: Zone = "UTC"
    country: str | None = None
    language: str = "en"
    secret_key: SecretRef | list[SecretRef] = "env:NURTURE_SECRET_KEY"


class DatabaseSettings(Strict):
    url: str = "sqlite:///nurture.db"


class Web(Strict):
    public: str = "127.0.0.1:8080"
    private: str = "127.0.0.1:8081"
    trusted_proxies: list[str] = ["127.0.0.1"]


class Api(Strict):
    write_keys: list[SecretRef] = []
    browser_keys: list[SecretRef] = []
    browser_events: list[str] = []


TrackingMode = Literal["always", "consent", "hygiene", "never"]


class Tracking(Strict):
    opens: TrackingMode = "always"
    clicks: TrackingMode = "always"
    utm: dict[str, str] = {}
    own_domains: list[str] = []


class Smtp(Strict):
    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: str | None = None
    password: SecretRef | None = None
    connections: int = Field(default=8, ge=1, le=1000)
    rate: PerSecond | None = None


class WarmUp(Strict):
    start: int = Field(ge=1)
    growth: float = Field(gt=1)


class Sender(Strict):
    from_: str = Field(alias="from")
    reply_to: str | None = None
    smtp: str = "primary"
    bounce_domain: str | None = None
    daily: int | None = Field(default=None, ge=1)
    warm_up: WarmUp | None = None
    tracking_domain: str | None = None


class DkimKey(Strict):
    selector: str
    key: SecretRef


class DomainLimits(Strict):
    connections: int | None = Field(default=None, ge=1)
    rate: PerSecond | None = None


class Inbox(Strict):
    kind: Literal["maildir"] = "maildir"
    path: str


class Rep(Strict):
    name: str
    email: str
    timezone: Zone | None = None
    weight: float = Field(default=1, ge=0)
    capacity: int | None = Field(default=None, ge=0)
    sender: str | None = None
    title: str | None = None
    phone: str | None = None
    meeting_url: str | None = None
    away: list[str] = []


class AlertChannel(Strict):
    kind: Literal["slack", "webhook"]
    url: SecretRef | str
    secret: SecretRef | None = None
    digest: str | None = None


FieldType = Literal["text", "number", "date", "datetime", "boolean"] | list[str]


class Limits(Strict):
    per_lead: list[Cap] = []
    enroll_at_once: int = 5000


class Sending(Strict):
    sender: str
    window: WindowText = Window()
    hold_over: int = 1000


class HolidaySettings(Strict):
    extra: list[str] = []


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
    smtp: dict[str, Smtp]
    senders: dict[str, Sender]
    dkim: dict[str, DkimKey | list[DkimKey]] = {}
    domains: dict[str, DomainLimits] = {}
    inbox: dict[str, Inbox] = {}
    reps: dict[str, Rep] = {}
    alerts: dict[str, AlertChannel] = {}
    topics: dict[str, str] = {}
    fields: dict[str, FieldType] | None = None
    limits: Limits = Limits()
    sending: Sending
    goals: dict[str, str] = {}
    holidays: HolidaySettings = HolidaySettings()
    consent: dict[str, ConsentTerms] = {}
    retention: Retention = Retention()
