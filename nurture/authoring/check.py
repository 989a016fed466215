"""`nurture check`: everything that can be known about a workspace without a database, a network or a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nurture.authoring.content_checks import check_content, library_of
from nurture.authoring.findings_out import count
from nurture.authoring.lint import lint
from nurture.authoring.never_sent import never_sent
from nurture.authoring.render_checks import check_messages, check_rendering, check_senders
from nurture.authoring.rivals import rivals
from nurture.authoring.sources import read_sources
from nurture.authoring.template_checks import check_templates
from nurture.authoring.workspace import Compiled, Workspace, compile_sources
from nurture.content.templates import TemplateLibrary
from nurture.documents.finding import Finding, has_errors
from nurture.domain.problem import Problem
from nurture.settings import require_config


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Findings in order of file and place."""

    findings: tuple[Finding, ...]
    cadences: int
    templates: int

    @property
    def summary(self) -> str:
        """ "2 cadences, 4 templates: no problems"."""
        found = _many(count(self.findings, "error"), "error"), _many(count(self.findings, "warning"), "warning")
        result = ", ".join(found) if self.findings else "no problems"
        return f"{_many(self.cadences, 'cadence')}, {_many(self.templates, 'template')}: {result}"


def load_sound_workspace(root: Path) -> Workspace:
    """As `load_workspace`, for those who send: nothing that `check` calls an error is taken up. Raises Problem."""
    compiled = _read(root)
    findings = compiled.findings if has_errors(compiled.findings) else findings_of(compiled, library_of(compiled))
    if (workspace := compiled.workspace) is None or has_errors(findings):
        raise Problem("\n".join(str(each) for each in sorted(set(findings)) if each.level == "error"))
    return workspace


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


Ask = Callable[[tuple[Finding, ...], Compiled], tuple[Finding, ...]]
"""Has the leads of a database say what they know to the findings."""


def check_workspace(root: Path, ask: Ask | None = None) -> CheckReport:
    """Every mistake in the workspace at `root`. Raises Problem where there is no workspace."""
    compiled = _read(root)
    sources, findings = compiled.sources, findings_of(compiled, library_of(compiled))
    return CheckReport(
        findings=ask(findings, compiled) if ask is not None else findings,
        cadences=len(sources.cadences),
        templates=len(sources.names.templates),
    )


def _read(root: Path) -> Compiled:
    require_config(root)
    return compile_sources(read_sources(root))


def findings_of(compiled: Compiled, library: TemplateLibrary) -> tuple[Finding, ...]:
    """Everything that is wrong with a workspace as it was read, in order."""
    findings = {
        *compiled.findings,
        *lint(compiled),
        *rivals(compiled),
        *never_sent(compiled),
        *check_templates(compiled),
        *check_content(compiled, library),
        *check_senders(compiled),
        *check_rendering(compiled, library),
        *check_messages(compiled, library),
    }
    return tuple(sorted(findings))
