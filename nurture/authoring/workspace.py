"""A whole workspace, read at once: settings, segments, lifecycle, forms and cadences as domain values.

`read_workspace` tells every mistake of every file; `load_workspace` is for those who cannot go on with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from nurture.authoring.cadence_file import CadenceFile
from nurture.authoring.check_tests import check_tests
from nurture.authoring.compile_cadence import Outer, compile_cadence
from nurture.authoring.compile_forms import compile_forms
from nurture.authoring.compile_lifecycle import compile_lifecycle, default_lifecycle
from nurture.authoring.compile_tests import CadenceTest, compile_test
from nurture.authoring.cycles import enroll_cycles
from nurture.authoring.forms_file import FormsFile
from nurture.authoring.lifecycle_file import LifecycleFile
from nurture.authoring.not_yet import (
    FORM_KEYS,
    LIFECYCLE_KEYS,
    OFFER_KEYS,
    unready_keys,
)
from nurture.authoring.reading import Reading
from nurture.authoring.segments_file import SegmentsFile
from nurture.authoring.sources import FORMS, LIFECYCLE, SEGMENTS, Sources, read_sources
from nurture.authoring.test_file import TestFile
from nurture.documents.document import Document
from nurture.documents.finding import Finding, has_errors
from nurture.documents.strict import validate
from nurture.domain.cadence import ANY_TIME, Cadence
from nurture.domain.conditions import Vocabulary
from nurture.domain.forms import Form, Offer
from nurture.domain.lifecycle import Lifecycle
from nurture.domain.problem import Problem
from nurture.settings import Settings, require_config


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """`segments` are condition texts as written; `cadences` are keyed by their files' stems."""

    root: Path
    settings: Settings
    segments: Mapping[str, str]
    vocabulary: Vocabulary
    cadences: Mapping[str, Cadence]
    lifecycle: Lifecycle
    forms: Mapping[str, Form]
    offers: Mapping[str, Offer]
    tests: Mapping[str, tuple[CadenceTest, ...]] = field(default_factory=dict)
    """Cadence -> what its test file says."""


@dataclass(kw_only=True)
class Compiled:
    """What the files of a workspace mean, as far as they could be understood, and what is wrong with them."""

    sources: Sources
    cadences: dict[str, Cadence] = field(default_factory=dict)
    files: dict[str, CadenceFile] = field(default_factory=dict)
    """The cadences as written, by stem."""
    lifecycle: Lifecycle = field(default_factory=default_lifecycle)
    forms: dict[str, Form] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    tests: dict[str, tuple[CadenceTest, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace | None:
        """None where anything is wrong."""
        settings = self.sources.settings
        if settings is None or has_errors(self.findings):
            return None
        vocabulary = self.sources.vocabulary()
        return Workspace(
            root=self.sources.root,
            settings=settings,
            segments=vocabulary.segments,
            vocabulary=vocabulary,
            cadences=self.cadences,
            lifecycle=self.lifecycle,
            forms=self.forms,
            offers=self.offers,
            tests=self.tests,
        )


def read_workspace(root: Path) -> tuple[Workspace | None, list[Finding]]:
    """The workspace (None where any file has an error) and everything that is wrong with it, in order."""
    compiled = compile_sources(read_sources(root))
    return compiled.workspace, sorted(set(compiled.findings))


def load_workspace(root: Path) -> Workspace:
    """The workspace, or Problem with every error, a line each."""
    require_config(root)
    workspace, findings = read_workspace(root)
    if workspace is None:
        raise Problem("\n".join(str(finding) for finding in findings if finding.level == "error"))
    return workspace


def compile_sources(sources: Sources) -> Compiled:
    """Every file checked against its form and every name in it looked up."""
    compiled = Compiled(sources=sources, findings=list(sources.findings))
    for name, compile_file in ((SEGMENTS, _segments), (LIFECYCLE, _lifecycle), (FORMS, _forms)):
        document = sources.special.get(name)
        if document is not None and document.data is not None:
            compile_file(compiled, document)
    for stem, document in sources.cadences.items():
        _cadence(compiled, stem, document)
    compiled.findings.extend(enroll_cycles(compiled.cadences, sources.cadences))
    for stem, document in sources.tests.items():
        _tests(compiled, stem, document)
    return compiled


def _reading(compiled: Compiled, document: Document, cadence: str | None = None) -> Reading:
    """Its findings are the workspace's."""
    return Reading(
        document=document,
        names=compiled.sources.names,
        vocabulary=compiled.sources.vocabulary(cadence),
        findings=compiled.findings,
    )


def _segments(compiled: Compiled, document: Document) -> None:
    file, findings = validate(document, SegmentsFile)
    compiled.findings.extend(findings)
    if file is not None:
        reading = _reading(compiled, document)
        for name, text in file.segments.items():
            reading.condition(("segments", name), text)


def _lifecycle(compiled: Compiled, document: Document) -> None:
    file, findings = validate(document, LifecycleFile, may_be_empty=frozenset({"stages"}))
    compiled.findings.extend([*findings, *unready_keys(document, (), LIFECYCLE_KEYS)])
    if file is not None:
        compiled.lifecycle = compile_lifecycle(_reading(compiled, document), file)


def _forms(compiled: Compiled, document: Document) -> None:
    file, findings = validate(document, FormsFile)
    compiled.findings.extend(findings)
    if file is None:
        return
    for name in file.forms:
        compiled.findings.extend(unready_keys(document, ("forms", name), FORM_KEYS))
    for name in file.offers:
        compiled.findings.extend(unready_keys(document, ("offers", name), OFFER_KEYS))
    settings = compiled.sources.settings
    compiled.forms, compiled.offers = compile_forms(
        _reading(compiled, document), file, root=compiled.sources.root, types=settings.fields if settings else None
    )


def _cadence(compiled: Compiled, stem: str, document: Document) -> None:
    file, findings = validate(document, CadenceFile, may_be_empty=frozenset({"set"}))
    compiled.findings.extend(findings)
    if file is None:
        return
    settings = compiled.sources.settings
    compiled.files[stem] = file
    reading = _reading(compiled, document, stem)
    reading.vocabulary = replace(reading.vocabulary, trigger=file.trigger is not None)
    compiled.cadences[stem] = compile_cadence(
        reading,
        file,
        name=stem,
        outer=Outer(
            sender=settings.sending.sender if settings else "",
            window=settings.sending.window if settings else ANY_TIME,
            zone=ZoneInfo(settings.workspace.timezone if settings else "UTC"),
            root=compiled.sources.root,
        ),
    )


def _tests(compiled: Compiled, stem: str, document: Document) -> None:
    file, findings = validate(document, TestFile, may_be_empty=frozenset({"set", "props", "lead"}))
    compiled.findings.extend(findings)
    if file is not None and stem in compiled.cadences:
        reading = _reading(compiled, document, stem)
        check_tests(reading, file, compiled.cadences[stem])
        tests = [compile_test(reading, ("tests", number), case) for number, case in enumerate(file.tests)]
        compiled.tests[stem] = tuple(test for test in tests if test is not None)
