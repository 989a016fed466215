"""Mails that nobody would get although every word is right, and mails that only some arms or languages get."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.authoring.samples import SOME_DAY
from tests.authoring.test_mistakes import CASE, CONFIG, GUIDE, WELCOME, root, seed

__all__ = ["root"]

SATURDAYS = [f"{SOME_DAY.date() + timedelta(days=5 + 7 * week)}" for week in range(60)]
DE = "templates/email/case-study.de.mjml"
TEST = "test: {metric"


def lines(root: Path) -> list[str]:
    return [str(each) for each in check_workspace(root).findings]


def test_a_window_whose_days_are_all_holidays_never_opens(root: Path) -> None:
    seed(root, CONFIG, "[limits]", f"[holidays]\nextra = {SATURDAYS!r}\n[limits]")
    seed(root, GUIDE, "reentry: never", "window: {days: sat}")
    seed(root, WELCOME, "    id: tips\n", "    id: tips\n    window: {days: sat}\n")
    shut = "error: this window never opens: all its days are holidays (the workspace, config.toml): add days [window]"
    assert lines(root) == [f"{GUIDE}:5:9: {shut}", f"{WELCOME}:13:13: {shut}"]


def test_holidays_close_no_window_that_does_not_keep_them(root: Path) -> None:
    seed(root, CONFIG, "[limits]", f"[holidays]\nextra = {SATURDAYS!r}\n[limits]")
    seed(root, GUIDE, "reentry: never", "window: {days: sat, holidays: none}")
    assert lines(root) == []


def test_the_windows_of_the_workspace_too(root: Path) -> None:
    seed(root, CONFIG, "[limits]", f"[holidays]\nextra = {SATURDAYS!r}\n[limits]")
    seed(root, CONFIG, 'days = "mon-fri"', 'days = "sat"')
    assert [line.split(" error: ")[0] for line in lines(root)] == ["config.toml:45:10:"]


@pytest.mark.parametrize(
    ("before", "keys"),
    [
        ("- {wait_until: custom.ends, offset: -1 day}", "expires: {at: custom.ends}"),
        ('- {wait_until: custom.ends, offset: 1 day, when: tag("x")}', "expires: {at: custom.ends}"),
        ('- {if: tag("x"), then: [{wait_until: custom.ends, offset: 1 day}]}', "expires: {at: custom.ends}"),
        ("- {wait_until: custom.ends, offset: 1 business day}", "expires: {at: custom.ends, offset: 2 business days}"),
        ("- wait: 2 minutes", "expires: {at: created_at, offset: 3 minutes}"),
        ("- wait: 2 days", "max_late: 1 minute, expires: {at: consent_until}"),
    ],
)
def test_what_may_be_in_time_is_no_mistake(root: Path, before: str, keys: str) -> None:
    mail = f"- {{email: case-study, id: x, subject: x, {keys}}}"
    seed(root, WELCOME, "- wait: 2 business days", f"{before}\n  {mail}")
    assert lines(root) == []


def test_attachments_that_are_empty_or_too_large(root: Path) -> None:
    (root / "offers/empty.pdf").write_bytes(b"")
    (root / "offers/large.pdf").write_bytes(b"x" * (6 * 1024 * 1024))
    seed(root, GUIDE, TEST, f"attachments:\n      - offers/empty.pdf\n      - offers/large.pdf\n    {TEST}")
    large = "attachment 'offers/large.pdf' has 6.0 MB, and at most 5.0 MB can be attached"
    assert lines(root) == [
        f"{GUIDE}:17:9: error: attachment 'offers/empty.pdf' is empty [attachment]",
        f"{GUIDE}:18:9: error: {large} [attachment]",
    ]


def test_the_body_of_every_arm_is_a_mail_like_any_other(root: Path) -> None:
    shutil.copy(root / CASE, root / "templates/email/other.mjml")
    other = "templates/email/other.mjml"
    seed(root, other, '{% include "_footer.mjml" %}', "")
    place = seed(root, other, "Or look", "{{ ‸lead.title }} Or look")
    assert lines(root) == []  # nobody sends it
    seed(root, GUIDE, TEST, f"body: {{question: guide-followup.mjml, number: other.mjml}}\n    {TEST}")
    found = {(each.file, each.line, each.column, each.code) for each in check_workspace(root).findings}
    assert place is not None
    assert found == {(other, *place, "no-default"), (other, 1, 1, "no-unsubscribe"), (other, 1, 1, "no-postal-address")}


def test_every_translation_is_a_mail_like_any_other(root: Path) -> None:
    shutil.copy(root / CASE, root / DE)
    assert lines(root) == []
    place = seed(root, DE, "Or look", "{{ ‸lead.title }} Oder")
    seed(root, DE, '{% include "_footer.mjml" %}', "")
    found = {(each.file, each.line, each.column, each.code) for each in check_workspace(root).findings}
    assert place is not None
    assert found == {(DE, *place, "no-default"), (DE, 1, 1, "no-unsubscribe"), (DE, 1, 1, "no-postal-address")}


def test_every_letter_has_the_addresses_that_the_engine_gives_it(root: Path) -> None:
    links = "".join(f'<a href="{{{{ {name} }}}}">{name}</a> ' for name in ("view_url", "stay_url", "preferences_url"))
    seed(root, CASE, "Or look", f"{links}Or look")
    assert lines(root) == []


def test_vars_and_events_are_there_as_the_step_and_its_trigger_say(root: Path) -> None:
    said = "<mj-text>{{ vars.hero | default('') }} {{ event.title }}</mj-text><mj-button"
    seed(root, "templates/email/guide-followup.mjml", "<mj-button", said)
    assert any("event.title is missing and has no default [render]" in line for line in lines(root))
    seed(root, GUIDE, "reentry: never", "trigger: {event: form submitted}")
    seed(root, GUIDE, TEST, f"vars: {{hero: {{question: 'Hello {{{{ lead.email }}}}', number: b}}}}\n    {TEST}")
    seed(root, GUIDE, '        subject: "Too busy', '        vars: {hero: c}\n        subject: "Too busy')
    (line,) = lines(root)
    assert "event.title is missing from some leads" in line
