"""What sales made of its alerts: by rep, by the rule that raised them, or by the reason of a rejection."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from nurture.domain.alerts import AlertStatus, Answer
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.reports.request import ReportRequest, Row, rate

FIELDS = ("rep", "rule", "reason")
FRACTIONS = {"claim_rate": ("claimed", "sent")}
ACCEPTED = frozenset({Answer.CLAIM.value, Answer.MEETING.value, Answer.WON.value})


def report_alerts(connection: Connection, request: ReportRequest) -> list[Row]:
    """`{rep, sent, claimed, rejected: {reason: n}, median_minutes}` of alerts raised in the period.

    An alert is claimed once a rep took it in any way (claim, meeting, won); its minutes run from the mail to the first
    answer. `--by rule` shows which rules sales believes; `--by reason` counts rejections.
    """
    by = request.by or "rep"
    if by not in FIELDS:
        raise Problem(f"--by {by}: use one of {', '.join(FIELDS)}")
    alerts = _alerts(connection, request)
    if by == "reason":
        return _by_reason(alerts)
    groups: dict[str, list[_Alert]] = defaultdict(list)
    for alert in alerts:
        groups[alert.rep if by == "rep" else alert.rule].append(alert)
    return [_row(by, name, groups[name]) for name in sorted(groups)]


class _Alert:
    """An alert with its answers, in their order."""

    def __init__(self, row: Any) -> None:
        self.rep: str = row.rep
        self.rule: str = row.rule
        self.told_at = row.told_at or row.created_at
        self.answers: list[Any] = []

    @property
    def claimed(self) -> bool:
        return any(answer.answer in ACCEPTED for answer in self.answers)

    @property
    def rejected(self) -> list[str]:
        return [answer.reason or "none given" for answer in self.answers if answer.answer == Answer.REJECT.value]

    @property
    def minutes(self) -> float | None:
        if not self.answers:
            return None
        taken: timedelta = self.answers[0].at - self.told_at
        return max(0.0, taken / timedelta(minutes=1))


def _alerts(connection: Connection, request: ReportRequest) -> list[_Alert]:
    a, answer = t.alert.c, t.alert_answer.c
    # neither messages that ask for no answer, nor what was taken back before anybody was told
    asks = a.status.not_in([AlertStatus.NOTICE.value, AlertStatus.CLOSED.value])
    in_period = asks & request.period.holds(a.created_at)
    alerts = {row.id: _Alert(row) for row in connection.execute(select(t.alert).where(in_period))}
    answers = connection.execute(
        select(t.alert_answer).join(t.alert, a.id == answer.alert_id).where(in_period).order_by(answer.at, answer.id)
    )
    for row in answers:
        alerts[row.alert_id].answers.append(row)
    return list(alerts.values())


def _row(by: str, name: str, alerts: list[_Alert]) -> Row:
    claimed = sum(alert.claimed for alert in alerts)
    minutes = [alert.minutes for alert in alerts if alert.minutes is not None]
    rejected = Counter(reason for alert in alerts for reason in alert.rejected)
    return {
        by: name or None,
        "sent": len(alerts),
        "claimed": claimed,
        "claim_rate": rate(claimed, len(alerts)),
        "rejected": dict(sorted(rejected.items())),
        "median_minutes": round(statistics.median(minutes), 1) if minutes else None,
    }


def _by_reason(alerts: list[_Alert]) -> list[Row]:
    by_rule: dict[str, Counter[str]] = defaultdict(Counter)
    for alert in alerts:
        for reason in alert.rejected:
            by_rule[reason][alert.rule] += 1
    return [
        {"reason": reason, "rejected": sum(by_rule[reason].values()), "by_rule": dict(sorted(by_rule[reason].items()))}
        for reason in sorted(by_rule)
    ]
