"""One file on its way from its form to domain values: names are looked up, conditions parsed, mistakes placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding, Level
from nurture.documents.nearest import suggest
from nurture.domain.conditions import Condition, ConditionError, Vocabulary, parse_condition
from nurture.domain.conditions.vocabulary import LEAD_FIELDS


@dataclass(frozen=True, kw_only=True)
class Names:
    """Every name that files may use, by kind. `templates` are those of templates/email, without `.mjml`."""

    templates: frozenset[str]
    segments: frozenset[str]
    senders: frozenset[str]
    reps: frozenset[str]
    channels: frozenset[str]
    webhooks: frozenset[str]
    """Those channels that are of kind webhook."""
    topics: frozenset[str]
    steps: Mapping[str, frozenset[str]]
    """cadence -> the ids of its steps."""

    @property
    def cadences(self) -> frozenset[str]:
        return frozenset(self.steps)


@dataclass(kw_only=True)
class Reading:
    """A document with what is known around it; `findings` grows."""

    document: Document
    names: Names
    vocabulary: Vocabulary
    findings: list[Finding] = field(default_factory=list)

    def report(self, path: Path, code: str, message: str, *, at_key: bool = False, level: Level = "error") -> None:
        mark = self.document.key_at(path) if at_key else self.document.value_at(path)
        self.findings.append(self.document.finding(mark, code, message, level=level))

    def known(self, path: Path, value: str | None, kind: str, choices: Iterable[str], *, none: str = "") -> None:
        """Reports a name that is not one of `choices`; `none` tells what to do where there are no choices."""
        known = frozenset(choices)
        if value is not None and value not in known:
            hint = suggest(value, known, none=none or "there is none yet")
            self.report(path, f"unknown-{kind.replace(' ', '-')}", f"unknown {kind} '{value}'{hint}")

    def template(self, path: Path, value: str | None) -> None:
        none = "there is no file templates/email/*.mjml"
        self.known(path, value, "template", self.names.templates, none=none)

    def field(self, path: Path, name: str) -> None:
        """Reports a field that no lead has."""
        custom = self.vocabulary.custom
        choices = [*LEAD_FIELDS, *(f"custom.{each}" for each in custom or ())]
        if custom is None and name.startswith("custom."):
            choices.append(name)
        self.known(path, name, "field", choices)

    def condition(self, path: Path, text: str | None) -> Condition | None:
        """The condition that stands at `path`; its mistakes stand at their column."""
        if text is None:
            return None
        try:
            return parse_condition(text, self.vocabulary)
        except ConditionError as error:
            mark = self.document.inside(path, error.offset)
            self.findings.append(self.document.finding(mark, "condition", str(error.message)))
            return None

    def condition_text(self, path: Path, text: str | None) -> str | None:
        """As `condition`, as canonical text; the text as written where it is wrong (which is reported)."""
        condition = self.condition(path, text)
        return condition.text if condition is not None else text


def written(document: Document, path: Path) -> Any:
    """What stands at `path`, or None."""
    value = document.data
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
