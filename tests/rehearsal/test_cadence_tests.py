"""Cadence tests, played: what a lead does or is given, and what its cadence does then."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.domain.problem import Problem
from nurture.rehearsal.cadence_tests import Outcome
from tests.rehearsal.playing import copy_workspace, only, outcomes, write_story

TWO_MAILS = """
    segment: stage == "lead"
    steps:
      - {email: welcome, id: one, subject: "Hello {{ lead.first_name | default('you') }}"}
      - wait: 3 days
      - if: clicked(step="one")
        then:
          - {email: case-study, id: two, subject: You clicked}
        else:
          - {email: welcome, id: three, subject: You did not}
"""
LEAD = "lead: {email: zoe@example.com, timezone: Europe/Berlin}"
FIRST = "- {at: 2026-11-02 10:00, email: one}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_workspace(tmp_path / "workspace")


def case(events: str, *expected: str, lead: str = LEAD, start: str = "2026-11-02 10:00", more: str = "") -> str:
    lines = [f"- name: a story\n  {lead}\n  start: {start}\n  events: [{events}]", *([f"  {more}"] if more else [])]
    return "\n".join([*lines, "  expect:", *(f"    {line}" for line in expected)])


def shown(outcome: Outcome) -> list[tuple[object, object, bool]]:
    return [
        (row.expected and row.expected.as_written(), row.actual and row.actual.as_written(), row.same)
        for row in outcome.rows
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("", ["- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"]),
        ("{at: 1 day, clicked: one}", ["- {at: 2026-11-05 10:00, email: two}", "- {completed: true}"]),
        (
            "{at: 1 day, clicked: one, verdict: machine}",
            ["- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"],
        ),
        ("{at: 1 day, opened: one}", ["- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"]),
        ("{at: 0 minutes, clicked: one}", ["- {at: 2026-11-05 10:00, email: two}", "- {completed: true}"]),
        ("{at: 3 days, clicked: one}", ["- {at: 2026-11-05 10:00, email: two}", "- {completed: true}"]),
        ("{at: 1 day, replied: one}", ["- {at: 2026-11-03 10:00, exit: replied}"]),
        ("{at: 2 days, bounced: one}", ["- {at: 2026-11-04 10:00, exit: bounced}"]),
        (
            "{at: 2 days, bounced: one, class: soft}",
            ["- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"],
        ),
        ("{at: 2026-11-03 09:30, unsubscribed: true}", ["- {at: 2026-11-03 09:30, exit: unsubscribed}"]),
        ("{at: 1 day, event: deal won, value: 900}", ["- {exit: stage}"]),
    ],
)
def test_what_a_reader_does_is_what_the_cadence_follows(root: Path, events: str, expected: list[str]) -> None:
    outcome = only(write_story(root, TWO_MAILS, case(events, FIRST, *expected)))
    assert outcome.passed, shown(outcome)


def test_a_weekend_waits_for_the_window_and_the_cap_for_a_day(root: Path) -> None:
    cadence = """
        segment: score >= 0
        steps:
          - {email: welcome, id: one, subject: One}
          - {email: welcome, id: two, subject: Two}
    """
    lead = "lead: {email: zoe@example.com, timezone: America/New_York}"
    expected = ["- {at: 2026-11-09 09:00, email: one}", "- {at: 2026-11-10 09:00, email: two}", "- {completed: true}"]
    outcome = only(write_story(root, cadence, case("", *expected, lead=lead, start="2026-11-07 12:00")))
    assert outcome.passed, shown(outcome)


def test_an_offset_is_elapsed_time_and_clocks_are_the_leads(root: Path) -> None:
    """Summer time ends on 25 October 2026: three days later it is nine o'clock."""
    expected = ["- {at: 2026-10-23 10:00, email: one}", "- {at: 2026-10-26 09:00, email: two}", "- {completed: true}"]
    story = case("{at: 2026-10-26 08:59, clicked: one}", *expected, start="2026-10-23 10:00")
    outcome = only(write_story(root, TWO_MAILS, story))
    assert outcome.passed, shown(outcome)


def test_nothing_said_of_the_end_means_under_way(root: Path) -> None:
    under_way = case("", FIRST, more="until: 2 days")
    too_short = case("", FIRST, "- {completed: true}", more="until: 2 days").replace("a story", "another")
    first, second = outcomes(write_story(root, TWO_MAILS, under_way, too_short))
    assert first.passed, shown(first)
    assert shown(second)[1:] == [({"completed": True}, None, False)]
    assert second.notes[0].startswith("still under way at the end: before ")


def test_without_consent_nothing_is_sent(root: Path) -> None:
    lead = "lead: {email: zoe@example.com, consent: false}"
    outcome = only(write_story(root, TWO_MAILS, case("", "- {exit: consent_expired}", lead=lead)))
    assert outcome.passed, shown(outcome)


def test_a_draft_is_tested_as_if_it_were_live_whoever_the_lead_is(root: Path) -> None:
    draft = TWO_MAILS.replace('segment: stage == "lead"', 'segment: tag("nobody")\n    status: draft')
    expected = [FIRST, "- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"]
    outcome = only(write_story(root, draft, case("", *expected)))
    assert outcome.passed, shown(outcome)


def test_what_is_set_counts_at_once(root: Path) -> None:
    cadence = TWO_MAILS.replace("steps:", 'exit: custom.competitor == true or tag("rival")\n    steps:')
    by_field = case("{at: 1 day, set: {custom.competitor: true}}", FIRST, "- {at: 2026-11-03 10:00, exit: condition}")
    by_tag = case("{at: 2 days, set: {tag: rival}}", FIRST, "- {at: 2026-11-04 10:00, exit: condition}")
    found = outcomes(write_story(root, cadence, by_field, by_tag.replace("a story", "another")))
    assert [outcome.passed for outcome in found] == [True, True], [shown(outcome) for outcome in found]


ACTS = """
    segment: score >= 0
    steps:
      - {notify: sales, id: tell, message: "{{ lead.email }} is here"}
      - {untag: cold}
      - {promote: sql}
      - if: score >= 70 and fit >= "B"
        then:
          - {tag: warm}
      - if: custom.plan == "pro" and custom.seats > 5
        then:
          - {tag: big}
"""


def test_every_effect_is_a_line_in_order(root: Path) -> None:
    lead = "lead: {email: zoe@example.com, score: 75, fit: A, custom: {plan: pro}, custom.seats: 9, tags: [cold]}"
    at = "at: 2026-11-07 03:20"
    done = [f"- {{{at}, {each}}}" for each in ("untag: cold", "promote: sql", "tag: warm", "tag: big")]
    by_what = case("", f"- {{{at}, notify: sales}}", *done, "- {completed: true}", lead=lead, start="2026-11-07 03:20")
    by_id = by_what.replace("notify: sales", "notify: tell").replace("a story", "by id")
    other = by_what.replace("notify: sales", "notify: ben").replace("a story", "another rep")
    found = outcomes(write_story(root, ACTS, by_what, by_id, other))
    assert [outcome.passed for outcome in found] == [True, True, False], [shown(outcome) for outcome in found]


def test_a_promotion_stands_among_the_steps_where_it_was_made(root: Path) -> None:
    cadence = """
        segment: score >= 0
        steps:
          - {tag: before}
          - {promote: mql}
          - {tag: between}
          - {promote: sql}
          - {tag: after}
    """
    at = "at: 2026-11-02 10:00"
    order = ["tag: before", "promote: mql", "tag: between", "promote: sql", "tag: after"]
    outcome = only(
        write_story(root, cadence, case("", *(f"- {{{at}, {each}}}" for each in order), "- {completed: true}"))
    )
    assert outcome.passed, shown(outcome)


def test_a_promotion_of_whoever_stands_there_is_no_line(root: Path) -> None:
    cadence = """
        segment: score >= 0
        steps:
          - {promote: mql}
          - {promote: sql}
    """
    lead = "lead: {email: zoe@example.com, stage: mql}"
    expected = ["- {at: 2026-11-02 10:00, promote: sql}", "- {completed: true}"]
    outcome = only(write_story(root, cadence, case("", *expected, lead=lead)))
    assert outcome.passed, shown(outcome)


def test_given_points_fade(root: Path) -> None:
    cadence = """
        segment: score >= 0
        steps:
          - wait: 14 days
          - if: engagement > 19.9 and engagement < 20.1
            then: [{tag: half}]
    """
    lead = "lead: {email: zoe@example.com, engagement: 40}"
    outcome = only(
        write_story(root, cadence, case("", "- {at: 2026-11-16 10:00, tag: half}", "- {completed: true}", lead=lead))
    )
    assert outcome.passed, shown(outcome)


def test_an_impossible_score_is_one_line(root: Path) -> None:
    lead = "lead: {email: zoe@example.com, score: 99, fit: D}"
    with pytest.raises(Problem, match="no lead has a score of 99 with the fit 'D'"):
        only(write_story(root, TWO_MAILS, case("", FIRST, lead=lead)))


def test_a_stage_lost_by_time_alone_is_noticed(root: Path) -> None:
    """`demote_when` holds from the start; `demote_after` is seven days."""
    cadence = TWO_MAILS.replace("steps:", 'exit: stage == "lead"\n    steps:').replace("3 days", "20 days")
    lead = "lead: {email: zoe@example.com, stage: mql}"
    outcome = only(write_story(root, cadence, case("", FIRST, "- {at: 2026-11-09 10:00, exit: condition}", lead=lead)))
    assert outcome.passed, shown(outcome)


def test_a_click_on_mail_that_never_went_out_fails_the_test(root: Path) -> None:
    expected = [FIRST, "- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"]
    outcome = only(write_story(root, TWO_MAILS, case("{at: 4 hours, clicked: two}", *expected)))
    assert not outcome.passed
    assert outcome.impossible == ("clicked: two at 2026-11-02 14:00: not sent by then",)


def test_a_mail_that_cannot_be_written_is_told(root: Path) -> None:
    cadence = TWO_MAILS.replace("Hello {{ lead.first_name | default('you') }}", "{{ lead.first_name | default('') }}")
    outcome = only(write_story(root, cadence, case("", FIRST, "- {completed: true}")))
    assert not outcome.passed
    assert outcome.notes == ("email: one: failed: the subject is blank",)


def test_a_subject_is_compared_as_the_reader_sees_it(root: Path) -> None:
    lead = "lead: {email: zoe@example.com, first_name: Zoe, timezone: Europe/Berlin}"
    right = case("", "- {at: 2026-11-02 10:00, email: one, subject: Hello Zoe}", lead=lead, more="until: 1 day")
    wrong = right.replace("Hello Zoe", "Hello Max").replace("a story", "another")
    first, second = outcomes(write_story(root, TWO_MAILS, right, wrong))
    assert first.passed, shown(first)
    assert shown(second)[0][1] == {"at": "2026-11-02 10:00", "email": "one", "subject": "Hello Zoe"}
    assert not second.passed


def test_the_same_test_ends_the_same_whatever_was_played_before(root: Path) -> None:
    stories = [case("", FIRST).replace("a story", name) for name in ("first", "second", "third")]
    found = outcomes(write_story(root, TWO_MAILS, *stories))
    assert found[0].done == found[1].done == found[2].done
    assert len(found[0].done) == 3


def test_other_cadences_do_not_run(root: Path) -> None:
    """The lead meets the segment of the welcome, whose mail would take a place in the cap."""
    expected = [FIRST, "- {at: 2026-11-05 10:00, email: three}", "- {completed: true}"]
    outcome = only(write_story(root, TWO_MAILS, case("", *expected)))
    assert outcome.passed, shown(outcome)
