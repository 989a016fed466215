"""The files of a workspace as documents, each in its place, before anybody asks whether they make sense."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nurture.authoring.compile_cadence import step_ids
from nurture.authoring.reading import Names
from nurture.documents.document import Document
from nurture.documents.finding import Finding
from nurture.documents.nearest import suggest
from nurture.documents.yaml_file import read_yaml
from nurture.domain.conditions import Vocabulary
from nurture.settings import Settings, read_settings

CADENCES = "cadences"
TEMPLATES = "templates/email"
SEGMENTS, LIFECYCLE, FORMS = "_segments.yaml", "_lifecycle.yaml", "_forms.yaml"
_SPECIAL = (SEGMENTS, LIFECYCLE, FORMS)
_STEM = re.compile(r"^[a-z0-9_-]+$")
_TEST = ".test.yaml"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """`cadences` and `tests` by stem; `special` by file name. `settings` is None where config.toml has an error."""

    root: Path
    settings: Settings | None
    config: Document | None
    cadences: Mapping[str, Document]
    tests: Mapping[str, Document]
    special: Mapping[str, Document]
    template_files: tuple[str, ...]
    findings: tuple[Finding, ...]
    """What was wrong with reading them, and with config.toml."""

    @property
    def names(self) -> Names:
        """Every name that files may use; those of a config.toml with mistakes count as well."""
        return Names(
            templates=frozenset(name for name in map(template_name, self.template_files) if name is not None),
            segments=frozenset(self._segments()),
            senders=self._config_keys("senders"),
            reps=self._config_keys("reps"),
            channels=self._config_keys("alerts"),
            webhooks=self._webhooks(),
            topics=self._config_keys("topics"),
            steps={stem: step_ids(document.data) for stem, document in self.cadences.items()},
        )

    def vocabulary(self, cadence: str | None = None) -> Vocabulary:
        """What conditions may speak of; in a cadence, its own steps first."""
        custom = None if self.settings is None else self.settings.fields
        return Vocabulary(custom=custom, segments=self._segments(), cadences=self.names.steps, cadence=cadence)

    def _segments(self) -> dict[str, str]:
        document = self.special.get(SEGMENTS)
        written = document.data.get("segments") if document and isinstance(document.data, dict) else None
        pairs = written.items() if isinstance(written, dict) else ()
        return {name: text for name, text in pairs if isinstance(text, str)}

    def _webhooks(self) -> frozenset[str]:
        channels = self.config.data.get("alerts") if self.config is not None else None
        pairs = channels.items() if isinstance(channels, dict) else ()
        return frozenset(name for name, held in pairs if isinstance(held, dict) and held.get("kind") == "webhook")

    def _config_keys(self, table: str) -> frozenset[str]:
        data: Any = self.config.data if self.config is not None else {}
        held = data.get(table)
        return frozenset(held) if isinstance(held, dict) else frozenset()


@dataclass
class _Shelf:
    """The documents of cadences/ while they are gathered."""

    cadences: dict[str, Document] = field(default_factory=dict)
    tests: dict[str, Document] = field(default_factory=dict)
    special: dict[str, Document] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_sources(root: Path) -> Sources:
    """Everything that can be read in the workspace at `root`."""
    settings, config, findings = read_settings(root)
    shelf = _Shelf(findings=list(findings))
    names = _files(root / CADENCES)
    for name in names:
        _shelve(root, name, names, shelf)
    templates = tuple(name for name in _files(root / TEMPLATES) if name.endswith(".mjml"))
    return Sources(
        root=root,
        settings=settings,
        config=config,
        cadences=shelf.cadences,
        tests=shelf.tests,
        special=shelf.special,
        template_files=templates,
        findings=tuple(shelf.findings),
    )


def template_name(file: str) -> str | None:
    """What a step calls the template in this file; None for a partial (`_x.mjml`) and a translation (`x.de.mjml`)."""
    stem = file.removesuffix(".mjml")
    return None if stem.startswith("_") or "." in stem else stem


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _shelve(root: Path, name: str, names: Iterable[str], shelf: _Shelf) -> None:
    """Read one file of cadences/ and put it where it belongs."""
    file = f"{CADENCES}/{name}"
    wrong = _wrong_name(name, names)
    if wrong is not None:
        shelf.findings.append(Finding(file=file, line=1, column=1, code="file-name", message=wrong))
    if wrong is not None or not name.endswith(".yaml"):
        return
    document, findings = read_yaml(root, file)
    shelf.findings.extend(findings)
    if document is None:
        return
    if name in _SPECIAL:
        shelf.special[name] = document
    elif name.endswith(_TEST):
        shelf.tests[name.removesuffix(_TEST)] = document
    else:
        shelf.cadences[name.removesuffix(".yaml")] = document


def _wrong_name(name: str, names: Iterable[str]) -> str | None:
    if name.endswith(".yml"):
        return f"'{name}': rename it to '{name.removesuffix('.yml')}.yaml'"
    if not name.endswith(".yaml") or name in _SPECIAL:
        return None
    if name.startswith("_"):
        return f"unknown file '{name}'{suggest(name, _SPECIAL)}"
    stem = name.removesuffix(_TEST) if name.endswith(_TEST) else name.removesuffix(".yaml")
    if not _STEM.match(stem):
        return f"'{stem}' is no name of a cadence: use a to z, 0 to 9, '_' and '-'"
    if name.endswith(_TEST) and f"{stem}.yaml" not in names:
        cadences = [each.removesuffix(".yaml") for each in names if not each.startswith("_") and _TEST not in each]
        return f"tests of no cadence: there is no '{stem}.yaml'{suggest(stem, cadences)}"
    return None
