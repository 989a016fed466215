"""Experiments: what each arm got and did, which one leads, and what is proven, kept apart."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from nurture.domain.experiment import (
    Tally,
    e_value,
    mismatch,
    results,
)
from nurture.store.experiments import Generation, assigned_tallies, generations, matures_after, tallies
from nurture.store.reports.request import ReportRequest, Row, rate

FRACTIONS = {"rate": ("matured_converted", "matured")}


def report_experiments(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{experiment, arm, sent, converted, matured, matured_converted, rate, share, state, lift, low, high, …}`.

    `share` is the arm's share of the next assignments. `state`, `lift` against the best other arm with its bounds,
    and `e_value` speak of matured sends. `mismatch` warns that the assignments do not follow their odds.
    """
    return [row for each in generations(connection) for row in _rows(connection, each, request)]


def _rows(connection: Connection, generation: Generation, request: ReportRequest) -> list[Row]:
    arms, now = generation.arms, request.now
    so_far = tallies(connection, generation, sent_by=now, metric=generation.metric)
    matured = tallies(connection, generation, sent_by=now - matures_after(generation), metric=generation.metric)
    e, off = e_value(matured, arms), mismatch(assigned_tallies(connection, generation), arms)
    rows: list[Row] = []
    for each in results(matured, arms, proven_before=generation.proven_arm):
        sent, converted = _totals(so_far, each.arm)
        judged, judged_converted = _totals(matured, each.arm)
        rows.append(
            {
                "experiment": generation.key,
                "arm": each.arm,
                "sent": sent,
                "converted": converted,
                "matured": judged,
                "matured_converted": judged_converted,
                "rate": rate(judged_converted, judged),
                "share": round(generation.odds[each.arm], 4),
                "state": each.state,
                "lift": _rounded(each.lift),
                "low": _rounded(each.low),
                "high": _rounded(each.high),
                "e_value": float(f"{e:.4g}"),
                "metric": generation.metric,
                "mismatch": off,
            }
        )
    return rows


def _totals(found: Sequence[Tally], arm: str) -> tuple[int, int]:
    mine = [each for each in found if each.arm == arm]
    return sum(each.sent for each in mine), sum(each.converted for each in mine)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
