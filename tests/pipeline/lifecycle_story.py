"""A small company with two reps and a lifecycle, its leads, and a clock moved by hand: what these tests share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from nurture.content.tokens import Tokens
from nurture.domain.conditions import Vocabulary
from nurture.domain.custom import read_custom
from nurture.domain.event import Verdict
from nurture.domain.lifecycle import (
    AtMost,
    Engagement,
    FitRule,
    Hot,
    Lifecycle,
    PointsRule,
    Route,
    StageRule,
)
from nurture.pipeline.answers import AnswerOutcome, answer_alert
from nurture.pipeline.hand_over import HandOverReport, hand_over
from nurture.pipeline.react import ReactReport, react
from nurture.settings import Settings
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event

MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
LIFECYCLE = Lifecycle(
    stages=(
        StageRule(stage="lead"),
        StageRule(
            stage="mql",
            when='fit >= "B" and score >= 50',
            demote_when="score < 35",
            demote_after=timedelta(days=7),
        ),
        StageRule(stage="pql", when='did("product activated")'),
        StageRule(stage="sql", when='did("demo requested")'),
        StageRule(stage="opportunity", when='did("deal opened")'),
        StageRule(stage="customer", when='did("deal won")'),
    ),
    fit=(
        FitRule(when='country in ["DE", "AT"]', points=10),
        FitRule(when="custom.employees >= 50", points=15),
        FitRule(when='contains(title, "student")', points=-20),
    ),
    engagement=Engagement(
        points=(
            PointsRule(event="clicked", points=20, at_most=AtMost(points=60)),
            PointsRule(event="replied", points=25),
            PointsRule(event="opened", points=30),
            PointsRule(event="page viewed", path="/pricing*", points=10),
            PointsRule(event="page viewed", points=1),
            PointsRule(event="unsubscribed", points=-15),
        )
    ),
    hot=Hot(when="score >= 70", fit="B"),
    routing=(Route(when='country == "FR"', reps=("chloe",)), Route(reps=("ben", "chloe"))),
)
SETTINGS = {
    "workspace": {
        "name": "Acme Analytics",
        "public_url": "https://mail.acme.example",
        "postal_address": "Beispielweg 1, Berlin",
        "timezone": "Europe/Berlin",
    },
    "smtp": {"primary": {"host": "127.0.0.1"}},
    "senders": {"anna": {"from": "Anna Meier <anna@acme.example>"}},
    "sending": {"sender": "anna"},
    "reps": {
        "ben": {"name": "Ben Okafor", "email": "ben@acme.example", "timezone": "Europe/Berlin"},
        "chloe": {"name": "Chloé Dubois", "email": "chloe@acme.example", "timezone": "Europe/Paris", "weight": 2},
    },
}


def the_settings(**reps: dict[str, Any]) -> Settings:
    """The company's settings, with these keys of its reps changed."""
    changed = {name: each | reps.get(name, {}) for name, each in SETTINGS["reps"].items()}
    return Settings.model_validate(SETTINGS | {"reps": changed})


@dataclass
class Story:
    """One database, one clock. Every stage is run twice, and the second run has to change nothing."""

    database: Database
    lifecycle: Lifecycle = LIFECYCLE
    settings: Settings = field(default_factory=the_settings)
    now: datetime = MONDAY
    tokens: Tokens = field(default_factory=lambda: Tokens(["a secret of the tests"]))

    def with_rules(self, **changes: Any) -> None:
        self.lifecycle = replace(self.lifecycle, **changes)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    # --- what happens

    def lead(self, name: str = "zoe", **fields: Any) -> int:
        """A lead that fits (B) and has given consent, unless `fields` say otherwise."""
        custom = fields.pop("custom", {"employees": "80"})
        domain = fields.pop("email_domain", f"{name}.example")
        row = {
            "email": f"{name}@{domain}",
            "email_key": f"{name}@{domain}",
            "email_domain": domain,
            "country": "DE",
            "stage": "lead",
            "stage_at": self.now,
            "created_at": self.now,
            "consented_at": self.now,
            "custom": custom,
            "readings": read_custom(custom),
        }
        with self.database.transaction() as connection:
            made = insert(t.lead).values(**(row | fields)).returning(t.lead.c.id)
            return connection.execute(made).scalar_one()

    def event(self, lead_id: int, kind: str, **changes: Any) -> int:
        """Something that a person does now."""
        with self.database.transaction() as connection:
            number = connection.scalar(select(func.count()).select_from(t.event))
            new = NewEvent(
                **(
                    {"lead_id": lead_id, "kind": kind, "at": self.now, "source": "test", "source_id": str(number)}
                    | changes
                )
            )
            event_id = record_event(connection, new, now=self.now)
        assert event_id is not None
        return event_id

    def revise(self, *event_ids: int, verdict: Verdict = Verdict.MACHINE) -> None:
        """A later sign gives them away, as `store/hits.py` writes it."""
        with self.database.transaction() as connection:
            for event_id in event_ids:
                before = connection.scalar(select(t.event.c.verdict).where(t.event.c.id == event_id))
                connection.execute(
                    update(t.event)
                    .where(t.event.c.id == event_id)
                    .values(verdict=verdict.value, verdict_reason="burst")
                )
                row = {"event_id": event_id, "at": self.now, "before": before, "after": verdict.value}
                connection.execute(insert(t.verdict_change).values(**row, reason="burst"))

    def answer(self, alert_id: int, answer: str, rep: str = "ben", **said: Any) -> AnswerOutcome:
        with self.database.transaction() as connection:
            return answer_alert(
                connection, alert_id, answer=answer, rep=rep, lifecycle=self.lifecycle, now=self.now, **said
            )

    # --- the stages, each twice

    def react(self) -> ReactReport:
        report, again = self._react(), self._react()
        assert again == ReactReport()
        return report

    def _react(self) -> ReactReport:
        return react(database=self.database, lifecycle=self.lifecycle, vocabulary=Vocabulary(), now=self.now)

    def hand_over(self) -> HandOverReport:
        report, again = self._hand_over(), self._hand_over()
        assert again == HandOverReport()
        return report

    def _hand_over(self) -> HandOverReport:
        return hand_over(
            database=self.database,
            lifecycle=self.lifecycle,
            settings=self.settings,
            vocabulary=Vocabulary(),
            tokens=self.tokens,
            rng=random.Random(1),
            now=self.now,
        )

    # --- what is there

    def rows(self, table: Table, **wanted: Any) -> Sequence[Any]:
        matching = [table.c[name] == value for name, value in wanted.items()]
        order = table.c.get("id")
        with self.database.reading() as connection:
            return connection.execute(select(table).where(*matching).order_by(order)).all()

    def row(self, table: Table, row_id: int) -> Any:
        (found,) = self.rows(table, id=row_id)
        return found

    def score(self, lead_id: int) -> float:
        """By the ledger's lines alone; the lead's own sums must say the same."""
        lines = self.rows(t.score_ledger, lead_id=lead_id)
        fit = sum(line.points for line in lines if line.kind == "fit")
        half_life = self.lifecycle.engagement.half_life
        fading = sum(
            line.points * 0.5 ** ((self.now - line.at) / half_life) for line in lines if line.kind == "engagement"
        )
        score = fit + min(self.lifecycle.engagement.cap, max(0.0, fading))
        with self.database.reading() as connection:
            assert abs(self._kept(connection, lead_id) - score) < 1e-6
        return round(score, 6)

    def _kept(self, connection: Connection, lead_id: int) -> float:
        from nurture.domain.scoring import engagement_at

        row = connection.execute(select(t.lead).where(t.lead.c.id == lead_id)).one()
        rules = self.lifecycle.engagement
        return row.fit_points + engagement_at(row.gains, row.losses, self.now, half_life=rules.half_life, cap=rules.cap)

    def stages(self, lead_id: int) -> list[tuple[str, str, str]]:
        return [(row.before, row.after, row.kind) for row in self.rows(t.stage_history, lead_id=lead_id)]
