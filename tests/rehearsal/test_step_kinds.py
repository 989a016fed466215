"""Every step kind, as a marketer writes it, through the real stages: what it does, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rehearsal.playing import copy_workspace, only, outcomes, write_story
from tests.rehearsal.test_cadence_tests import case, shown

ANY = "segment: tag('nobody')\nwindow: any\n"
MAIL = "- {email: welcome, id: one, subject: One}"
TWO = "- {email: welcome, id: two, subject: Two}"
BERLIN = "lead: {email: zoe@acme.example, timezone: Europe/Berlin}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_workspace(tmp_path / "workspace")


def told(root: Path, steps: str, *expected: str, events: str = "", lead: str = BERLIN, more: str = "", head: str = ANY):
    """The story must go as expected."""
    body = "\n".join("  " + line for line in steps.strip().splitlines())
    outcome = only(write_story(root, f"{head}steps:\n{body}\n", case(events, *expected, lead=lead, more=more)))
    assert outcome.passed, (shown(outcome), outcome.notes)
    return outcome


def at(day: str, clock: str, what: str) -> str:
    return f"- {{at: 2026-{day} {clock}, {what}}}"


END = "- {completed: true}"


def test_waiting_for_a_weekday_is_for_the_next_one(root: Path) -> None:
    """The story begins on Monday 2 November at 10:00, so that Monday 10:00 is a week away."""
    steps = f"- wait_until: tuesday 09:00\n{MAIL}\n- wait_until: monday 10:00\n- tag: done"
    told(root, steps, at("11-03", "09:00", "email: one"), at("11-09", "10:00", "tag: done"), END)
    told(root, "- wait_until: mon 10:00\n- tag: done", at("11-09", "10:00", "tag: done"), END)


def test_waiting_for_a_moment_is_in_the_leads_zone(root: Path) -> None:
    new_york = "lead: {email: zoe@acme.example, timezone: America/New_York}"
    steps = f"- wait_until: 2026-12-01 16:00\n{MAIL}"
    told(root, steps, at("12-01", "16:00", "email: one"), END, lead=new_york)


def test_a_date_field_is_followed_also_when_it_changes_while_waiting(root: Path) -> None:
    lead = 'lead: {email: zoe@acme.example, timezone: Europe/Berlin, custom.trial_ends_at: "2026-11-20"}'
    steps = f"- {{wait_until: custom.trial_ends_at, offset: -1 day}}\n{MAIL}"
    told(root, steps, at("11-19", "09:00", "email: one"), END, lead=lead)
    later = '{at: 2026-11-10 10:00, set: {custom.trial_ends_at: "2026-12-04 18:30"}}'
    told(root, steps, at("12-03", "18:30", "email: one"), END, lead=lead, events=later)
    sooner = '{at: 2026-11-10 10:00, set: {custom.trial_ends_at: "2026-11-11 08:00"}}'
    told(root, steps, at("11-10", "10:00", "email: one"), END, lead=lead, events=sooner)


@pytest.mark.parametrize("held", ["", "soon", "2026-02-30", "31.12.2026", "99999-01-01"])
def test_a_field_without_a_date_ends_the_run_with_a_reason(root: Path, held: str) -> None:
    lead = f'lead: {{email: zoe@acme.example, timezone: Europe/Berlin, custom.trial_ends_at: "{held}"}}'
    steps = f"- wait_until: custom.trial_ends_at\n{MAIL}"
    told(root, steps, at("11-02", "10:00", "exit: missing_date"), lead=lead)


def test_a_moment_that_has_passed_is_gone_on_from_and_lateness_counts_from_it(root: Path) -> None:
    """Mail may be two days late; what is later is left out, and the cadence goes on."""
    a_day_ago = 'lead: {email: zoe@acme.example, timezone: Europe/Berlin, custom.day: "2026-11-01 11:00"}'
    long_ago = a_day_ago.replace("11-01", "10-01")
    steps = f"- wait_until: custom.day\n{MAIL}\n- tag: done"
    told(root, steps, at("11-02", "10:00", "email: one"), at("11-02", "10:00", "tag: done"), END, lead=a_day_ago)
    told(root, steps, at("11-02", "10:00", "tag: done"), END, lead=long_ago)


WEBINAR = "trigger: {event: webinar registered}\nwindow: any\nreentry: each_event\n"


def test_an_event_starts_the_run_and_its_properties_are_waited_for(root: Path) -> None:
    steps = f"""
- {{wait_until: event.starts_at, offset: -1 day}}
{MAIL}
- if: event.track == "product" and event.seats > 2
  then:
    - tag: product
- {{wait_until: event.starts_at, offset: -1 hour}}
{TWO}
"""
    registered = (
        '{at: 0 minutes, event: webinar registered, props: {starts_at: "2026-11-12 16:00", track: product, seats: 3}}'
    )
    expected = [
        at("11-11", "16:00", "email: one"),
        at("11-11", "16:00", "tag: product"),
        at("11-12", "16:00", "email: two"),
    ]
    # a day's cap moves the second mail past the webinar itself
    told(root, steps, *expected, END, events=registered, head=WEBINAR)


def test_the_starting_event_may_be_said_by_its_properties_alone(root: Path) -> None:
    steps = f"- {{wait_until: event.starts_at, offset: -1 day}}\n{MAIL}"
    said = 'trigger: {starts_at: "2026-11-12 16:00"}'
    told(root, steps, at("11-11", "16:00", "email: one"), END, more=said, head=WEBINAR)
    told(root, steps, at("11-02", "10:00", "exit: missing_date"), head=WEBINAR)


def test_a_split_sends_each_lead_along_one_path_for_good(root: Path) -> None:
    steps = """
- split:
    short: {weight: 1, steps: [{tag: short}]}
    long: {weight: 1, steps: [{wait: 1 day}, {tag: long}]}
  id: length
- tag: met
"""
    body = "\n".join("  " + line for line in steps.strip().splitlines())
    short = [at("11-02", "10:00", "tag: short"), at("11-02", "10:00", "tag: met"), END]
    long = [at("11-03", "10:00", "tag: long"), at("11-03", "10:00", "tag: met"), END]
    tests = [
        case("", *path, lead=BERLIN.replace("zoe", f"lead{number}")).replace(
            "a story", f"lead {number} along {len(path[0])}"
        )
        for number in range(3)
        for path in (short, long)
    ]
    played = outcomes(write_story(root, f"{ANY}steps:\n{body}\n", *tests))
    assert [first.passed != second.passed for first, second in zip(played[::2], played[1::2], strict=True)] == [
        True
    ] * 3


def test_a_jump_ahead_leaves_out_what_lies_between(root: Path) -> None:
    steps = f"- {{goto: end, when: tag('vip')}}\n{MAIL}\n- {{tag: done, id: end}}"
    vip = "lead: {email: zoe@acme.example, timezone: Europe/Berlin, tags: [vip]}"
    told(root, steps, at("11-02", "10:00", "tag: done"), END, lead=vip)
    told(root, steps, at("11-02", "10:00", "email: one"), at("11-02", "10:00", "tag: done"), END)


def test_a_jump_back_sends_again_what_it_comes_to_again(root: Path) -> None:
    steps = f"{MAIL}\n- wait: 7 days\n- {{goto: one, when: not clicked(step='one')}}\n- tag: done"
    expected = [
        at("11-02", "10:00", "email: one"),
        at("11-09", "10:00", "email: one"),
        at("11-16", "10:00", "tag: done"),
    ]
    told(root, steps, *expected, END, events="{at: 8 days, clicked: one}")


def test_a_task_goes_on_at_once_or_when_its_time_is_up(root: Path) -> None:
    steps = "- {task: 'Call {{ lead.email }}', id: call, due: 1 business day}\n- tag: done"
    call = "task: Call zoe@acme.example"
    told(root, steps, at("11-02", "10:00", call), at("11-02", "10:00", "tag: done"), END)
    told(root, steps, at("11-02", "10:00", "task: call"), at("11-02", "10:00", "tag: done"), END)
    waited = "- {task: Call, id: call, wait: true, up_to: 3 business days}\n- tag: done"
    told(root, waited, at("11-02", "10:00", "task: call"), at("11-05", "10:00", "tag: done"), END)


def test_fields_are_set_and_conditions_see_it(root: Path) -> None:
    steps = "- set: {custom.plan: pro, title: CFO}\n- {tag: seen, when: custom.plan == 'pro' and title == 'CFO'}"
    both = "set: {custom.plan: pro, title: CFO}"
    told(root, steps, at("11-02", "10:00", both), at("11-02", "10:00", "tag: seen"), END)
    clearing = "- set: {title: null}\n- {tag: seen, when: title is none}"
    lead = "lead: {email: zoe@acme.example, timezone: Europe/Berlin, title: CFO}"
    told(root, clearing, at("11-02", "10:00", "set: {title: }"), at("11-02", "10:00", "tag: seen"), END, lead=lead)


def test_a_sunset_ends_the_run(root: Path) -> None:
    told(root, f"{MAIL}\n- sunset: silent", at("11-02", "10:00", "email: one"), "- {exit: sunset}")
    told(root, "- {sunset: silent, when: tag('x')}\n- tag: done", at("11-02", "10:00", "tag: done"), END)


def test_other_cadences_and_channels_are_told_apart(root: Path) -> None:
    config = root / "config.toml"
    config.write_text(config.read_text() + '\n[alerts.crm]\nkind = "webhook"\nurl = "http://127.0.0.1:9/hook"\n')
    steps = "- enroll: welcome\n- {webhook: crm, id: tell}\n- {notify: sales, id: hot, message: Look, alert: true}"
    expected = [
        at("11-02", "10:00", "enroll: welcome"),
        at("11-02", "10:00", "webhook: crm"),
        at("11-02", "10:00", "notify: sales"),
    ]
    told(root, steps, *expected, END)


def test_who_leaves_the_segment_leaves_the_cadence_where_it_says_so(root: Path) -> None:
    lead = "lead: {email: zoe@acme.example, timezone: Europe/Berlin, tags: [guide]}"
    head = "segment: tag('guide') and custom.plan != 'pro' or custom.plan is none\nwindow: any\n"
    steps = f"{MAIL}\n- wait: 9 days\n{TWO}"
    events = "{at: 2 days, set: {custom.plan: pro}}"
    one = at("11-02", "10:00", "email: one")
    told(root, steps, one, at("11-11", "10:00", "email: two"), END, head=head, lead=lead, events=events)
    leaving = f"{head}exit_on_leave: true\n"
    told(root, steps, one, at("11-04", "10:00", "exit: left_segment"), head=leaving, lead=lead, events=events)


def test_mail_that_expires_is_left_out_whatever_held_it(root: Path) -> None:
    """The window opens on Monday; the offer ends on Sunday."""
    lead = 'lead: {email: zoe@acme.example, timezone: Europe/Berlin, custom.ends: "2026-11-08 20:00"}'
    head = "segment: tag('nobody')\nwindow: {days: mon-fri, hours: '09:00-17:00'}\n"
    steps = "- wait: {0}\n- {{email: welcome, id: one, subject: One, expires: {{at: custom.ends}}}}\n- tag: done"
    saturday, friday = steps.format("5 days"), steps.format("4 days")
    told(root, saturday, at("11-07", "10:00", "tag: done"), END, head=head, lead=lead)
    told(root, friday, at("11-06", "10:00", "email: one"), at("11-06", "10:00", "tag: done"), END, head=head, lead=lead)
    earlier = friday.replace("custom.ends}", "custom.ends, offset: -3 days}")
    told(root, earlier, at("11-06", "10:00", "tag: done"), END, head=head, lead=lead)


def test_bodies_senders_and_texts_differ_by_arm_together(root: Path) -> None:
    steps = """
- email: welcome
  id: one
  subject: {a: Short, b: Long}
  body: {a: welcome, b: case-study}
  vars: {hero: {a: team.png, b: chart.png}, note: the same}
"""
    outcome = told(root, steps, at("11-02", "10:00", "email: one"), END)
    assert outcome.done[0].variant in ("a", "b")
