"""The reps of a workspace at one moment, and whose turn it is: owner, the account's owner, territory, weight.

An alert goes to whom, by weight, was given least; a task to whom has, by weight, least to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.lifecycle import Lifecycle, Route
from nurture.domain.routing import Candidate, came_back_at, choose, is_away, parse_absence
from nurture.settings import Settings
from nurture.store.routing import account_owners, given_by, open_counts
from nurture.store.segments import Asking, leads_meeting
from nurture.store.tasks import open_task_counts

TO_SALES, TO_OWNER = "sales", "owner"


@dataclass(frozen=True, kw_only=True)
class Routed:
    """`by` says how the rep was found; `owns`: the lead becomes the rep's, if it is nobody's."""

    rep: str
    by: str
    owns: bool


class Roster:
    """Routes the alerts of one transaction; what it gives out counts for the next ones."""

    def __init__(
        self, connection: Connection, settings: Settings, lifecycle: Lifecycle, vocabulary: Vocabulary, asking: Asking
    ) -> None:
        self._connection = connection
        self._reps = settings.reps
        self._routes = lifecycle.routing or (Route(reps=tuple(settings.reps)),)
        self._vocabulary = vocabulary
        self._asking = asking
        self._zones = {name: ZoneInfo(rep.timezone or settings.workspace.timezone) for name, rep in self._reps.items()}
        self._absences = {name: [parse_absence(each) for each in rep.away] for name, rep in self._reps.items()}
        self._open = open_counts(connection)
        self._to_do: Counter[str] = Counter()
        self._given: dict[str, dict[str, int | None]] = {}

    def route(self, alerts: Sequence[Any]) -> dict[int, Routed]:
        """alert id -> its rep; absent where there is none. `alerts` have their lead's columns as `lead_…`."""
        return self._route(alerts, self._open, self._alert_turn)

    def route_tasks(self, tasks: Sequence[Any]) -> dict[int, Routed]:
        """As `route`, by task id. A task fills no rep's capacity, which is for alerts."""
        self._to_do = open_task_counts(self._connection)
        return self._route(tasks, self._to_do, self._task_turn)

    def _route(
        self, rows: Sequence[Any], load: Counter[str], by_turn: Callable[[Route], Routed | None]
    ) -> dict[int, Routed]:
        leads = {row.lead_id: _Lead(row) for row in rows}
        owners = account_owners(self._connection, list(leads.values()), list(self._reps)) if leads else {}
        territories = self._territories(sorted(leads))
        routed: dict[int, Routed] = {}
        of_lead: dict[int, Routed] = {}
        for row in rows:
            # two of one lead in one pass go to one rep
            found = self._named(row) or of_lead.get(row.lead_id)
            found = found or self._owner(row.lead_owner, owners.get(row.lead_id), load)
            if found is None and row.lead_id in territories:
                # while the owner is away another rep stands in, and the lead stays the owner's
                found = by_turn(territories[row.lead_id])
            if found is not None:
                routed[row.id] = found
                if row.to not in self._reps:
                    of_lead[row.lead_id] = found
        return routed

    def _named(self, row: Any) -> Routed | None:
        """Whom the alert was for already, or whom a step names."""
        if row.told_count and row.rep in self._reps:
            return Routed(rep=row.rep, by=row.routed_by, owns=False)
        return Routed(rep=row.to, by="named", owns=False) if row.to in self._reps else None

    def _owner(self, owner: str | None, account_owner: str | None, load: Counter[str]) -> Routed | None:
        for rep, by in ((owner, "owner"), (account_owner, "account")):
            if rep in self._reps and rep is not None and not self._is_away(rep):
                load[rep] += 1
                return Routed(rep=rep, by=by, owns=by == "account")
        return None

    def _alert_turn(self, route: Route) -> Routed | None:
        pool, given = self._pool(route)
        rep = choose([self._candidate(name, each) for name, each in given.items()])
        if rep is None:
            return None
        given[rep] = (given[rep] or 0) + 1
        self._open[rep] += 1
        return Routed(rep=rep, by=pool, owns=True)

    def _task_turn(self, route: Route) -> Routed | None:
        names = [name for name in route.reps if name in self._reps]
        rep = choose([self._candidate(name, self._to_do[name] or None) for name in names])
        if rep is None:
            return None
        self._to_do[rep] += 1
        return Routed(rep=rep, by=_pool_of(names), owns=True)

    def _pool(self, route: Route) -> tuple[str, dict[str, int | None]]:
        """Who shares in the turns of this rule, and what each was given of its alerts."""
        names = [name for name in route.reps if name in self._reps]
        pool = _pool_of(names)
        if pool not in self._given:
            back_at = {name: came_back_at(self._absences[name], self._asking.now, self._zones[name]) for name in names}
            self._given[pool] = given_by(self._connection, pool, reps=names, back_at=back_at)
        return pool, self._given[pool]

    def _candidate(self, name: str, given: int | None) -> Candidate:
        rep = self._reps[name]
        return Candidate(
            name=name,
            weight=rep.weight,
            present=not self._is_away(name),
            capacity=rep.capacity,
            open_count=self._open[name],
            given=given,
        )

    def _is_away(self, name: str) -> bool:
        return is_away(self._absences[name], self._asking.now, self._zones[name])

    def _territories(self, lead_ids: Sequence[int]) -> dict[int, Route]:
        """lead id -> the first rule that it meets; one query a rule."""
        found: dict[int, Route] = {}
        for route in self._routes:
            waiting = [lead_id for lead_id in lead_ids if lead_id not in found]
            if not waiting:
                break
            met = set(waiting)
            if route.when is not None:
                condition = parse_condition(route.when, self._vocabulary)
                met = leads_meeting(self._connection, condition, self._asking, ids=waiting)
            found |= dict.fromkeys(met, route)
        return found


def _pool_of(names: Sequence[str]) -> str:
    return f"turn: {', '.join(sorted(names))}"


class _Lead:
    """A claimed alert's lead, as `account_owners` reads one."""

    def __init__(self, row: Any) -> None:
        self.id: int = row.lead_id
        self.email_domain: str = row.lead_email_domain
        self.company: str | None = row.lead_company
