"""Every decision, with its reason code and what fills its sentence: the past that `nurture why` tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from nurture.domain.reasons import Reason
from nurture.store import tables as t
from nurture.store.prepared import Prepared
from nurture.store.spellings import as_given, given_for


@dataclass(frozen=True, kw_only=True)
class NewDecision:
    """`detail` holds JSON-able values that the code's sentence names (see docs/reference/reasons.md)."""

    lead_id: int
    code: Reason
    at: datetime
    enrollment_id: int | None = None
    cadence: str | None = None
    step: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def record_decisions(connection: Connection, decisions: Sequence[NewDecision]) -> None:
    if decisions:
        _RECORD.run(connection, given=as_given([each.__dict__ for each in decisions]))


def _recording(_: Connection) -> Any:
    names = [each.name for each in fields(NewDecision)]
    return insert(t.decision).from_select(names, given_for(t.decision, names))


_RECORD = Prepared(_recording)
