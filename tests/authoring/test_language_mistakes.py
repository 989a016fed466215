# ruff: noqa: E501  a row of the tables is read across, like a line of a ledger
"""Mistakes in the whole of the language: each is found at its line and column, with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from tests.authoring.test_mistakes import CONFIG, GUIDE, WELCOME, about, root, seed

__all__ = ["root"]

WAIT, REENTRY, SEGMENT = "- wait: 3 days", "reentry: never", "segment: guide_readers\n"
ROWS = [
    (GUIDE, WAIT, "- wait_until: ‸tuesday", "'tuesday' is no weekday and time: use e.g. 'tuesday 09:00'", "weekday"),
    (GUIDE, WAIT, "- wait_until: ‸someday 09:00", "'someday 09:00' is no weekday and time", "weekday"),
    (GUIDE, WAIT, "- wait_until: ‸2026-02-30", "'2026-02-30' is no moment: use e.g. '2026-12-01 16:00'", "moment"),
    (GUIDE, WAIT, "- wait_until: ‸2026-12-01 25:00", "is no moment", "moment"),
    (GUIDE, WAIT, "- wait_until: ‸creatd_at", "unknown date field 'creatd_at': did you mean 'created_at'?", "unknown-date-field"),
    (GUIDE, WAIT, "- wait_until: ‸custom.Trial Ends", "'custom.Trial Ends' is no weekday and time", "weekday"),
    (GUIDE, WAIT, "- wait_until: ‸event.starts_at", "is of the event in 'trigger:', and there is none here", "date-field"),
    (GUIDE, WAIT, "- {wait_until: custom.ends, offset: ‸a day before}", "'a day before' is no offset: use e.g. '-1 day'", "offset"),
    (GUIDE, WAIT, "- {wait_until: custom.ends, ‸offest: -1 day}", "unknown key 'offest': did you mean 'offset'?", "unknown-key"),
    (GUIDE, WAIT, "- goto: ‸itro", "unknown step 'itro': did you mean 'intro'?", "unknown-step"),
    (GUIDE, WAIT, "- goto: ‸intro", "this jump comes back to itself without a wait: put e.g. '- wait: 1 day' after 'intro'", "goto-cycle"),
    (GUIDE, WAIT, "- {wait: 1 day, when: tag(\"x\")}\n  - goto: ‸intro", "comes back to itself without a wait", "goto-cycle"),
    (GUIDE, WAIT, "- wait_for: clicked(step=\"intro\")\n    up_to: 3 days\n  - goto: ‸intro", "comes back to itself without a wait", "goto-cycle"),
    (GUIDE, WAIT, "- split: {a: {weight: ‸0, steps: [{tag: x}]}, b: {weight: 1, steps: [{tag: y}]}}", "want more than 0", "value"),
    (GUIDE, WAIT, "- split: ‸{a: {weight: 1, steps: [{tag: x}]}}", "at least 2", "value"),
    (GUIDE, WAIT, "- split: {a: {weight: 1, ‸step: []}, b: {weight: 1, steps: [{tag: y}]}}", "unknown key 'step': did you mean 'steps'?", "unknown-key"),
    (GUIDE, WAIT, "- {task: Call, to: ‸bne}", "unknown rep 'bne': did you mean 'ben'?", "unknown-rep"),
    (GUIDE, WAIT, "- {task: Call, kind: ‸fax}", "use one of", "value"),
    (GUIDE, WAIT, "- {task: Call, ‸up_to: 2 days}", "add 'wait: true', or leave it out", "task"),
    (GUIDE, WAIT, "- set: ‸{}", "nothing is set: write e.g. 'set: {custom.plan: pro}'", "set"),
    (GUIDE, WAIT, "- set: {contry: ‸DE}", "unknown field 'contry': did you mean 'country'?", "unknown-field"),
    (GUIDE, WAIT, "- set: {timezone: ‸Berlin}", "timezone: 'Berlin'", "set"),
    (GUIDE, WAIT, "- enroll: ‸welcom", "unknown cadence 'welcom': did you mean 'welcome'?", "unknown-cadence"),
    (GUIDE, WAIT, "- webhook: ‸crm", "unknown channel 'crm': there is no [alerts.…] of kind webhook in config.toml", "unknown-channel"),
    (GUIDE, WAIT, "- {promote: ‸lead}", "unknown stage 'lead'", "unknown-stage"),
    (GUIDE, REENTRY, "reentry: ‸90 days", "'90 days': use 'never', 'each_event' or e.g. 'after 90 days'", "reentry"),
    (GUIDE, REENTRY, "reentry: ‸after a while", "is no duration: use e.g. '90 days'", "reentry"),
    (GUIDE, REENTRY, "reentry: ‸each_event", "'each_event' goes with a trigger: add 'trigger: {event: …}'", "reentry"),
    (GUIDE, REENTRY, "holdout: ‸ten", "'ten' is no share of the leads: use e.g. '10%'", "holdout"),
    (GUIDE, REENTRY, "holdout: ‸95%", "at most 90%", "holdout"),
    (GUIDE, REENTRY, "enroll_limit: ‸200 a day", "is no cap: use e.g. '1 per day'", "enroll-limit"),
    (GUIDE, REENTRY, "starts: ‸1.12.2026", "'1.12.2026' is no date: use e.g. '2026-12-01'", "moment"),
    (GUIDE, REENTRY, "starts: 2026-12-01\nends: ‸2026-11-01", "it ends (2026-11-01) before it starts (2026-12-01)", "ends"),
    (GUIDE, REENTRY, "canary: ‸0", "at least 1", "value"),
    (GUIDE, REENTRY, "on_edit: ‸folow", "did you mean 'follow'?", "value"),
    (GUIDE, REENTRY, "track: ‸sometimes", "unknown mode 'sometimes'", "unknown-mode"),
    (GUIDE, REENTRY, "track: {‸click: never}", "unknown key 'click': use opens and clicks", "unknown-key"),
    (GUIDE, REENTRY, "account: {‸at_one: 2}", "unknown key 'at_one': did you mean 'at_once'?", "unknown-key"),
    (GUIDE, REENTRY, "max_pause: ‸for ever", "max_pause 'for ever' is no duration", "value"),
    (GUIDE, SEGMENT, "exit_on_leave: ‸true\n", "there is no segment to leave: add 'segment: …'", "exit-on-leave"),
    (GUIDE, SEGMENT, "trigger: {‸evnt: form submitted}\n", "unknown key 'evnt': did you mean 'event'?", "unknown-key"),
    (GUIDE, SEGMENT, "segment: ‸event.form == \"guide\"\n", "event.X is a property of the event in 'trigger:', and there is none here", "condition"),
    (GUIDE, "enroll: current_and_future", "trigger: {event: x}\nenroll: ‸only_current", "'only_current' goes by a segment", "enroll"),
    (GUIDE, "test: {metric", "‸body: {a: welcome, b: case-study}\n    test: {metric", "all arms of a step have the same names, here question, number", "arms"),
    (GUIDE, "test: {metric", "body: {question: ‸welcom, number: case-study}\n    test: {metric", "unknown template 'welcom': did you mean 'welcome'?", "unknown-template"),
    (GUIDE, "test: {metric", "sender: {question: ‸ana, number: owner}\n    test: {metric", "unknown sender 'ana': did you mean 'anna'?", "unknown-sender"),
    (GUIDE, "test: {metric", "vars: {‸hero: {x: a.png, y: b.png}}\n    test: {metric", "all arms of a step have the same names", "arms"),
    (GUIDE, "test: {metric", "locales: {‸german: {subject: Hallo}}\n    test: {metric", "'german' is no language: use two small letters, e.g. 'de'", "language"),
    (GUIDE, "test: {metric", "expires: {at: ‸stage}\n    test: {metric", "unknown date field 'stage'", "unknown-date-field"),
    (GUIDE, "test: {metric", "expires: {at: created_at, offset: ‸99999999999 days}\n    test: {metric", "is no offset", "offset"),
    (GUIDE, "test: {metric", "expires: {at: custom.ends, offset: ‸soon}\n    test: {metric", "'soon' is no offset", "offset"),
    (GUIDE, "clicked(step=\"intro\")", "task(step=\"intro\", outcome=‸\"dun\")", "outcome=\"dun\" is unknown: use done, no answer", "condition"),
]  # fmt: skip
CLEAN = [
    (GUIDE, WAIT, "- wait: 1 day\n  - {goto: intro, when: not clicked(step=\"intro\")}"),
    (GUIDE, WAIT, "- wait_until: tuesday 09:00\n  - {goto: intro, when: not clicked(step=\"intro\")}"),
    (GUIDE, WAIT, "- {wait_until: custom.ends, offset: -1 day at 09:00}"),
    (GUIDE, WAIT, "- {wait_until: created_at, offset: 2 business days}"),
    (GUIDE, WAIT, "- split: {a: {weight: 1, steps: [{tag: x}]}, b: {weight: 2.5, steps: [{wait: 1 day}, {tag: y}]}}"),
    (GUIDE, WAIT, "- {task: Call, wait: true, up_to: 2 business days, due: 1 business day, to: ben}"),
    (GUIDE, SEGMENT, "segment: guide_readers\ntrigger: {event: form submitted, where: 'event.form == \"guide\"'}\n"),
    (GUIDE, REENTRY, "reentry: after 90 days\nholdout: 10%\ncanary: 200\nenroll_limit: 200 per day\nstarts: 2026-12-01\nends: 2026-12-31 18:00"),
    (GUIDE, REENTRY, "account: {at_once: 2, hold: pause_colleagues, won: exit}\ntrack: {opens: never}\nmax_pause: 3 days\non_edit: pin"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message", "code"), ROWS)
def test_an_error_stands_where_it_was_made(root: Path, file: str, old: str, new: str, message: str, code: str) -> None:
    place = seed(root, file, old, new)
    findings = check_workspace(root).findings
    found = [each for each in about(findings, file, "error", message) if each.code == code]
    assert found, [str(each) for each in findings]
    assert place in [(each.line, each.column) for each in found], [str(each) for each in found]


@pytest.mark.parametrize(("file", "old", "new"), CLEAN)
def test_what_is_right_is_clean(root: Path, file: str, old: str, new: str) -> None:
    seed(root, file, old, new)
    assert [str(each) for each in check_workspace(root).findings if each.level == "error"] == []


def test_cadences_that_enroll_into_each_other_at_once_are_an_error(root: Path) -> None:
    seed(
        root,
        GUIDE,
        "- email: guide-followup\n    id: intro\n",
        "- enroll: welcome\n  - email: guide-followup\n    id: intro\n",
    )
    place = seed(
        root, WELCOME, "- email: welcome\n    id: hello", "- enroll: ‸guide-followup\n  - email: welcome\n    id: hello"
    )
    findings = check_workspace(root).findings
    message = "cadences enroll in a circle without a wait: welcome -> guide-followup -> welcome: put a wait before one"
    (found,) = about(findings, WELCOME, "error", message)
    assert (found.line, found.column) == place


def test_with_a_wait_on_the_way_they_may(root: Path) -> None:
    seed(root, GUIDE, WAIT, "- wait: 3 days\n  - enroll: welcome")
    seed(root, WELCOME, "- wait: 2 business days", "- wait: 2 business days\n  - enroll: guide-followup")
    assert [str(each) for each in check_workspace(root).findings if each.level == "error"] == []


def test_a_webhook_goes_to_a_channel_of_that_kind(root: Path) -> None:
    seed(root, CONFIG, "[limits]", '[alerts.room]\nkind = "slack"\nurl = "https://chat.example/x"\n[limits]')
    seed(root, GUIDE, WAIT, "- webhook: room")
    assert about(check_workspace(root).findings, GUIDE, "error", "unknown channel 'room'")
