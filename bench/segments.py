"""A segment over a million leads with five million events, against the same SQL written by hand, in the same run.

Usage: python bench/segments.py [LEADS]      (default 1000000; five events a lead, SQLite)

Both are asked in turns and the fastest of each counts. Prints the milliseconds, the ratio (goal: at most 1.3), and what
reading the condition's text and making SQL of it takes before the database sees anything.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.scoring import decay_exponent
from nurture.store.database import Database
from nurture.store.segments import Asking, lead_clause, leads_meeting

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HALF_LIFE = timedelta(days=14)
ASKING = Asking(now=NOW, half_life=HALF_LIFE, engagement_cap=60)
EXPONENT = decay_exponent(HALF_LIFE, NOW)
EVENTS_A_LEAD = 5
GOAL = 1.3
TURNS = 5


def stored(moment: datetime) -> str:
    """As SQLite holds it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


CONDITIONS = {
    'stage == "lead" and fit >= "B" and country in ["DE", "AT"] and tag("guide") and not replied()': """
        SELECT id FROM lead WHERE stage = 'lead' AND fit IN ('A', 'B') AND country IN ('DE', 'AT')
        AND id IN (SELECT lead_id FROM lead_tag WHERE tag = 'guide')
        AND id NOT IN (SELECT lead_id FROM event WHERE kind = 'replied' AND verdict = 'human')""",
    'clicked(step="roi", within="7 days") or visited("/pricing*", within="14 days", times=2)': f"""
        SELECT id FROM lead WHERE id IN (
            SELECT lead_id FROM event
            WHERE kind = 'clicked' AND verdict = 'human' AND step = 'roi' AND at >= '{stored(NOW - timedelta(days=7))}')
        OR id IN (
            SELECT lead_id FROM event WHERE kind = 'page viewed' AND verdict = 'human' AND path GLOB '/pricing*'
            AND at >= '{stored(NOW - timedelta(days=14))}' GROUP BY lead_id HAVING count(*) >= 2)""",
    'score >= 50 and days_since(last_engaged_at) < 30 and custom.plan == "pro"': f"""
        SELECT id FROM lead WHERE last_engaged_at > '{stored(NOW - timedelta(days=30))}'
        AND json_extract(custom, '$.plan') = 'pro'
        AND fit_points + min(60, max(0,
            coalesce(exp(gains - {EXPONENT!r}), 0) - coalesce(exp(losses - {EXPONENT!r}), 0))) >= 50""",
    'stage == "lead" and (contains(title, "marketing") or contains(title, "growth"))': """
        SELECT id FROM lead WHERE stage = 'lead' AND (title LIKE '%marketing%' OR title LIKE '%growth%')""",
    "custom.employees >= 50": """
        SELECT id FROM lead WHERE json_extract(readings, '$.number.employees') >= 50""",
    "not clicked() and opened(times=2)": """
        SELECT id FROM lead WHERE id NOT IN (SELECT lead_id FROM event WHERE kind = 'clicked' AND verdict = 'human')
        AND id IN (SELECT lead_id FROM event WHERE kind = 'opened' AND verdict = 'human'
                   GROUP BY lead_id HAVING count(*) >= 2)""",
}

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) "
LEADS = (
    NUMBERS
    + """INSERT INTO lead (id, email, email_key, email_domain, country, title, stage, fit, fit_points, gains,
                  custom, readings, hot_armed, rescore, created_at, last_engaged_at)
SELECT i, 'p' || i || '@example.com', 'p' || i || '@example.com', 'example.com',
       CASE abs(random()) % 6 WHEN 0 THEN 'DE' WHEN 1 THEN 'AT' WHEN 2 THEN 'FR' WHEN 3 THEN NULL ELSE 'US' END,
       CASE abs(random()) % 5 WHEN 0 THEN 'Head of Marketing' WHEN 1 THEN 'Growth hacker' WHEN 2 THEN NULL
                              WHEN 3 THEN 'Geschäftsführerin' ELSE 'Chief executive officer' END,
       CASE abs(random()) % 4 WHEN 0 THEN 'mql' WHEN 1 THEN 'customer' ELSE 'lead' END,
       substr('ABCD', 1 + abs(random()) % 4, 1), abs(random()) % 41,
       CASE WHEN abs(random()) % 2 THEN :exponent + abs(random()) % 5 END,
       '{"plan": "' || CASE WHEN abs(random()) % 3 THEN 'team' ELSE 'pro' END || '", "employees": "'
            || (i % 200) || '"}',
       '{"number": {"employees": ' || (i % 200) || '}, "moment": {}, "truth": {}}',
       1, 0, :now, datetime(:now, '-' || (abs(random()) % 90) || ' days') || '.000000'
FROM n"""
)
TAGS = "INSERT INTO lead_tag (lead_id, tag) SELECT id, 'guide' FROM lead WHERE abs(random()) % 5 = 0"
EVENTS = (
    NUMBERS
    + """INSERT INTO event (lead_id, kind, at, recorded_at, verdict, source, source_id, step, cadence,
                   link, path, props)
SELECT 1 + abs(random()) % :leads,
       CASE abs(random()) % 10 WHEN 0 THEN 'clicked' WHEN 1 THEN 'replied' WHEN 2 THEN 'page viewed'
                               WHEN 3 THEN 'page viewed' ELSE 'opened' END,
       datetime(:now, '-' || (abs(random()) % 259200) || ' minutes') || '.000000', :now,
       CASE abs(random()) % 4 WHEN 0 THEN 'machine' ELSE 'human' END, 'bench', i,
       CASE abs(random()) % 3 WHEN 0 THEN 'roi' ELSE 'intro' END, 'guide', 'https://acme.example/roi',
       CASE abs(random()) % 3 WHEN 0 THEN '/pricing/team' ELSE '/blog' END, '{}'
FROM n"""
)


def fill(database: Database, leads: int) -> None:
    """Made-up leads and events; SQLite's own random(), since a ratio within one run needs no seed."""
    SQLModel.metadata.create_all(database.engine)
    with database.transaction() as connection:
        connection.execute(text(LEADS), {"many": leads, "now": stored(NOW), "exponent": EXPONENT})
        connection.execute(text(TAGS))
        connection.execute(text(EVENTS), {"many": leads * EVENTS_A_LEAD, "leads": leads, "now": stored(NOW)})
        connection.execute(text("ANALYZE"))


def fastest(first: Callable[[], set[int]], second: Callable[[], set[int]]) -> tuple[float, float, int, int]:
    """Milliseconds of each, asked in turns, and how many leads each found."""
    times: tuple[list[float], list[float]] = ([], [])
    found = [0, 0]
    for _ in range(TURNS):
        for place, ask in enumerate((first, second)):
            began = time.perf_counter()
            found[place] = len(ask())
            times[place].append((time.perf_counter() - began) * 1e3)
    return min(times[0]), min(times[1]), found[0], found[1]


def compare(connection: Connection, condition_text: str, by_hand: str) -> float:
    condition = parse_condition(condition_text, Vocabulary())
    ours, hand, found, found_by_hand = fastest(
        lambda: leads_meeting(connection, condition, ASKING),
        lambda: set(connection.scalars(text(by_hand))),
    )
    if found != found_by_hand:
        raise SystemExit(f"{condition_text}: {found} leads, by hand {found_by_hand}")
    print(f"{ours:9.0f} ms {hand:9.0f} ms by hand   {ours / hand:5.2f}   {found:8,} leads   {condition_text}")
    return ours / hand


def before_the_database() -> float:
    """Microseconds to read a condition and make its clause."""
    condition_text, many = next(iter(CONDITIONS)), 200
    began = time.perf_counter()
    for _ in range(many):
        lead_clause(parse_condition(condition_text, Vocabulary()), ASKING)
    return (time.perf_counter() - began) / many * 1e6


def main() -> None:
    leads = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{platform.platform()}, Python {platform.python_version()}, SQLite; {leads:,} leads, {leads * 5:,} events")
    with tempfile.TemporaryDirectory() as folder:
        database = Database("sqlite:///bench.db", root=Path(folder))
        began = time.perf_counter()
        fill(database, leads)
        with database.reading() as connection:
            print(f"filled in {time.perf_counter() - began:.0f} s")
            ratios = [compare(connection, *each) for each in CONDITIONS.items()]
        database.close()
    print(f"reading a condition and making its SQL: {before_the_database():.0f} µs")
    print(f"slowest ratio {max(ratios):.2f} (goal: at most {GOAL})")


if __name__ == "__main__":
    main()
