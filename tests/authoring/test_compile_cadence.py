"""A cadence file becomes a graph: the acceptance workspace as expected, and keys that edits elsewhere leave alone."""

from __future__ import annotations

import shutil
from datetime import time, timedelta
from pathlib import Path

import pytest

from nurture.authoring.workspace import load_workspace, read_workspace
from nurture.domain.cadence import Branch, Cadence, Email, Notify, Promote, Span, Tag, Wait, WaitFor, Window
from nurture.domain.problem import Problem

ACCEPTANCE = Path(__file__).parents[1] / "data" / "acceptance"
OFFICE_HOURS = Window(days=frozenset({1, 2, 3, 4, 5}), opens=time(9), closes=time(17), timezone="lead", holidays="lead")


def edges(cadence: Cadence) -> dict[str, object]:
    """key -> where it goes; a branch with its arms."""
    return {
        key: ([arm.next for arm in step.arms], step.next, step.after) if isinstance(step, Branch) else step.next
        for key, step in cadence.steps.items()
    }


def compiled(tmp_path: Path, steps: str, head: str = "") -> Cadence:
    """A cadence `x` with these steps, in a workspace that is fine otherwise."""
    if not (tmp_path / "config.toml").exists():
        shutil.copy(ACCEPTANCE / "config.toml", tmp_path)
        shutil.copytree(ACCEPTANCE / "templates", tmp_path / "templates")
        (tmp_path / "cadences").mkdir()
    (tmp_path / "cadences/x.yaml").write_text(f"segment: stage == 'lead'\n{head}steps:\n{steps}")
    return load_workspace(tmp_path).cadences["x"]


def test_the_acceptance_workspace_is_the_graph_that_it_describes() -> None:
    cadence = load_workspace(ACCEPTANCE).cadences["guide-followup"]
    assert cadence.title == "Guide follow-up"
    assert cadence.segment == 'stage == "lead" and tag("guide")'
    assert cadence.goal == 'stage in ["sql", "opportunity", "customer"]'
    assert cadence.goal_within == Span(amount=60, unit="days")
    assert cadence.sender == "anna"
    assert cadence.window == OFFICE_HOURS
    assert cadence.max_late == timedelta(days=2)
    assert cadence.first == "intro"
    assert edges(cadence) == {
        "intro": "intro/wait/1",
        "intro/wait/1": "intro/if/1",
        "intro/if/1": (["case"], "intro-again", "intro/wait/2"),
        "case": "intro/wait/2",
        "intro-again": "intro/wait/2",
        "intro/wait/2": "intro/promote/1",
        "intro/promote/1": "intro/if/2",
        "intro/if/2": (["tell-sales"], "intro/tag/1", "intro/tag/1"),
        "tell-sales": "intro/tag/1",
        "intro/tag/1": None,
    }
    intro, promote = cadence.steps["intro"], cadence.steps["intro/promote/1"]
    assert isinstance(intro, Email)
    assert list(intro.subjects) == ["question", "number"]
    assert intro.test is not None
    assert isinstance(promote, Promote)
    assert promote.when == 'clicked(step="case")'
    assert isinstance(cadence.steps["tell-sales"], Notify)
    assert isinstance(cadence.steps["intro/tag/1"], Tag)
    assert cadence.steps["intro/wait/1"] == Wait(
        key="intro/wait/1", next="intro/if/1", span=Span(amount=3, unit="days")
    )


def test_a_step_without_variants_has_the_one_arm_without_a_name() -> None:
    hello = load_workspace(ACCEPTANCE).cadences["welcome"].steps["hello"]
    assert isinstance(hello, Email)
    assert list(hello.subjects) == [""]
    assert hello.test is None


NESTED = """\
  - wait: 1 day
  - if: score >= 10
    then:
      - tag: a
      - if: score >= 20
        then:
          - tag: b
    elif:
      - if: score >= 5
        then:
          - tag: c
    else:
      - tag: d
  - email: welcome
    id: one
    subject: x
  - tag: e
  - tag: f
"""


def test_every_path_of_a_branch_has_keys_of_its_own(tmp_path: Path) -> None:
    assert edges(compiled(tmp_path, NESTED)) == {
        "^/wait/1": "^/if/1",
        "^/if/1": (["^/if/1.then/tag/1", "^/if/1.elif1/tag/1"], "^/if/1.else/tag/1", "one"),
        "^/if/1.then/tag/1": "^/if/1.then/if/1",
        "^/if/1.then/if/1": (["^/if/1.then/if/1.then/tag/1"], "one", "one"),
        "^/if/1.then/if/1.then/tag/1": "one",
        "^/if/1.elif1/tag/1": "one",
        "^/if/1.else/tag/1": "one",
        "one": "one/tag/1",
        "one/tag/1": "one/tag/2",
        "one/tag/2": None,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  - wait: 1 day\n", "  - wait: 1 day\n  - untag: z\n  - wait_for: score > 1\n    up_to: 2 days\n"),
        ("      - tag: d\n", "      - tag: d\n      - tag: d2\n      - wait: 1 day\n"),
        ("  - wait: 1 day\n", ""),
        ("  - tag: f\n", "  - tag: f\n  - email: welcome\n    id: two\n    subject: y\n"),
    ],
)
def test_an_edit_elsewhere_leaves_the_other_keys_alone(tmp_path: Path, old: str, new: str) -> None:
    before = compiled(tmp_path, NESTED).steps
    after = compiled(tmp_path, NESTED.replace(old, new, 1)).steps
    gone = set() if new else {"^/wait/1"}
    assert set(before) - gone <= set(after)
    tags = {key: step.tag for key, step in before.items() if isinstance(step, Tag)}
    assert {key: getattr(after[key], "tag", None) for key in tags} == tags


def test_windows_are_completed_by_the_outer_one_key_by_key(tmp_path: Path) -> None:
    steps = '  - {email: welcome, id: a, subject: x, window: {hours: "10:00-24:00"}}\n'
    steps += "  - {email: welcome, id: b, subject: x, window: any}\n  - {email: welcome, id: c, subject: x}\n"
    cadence = compiled(tmp_path, steps, "window: {days: 'tue, thu'}\n")
    assert cadence.window == Window(
        days=frozenset({2, 4}), opens=time(9), closes=time(17), timezone="lead", holidays="lead"
    )
    first, second, third = cadence.steps.values()
    assert isinstance(first, Email)
    assert first.window == Window(
        days=frozenset({2, 4}), opens=time(10), closes=time(0), timezone="lead", holidays="lead"
    )
    assert isinstance(second, Email)
    assert second.window is not None
    assert second.window.any_time
    assert isinstance(third, Email)
    assert third.window is None


def test_a_wait_for_keeps_its_condition_and_its_bound(tmp_path: Path) -> None:
    steps = "  - {email: welcome, id: a, subject: x}\n  - wait_for: clicked(step='a')\n    up_to: 5 business days\n"
    wait = compiled(tmp_path, steps).steps["a/wait_for/1"]
    assert wait == WaitFor(
        key="a/wait_for/1", next=None, condition='clicked(step="a")', up_to=Span(amount=5, unit="business days")
    )


def test_a_workspace_without_special_files_has_the_plain_ladder(tmp_path: Path) -> None:
    compiled(tmp_path, "  - tag: x\n")
    workspace = load_workspace(tmp_path)
    assert [rule.stage for rule in workspace.lifecycle.stages] == [
        "lead",
        "mql",
        "pql",
        "sql",
        "opportunity",
        "customer",
    ]
    assert workspace.lifecycle.hot is None
    assert workspace.forms == {}
    assert workspace.segments == {}


def test_one_mistake_withholds_the_whole_workspace(tmp_path: Path) -> None:
    compiled(tmp_path, "  - tag: x\n")
    (tmp_path / "cadences/y.yaml").write_text("steps:\n  - wait: 3 dayz\n")
    workspace, findings = read_workspace(tmp_path)
    assert workspace is None
    assert len(findings) == 1
    with pytest.raises(Problem, match=r"^cadences/y\.yaml:2:11: error: wait '3 dayz'"):
        load_workspace(tmp_path)


def test_no_workspace_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"no config\.toml in .*nurture init"):
        load_workspace(tmp_path)
