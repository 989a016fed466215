"""Reports over a small population whose numbers are worked out by hand here, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, insert

from nurture.domain.cadence import ANY_TIME, Cadence, Email, Exit, Span, Wait
from nurture.domain.problem import Problem
from nurture.store import tables as t
from nurture.store.cadences import take_up
from nurture.store.database import Database
from nurture.store.reports import REPORTS, Period, ReportRequest, read_period, run_report
from nurture.store.spend import SpendLine, save_spend

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 12, 15, 12, tzinfo=UTC)
NOVEMBER = Period(first=date(2026, 11, 1), last=date(2026, 11, 30), zone=BERLIN)


def ask(database: Database, name: str, **request: Any) -> list[dict[str, Any]]:
    with database.reading() as connection:
        return list(run_report(connection, name, ReportRequest(**{"now": NOW, **request})).rows)


def add_lead(connection: Connection, lead_id: int, stage: str = "lead", **fields: Any) -> int:
    values = {
        "id": lead_id,
        "email": f"{lead_id}@example.com",
        "email_key": f"{lead_id}@example.com",
        "email_domain": "example.com",
        "stage": stage,
        "fit": "unknown",
        "fit_points": 0,
        "custom": {},
        "readings": {},
        "hot_armed": True,
        "rescore": False,
        "created_at": datetime(2026, 11, 10, tzinfo=UTC),
        **fields,
    }
    connection.execute(insert(t.lead).values(values))
    return lead_id


def move(connection: Connection, lead_id: int, before: str, after: str, *, day: int = 12, month: int = 11) -> None:
    at = datetime(2026, month, day, tzinfo=UTC)
    kind = "promotion"
    row = {"lead_id": lead_id, "at": at, "before": before, "after": after, "kind": kind, "because": ""}
    connection.execute(insert(t.stage_history).values(row))


@pytest.fixture
def people(database: Database) -> Database:
    """Ten leads and a visitor.

    1, 2: lead · 3: mql · 4: demoted from mql to lead · 5: jumped to sql · 6: pql by its own condition ·
    7: customer by way of pql · 8: customer straight · 9: disqualified after mql · 10: a lead of December · 11: visitor
    """
    with database.transaction() as connection:
        add_lead(connection, 1, channel="content", country="DE")
        add_lead(connection, 2, channel="content", country="FR")
        add_lead(connection, 3, "mql", channel="content", fit="A")
        add_lead(connection, 4, "lead", channel="Paid Search")
        add_lead(connection, 5, "sql", channel="Paid Search", fit="C", contacted_at=NOW)
        add_lead(connection, 6, "pql", channel="Paid Search", fit="B")
        add_lead(connection, 7, "customer", channel="referral", fit="A", contacted_at=NOW)
        add_lead(connection, 8, "customer", channel="content", custom={"plan": "pro"})
        add_lead(connection, 9, "disqualified")
        add_lead(connection, 10, created_at=datetime(2026, 12, 2, tzinfo=UTC))
        add_lead(connection, 11, "visitor", channel="content")
        move(connection, 3, "lead", "mql")
        move(connection, 4, "lead", "mql")
        move(connection, 4, "mql", "lead", day=20)
        move(connection, 5, "lead", "sql")
        move(connection, 6, "lead", "pql")
        move(connection, 7, "lead", "pql")
        move(connection, 7, "pql", "customer", day=22)
        move(connection, 8, "lead", "customer")
        move(connection, 9, "lead", "mql")
        move(connection, 9, "mql", "disqualified", day=13)
    return database


class TestLeads:
    def test_by_stage_against_the_goal(self, people: Database) -> None:
        rows = ask(people, "leads", goals={"lead": "400 per month", "mql": "60 per month"})
        assert [(row["stage"], row["count"], row["goal"]) for row in rows] == [
            ("lead", 4, 400),
            ("mql", 1, 60),
            ("pql", 1, None),
            ("sql", 1, None),
            ("opportunity", 0, None),
            ("customer", 2, None),
            ("disqualified", 1, None),
        ]

    def test_reached_counts_leads_who_entered_the_stage_in_the_period(self, people: Database) -> None:
        rows = {row["stage"]: row["reached"] for row in ask(people, "leads", period=NOVEMBER)}
        assert rows["mql"] == 3
        assert rows["customer"] == 2
        december = Period(first=date(2026, 12, 1), zone=BERLIN)
        assert {row["reached"] for row in ask(people, "leads", period=december)} == {0}

    def test_by_a_field_the_largest_first_and_the_missing_last(self, people: Database) -> None:
        assert ask(people, "leads", by="channel") == [
            {"channel": "content", "count": 4},
            {"channel": "Paid Search", "count": 3},
            {"channel": "referral", "count": 1},
            {"channel": None, "count": 2},
        ]

    def test_by_a_custom_field(self, people: Database) -> None:
        assert ask(people, "leads", by="custom.plan") == [
            {"custom.plan": "pro", "count": 1},
            {"custom.plan": None, "count": 9},
        ]

    def test_by_type_prospects_and_contacts_are_leads_too(self, people: Database) -> None:
        assert ask(people, "leads", by="type") == [
            {"type": "lead", "count": 10},
            {"type": "prospect", "count": 2},
            {"type": "contact", "count": 2},
        ]

    def test_a_goal_that_is_none_is_one_line(self, people: Database) -> None:
        with pytest.raises(Problem, match=r"^config.toml: \[goals\] mql = 'many': use e.g. '60 per month'$"):
            ask(people, "leads", goals={"mql": "many"})


class TestFunnel:
    def test_skipped_stages_are_passed_but_pql_is_only_its_own(self, people: Database) -> None:
        rows = {(row["from"], row["to"]): row for row in ask(people, "funnel", period=NOVEMBER)}
        counts = {pair: (row["entered"], row["converted"]) for pair, row in rows.items()}
        # all nine of November were leads; 3 4 5 6 7 8 9 passed mql; 6 7 were pql; 5 7 8 passed sql; 7 8 bought
        assert counts == {
            ("lead", "mql"): (9, 7),
            ("mql", "pql"): (7, 2),
            ("pql", "sql"): (2, 1),
            ("mql", "sql"): (7, 3),
            ("sql", "opportunity"): (3, 2),
            ("opportunity", "customer"): (2, 2),
        }
        assert rows["lead", "mql"]["rate"] == 0.7778
        assert rows["lead", "mql"]["standing"] == 3

    def test_a_young_cohort_is_marked(self, people: Database) -> None:
        assert {row["mature"] for row in ask(people, "funnel", period=NOVEMBER)} == {True}
        assert {row["mature"] for row in ask(people, "funnel")} == {False}
        assert {row["mature"] for row in ask(people, "funnel", now=NOW - timedelta(days=20), period=NOVEMBER)} == {
            False
        }

    def test_nobody_is_no_rate(self, database: Database) -> None:
        assert [(row["entered"], row["converted"], row["rate"]) for row in ask(database, "funnel")] == [
            (0, 0, None)
        ] * 6

    def test_by_channel(self, people: Database) -> None:
        rows = ask(people, "funnel", by="channel", period=NOVEMBER)
        first = {row["channel"]: (row["entered"], row["converted"]) for row in rows if row["from"] == "lead"}
        assert first == {"content": (4, 2), "Paid Search": (3, 3), "referral": (1, 1), None: (1, 1)}


class TestSales:
    def test_leads_per_sale(self, people: Database) -> None:
        assert ask(people, "sales", period=NOVEMBER) == [{"leads": 9, "sales": 2, "leads_per_sale": 4.5}]

    def test_no_sale_is_no_number(self, people: Database) -> None:
        december = Period(first=date(2026, 12, 1), zone=BERLIN)
        assert ask(people, "sales", period=december) == [{"leads": 1, "sales": 0, "leads_per_sale": None}]

    def test_by_channel(self, people: Database) -> None:
        rows = {row["channel"]: row for row in ask(people, "sales", by="channel")}
        assert rows["content"] == {"channel": "content", "leads": 4, "sales": 1, "leads_per_sale": 4.0}


class TestCost:
    def test_by_channel_and_overall(self, people: Database) -> None:
        spend(people, ("2026-11", "Content", 300.0), ("2026-11", "paid search", 900.0), ("2026-10", "content", 5_000.0))
        rows = {row["channel"]: row for row in ask(people, "cost", period=NOVEMBER)}
        assert rows["Content"] == {
            "channel": "Content",
            "spend": 300.0,
            "leads": 4,
            "cost_per_lead": 75.0,
            "qualified": 2,
            "cost_per_qualified": 150.0,
            "currency": "EUR",
        }
        assert (rows["paid search"]["leads"], rows["paid search"]["cost_per_lead"]) == (3, 300.0)
        assert (rows["all"]["spend"], rows["all"]["leads"], rows["all"]["cost_per_lead"]) == (1_200.0, 9, 133.33)
        assert rows["all"]["qualified"] == 7

    def test_no_spend_is_no_number_and_never_zero(self, people: Database) -> None:
        spend(people, ("2026-11", "content", 300.0))
        rows = {row["channel"]: row for row in ask(people, "cost", period=NOVEMBER)}
        assert (rows["referral"]["spend"], rows["referral"]["cost_per_lead"]) == (None, None)
        assert (rows[None]["spend"], rows[None]["leads"]) == (None, 1)

    def test_nothing_imported_at_all(self, people: Database) -> None:
        assert ask(people, "cost")[-1] == {
            "channel": "all",
            "spend": None,
            "leads": 10,
            "cost_per_lead": None,
            "qualified": 7,
            "cost_per_qualified": None,
            "currency": None,
        }

    def test_spend_without_leads_is_spend_all_the_same(self, people: Database) -> None:
        spend(people, ("2026-11", "radio", 80.0))
        row = next(row for row in ask(people, "cost", period=NOVEMBER) if row["channel"] == "radio")
        assert (row["spend"], row["leads"], row["cost_per_lead"]) == (80.0, 0, None)

    def test_two_currencies_are_one_line(self, people: Database) -> None:
        with people.transaction() as connection:
            save_spend(connection, [line("2026-11", "a", 1.0), line("2026-11", "b", 1.0, currency="USD")])
        with pytest.raises(Problem, match=r"^spend is in EUR and USD, which can't be added up"):
            ask(people, "cost")

    def test_spend_given_again_is_replaced(self, people: Database) -> None:
        spend(people, ("2026-11", "content", 300.0))
        spend(people, ("2026-11", "content", 100.0))
        assert ask(people, "cost")[-1]["spend"] == 100.0


class TestTimeInStage:
    def test_a_stay_lasts_from_one_move_to_the_next(self, people: Database) -> None:
        rows = {row["stage"]: row for row in ask(people, "time-in-stage", period=NOVEMBER)}
        # created on the 10th, moved on the 12th; 4 left mql after 8 days, 9 after 1
        assert (rows["lead"]["left"], rows["lead"]["median_days"]) == (7, 2.0)
        assert (rows["mql"]["left"], rows["mql"]["median_days"]) == (2, 4.5)
        assert rows["sql"]["median_days"] is None


class TestPeriod:
    def test_days_are_the_workspaces_own_and_the_last_one_is_included(self) -> None:
        assert NOVEMBER.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
        assert NOVEMBER.end == datetime(2026, 11, 30, 23, tzinfo=UTC)

    def test_a_lead_of_the_first_minute_belongs_to_its_local_day(self, database: Database) -> None:
        with database.transaction() as connection:
            add_lead(connection, 1, created_at=datetime(2026, 10, 31, 23, 0, tzinfo=UTC))
            add_lead(connection, 2, created_at=datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC))
            add_lead(connection, 3, created_at=datetime(2026, 11, 30, 23, 0, tzinfo=UTC))
        assert ask(database, "sales", period=NOVEMBER)[0]["leads"] == 1

    @pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "2026-02-30", "20", "0001-01-01", "9999-12-31"])
    def test_a_bad_day_is_one_line(self, text: str) -> None:
        with pytest.raises(Problem, match="--from"):
            read_period(text, None, BERLIN)

    def test_days_the_wrong_way_round(self) -> None:
        with pytest.raises(Problem, match=r"^--to 2026-11-01 lies before --from 2026-11-02: swap them$"):
            read_period("2026-11-02", "2026-11-01", BERLIN)


class TestNames:
    def test_an_unknown_report_names_the_others(self, database: Database) -> None:
        with pytest.raises(Problem, match=r"^no report 'funel': use one of leads, funnel, "):
            ask(database, "funel")

    @pytest.mark.parametrize(
        ("report", "by"), [("leads", "shoe_size"), ("experiments", "channel"), ("sales", "custom.")]
    )
    def test_an_unknown_field_is_one_line(self, database: Database, report: str, by: str) -> None:
        with pytest.raises(Problem, match=f"^report {report} --by {by}: "):
            ask(database, report, by=by)

    @pytest.mark.parametrize("name", list(REPORTS))
    def test_every_report_answers_on_an_empty_database(self, database: Database, name: str) -> None:
        for row in ask(database, name):
            assert set(row) == set(ask(database, name)[0])


class TestCadence:
    def test_step_by_step(self, database: Database) -> None:
        """Five enter. 1 clicks and waits; 2 is clicked by a machine and reached the goal; 3 bounced; 4 is unknown;
        5 completed the cadence after both mails, clicked twice and left by its link."""
        with database.transaction() as connection:
            take_up(connection, {"guide": CADENCE}, now=NOW)
            enroll(connection, 1, "active", "pause")
            enroll(connection, 2, "exited", "pause", reason="goal")
            enroll(connection, 3, "exited", "intro", reason="bounced")
            enroll(connection, 4, "active", "pause")
            enroll(connection, 5, "completed", "end")
            for lead, status in ((1, "sent"), (2, "sent"), (3, "bounced"), (4, "unknown"), (5, "sent")):
                mail(connection, lead * 10, lead, "intro", status)
            mail(connection, 51, 5, "case", "sent")
            did(connection, "clicked", 10, 1)
            did(connection, "clicked", 20, 2, verdict="machine")
            did(connection, "clicked", 50, 5)
            did(connection, "clicked", 50, 5, at=NOW - timedelta(hours=1))
            did(connection, "unsubscribed", 51, 5)
            did(connection, "replied", 51, 5)
        rows = {row["step"]: row for row in ask(database, "cadence")}
        assert list(rows) == ["intro", "pause", "case", "end"]
        assert rows["intro"] == {
            "cadence": "guide",
            "step": "intro",
            "entered": 5,
            "waiting": 0,
            "sent": 4,
            "delivered": 3,
            "bounced": 1,
            "unknown": 1,
            "clicked": 2,
            "click_rate": 0.6667,
            "replied": 0,
            "reply_rate": 0.0,
            "unsubscribed": 0,
            "unsubscribe_rate": 0.0,
            "goal": 0,
            "exited": {"bounced": 1},
        }
        assert (rows["pause"]["waiting"], rows["pause"]["goal"], rows["pause"]["exited"]) == (2, 1, {"goal": 1})
        assert (rows["pause"]["sent"], rows["pause"]["click_rate"]) == (0, None)
        assert (rows["case"]["sent"], rows["case"]["replied"], rows["case"]["unsubscribed"]) == (1, 1, 1)

    def test_only_enrollments_of_the_period(self, database: Database) -> None:
        with database.transaction() as connection:
            enroll(connection, 1, "active", "intro", at=datetime(2026, 11, 5, tzinfo=UTC))
            enroll(connection, 2, "active", "intro", at=datetime(2026, 12, 5, tzinfo=UTC))
        (row,) = ask(database, "cadence", period=NOVEMBER)
        assert (row["entered"], row["waiting"]) == (1, 1)

    def test_steps_that_are_gone_from_the_file_keep_their_numbers(self, database: Database) -> None:
        with database.transaction() as connection:
            take_up(connection, {"guide": CADENCE}, now=NOW)
            enroll(connection, 1, "exited", "old-step", reason="goal")
        assert [row["step"] for row in ask(database, "cadence")] == ["intro", "pause", "case", "end", "old-step"]


class TestMail:
    def test_by_domain(self, database: Database) -> None:
        with database.transaction() as connection:
            mail(connection, 1, 1, "intro", "sent")
            mail(connection, 2, 2, "intro", "bounced")
            mail(connection, 3, 3, "intro", "deferred", domain="slow.example", reply_class="soft")
            did(connection, "complained", 1, 1)
        rows = {row["domain"]: row for row in ask(database, "deliverability")}
        assert (rows["example.com"]["sent"], rows["example.com"]["hard"], rows["example.com"]["complained"]) == (
            2,
            1,
            1,
        )
        assert (rows["slow.example"]["sent"], rows["slow.example"]["soft"]) == (0, 1)

    def test_links_count_people_and_show_machines_apart(self, database: Database) -> None:
        with database.transaction() as connection:
            for source, (lead, verdict) in enumerate(((1, "human"), (1, "human"), (2, "machine"), (3, "human"))):
                at = NOW + timedelta(seconds=source)
                did(connection, "clicked", lead, lead, verdict=verdict, at=at, link="https://acme.example/")
        assert ask(database, "links") == [
            {
                "cadence": "guide",
                "step": "intro",
                "link": "https://acme.example/",
                "people": 2,
                "clicks": 3,
                "machine": 1,
            }
        ]


class TestAlerts:
    def test_by_rep_rule_and_reason(self, database: Database) -> None:
        with database.transaction() as connection:
            alert(connection, 1, "ben", "hot", [(10, "claim", None), (90, "won", None)])
            alert(connection, 2, "ben", "hot", [(30, "reject", "timing")])
            alert(connection, 3, "ben", "demo requested", [])
            alert(connection, 4, "chloe", "hot", [(20, "reject", "timing")])
            alert(connection, 5, "chloe", "guide/tell", [], status="notice")
            alert(connection, 6, "chloe", "hot", [], status="closed")
        by_rep = {row["rep"]: row for row in ask(database, "alerts")}
        assert by_rep["ben"] == {
            "rep": "ben",
            "sent": 3,
            "claimed": 1,
            "claim_rate": 0.3333,
            "rejected": {"timing": 1},
            "median_minutes": 20.0,
        }
        assert by_rep["chloe"]["sent"] == 1
        assert {row["rule"]: row["sent"] for row in ask(database, "alerts", by="rule")} == {
            "hot": 3,
            "demo requested": 1,
        }
        assert ask(database, "alerts", by="reason") == [{"reason": "timing", "rejected": 2, "by_rule": {"hot": 2}}]


class TestAttribution:
    def test_credits_of_each_model_add_up_to_the_revenue(self, database: Database) -> None:
        """1 came by search, clicked 14, 7 and 0 days before buying for 1,000.01; 2 bought for 50 out of the blue."""
        with database.transaction() as connection:
            add_lead(connection, 1, channel="search", created_at=NOW - timedelta(days=14))
            add_lead(connection, 2)
            for days in (7, 0):
                did(connection, "clicked", days + 1, 1, at=NOW - timedelta(days=days))
            did(connection, "clicked", 3, 1, at=NOW - timedelta(days=1), verdict="machine")
            did(connection, "clicked", 4, 1, at=NOW + timedelta(days=1))
            for lead, value in ((1, 1_000.01), (2, 50.0)):
                row = {"lead_id": lead, "kind": "deal won", "at": NOW, "recorded_at": NOW, "verdict": "human"}
                row |= {"source": "crm", "source_id": str(lead), "value": value, "currency": "EUR", "props": {}}
                connection.execute(insert(t.event).values(row))
        rows = ask(database, "attribution")
        credits: dict[str, dict[str | None, float]] = {}
        for row in rows:
            credits.setdefault(row["model"], {})[row["touch"]] = row["revenue"]
        assert credits == {
            "first": {"channel/search": 1_000.01, "email/guide": 0, None: 50},
            "last": {"channel/search": 0, "email/guide": 1_000.01, None: 50},
            "linear": {"channel/search": 333.34, "email/guide": 666.67, None: 50},
            "position": {"channel/search": 400.01, "email/guide": 600.0, None: 50},
            "time-decay": {"channel/search": 142.86, "email/guide": 857.15, None: 50},
        }
        for model in credits.values():
            assert sum(model.values()) == pytest.approx(1_050.01)


class TestForms:
    def test_from_view_to_qualified(self, database: Database) -> None:
        with database.transaction() as connection:
            add_lead(connection, 1, "mql")
            add_lead(connection, 2, "lead")
            add_lead(connection, 3, "visitor")
            views = [{"form": "guide", "day": f"2026-11-{day}", "views": 4} for day in ("10", "30")]
            connection.execute(insert(t.form_view), [*views, {"form": "guide", "day": "2026-12-01", "views": 9}])
            for lead, confirmed in ((1, True), (1, True), (2, True), (3, False)):
                row = {"lead_id": lead, "form": "guide", "at": datetime(2026, 11, 10, tzinfo=UTC), "user_agent": ""}
                row |= {"answers": {}, "consents": {}, "confirmed_at": NOW if confirmed else None}
                connection.execute(insert(t.opt_in).values(row))
        assert ask(database, "forms", period=NOVEMBER) == [
            {
                "form": "guide",
                "views": 8,
                "submits": 3,
                "submit_rate": 0.375,
                "confirmed": 2,
                "confirm_rate": 0.6667,
                "qualified": 1,
            }
        ]


CADENCE = Cadence(
    name="guide",
    title="Guide",
    sender="anna",
    window=ANY_TIME,
    first="intro",
    steps={
        "intro": Email(key="intro", next="pause", template="x", subjects={"": "Hello"}),
        "pause": Wait(key="pause", next="case", span=Span(amount=3, unit="days")),
        "case": Email(key="case", next="end", template="y", subjects={"": "Cases"}),
        "end": Exit(key="end", next=None, reason="done"),
    },
)


def line(month: str, channel: str, amount: float, *, currency: str = "EUR") -> SpendLine:
    return SpendLine(month=month, channel=channel, campaign="", amount=amount, currency=currency)


def spend(database: Database, *lines: tuple[str, str, float]) -> None:
    with database.transaction() as connection:
        save_spend(connection, [line(*each) for each in lines])


def enroll(
    connection: Connection, lead_id: int, status: str, step: str, *, reason: str | None = None, at: datetime = NOW
) -> None:
    row = {"id": lead_id, "lead_id": lead_id, "cadence": "guide", "version": "v", "run": "1", "status": status}
    row |= {"exit_reason": reason, "priority": 50, "concurrent": False, "step": step, "visit": 1, "enrolled_at": at}
    connection.execute(insert(t.enrollment).values(row))


def mail(
    connection: Connection,
    message_id: int,
    lead_id: int,
    step: str,
    status: str,
    *,
    domain: str = "example.com",
    reply_class: str | None = None,
) -> None:
    went_out = status in ("sent", "bounced")
    row = {"id": message_id, "intent_key": f"m:{message_id}", "kind": "step", "lead_id": lead_id, "cadence": "guide"}
    row |= {"enrollment_id": lead_id, "step": step, "to_address": f"{lead_id}@{domain}", "recipient_domain": domain}
    row |= {"sender": "anna", "payload": {}, "status": status, "created_at": NOW, "not_before": NOW, "visit": 1}
    row |= {"sent_at": NOW if went_out else None, "reply_class": reply_class, "attempt": 1, "lease_epoch": 1}
    connection.execute(insert(t.message).values(row))


def did(
    connection: Connection,
    kind: str,
    message_id: int,
    lead_id: int,
    *,
    verdict: str = "human",
    at: datetime = NOW,
    link: str | None = None,
) -> None:
    row = {"lead_id": lead_id, "kind": kind, "at": at, "recorded_at": at, "verdict": verdict, "source": "web"}
    row |= {"source_id": f"{kind}:{message_id}:{at:%d%H%M%S}", "message_id": message_id, "props": {}, "link": link}
    connection.execute(insert(t.event).values(row | {"cadence": "guide", "step": "intro"}))


def alert(
    connection: Connection,
    alert_id: int,
    rep: str,
    rule: str,
    answers: Sequence[tuple[int, str, str | None]],
    *,
    status: str = "open",
) -> None:
    row = {"id": alert_id, "lead_id": alert_id, "rep": rep, "to": "sales", "channel": "email", "status": status}
    row |= {"rule": rule, "reasons": [], "evidence": {}, "routed_by": "", "created_at": NOW, "told_at": NOW}
    connection.execute(insert(t.alert).values(row))
    for minutes, answer, reason in answers:
        given = {"alert_id": alert_id, "at": NOW + timedelta(minutes=minutes), "answer": answer, "reason": reason}
        connection.execute(insert(t.alert_answer).values(given | {"rep": rep, "details": {}}))
