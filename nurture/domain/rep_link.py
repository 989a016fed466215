"""The link to a rep's own page: who, and when it was made; good for half a day. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LIFE = timedelta(hours=12)
AHEAD = timedelta(minutes=5)
"""How far the clock of who signed it may be ahead."""
ASKED_AGAIN = timedelta(minutes=10)
"""A rep is mailed one link at most in each such stretch of time."""


@dataclass(frozen=True, kw_only=True)
class RepLink:
    """What the token says. One that was `made_at` the epoch shows only the button that mails a new link."""

    rep: str
    made_at: datetime

    @property
    def payload(self) -> str:
        return f"{self.rep}~{int(self.made_at.timestamp())}"

    @property
    def ends_at(self) -> datetime:
        return self.made_at + LIFE

    def is_good(self, now: datetime) -> bool:
        return self.made_at - AHEAD <= now < self.ends_at


def read_rep_link(payload: str | None) -> RepLink | None:
    """None for what is no such payload."""
    rep, tilde, made_at = (payload or "").rpartition("~")
    if not tilde or not rep or not made_at.isascii() or not made_at.isdigit() or len(made_at) > 12:
        return None
    return RepLink(rep=rep, made_at=datetime.fromtimestamp(int(made_at), UTC))


def way_in(rep: str) -> RepLink:
    """Stands in every mail to a rep, and never lapses, because it opens nothing by itself."""
    return RepLink(rep=rep, made_at=datetime.fromtimestamp(0, UTC))


def mail_key(rep: str, now: datetime) -> str:
    """The intent of a mailed link: unique within each stretch of `ASKED_AGAIN`."""
    return f"rep-link:{rep}:{int(now.timestamp() // ASKED_AGAIN.total_seconds())}"
