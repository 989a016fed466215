"""What all mail to a rep shares: its templates in `letters/`, times on the rep's clock, the way to the rep's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from nurture.content.tokens import Purpose, Tokens
from nurture.domain.rep_link import way_in
from nurture.settings import Settings

LETTERS = Path(__file__).parent / "letters"


@dataclass(frozen=True, kw_only=True)
class RepMail:
    subject: str
    text: str
    html: str


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Who is written to, and from where."""

    settings: Settings
    tokens: Tokens
    base_url: str
    now: datetime

    def page(self, purpose: Purpose, payload: str) -> str:
        return f"{self.base_url.rstrip('/')}/{purpose.value}/{self.tokens.sign(purpose, payload)}"

    def rep_name(self, name: str | None) -> str | None:
        rep = self.settings.reps.get(name) if name else None
        return rep.name if rep is not None else name

    def zone(self, name: str) -> ZoneInfo:
        rep = self.settings.reps.get(name)
        return ZoneInfo((rep.timezone if rep is not None else None) or self.settings.workspace.timezone)

    def mail(self, template: str, rep: str, *, subject: str, **values: Any) -> RepMail:
        """Both parts of a template of `letters/`."""
        zone = self.zone(rep)
        shared: Mapping[str, Any] = {
            "rep": self.rep_name(rep) or rep,
            "workspace": self.settings.workspace,
            "told_at": say(self.now, zone),
            "zone": zone.key,
            "list_url": self.page(Purpose.REP, way_in(rep).payload) if rep in self.settings.reps else None,
        }
        text, html = (_letters().get_template(f"{template}.{kind}").render({**shared, **values}) for kind in _KINDS)
        return RepMail(subject=subject, text=text, html=html)


_KINDS = ("txt", "html")


def say(moment: datetime, zone: ZoneInfo) -> str:
    """'Mon 2 Nov, 09:14'."""
    there = moment.astimezone(zone)
    return f"{there:%a} {there.day} {there:%b, %H:%M}"


def say_iso(text: str, zone: ZoneInfo) -> str:
    return say(datetime.fromisoformat(text), zone)


@cache
def _letters() -> Environment:
    return Environment(
        loader=FileSystemLoader(LETTERS),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
