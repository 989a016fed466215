"""What `check` can say where there are leads to ask: who lacks a field that a mail prints, which tests are too small.

Nothing is written. Without a database these findings stay as general as the files alone allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import sqrt

from sqlalchemy import ColumnElement, Connection, func, or_, select

from nurture.authoring.step_keys import in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence, Email, Split
from nurture.domain.stages import Stage
from nurture.store import tables as t
from nurture.store.entries import segment_clause
from nurture.store.segments import Asking
from nurture.store.spellings import json_text

BASE_RATE = 0.08
"""Of leads who click, where the workspace does not know better."""
SMALLEST_WORTH_SEEING = 0.5
"""A test that could not see a lift of half is worth a warning."""
MOST_SAID = 10.0
"""A lift beyond tenfold is none that anybody hopes for."""
_LACKED = re.compile(r"^lead\.(?P<custom>custom\.)?(?P<name>\w+) is missing from some leads")


def asked_of_leads(
    findings: Iterable[Finding], compiled: Compiled, connection: Connection, asking: Asking
) -> tuple[Finding, ...]:
    """The findings with what the leads of the database say to them, and those that only they can tell."""
    leads = connection.scalar(select(func.count()).where(_is_lead())) or 0
    told = [each for finding in findings if (each := _of_leads(finding, connection, leads)) is not None]
    if leads:
        told += _small_tests(compiled, connection, asking)
    return tuple(sorted(set(told)))


def _is_lead() -> ColumnElement[bool]:
    return t.lead.c.stage != Stage.VISITOR.value


def _of_leads(finding: Finding, connection: Connection, leads: int) -> Finding | None:
    """A field without a default is told with how many lack it; one that nobody lacks is no finding."""
    lacked = _LACKED.match(finding.message) if finding.code == "no-default" else None
    if lacked is None or not leads:
        return finding
    column = json_text(t.lead.c.custom, lacked["name"]) if lacked["custom"] else t.lead.c.get(lacked["name"])
    if column is None:
        return finding
    missing = select(func.count()).where(_is_lead(), or_(column.is_(None), column == ""))
    count = connection.scalar(missing) or 0
    return replace(finding, message=f"{finding.message} ({count:,} of {leads:,} lack it)") if count else None


def _small_tests(compiled: Compiled, connection: Connection, asking: Asking) -> Iterator[Finding]:
    for stem, cadence in compiled.cadences.items():
        document, keyed = compiled.sources.cadences[stem], key_steps(compiled.files[stem].steps)
        places = {each.key: each.path for each in in_file_order(keyed)}
        tested = {step.key: arms for step in cadence.steps.values() if (arms := _arms(step)) > 1}
        if not tested or cadence.segment is None:
            continue
        leads = _in_segment(connection, cadence, compiled, asking)
        for key, arms in tested.items():
            lift = smallest_lift(leads // arms)
            if lift > SMALLEST_WORTH_SEEING:
                seen = f"only a lift of {lift:.0%} or more" if lift < MOST_SAID else "no lift at all"
                message = f"a test of {arms} arms among {leads:,} leads would show {seen}: test less, or on more leads"
                yield document.finding(document.value_at(places[key]), "small-test", message, level="warning")


def _arms(step: object) -> int:
    if isinstance(step, Email):
        return len(step.arms)
    return len(step.paths) if isinstance(step, Split) else 0


def _in_segment(connection: Connection, cadence: Cadence, compiled: Compiled, asking: Asking) -> int:
    clause = segment_clause(cadence, compiled.sources.vocabulary(cadence.name), asking)
    return connection.scalar(select(func.count()).where(_is_lead(), clause)) or 0


def smallest_lift(leads_an_arm: int, base_rate: float = BASE_RATE) -> float:
    """The relative lift that a test sees four times in five, at a level of 5%, with so many leads in each of two arms.

    The usual sample size of two proportions turned round, n = (z_a/2 + z_b)^2 2 p (1 - p) / d^2, with d the absolute
    difference (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", ch. 4). Valid at every look
    costs some more.
    """
    if leads_an_arm <= 0:
        return float("inf")
    difference = (1.96 + 0.8416) * sqrt(2 * base_rate * (1 - base_rate) / leads_an_arm)
    return difference / base_rate
