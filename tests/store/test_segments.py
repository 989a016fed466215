"""Conditions asked of the database: small worlds, one meaning, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Text, event, func, literal, select

from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.folding import fold
from nurture.domain.scoring import decay_exponent
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.segments import Asking, enrollments_meeting, lead_clause, leads_meeting
from nurture.store.spellings import contains_folded, glob_matches, starts_folded

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HALF_LIFE = timedelta(days=14)
ASKING = Asking(now=NOW, half_life=HALF_LIFE, engagement_cap=60)
OPEN = Vocabulary()


def add_lead(database: Database, name: str, *, tags: tuple[str, ...] = (), **fields: Any) -> int:
    row = {
        "email": f"{name}@example.com",
        "email_key": f"{name}@example.com",
        "email_domain": "example.com",
        "created_at": NOW - timedelta(days=100),
        "custom": {},
        "readings": {},
        **fields,
    }
    with database.transaction() as connection:
        lead_id: int = connection.execute(t.lead.insert().values(row).returning(t.lead.c.id)).scalar_one()
        for tag in tags:
            connection.execute(t.lead_tag.insert().values(lead_id=lead_id, tag=tag))
    return lead_id


def add_event(database: Database, lead_id: int, kind: str, *, at: datetime = NOW, **fields: Any) -> None:
    with database.transaction() as connection:
        count = connection.execute(select(func.count()).select_from(t.event)).scalar_one()
        row = {"lead_id": lead_id, "kind": kind, "at": at, "recorded_at": at, "source": "test", "source_id": str(count)}
        connection.execute(t.event.insert().values({**row, "props": {}, **fields}))


def enroll(database: Database, lead_id: int, *, cadence: str = "guide", run: str = "1", at: datetime = NOW) -> int:
    row = {"lead_id": lead_id, "cadence": cadence, "version": "v", "run": run, "enrolled_at": at}
    with database.transaction() as connection:
        enrollment_id: int = connection.execute(
            t.enrollment.insert().values(row).returning(t.enrollment.c.id)
        ).scalar_one()
    return enrollment_id


def who(database: Database, text: str, **options: Any) -> set[int]:
    with database.reading() as connection:
        return leads_meeting(connection, parse_condition(text, OPEN), options.pop("asking", ASKING), **options)


def names(database: Database, text: str) -> set[str]:
    with database.reading() as connection:
        query = select(t.lead.c.email).where(lead_clause(parse_condition(text, OPEN), ASKING))
        return {address.partition("@")[0] for address in connection.scalars(query)}


# --- logic


def test_a_comparison_with_a_missing_value_is_false_and_its_opposite_is_true(database: Database) -> None:
    add_lead(database, "acme", company="Acme")
    add_lead(database, "other", company="Other")
    add_lead(database, "none")
    add_lead(database, "blank", company="")

    for condition, met in {
        'company == "Acme"': {"acme"},
        'not company == "Acme"': {"other", "none", "blank"},
        'company != "Acme"': {"other"},
        'not company != "Acme"': {"acme", "none", "blank"},
        'company in ["Acme"]': {"acme"},
        'company not in ["Acme"]': {"other"},
        'not (company not in ["Acme"])': {"acme", "none", "blank"},
        'company < "B"': {"acme"},
        'not company < "B"': {"other", "none", "blank"},
        'contains(company, "a")': {"acme"},
        'not contains(company, "a")': {"other", "none", "blank"},
        "company is none": {"none", "blank"},
        "company is not none": {"acme", "other"},
        "company == company": {"acme", "other"},
        "not company == company": {"none", "blank"},
        'not (company == "Acme" or company is none)': {"other"},
    }.items():
        assert names(database, condition) == met, condition


def test_grades_are_ordered_and_unknown_is_none_of_them(database: Database) -> None:
    for grade in ("A", "B", "C", "D", "unknown"):
        add_lead(database, grade, fit=grade)

    assert names(database, 'fit >= "B"') == {"A", "B"}
    assert names(database, 'fit < "B"') == {"C", "D"}
    assert names(database, 'not fit >= "B"') == {"C", "D", "unknown"}
    assert names(database, 'fit == "unknown"') == names(database, "fit is none") == {"unknown"}
    assert names(database, 'fit != "A"') == {"B", "C", "D", "unknown"}


def test_the_score_is_fit_and_what_is_left_of_engagement(database: Database) -> None:
    def logarithm(points: float, days_ago: float) -> float:
        return math.log(points) + decay_exponent(HALF_LIFE, NOW - timedelta(days=days_ago))

    add_lead(database, "fresh", fit_points=20, gains=logarithm(50, 0))
    add_lead(database, "older", fit_points=20, gains=logarithm(50, 14))
    add_lead(database, "capped", gains=logarithm(500, 0))
    add_lead(database, "below", gains=logarithm(10, 0), losses=logarithm(15, 0))
    add_lead(database, "nothing")
    add_lead(database, "ancient", gains=logarithm(50, 0) - 5000)

    assert names(database, "score >= 70") == {"fresh"}
    assert names(database, "engagement == 50 or engagement == 25") == {"fresh", "older"}
    assert names(database, "engagement == 60") == {"capped"}
    assert names(database, "engagement <= 0") == {"below", "nothing", "ancient"}
    later = Asking(now=NOW + timedelta(days=14), half_life=HALF_LIFE, engagement_cap=60)
    assert len(who(database, "score >= 45", asking=later)) == 2  # 20 + 25, and the capped one's 250 are still capped
    assert len(who(database, "score > 45", asking=later)) == 1


def test_a_bare_date_is_the_whole_day_and_days_count_to_the_second(database: Database) -> None:
    day = datetime(2026, 11, 17, tzinfo=UTC)
    add_lead(database, "before", created_at=day - timedelta(seconds=1))
    add_lead(database, "midnight", created_at=day)
    add_lead(database, "noon", created_at=day + timedelta(hours=12))
    add_lead(database, "after", created_at=day + timedelta(days=1))

    assert names(database, 'created_at == "2026-11-17"') == {"midnight", "noon"}
    assert names(database, 'created_at != "2026-11-17"') == {"before", "after"}
    assert names(database, 'created_at <= "2026-11-17"') == {"before", "midnight", "noon"}
    assert names(database, 'created_at > "2026-11-17"') == {"after"}
    assert names(database, 'created_at > "2026-11-17 13:00:00+01:00"') == {"after"}
    assert names(database, 'created_at in ["2026-11-16", "2026-11-18"]') == {"before", "after"}
    assert names(database, "days_since(created_at) < 7") == {"after"}
    assert names(database, "days_since(created_at) <= 7") == {"noon", "after"}
    assert names(database, "days_until(created_at) >= -7") == {"noon", "after"}


def test_custom_values_are_read_as_what_they_are_compared_with(database: Database) -> None:
    add_lead(
        database,
        "eighty",
        custom={"size": "80", "ends": "2026-11-30", "vip": "yes"},
        readings={
            "number": {"size": 80},
            "moment": {"ends": "2026-11-30T00:00:00Z"},
            "truth": {"vip": True},
        },
    )
    add_lead(database, "many", custom={"size": "many", "ends": "soon", "vip": "perhaps"}, readings={"number": {}})
    add_lead(database, "none")

    for condition, met in {
        "custom.size >= 50": {"eighty"},
        "not custom.size >= 50": {"many", "none"},
        'custom.size == "80"': {"eighty"},
        'custom.size == "many"': {"many"},
        "custom.size is none": {"none"},
        'custom.ends == "2026-11-30"': {"eighty"},
        "days_until(custom.ends) < 7": {"eighty"},
        "custom.ends > created_at": {"eighty"},
        "custom.vip == true": {"eighty"},
        "custom.vip == false": set(),
        "not custom.vip == true": {"many", "none"},
        "custom.size > fit_points": {"eighty"},
    }.items():
        assert names(database, condition) == met, condition


# --- texts


def test_every_letter_with_case_is_found_in_any_case(database: Database) -> None:
    letters = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    letters = [each for each in letters if fold(each) != each or each.upper() != each or each.lower() != each]
    assert len(letters) > 2_800
    with database.reading() as connection:
        for start in range(0, len(letters), 100):
            text = "".join(letters[start : start + 100])
            assert connection.scalar(select(starts_folded(literal(text, Text), fold(text)))), text
            assert connection.scalar(select(contains_folded(literal(fold(text), Text), text))), text
            wrong = f"{text[1:]}-"
            assert not connection.scalar(select(contains_folded(literal(text, Text), wrong))), text
        for ascii_text in ("istanbul", "KISS"):
            for text in ("İstanbul kiſS", "istanbul \u212aISS", "ISTANBUL kiss"):
                assert connection.scalar(select(contains_folded(literal(text, Text), ascii_text))), text
            assert not connection.scalar(select(starts_folded(literal("\u212astanbul", Text), ascii_text)))


def test_texts_are_compared_to_the_letter_and_searched_without_case(database: Database) -> None:
    add_lead(database, "zoe", company="Zoë & Söhne", title="HEAD of Growth")
    add_lead(database, "greek", company="ΣΊΣΥΦΟΣ", title="100%_[x]\\")
    add_lead(database, "turk", company="İstanbul Ltd", title="two\nlines")

    for condition, met in {
        'company == "zoë & söhne"': set(),
        'contains(company, "SÖHNE")': {"zoe"},
        'starts_with(company, "ZOË")': {"zoe"},
        'contains(company, "σίσυφος")': {"greek"},
        'contains(company, "istanbul")': {"turk"},
        'contains(title, "%_")': {"greek"},
        'contains(title, "_%")': set(),
        'contains(title, "[X]\\\\")': {"greek"},
        'matches(title, "^head (of|for) g.+h$")': {"zoe"},
        'matches(title, r"\\[x\\]\\\\$")': {"greek"},
        'matches(title, r"^two\\slines$")': {"turk"},
        'matches(company, "[À-Þ]")': {"zoe"},
        'matches(company, "[^a-zäöüë& ]")': {"greek"},
        'not matches(company, "s")': {"greek"},
    }.items():
        assert names(database, condition) == met, condition


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("/pricing*", ["/pricing", "/pricing/team?x=1"], ["/Pricing", "a/pricing"]),
        ("/a?b", ["/a_b", "/aéb"], ["/ab", "/a__b"]),
        ("/a_b%", ["/a_b%"], ["/axb%", "/a_b"]),
        ("*[x]*", ["/[x]", "a[x]b"], ["/x"]),
        ("a\\*", ["a\\", "a\\b"], ["a", "a*"]),
        ("*", ["", "x"], []),
    ],
)
def test_globs_know_two_signs_and_case(database: Database, glob: str, matching: list[str], others: list[str]) -> None:
    with database.reading() as connection:
        for text, met in [*((text, True) for text in matching), *((text, False) for text in others)]:
            assert bool(connection.scalar(select(glob_matches(literal(text, Text), glob)))) is met, text


def test_an_attempt_at_injection_stays_text(database: Database) -> None:
    hostile = ["x' OR '1'='1", "'); DROP TABLE lead; --", 'x" or 1=1 --', "%s %(x)s {0} :id ?", "\\'; --", "$1"]
    for number, text in enumerate(hostile):
        lead_id = add_lead(database, f"h{number}", tags=(text,), company=text, custom={"note": text})
        add_event(database, lead_id, text, link=text, step=text, cadence=text, props={"plan": text})
    add_lead(database, "innocent", company="innocent")

    for number, text in enumerate(hostile):
        said = json.dumps(text)
        for condition in (
            f"company == {said}",
            f"company in [{said}]",
            f"contains(company, {said})",
            f"starts_with(company, {said})",
            f"custom.note == {said}",
            f"tag({said})",
            f"did({said})",
            f"did({said}, plan={said})",
            f"did({said}, step={said}, cadence={said})",
        ):
            assert names(database, condition) == {f"h{number}"}, condition
    assert len(who(database, "true")) == len(hostile) + 1


# --- what happened


def test_only_what_a_person_did_counts_unless_said_otherwise(database: Database) -> None:
    human, machine = add_lead(database, "human"), add_lead(database, "machine")
    add_event(database, human, "clicked")
    add_event(database, machine, "clicked", verdict="machine")
    add_event(database, machine, "bounced", verdict="machine")

    assert who(database, "clicked()") == {human}
    assert who(database, "not clicked()") == {machine}
    assert who(database, 'clicked(verdict="any")') == {human, machine}
    assert who(database, "bounced()") == {machine}


def test_events_are_counted_within_a_time_and_by_what_they_say(database: Database) -> None:
    often, once = add_lead(database, "often"), add_lead(database, "once")
    for days in (1, 7, 30):
        add_event(database, often, "page viewed", at=NOW - timedelta(days=days), path="/pricing/team")
    add_event(database, once, "page viewed", at=NOW - timedelta(days=7, seconds=1), path="/blog")
    add_event(
        database, once, "clicked", link="https://acme.example/roi?x=1", link_name="roi", step="intro", cadence="a"
    )

    assert who(database, 'visited("/pricing*", times=3)') == {often}
    assert who(database, 'visited("/pricing*", times=3, within="7 days")') == set()
    assert who(database, 'visited(times=2, within="7 days")') == {often}
    assert who(database, 'visited(within="7 days")') == {often}
    assert who(database, 'clicked(link="https://acme.example/*")') == {once}
    assert who(database, 'clicked(link="roi")') == {once}
    assert who(database, 'clicked(link="ROI")') == set()
    assert who(database, 'clicked(step="intro", cadence="a")') == {once}
    assert who(database, 'clicked(step="intro", cadence="b")') == set()


@pytest.mark.parametrize(
    ("props", "met"),
    [
        ({"plan": "pro", "seats": 3, "paid": True}, {"text", "number", "truth"}),
        ({"plan": "pro", "seats": "3", "paid": "true"}, {"text", "number", "truth"}),
        ({"plan": "PRO", "seats": "3.0", "paid": "yes"}, {"number"}),
        ({"plan": 3, "seats": 3.0, "paid": 1}, {"number"}),
        ({"plan": None, "seats": True, "paid": False}, set()),
        ({"plan": ["pro"], "seats": 10**400, "paid": {"a": 1}}, set()),
        ({}, set()),
    ],
)
def test_a_property_is_compared_by_what_it_is(database: Database, props: Mapping[str, Any], met: set[str]) -> None:
    lead_id = add_lead(database, "x")
    add_event(database, lead_id, "trial started", props=props, value=99.5, currency="EUR")

    conditions = {"text": 'plan="pro"', "number": "seats=3", "truth": "paid=true"}
    assert {
        name for name, said in conditions.items() if who(database, f'did("trial started", {said})') == {lead_id}
    } == met
    assert who(database, 'did("trial started", value=99.5, currency="EUR")') == {lead_id}


def test_sent_is_what_was_accepted_or_may_have_been(database: Database) -> None:
    ids = {}
    for status, sent_at in (("sent", NOW), ("unknown", None), ("bounced", NOW), ("failed", None), ("queued", None)):
        ids[status] = add_lead(database, status)
        with database.transaction() as connection:
            connection.execute(
                t.message.insert().values(
                    intent_key=status,
                    lead_id=ids[status],
                    cadence="guide",
                    step="intro",
                    to_address="x@example.com",
                    recipient_domain="example.com",
                    sender="anna",
                    payload={},
                    status=status,
                    created_at=NOW,
                    not_before=NOW,
                    sent_at=sent_at,
                    dotted_at=NOW - timedelta(days=1),
                )
            )
    went_out = {ids["sent"], ids["unknown"], ids["bounced"]}
    assert who(database, "sent()") == who(database, 'sent(step="intro", cadence="guide")') == went_out
    assert who(database, 'sent(within="1 hour")') == {ids["sent"], ids["bounced"]}
    assert who(database, "not sent()") == {ids["failed"], ids["queued"]}


def test_inside_a_cadence_a_step_is_the_enrollments_own(database: Database) -> None:
    lead_id = add_lead(database, "twice")
    first = enroll(database, lead_id, run="1", at=NOW - timedelta(days=60))
    second = enroll(database, lead_id, run="2", at=NOW - timedelta(days=5))
    other = enroll(database, add_lead(database, "other"), at=NOW - timedelta(days=5))
    add_event(
        database,
        lead_id,
        "clicked",
        at=NOW - timedelta(days=30),
        step="intro",
        cadence="guide",
        enrollment_id=first,
    )

    def met(text: str, since: Any) -> set[int]:
        with database.reading() as connection:
            condition = parse_condition(text, OPEN)
            return enrollments_meeting(connection, condition, ASKING, ids=[first, second, other], since=since)

    assert met('clicked(step="intro")', "ever") == {first}
    assert met('not clicked(step="intro")', "ever") == {second, other}
    assert met('clicked(step="intro", cadence="guide")', "ever") == {first, second}
    assert met('clicked(step="intro", cadence="guide")', "enrollment") == {first}
    assert met("clicked()", "ever") == {first, second}
    assert met("clicked()", "enrollment") == {first}
    assert met('clicked(since="ever")', "enrollment") == {first, second}
    assert met('clicked(since="enrollment")', "ever") == {first}
    assert met("true", "ever") == {first, second, other}
    assert who(database, 'clicked(step="intro")') == {lead_id}
    assert who(database, 'clicked(since="enrollment")') == set()  # a lead by itself has no enrollment


# --- sets


def test_asking_some_answers_only_for_them(database: Database) -> None:
    tagged = [add_lead(database, f"t{n}", tags=("guide",)) for n in range(3)]
    bare = [add_lead(database, f"b{n}") for n in range(3)]

    assert who(database, 'tag("guide")') == set(tagged)
    assert who(database, 'tag("guide")', ids=[tagged[0], bare[0]]) == {tagged[0]}
    assert who(database, 'not tag("guide")', ids=[tagged[0], bare[0], 10**9]) == {bare[0]}
    assert who(database, "true", ids=[]) == set()


def test_asking_some_reads_only_their_rows(sqlite_database: Database) -> None:
    add_lead(sqlite_database, "one")
    text = 'tag("guide") and not replied() and (clicked(step="x", times=2) or contains(title, "growth")) and not sent()'
    condition, asked = parse_condition(text, OPEN), []

    def remember(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    with sqlite_database.reading() as connection:
        event.listen(sqlite_database.engine, "before_cursor_execute", remember)
        leads_meeting(connection, condition, ASKING, ids=[1, 2])
        enrollments_meeting(connection, condition, ASKING, ids=[1, 2], since="enrollment")
        event.remove(sqlite_database.engine, "before_cursor_execute", remember)
        assert len(asked) == 2
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert [row.detail for row in plan if row.detail.startswith("SCAN") and "json_each" not in row.detail] == []


def test_a_group_of_any_size_is_asked(database: Database) -> None:
    lead_id = add_lead(database, "one", tags=("guide",))
    add_event(database, lead_id, "clicked")
    crowd = list(range(1_000_000, 1_025_000))
    assert who(database, 'tag("guide") and clicked(times=1) and not replied()', ids=[*crowd, lead_id]) == {lead_id}


def test_the_longest_condition_that_is_taken_can_be_asked(database: Database) -> None:
    lead_id = add_lead(database, "one", company="x")
    longest = " or ".join(f'tag("{n}")' for n in range(270))
    deepest = "not (prospect or " * 24 + "prospect" + ")" * 24
    for text in (longest, longest.replace(" or ", " and "), f"not ({longest})"[:4000], deepest):
        condition = parse_condition(text, OPEN)
        with database.reading() as connection:
            met = leads_meeting(connection, condition, ASKING, ids=[lead_id])
            not_met = leads_meeting(connection, condition.negated(), ASKING, ids=[lead_id])
        assert met | not_met == {lead_id}
        assert met != not_met
