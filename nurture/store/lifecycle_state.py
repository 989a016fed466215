"""What the lifecycle remembers of itself between passes, in one note: the rules in force, and its last sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from nurture.store import tables as t
from nurture.store.database import insert

NAME = "lifecycle"


@dataclass(frozen=True, kw_only=True)
class LifecycleState:
    """`rules` is a digest of what fit and stages depend on. `rebuilt_through`: sums are being made for a new half-life,
    and those of leads up to this id are done (None: of all).
    """

    half_life_seconds: float
    rules: str
    rebuilt_through: int | None = None
    swept_at: str | None = None

    @property
    def half_life(self) -> timedelta:
        return timedelta(seconds=self.half_life_seconds)

    def sweeps_at(self, now: datetime, every: timedelta) -> bool:
        """Whether the last sweep is that long ago; also when the clock was set back."""
        last = datetime.fromisoformat(self.swept_at) if self.swept_at else None
        return last is None or not last <= now < last + every


def read_state(connection: Connection, *, locked: bool = False) -> LifecycleState | None:
    """None before the first pass."""
    statement = select(t.note.c.value).where(t.note.c.name == NAME)
    value = connection.scalar(statement.with_for_update() if locked else statement)
    return None if value is None else LifecycleState(**value)


def keep_state(connection: Connection, state: LifecycleState) -> None:
    value = asdict(state)
    statement = insert(connection, t.note).values(name=NAME, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=[t.note.c.name], set_={"value": value}))
