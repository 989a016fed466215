"""`check` on whole workspaces: what is clean stays clean, and what only shows when mail is written is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.authoring.skeleton import write_skeleton
from nurture.authoring.workspace import load_workspace
from nurture.domain.cadence import Email

REPOSITORY = Path(__file__).parents[2]
ACCEPTANCE = REPOSITORY / "tests" / "data" / "acceptance"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ACCEPTANCE, tmp_path / "w", ignore=shutil.ignore_patterns("*.csv"))
    return tmp_path / "w"


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def lines(root: Path) -> list[str]:
    return [str(each) for each in check_workspace(root).findings]


def test_the_acceptance_workspace_is_clean_and_stays_as_it_is(root: Path) -> None:
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    report = check_workspace(root)
    assert list(report.findings) == []
    assert report.summary == "2 cadences, 4 templates: no problems"
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before


def test_the_repository_is_a_clean_workspace_with_every_part_of_the_funnel() -> None:
    assert list(check_workspace(REPOSITORY).findings) == []
    cadences = load_workspace(REPOSITORY).cadences.values()
    assert {each.funnel for each in cadences} == {"awareness", "consideration", "decision"}
    roles = {step.role for each in cadences for step in each.steps.values() if isinstance(step, Email)}
    assert roles == {"problem", "trust", "proof", "offer"}
    for each in cadences:
        assert (REPOSITORY / f"cadences/{each.name}.test.yaml").is_file()


def test_a_new_workspace_is_clean(tmp_path: Path) -> None:
    files = write_skeleton(tmp_path / "new", secret="s")
    assert list(check_workspace(tmp_path / "new").findings) == []
    workspace = load_workspace(tmp_path / "new")
    assert len(workspace.cadences) == 2
    assert workspace.forms
    assert {"config.toml", ".gitignore", "README.md", "secret.key", ".schema/cadence.json"} <= set(files)


def test_a_template_error_stands_in_its_file(root: Path) -> None:
    edit(root, "templates/email/welcome.mjml", "{{ lead.first_name | default('there') }}", "{{ lead.frist_name }}")
    found = [line for line in lines(root) if line.startswith("templates/email/welcome.mjml:11:")]
    assert len(found) == 1
    assert "first_name" in found[0]


def test_a_mistake_in_a_subject_stands_at_its_column(root: Path) -> None:
    edit(root, "cadences/welcome.yaml", "{{ lead.first_name | default('friend') }}", "{{ lead.frist_name }}")
    found = [line for line in lines(root) if "cadences/welcome.yaml:9:" in line]
    assert found
    assert "first_name" in found[0]


def test_a_field_that_some_leads_lack_is_a_warning_in_the_template(root: Path) -> None:
    edit(root, "templates/email/welcome.mjml", "{{ lead.first_name | default('there') }}", "{{ lead.first_name }}")
    said = "lead.first_name is missing from some leads, who get no mail: write {{ lead.first_name | default('…') }}"
    assert lines(root) == [f"templates/email/welcome.mjml:11:20: warning: {said} [no-default]"]


def test_a_field_that_some_leads_lack_is_a_warning_in_a_line(root: Path) -> None:
    edit(
        root,
        "cadences/guide-followup.yaml",
        "preheader: One minute, three numbers",
        "preheader: 'For {{ lead.company }}'",
    )
    edit(root, "cadences/guide-followup.yaml", "default(lead.email)", "upper")
    found = lines(root)
    assert [line.split(" warning: ")[0] for line in found] == [
        "cadences/guide-followup.yaml:15:16:",
        "cadences/guide-followup.yaml:34:18:",
    ]
    assert "lead.company is missing from some leads" in found[0]


def test_an_address_that_only_an_offer_has_is_an_error_elsewhere(root: Path) -> None:
    edit(root, "templates/email/welcome.mjml", "https://www.acme.example/tour?ref=mail&step=1", "{{ offer_url }}")
    assert any("error: offer_url is missing" in line for line in lines(root))


def test_a_letter_that_gmail_would_clip(root: Path) -> None:
    edit(root, "templates/email/welcome.mjml", "We help teams", "We help teams " * 7000)
    assert any("templates/email/welcome.mjml:1:1: error: HTML of" in line for line in lines(root))


def test_declared_fields_bind_the_templates(root: Path) -> None:
    edit(root, "config.toml", "[limits]", '[fields]\nemployees = "number"\nplann = "text"\n[limits]')
    assert any("templates/email/welcome.mjml:16:83:" in line and "plann" in line for line in lines(root))
