"""Mistakes in a test file, each at its place; and what a right one means."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.authoring.compile_tests import wall_clock
from nurture.authoring.workspace import load_workspace
from nurture.domain.event import Verdict
from nurture.domain.stages import Stage
from tests.conftest import DATA

TEST = "cadences/guide-followup.test.yaml"
LEAD = "lead: {email: zoe@example.com, first_name: Zoe, tags: [guide], timezone: Europe/Berlin}"
CLICK = "{at: 1 day, clicked: intro}"
CASE = "{at: 2026-11-05 10:00, email: case}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "acceptance", tmp_path / "workspace", ignore=shutil.ignore_patterns("*.csv")))


def findings(root: Path, old: str, new: str) -> tuple[list[tuple[int, int, str, str]], tuple[int, int]]:
    """What `check` finds once `new` stands for `old`, and the place of the caret in it."""
    text = (root / TEST).read_text().replace(old, new, 1)
    place = text.index("‸")
    (root / TEST).write_text(text.replace("‸", ""))
    caret = (text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place))
    found = check_workspace(root).findings
    return [(each.line, each.column, each.level, each.message) for each in found if each.file == TEST], caret


@pytest.mark.parametrize(
    ("old", "new", "level", "message"),
    [
        (LEAD, "lead: ‸{first_name: Zoe}", "error", "missing key 'email': a lead has an address"),
        (LEAD, "lead: {email: ‸zoe}", "error", "email: 'zoe' is no address"),
        (LEAD, "lead: {email: z@example.com, ‸firstname: Zoe}", "error", "unknown key 'firstname': did you mean"),
        (LEAD, "lead: {email: z@example.com, stage: ‸mqll}", "error", "unknown stage 'mqll': did you mean 'mql'?"),
        (LEAD, "lead: {email: z@example.com, fit: ‸E}", "error", "unknown fit 'E'"),
        (LEAD, "lead: {email: z@example.com, score: ‸101}", "error", "score: want a number from 0 to 100"),
        (LEAD, "lead: {email: z@example.com, engagement: 1, score: ‸2}", "error", "give one of the two points"),
        (LEAD, "lead: {email: z@example.com, tags: ‸guide}", "error", "tags: want a list of texts"),
        (LEAD, "lead: {email: z@example.com, consent: ‸no}", "error", "consent: want true or false"),
        (LEAD, "lead: {email: z@example.com, timezone: ‸Berlin}", "error", "is no time zone"),
        (LEAD, "lead: {email: z@example.com, title: ‸7}", "error", "title: want text"),
        (LEAD, "lead: {email: z@example.com, created_at: ‸yesterday}", "error", "'yesterday' is no moment"),
        (CLICK, "{at: ‸2026-11-01 10:00, clicked: intro}", "error", "lies before the start"),
        (CLICK, "{at: ‸61 days, clicked: intro}", "warning", "lies after the end: say e.g. 'until: 90 days'"),
        (CLICK, "{at: 1 day, clicked: intro, verdict: ‸robot}", "error", "found the text 'robot'"),
        (CLICK, "{at: 1 day, clicked: intro, ‸class: hard}", "error", "'class' says nothing beside 'clicked'"),
        (CLICK, "{at: 1 day, unsubscribed: ‸false}", "error", "'unsubscribed' is true, or not said"),
        (CLICK, "{at: 1 day, set: {‸companny: Helio}}", "error", "unknown field 'companny': did you mean 'company'?"),
        (CLICK, "{at: 1 day, set: {stage: ‸gold}}", "error", "unknown stage 'gold'"),
        (CLICK, "{at: 1 day, set: {country: ‸Atlantis}}", "error", "is no country"),
        (CASE, "{at: 2026-11-05 10:00, tag: x, ‸variant: y}", "error", "'variant' says nothing beside 'tag'"),
        (CASE, "{at: 2026-11-05 10:00, tag: x, ‸subject: y}", "error", "'subject' says nothing beside 'tag'"),
        ("{completed: true}", "{completed: ‸false}", "error", "'completed' is true, or not said"),
    ],
)
def test_a_mistake_stands_where_it_was_made(root: Path, old: str, new: str, level: str, message: str) -> None:
    found, caret = findings(root, old, new)
    assert [(line, column, kind) for line, column, kind, _ in found] == [(*caret, level)], found
    assert message in found[0][3], found


def test_what_a_test_says(root: Path) -> None:
    lead = (
        "lead: {email: Zoe@Example.com, stage: mql, country: Germany, custom: {plan: pro}, custom.seats: 9, score: 40}"
    )
    events = "{at: 2026-11-04 9:05, event: page viewed, value: 2, props: {path: /pricing}, verdict: probable}"
    text = (root / TEST).read_text().replace(LEAD, lead).replace(CLICK, events)
    (root / TEST).write_text(text)
    first, second = load_workspace(root).tests["guide-followup"]
    assert first.lead.address.key == "zoe@example.com"
    assert (first.lead.stage, first.lead.consented, first.lead.score) == (Stage.MQL, True, 40)
    assert (first.lead.fields, first.lead.custom) == ({"country": "DE"}, {"plan": "pro", "seats": "9"})
    happening = first.happenings[0]
    assert (happening.at, happening.kind, happening.name) == (wall_clock("2026-11-04 09:05"), "event", "page viewed")
    assert (happening.value, happening.props, happening.verdict) == (2, {"path": "/pricing"}, Verdict.PROBABLE)
    assert second.happenings[0].at == timedelta(days=2)
    assert [line.as_written() for line in second.expected] == [
        {"at": "2026-11-06 16:30", "email": "intro"},
        {"exit": "goal"},
    ]
