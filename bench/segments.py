"""A segment over a million leads with five million events, against the same SQL written by hand, in the same run.

Both are asked in turns and the fastest of each counts. Prints the milliseconds of each condition, and what reading its
text and making SQL of it takes before the database sees anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from bench.databases import a_database
from bench.rows import Row, at_most, options_of, tell
from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.domain.scoring import decay_exponent
from nurture.store.database import Database
from nurture.store.segments import Asking, lead_clause, leads_meeting

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HALF_LIFE = timedelta(days=14)
ASKING = Asking(now=NOW, half_life=HALF_LIFE, engagement_cap=60)
EXPONENT = decay_exponent(HALF_LIFE, NOW)
EVENTS_A_LEAD = 5
GOAL = at_most(1.3)
TURNS = 5
NEVER = ("replied", "clicked")


CONDITIONS = {
    'stage == "lead" and fit >= "B" and country in ["DE", "AT"] and tag("guide") and not replied()': """
        SELECT id FROM lead WHERE stage = 'lead' AND fit IN ('A', 'B') AND country IN ('DE', 'AT')
        AND id IN (SELECT lead_id FROM lead_tag WHERE tag = 'guide')
        AND {no_replied}""",
    'clicked(step="roi", within="7 days") or visited("/pricing*", within="14 days", times=2)': """
        SELECT id FROM lead WHERE id IN (
            SELECT lead_id FROM event
            WHERE kind = 'clicked' AND verdict = 'human' AND step = 'roi' AND at >= {days_ago_7})
        OR id IN (
            SELECT lead_id FROM event WHERE kind = 'page viewed' AND verdict = 'human' AND path {glob}
            AND at >= {days_ago_14} GROUP BY lead_id HAVING count(*) >= 2)""",
    'score >= 50 and days_since(last_engaged_at) < 30 and custom.plan == "pro"': """
        SELECT id FROM lead WHERE last_engaged_at > {days_ago_30}
        AND {plan} = 'pro'
        AND fit_points + {least}(60, {greatest}(0,
            coalesce(exp(gains - {exponent}), 0) - coalesce(exp(losses - {exponent}), 0))) >= 50""",
    'stage == "lead" and (contains(title, "marketing") or contains(title, "growth"))': """
        SELECT id FROM lead WHERE stage = 'lead' AND (title {like} '%marketing%' OR title {like} '%growth%')""",
    "custom.employees >= 50": """
        SELECT id FROM lead WHERE {employees} >= 50""",
    "not clicked() and opened(times=2)": """
        SELECT id FROM lead WHERE {no_clicked}
        AND id IN (SELECT lead_id FROM event WHERE kind = 'opened' AND verdict = 'human'
                   GROUP BY lead_id HAVING count(*) >= 2)""",
}

SPELLED = {
    "sqlite": {
        "series": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) ",
        "luck": "abs(random())",
        "now": "'2026-11-24 12:00:00.000000'",
        "ago": "datetime('2026-11-24 12:00:00', '-' || ({0}) || ' minutes') || '.000000'",
        "json": "{0}",
        "yes": "1",
        "no": "0",
        "text": "{0}",
        "glob": "GLOB '/pricing*'",
        "like": "LIKE",
        "plan": "json_extract(custom, '$.plan')",
        "employees": "json_extract(readings, '$.number.employees')",
        "none": "id NOT IN (SELECT lead_id FROM event WHERE {0})",
        "least": "min",
        "greatest": "max",
    },
    "postgresql": {
        "series": "WITH n(i) AS (SELECT generate_series(1, :many)) ",
        "luck": "(random() * 1000000000)::int",
        "now": "TIMESTAMPTZ '2026-11-24 12:00:00+00'",
        "ago": "TIMESTAMPTZ '2026-11-24 12:00:00+00' - ({0}) * INTERVAL '1 minute'",
        "json": "({0})::json",
        "yes": "true",
        "no": "false",
        "text": "({0})::text",
        "glob": "LIKE '/pricing%'",
        "like": "ILIKE",
        "plan": "custom ->> 'plan'",
        "employees": "(readings #>> ARRAY['number', 'employees'])::float",
        "none": "NOT EXISTS (SELECT FROM event WHERE lead_id = lead.id AND {0})",
        "least": "least",
        "greatest": "greatest",
    },
}


def spelled(sql: str, dialect: str) -> str:
    """The SQL with what the two databases say differently."""
    words = SPELLED[dialect]
    moments = {f"days_ago_{days}": words["ago"].format(days * 24 * 60) for days in (7, 14, 30)}
    nothing = {f"no_{kind}": words["none"].format(f"kind = '{kind}' AND verdict = 'human'") for kind in NEVER}
    return sql.format(**words, **moments, **nothing, exponent=repr(EXPONENT))


def fills(dialect: str) -> tuple[str, str, str]:
    """The statements that make leads, tags and events."""
    words = SPELLED[dialect]
    luck, ago, json = words["luck"], words["ago"].format, words["json"].format
    plan = f"""'{{"plan": "' || CASE WHEN {luck} % 3 > 0 THEN 'team' ELSE 'pro' END ||
               '", "employees": "' || (i % 200) || '"}}'"""
    readings = """'{"number": {"employees": ' || (i % 200) || '}, "moment": {}, "truth": {}}'"""
    leads = f"""{words["series"]}INSERT INTO lead (id, email, email_key, email_domain, country, title, stage, fit,
        fit_points, gains, custom, readings, hot_armed, rescore, created_at, last_engaged_at)
    SELECT i, 'p' || i || '@example.com', 'p' || i || '@example.com', 'example.com',
       CASE {luck} % 6 WHEN 0 THEN 'DE' WHEN 1 THEN 'AT' WHEN 2 THEN 'FR' WHEN 3 THEN NULL ELSE 'US' END,
       CASE {luck} % 5 WHEN 0 THEN 'Head of Marketing' WHEN 1 THEN 'Growth hacker' WHEN 2 THEN NULL
                       WHEN 3 THEN 'Geschäftsführerin' ELSE 'Chief executive officer' END,
       CASE {luck} % 4 WHEN 0 THEN 'mql' WHEN 1 THEN 'customer' ELSE 'lead' END,
       substr('ABCD', 1 + {luck} % 4, 1), {luck} % 41,
       CASE WHEN {luck} % 2 = 1 THEN {EXPONENT!r} + {luck} % 5 END,
       {json(plan)}, {json(readings)}, {words["yes"]}, {words["no"]}, {words["now"]},
       {ago(f"{luck} % 90 * 1440")}
    FROM n"""
    tags = f"INSERT INTO lead_tag (lead_id, tag) SELECT id, 'guide' FROM lead WHERE {luck} % 5 = 0"
    events = f"""{words["series"]}INSERT INTO event (lead_id, kind, at, recorded_at, verdict, source, source_id, step,
        cadence, link, path, props)
    SELECT 1 + {luck} % :leads,
       CASE {luck} % 10 WHEN 0 THEN 'clicked' WHEN 1 THEN 'replied' WHEN 2 THEN 'page viewed'
                        WHEN 3 THEN 'page viewed' ELSE 'opened' END,
       {ago(f"{luck} % 259200")}, {words["now"]},
       CASE {luck} % 4 WHEN 0 THEN 'machine' ELSE 'human' END, 'bench', {words["text"].format("i")},
       CASE {luck} % 3 WHEN 0 THEN 'roi' ELSE 'intro' END, 'guide', 'https://acme.example/roi',
       CASE {luck} % 3 WHEN 0 THEN '/pricing/team' ELSE '/blog' END, {json("'{}'")}
    FROM n"""
    return leads, tags, events


def fill(database: Database, leads: int) -> None:
    """Made-up leads and events; the database's own random(), since a ratio within one run needs no seed."""
    SQLModel.metadata.create_all(database.engine)
    make_leads, make_tags, make_events = (
        text(each.replace(": ", "\\: ")) for each in fills(database.engine.dialect.name)
    )
    with database.transaction() as connection:
        connection.execute(make_leads, {"many": leads})
        connection.execute(make_tags)
        connection.execute(make_events, {"many": leads * EVENTS_A_LEAD, "leads": leads})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
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


def compare(connection: Connection, condition_text: str, by_hand: str) -> tuple[float, float, str]:
    """(ours, by hand, condition), in milliseconds."""
    condition = parse_condition(condition_text, Vocabulary())
    ours, hand, found, found_by_hand = fastest(
        lambda: leads_meeting(connection, condition, ASKING),
        lambda: set(connection.scalars(text(spelled(by_hand, connection.dialect.name)))),
    )
    if found != found_by_hand:
        raise SystemExit(f"{condition_text}: {found} leads, by hand {found_by_hand}")
    print(
        f"{ours:9.1f} ms {hand:9.1f} ms by hand   {ours / hand:5.2f}   {found:8,} leads   {condition_text}", flush=True
    )
    return ours, hand, condition_text


def before_the_database() -> float:
    """Microseconds to read a condition and make its clause."""
    condition_text, many = next(iter(CONDITIONS)), 200
    began = time.perf_counter()
    for _ in range(many):
        lead_clause(parse_condition(condition_text, Vocabulary()), ASKING)
    return (time.perf_counter() - began) / many * 1e6


def main() -> None:
    parser = options_of(__doc__, "bench.segments")
    parser.add_argument("leads", nargs="?", type=int, default=1_000_000, help="with five events each")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    options = parser.parse_args()
    name = "PostgreSQL" if options.postgresql else "SQLite"
    with a_database(postgresql=options.postgresql) as database:
        began = time.perf_counter()
        fill(database, options.leads)
        with database.reading() as connection:
            print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
            asked = [compare(connection, *each) for each in CONDITIONS.items()]
    print(f"reading a condition and making its SQL: {before_the_database():.0f} µs")
    ours, hand, condition = max(asked, key=lambda each: each[0] / each[1])
    row = Row(
        work=f"a segment over {options.leads:,} leads with {options.leads * EVENTS_A_LEAD:,} events",
        limit=f"the same SQL by hand: {hand:.1f} ms",
        result=f"{ours:.1f} ms",
        ratios=(ours / hand,),
        goal=GOAL,
        note=f"{name}; the slowest ratio of {len(asked)} conditions, `{condition}`; fastest of {TURNS} turns",
    )
    tell([row], options.rows)


if __name__ == "__main__":
    main()
