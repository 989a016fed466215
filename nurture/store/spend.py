"""What was spent on marketing, by month, channel and campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from nurture.store import tables as t
from nurture.store.database import insert

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class SpendLine:
    """`month` is YYYY-MM; an empty `campaign` is the channel's spend that belongs to none."""

    month: str
    channel: str
    campaign: str
    amount: float
    currency: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.month, self.channel, self.campaign


def save_spend(connection: Connection, lines: Sequence[SpendLine]) -> None:
    """Write each line; one that stands there (same month, channel and campaign) is replaced."""
    statement = insert(connection, t.spend)
    statement = statement.on_conflict_do_update(
        index_elements=["month", "channel", "campaign"],
        set_={"amount": statement.excluded.amount, "currency": statement.excluded.currency},
    )
    for start in range(0, len(lines), CHUNK):
        connection.execute(statement, [line.__dict__ for line in lines[start : start + CHUNK]])
