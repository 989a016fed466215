"""Generated conditions over generated leads: SQLite and PostgreSQL must answer as the plain reference does.

`NURTURE_CONDITION_CASES` raises the number of conditions (each is asked of all leads and all their enrollments).
"""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from nurture.domain.conditions import Vocabulary, parse_condition
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.segments import Asking, enrollments_meeting, leads_meeting
from tests.condition_reference import Person, Reference, Run, World

CASES = int(os.environ.get("NURTURE_CONDITION_CASES", "200"))
CHUNKS = 4
"""The cases are as many tests, so that several processes may share them."""
LEADS = 30
CASES_A_POPULATION = 1_000

NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
HALF_LIFE, CAP = timedelta(days=14), 60.0
EXPONENT = math.log(2) * ((NOW - datetime(2020, 1, 1, tzinfo=UTC)) / HALF_LIFE)
SEGMENTS = {
    "dach": 'country in ["DE", "AT", "CH"]',
    "warm": 'score >= 40 or in_segment("dach") and not tag("guide")',
}
DECLARED: dict[str, Any] = {
    "team": "text",
    "size": "number",
    "ends": "datetime",
    "vip": "boolean",
    "plan": ["team", "pro"],
}

TEXTS = [
    *("Acme", "acme", "ACME GmbH", "Zoë", "ZOË", "straße", "STRASSE", "ΣΊΣΥΦΟΣ", "σίσυφος", "İstanbul", "istanbul"),
    *("100%", "a_b", "aXb", "[x]", "back\\slash", 'quo"te', "it's", "Ǆungla", "😀 team", "Head of Growth", "VP head"),
    *("two\nlines", " ", "true", "3", "2026-11-20", "pro", "team", "Ⅷ", "ſharp", "Kelvin"),
]
NEEDLES = ["a", "ac", "ZO", "ë", "σ", "ς", "S", "ß", "İ", "%", "_", "[", "\\", '"', "head", "Ǆ", "😀", "k", " "]
PATTERNS = [
    *("^a", "e$", "^.$", "head|vp", "^(head|VP) of", "[A-Z]+", "[^a-z ]", "zo.", "(a|b)*$", "^[0-9]+%?$", "\\d", "\\s"),
    *("[à-ÿ]", "σ+", "x?b$", "(?:ac|me)+", "\\[x\\]", "\\\\", "[\\\\%]", "(^|[^a-z])of([^a-z]|$)", "^$|a", "i[^s]"),
]
COUNTRIES = ["DE", "AT", "FR", "de", "", None]
STAGES = ["visitor", "lead", "mql", "pql", "sql", "opportunity", "customer", "disqualified"]
TAGS = ["guide", "Guide", "vip 100%", "ünï"]
LINKS = ["https://acme.example/roi", "https://acme.example/ROI?x=[1]", "https://b.example/%41_b", None]
PATHS = ["/pricing", "/pricing/team", "/Pricing", "/a_b", "/a%b", "/[x]", "/", None]
GLOBS = ["/pricing*", "*", "/a?b", "/a_b", "/a%b", "/[x]", "*roi*", "https://*", "*x=[1]", "roi-link", "/p*g*m", "?"]
SPANS = [timedelta(0), timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=30), timedelta(days=90)]
WITHIN = ["1 hour", "7 days", "30 days", "1.5 days", "2 weeks"]
DAYS = ["2026-11-24", "2026-11-17", "2026-10-25", "2025-01-01"]
MOMENTS = ["2026-11-24 12:00", "2026-11-17T12:00:00Z", "2026-11-23 13:00:00+01:00"]
PROPERTIES: list[dict[str, Any]] = [
    {},
    {"plan": "pro", "seats": 3},
    {"plan": "PRO", "seats": "3"},
    {"seats": 3.5, "trial": True},
    {"seats": "3.0", "trial": "true"},
    {"seats": True, "plan": 3, "trial": 1},
    {"seats": 10**200, "plan": None, "trial": False},
]


# --- people


def _moment(rng: random.Random) -> datetime:
    """Often exactly on one of the bounds that conditions name."""
    if rng.random() < 0.2:
        return datetime.fromisoformat(rng.choice(DAYS)).replace(tzinfo=UTC)
    base = NOW - rng.choice(SPANS)
    return base + rng.choice([timedelta(0), timedelta(microseconds=1), -timedelta(seconds=1), timedelta(hours=30)])


def _maybe(rng: random.Random, value: Any, missing: float = 0.35) -> Any:
    return None if rng.random() < missing else value


def _logarithm(rng: random.Random) -> float | None:
    worth = rng.choice([None, 0.5, 20.0, 50.0, 80.0, 1e-300])
    if worth is None:
        return rng.choice([None, EXPONENT - 800, EXPONENT + 650])
    return EXPONENT + math.log(worth)


def _readings(rng: random.Random) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """A custom text, and independently what it reads as: how it was read is not what is tested here."""
    custom, readings = {}, {"number": {}, "truth": {}, "moment": {}}  # type: ignore[var-annotated]  # filled below
    for name in DECLARED:
        if rng.random() < 0.7:
            custom[name] = rng.choice([*TEXTS, "", "pro", "team"])
        if rng.random() < 0.5:
            readings["number"][name] = rng.choice([0, 3, 3.5, -2, 50, 1e20])
        if rng.random() < 0.5:
            readings["truth"][name] = rng.random() < 0.5
        if rng.random() < 0.5:
            readings["moment"][name] = _moment(rng).isoformat()
    return custom, readings


def _event(rng: random.Random, enrollment_id: int) -> dict[str, Any]:
    kind = rng.choice(
        ["opened", "clicked", "clicked", "replied", "page viewed", "page viewed", "bounced", "demo requested"]
    )
    return {
        "kind": kind,
        "at": _moment(rng),
        "verdict": rng.choice(["human", "human", "human", "probable", "machine"]),
        "enrollment_id": rng.choice([enrollment_id, enrollment_id, 10**6, None]),
        "cadence": rng.choice(["x", "y", None]),
        "step": rng.choice(["a", "b", None]),
        "link": rng.choice(LINKS) if kind == "clicked" else None,
        "link_name": rng.choice(["roi-link", None]) if kind == "clicked" else None,
        "path": rng.choice(PATHS) if kind == "page viewed" else None,
        "value": rng.choice([None, 100.0, 3.0]),
        "props": rng.choice(PROPERTIES),
    }


def _message(rng: random.Random, enrollment_id: int) -> dict[str, Any]:
    status = rng.choice(["sent", "sent", "unknown", "queued", "bounced", "failed"])
    accepted = status == "sent" or (status == "bounced" and rng.random() < 0.5)
    return {
        "kind": rng.choice(["step", "step", "step", "delivery"]),
        "status": status,
        "enrollment_id": rng.choice([enrollment_id, None]),
        "cadence": rng.choice(["x", "y"]),
        "step": rng.choice(["a", "b"]),
        "sent_at": _moment(rng) if accepted else None,
        "dotted_at": _moment(rng),
    }


def _task(rng: random.Random, enrollment_id: int) -> dict[str, Any]:
    status = rng.choice(["open", "done", "done", "no answer", "wrong number", "skipped", "canceled"])
    return {
        "status": status,
        "enrollment_id": rng.choice([enrollment_id, enrollment_id, 10**6]),
        "cadence": rng.choice(["x", "y"]),
        "step": rng.choice(["a", "b"]),
        "closed_at": None if status == "open" else _moment(rng),
    }


def _run(rng: random.Random, number: int) -> Run:
    run = Run(id=1000 + number, enrolled_at=_moment(rng))
    if rng.random() < 0.3:
        return run
    texts, readings = _readings(rng)
    return Run(id=run.id, enrolled_at=run.enrolled_at, texts=texts, readings=readings)


def _fields(rng: random.Random, number: int) -> dict[str, Any]:
    texts = {name: _maybe(rng, rng.choice([*TEXTS, ""])) for name in ("company", "title", "first_name", "owner")}
    moments = {name: _maybe(rng, _moment(rng)) for name in ("last_engaged_at", "contacted_at")}
    return {
        **texts,
        **moments,
        "email": f"{number}@example.com",
        "country": rng.choice(COUNTRIES),
        "stage": rng.choice(STAGES),
        "fit": rng.choice(["A", "B", "C", "D", "unknown"]),
        "fit_points": rng.choice([0.0, 10.0, 25.0, 40.0, -20.0]),
        "gains": _logarithm(rng),
        "losses": _maybe(rng, _logarithm(rng), 0.7),
        "created_at": _moment(rng),
    }


def people(seed: int) -> list[tuple[Person, Run]]:
    """Lead n has enrollment 1000 + n."""
    rng = random.Random(seed)
    made = []
    for number in range(1, LEADS + 1):
        custom, readings = _readings(rng)
        run = _run(rng, number)
        person = Person(
            id=number,
            fields=_fields(rng, number),
            custom=custom,
            readings=readings,
            tags=frozenset(rng.sample(TAGS, rng.randrange(3))),
            events=tuple(_event(rng, run.id) for _ in range(rng.randrange(7))),
            messages=tuple(_message(rng, run.id) for _ in range(rng.randrange(4))),
            tasks=tuple(_task(rng, run.id) for _ in range(rng.randrange(3))),
        )
        made.append((person, run))
    return made


def store(database: Database, made: list[tuple[Person, Run]]) -> None:
    """The same people as rows."""
    with database.transaction() as connection:
        for table in (t.lead, t.lead_tag, t.event, t.message, t.enrollment, t.task):
            connection.execute(table.delete())
        for person, run in made:
            key = person.fields["email"]
            lead = {"id": person.id, "email_key": key, "email_domain": "example.com", **person.fields}
            connection.execute(t.lead.insert().values(**lead, custom=person.custom, readings=person.readings))
            row = {"id": run.id, "lead_id": person.id, "cadence": "x", "version": "v", "enrolled_at": run.enrolled_at}
            if run.texts is not None:
                row["event_id"] = _trigger(connection, person, run)
            connection.execute(t.enrollment.insert().values(**row))
            for place, task in enumerate(person.tasks):
                extra = {"task_key": f"{run.id}:{place}", "lead_id": person.id, "text": "Call", "created_at": NOW}
                connection.execute(t.task.insert().values(**task, **extra))
            for tag in person.tags:
                connection.execute(t.lead_tag.insert().values(lead_id=person.id, tag=tag))
            for place, event in enumerate(person.events):
                extra = {
                    "source": "test",
                    "source_id": f"{person.id}/{place}",
                    "recorded_at": NOW,
                    "lead_id": person.id,
                }
                connection.execute(t.event.insert().values(**event, **extra))
            for place, message in enumerate(person.messages):
                connection.execute(t.message.insert().values(**message, **_rest_of_message(person, place)))


def _trigger(connection: Connection, person: Person, run: Run) -> int:
    """The event that started the run; its kind is one that no condition asks for."""
    values = {
        "lead_id": person.id,
        "kind": "started",
        "at": run.enrolled_at,
        "recorded_at": NOW,
        "source": "trigger",
        "source_id": str(run.id),
        "props": {},
        "readings": {"text": run.texts, **run.readings},
    }
    event_id: int = connection.execute(t.event.insert().values(values).returning(t.event.c.id)).scalar_one()
    return event_id


def _rest_of_message(person: Person, place: int) -> dict[str, Any]:
    return {
        "intent_key": f"{person.id}/{place}",
        "lead_id": person.id,
        "to_address": "x@example.com",
        "recipient_domain": "example.com",
        "sender": "anna",
        "created_at": NOW,
        "not_before": NOW,
        "payload": {},
    }


# --- conditions


def _quoted(text: str) -> str:
    escaped = "".join(f"\\{each}" if each in '"\\' else each for each in text)
    return f'"{escaped}"'


def _clean(texts: list[str]) -> list[str]:
    return [text for text in texts if text.strip() and "\n" not in text]


comparisons = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
equalities = st.sampled_from(["==", "!="])
memberships = st.sampled_from(["in", "not in"])
text_fields = st.sampled_from(["company", "title", "first_name", "owner", "country", "custom.team", "email"])
moment_fields = st.sampled_from(["created_at", "last_engaged_at", "contacted_at", "custom.ends"])
number_fields = st.sampled_from(["score", "engagement", "fit_points", "custom.size"])
words = st.sampled_from([_quoted(text) for text in [*_clean(TEXTS), "DE", "AT", "FR"] if text != "2026-11-20"])
numbers = st.sampled_from(["0", "3", "3.5", "-2", "20", "50", "60", "65", "100", "0.0001"])
dates = st.sampled_from([_quoted(text) for text in [*DAYS, *MOMENTS]])
grades = st.sampled_from(['"A"', '"B"', '"C"', '"D"'])


def _list(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=4).map(lambda some: f"[{', '.join(some)}]")


def _said(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(each) if isinstance(each, str) else each for each in parts)).map(" ".join)


def _call(name: str, *arguments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*arguments).map(lambda said: f"{name}({', '.join(each for each in said if each)})")


def _option(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), st.just(""), values.map(lambda value: f"{name}={value}"))


step = _option("step", st.sampled_from(['"a"', '"b"']))
cadence = _option("cadence", st.sampled_from(['"x"', '"y"']))
within = _option("within", st.sampled_from([_quoted(each) for each in WITHIN]))
times = _option("times", st.sampled_from(["1", "2", "3"]))
since = _option("since", st.sampled_from(['"ever"', '"enrollment"']))
verdict = _option("verdict", st.sampled_from(['"any"', '"human"']))
outcome = _option("outcome", st.sampled_from(['"done"', '"no answer"', '"skipped"']))
globs = st.sampled_from([_quoted(each) for each in GLOBS])
properties = st.sampled_from(
    [
        "",
        "",
        'plan="pro"',
        "seats=3",
        "seats=3.5",
        "trial=true",
        "trial=false",
        "value=100",
        'plan="PRO", seats=3',
        "seats=1",
    ]
)

happenings = st.one_of(
    _call("opened", step, cadence, within, times, since, verdict),
    _call("clicked", step, cadence, _option("link", globs), within, times, since, verdict),
    _call("replied", step, cadence, within, times, since, verdict),
    _call("visited", st.one_of(st.just(""), globs), within, times, since, verdict),
    _call(
        "did",
        st.sampled_from(['"demo requested"', '"clicked"', '"page viewed"', '"never"']),
        step,
        within,
        times,
        since,
        verdict,
        properties,
    ),
    _call("sent", step, cadence, within, times, since),
    _call("bounced", step, cadence, within, times, since),
    _call("task", step, cadence, within, times, since, outcome),
)
common_leaves = st.one_of(
    _said(text_fields, comparisons, words),
    _said(words, comparisons, text_fields),
    _said(text_fields, memberships, _list(words)),
    _said(number_fields, comparisons, numbers),
    _said(numbers, st.sampled_from(["<", "<="]), number_fields, st.sampled_from(["<", "<="]), numbers),
    _said(number_fields, memberships, _list(numbers)),
    _said(number_fields, comparisons, number_fields),
    _said(moment_fields, comparisons, dates),
    _said(moment_fields, memberships, _list(dates)),
    _said(moment_fields, comparisons, moment_fields),
    _said(
        _call("days_since", moment_fields),
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from(["0", "1", "7", "30", "1.25", "-1"]),
    ),
    _said(st.sampled_from(["-1", "0", "7"]), st.sampled_from(["<", ">="]), _call("days_until", moment_fields)),
    _said("fit", comparisons, grades),
    _said("fit", equalities, '"unknown"'),
    _said("fit", memberships, _list(st.one_of(grades, st.just('"unknown"')))),
    _said("stage", equalities, st.sampled_from([_quoted(each) for each in STAGES])),
    _said("stage", memberships, _list(st.sampled_from([_quoted(each) for each in STAGES]))),
    _said(
        st.one_of(text_fields, moment_fields, st.sampled_from(["fit", "custom.plan", "score"])),
        st.sampled_from(["is none", "is not none"]),
    ),
    _said(st.sampled_from(["company", "title"]), comparisons, st.sampled_from(["first_name", "custom.team"])),
    _said("custom.plan", equalities, st.sampled_from(['"pro"', '"team"'])),
    _said("custom.plan", memberships, st.sampled_from(['["pro"]', '["pro", "team"]'])),
    _said(st.sampled_from(["custom.vip", "prospect"]), equalities, st.sampled_from(["true", "False"])),
    _call("contains", text_fields, st.sampled_from([_quoted(each) for each in NEEDLES])),
    _call("starts_with", text_fields, st.sampled_from([_quoted(each) for each in NEEDLES])),
    _call("matches", text_fields, st.sampled_from([_quoted(each) for each in PATTERNS])),
    _call("tag", st.sampled_from([_quoted(each) for each in TAGS])),
    st.sampled_from(["prospect", "true", "false", 'in_segment("dach")', 'in_segment("warm")']),
    happenings,
    happenings,
    _said(st.sampled_from(["event.team", "event.plan"]), comparisons, words),
    _said("event.size", comparisons, numbers),
    _said("event.ends", comparisons, dates),
    _said("event.vip", equalities, st.sampled_from(["true", "false"])),
    _said(st.sampled_from(["event.team", "event.size"]), st.sampled_from(["is none", "is not none"])),
    _said("event.team", memberships, _list(words)),
    _said(_call("days_since", st.just("event.ends")), st.sampled_from(["<", ">="]), st.sampled_from(["0", "7"])),
    _call("contains", st.just("event.team"), st.sampled_from([_quoted(each) for each in NEEDLES])),
    _said("event.size", comparisons, st.sampled_from(["score", "fit_points"])),
)
declared_leaves = st.one_of(common_leaves, st.just("custom.vip"), _said("custom.ends", "is none"))
open_leaves = st.one_of(
    common_leaves,
    _said(st.sampled_from(["custom.size", "custom.ends", "custom.plan"]), comparisons, words),
    _said("custom.team", comparisons, st.one_of(numbers, dates)),
    _said("custom.team", comparisons, st.sampled_from(["custom.plan", "score", "created_at"])),
)


def _conditions(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda part: f"not ({part})"),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: " and ".join(f"({part})" for part in parts)),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: " or ".join(f"({part})" for part in parts)),
        ),
        max_leaves=5,
    )


cases = st.one_of(
    st.tuples(_conditions(declared_leaves), st.just(True)), st.tuples(_conditions(open_leaves), st.just(False))
)


# --- the comparison


@dataclass
class Bench:
    """Both databases with the same people in them; changed for new ones from time to time."""

    databases: tuple[Database, ...]
    first: int = 0
    asked: int = 0
    made: list[tuple[Person, Run]] | None = None

    def next(self) -> list[tuple[Person, Run]]:
        if self.made is None or self.asked % CASES_A_POPULATION == 0:
            self.made = people(seed=self.first + self.asked // CASES_A_POPULATION)
            for database in self.databases:
                store(database, self.made)
        self.asked += 1
        return self.made


@pytest.fixture
def bench(sqlite_database: Database, postgres_database: Database) -> Iterator[Bench]:
    yield Bench(databases=(sqlite_database, postgres_database))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_both_databases_answer_as_the_reference_does(
    bench: Bench, chunk: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.first = chunk * CASES
    asking = Asking(now=NOW, half_life=HALF_LIFE, engagement_cap=CAP)

    @seed(chunk)
    @settings(
        max_examples=CASES // CHUNKS,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(case=cases)
    def compare(case: tuple[str, bool]) -> None:
        text, declared = case
        made = bench.next()
        custom = DECLARED if declared else None
        condition = parse_condition(text, Vocabulary(custom=custom, segments=SEGMENTS, trigger=True))
        note(condition.text)
        assert parse_condition(condition.text, Vocabulary(custom=custom, trigger=True)) == condition

        world = World(now=NOW, half_life=HALF_LIFE, cap=CAP, segments=SEGMENTS, custom=custom)
        since: Literal["ever", "enrollment"] = "enrollment" if bench.asked % 2 else "ever"
        met = {person.id for person, _ in made if Reference(world, person).meets(text)}
        not_met = {person.id for person, _ in made} - met
        runs = {run.id for person, run in made if Reference(world, person, run, since).meets(text)}
        some, ids = [person.id for person, _ in made[::2]], [run.id for _, run in made]

        for number, database in enumerate(bench.databases):
            with database.reading() as connection:
                if (bench.asked + number) % 2:  # in turn all leads, or some of them by the opposite
                    assert leads_meeting(connection, condition, asking) == met
                else:
                    assert leads_meeting(connection, condition.negated(), asking, ids=some) == not_met & set(some)
                assert enrollments_meeting(connection, condition, asking, ids=ids, since=since) == runs

    compare()
    with capsys.disabled():
        sys.stdout.write(f" [{bench.asked} conditions x {LEADS} leads and enrollments x 2 databases]")
