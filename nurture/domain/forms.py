"""What `_forms.yaml` says: hosted forms and the offers behind them, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FieldKind = Literal["text", "email", "number", "tel", "date", "select", "radio", "checkbox", "hidden"]


@dataclass(frozen=True, kw_only=True)
class FormField:
    """`name` is a lead field or `custom.X`."""

    name: str
    label: str
    kind: FieldKind = "text"
    required: bool = True
    options: tuple[str, ...] = ()
    ask: Literal["always", "when_missing"] = "always"


@dataclass(frozen=True, kw_only=True)
class ConsentBox:
    """An unticked box; its text is stored with the consent, word for word."""

    text: str
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class ConfirmMail:
    template: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Form:
    name: str
    title: str
    promise: str = ""
    fields: tuple[FormField, ...]
    consents: Mapping[str, ConsentBox] = field(default_factory=dict)
    """kind (email, phone, tracking) -> its box."""
    topics: tuple[str, ...] = ()
    confirm: ConfirmMail | None = None
    button: str = "Send"
    offer: str | None = None
    double_opt_in: bool = True
    channel: str | None = None
    campaign: str | None = None
    funnel: Literal["awareness", "consideration", "decision"] | None = None
    tags: tuple[str, ...] = ()
    partner: str | None = None
    redirect: str | None = None
    template: str | None = None
    locales: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a lead gets in return. Exactly one of `file` (a path in the workspace) and `url`."""

    name: str
    kind: str
    file: str | None = None
    url: str | None = None
    email: str
    subject: str
