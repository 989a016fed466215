"""`nurture new`: a cadence of the library, its tests and its templates, fitted to a workspace and written into it.

The files in `library/` are whole, and stay as they are where NAME is the kind; what differs in another workspace (its
topic, form and site, the cadence's own name) is one line each, and is replaced here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nurture.authoring.sources import CADENCES, FORMS, TEMPLATES, Sources, read_sources
from nurture.documents.finding import has_errors
from nurture.documents.nearest import suggest
from nurture.domain.mailbox import read_mailbox
from nurture.domain.problem import Problem
from nurture.settings import CONFIG, Settings, require_config

KINDS = ("welcome", "lead-magnet", "webinar", "trial", "re-engage", "recycle")
SITE, TOPIC, FORM = "https://www.lumen.example", "product", "guide"
"""What the library's files say where a workspace has its own."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_INCLUDE = re.compile(r"\{%-?\s*include\s+\"([^\"]+)\"")
_TEMPLATE = re.compile(r"^\s+- email: ([\w-]+)", re.MULTILINE)
_CUSTOM = re.compile(r"\bcustom\.(\w+)")
_TYPES: Mapping[str, Sequence[str]] = {"trial_ends_at": ("datetime", "date"), "employees": ("number",)}
"""Custom field -> the types of `[fields]` that do, the best one first."""


@dataclass(frozen=True, kw_only=True)
class NewFiles:
    """Paths in the workspace: what was written, and which templates were there and were left as they are."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def write_new_cadence(root: Path, *, kind: str, name: str) -> NewFiles:
    """Write the library's cadence of this kind as `name`. Raises Problem, and then nothing was written."""
    if kind not in KINDS:
        raise Problem(f"unknown kind '{kind[:40]}'{suggest(kind, KINDS)}")
    if not _NAME.fullmatch(name):
        raise Problem(f"'{name[:60]}' is no name of a cadence: use up to 60 of a to z, 0 to 9, '_' and '-'")
    require_config(root)
    cadence, tests = f"{CADENCES}/{name}.yaml", f"{CADENCES}/{name}.test.yaml"
    for path in (cadence, tests):
        if (root / path).exists():
            raise Problem(f"{path} is there already: choose another name")
    sources = read_sources(root)
    if sources.settings is None or has_errors(list(sources.findings)):
        raise Problem("there are mistakes in the files of this workspace: mend first what `nurture check` says")
    fit = _Fit(kind=kind, name=name, sources=sources, settings=sources.settings)
    fit.check()
    templates = {f"{TEMPLATES}/{file}": text for file, text in fit.templates()}
    missing = {path: text for path, text in templates.items() if not (root / path).exists()}
    _write(root, {**missing, cadence: fit.cadence, tests: fit.tests})
    return NewFiles(written=(cadence, tests, *missing), kept=tuple(path for path in templates if path not in missing))


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The files of one kind, as this workspace needs them under this name."""

    kind: str
    name: str
    sources: Sources
    settings: Settings

    @cached_property
    def cadence(self) -> str:
        text = self._named(_library(f"{CADENCES}/{self.kind}.yaml"))
        if self._topic != TOPIC:
            text = _replaced(text, rf"^topic: {TOPIC}\n", f"topic: {json.dumps(self._topic)}\n" if self._topic else "")
        where = f', where: event.form == "{FORM}"'
        return text.replace(where, where.replace(f'"{FORM}"', json.dumps(self._form)) if self._form else "")

    @cached_property
    def tests(self) -> str:
        text = self._named(_library(f"{CADENCES}/{self.kind}.test.yaml"))
        if self.name != self.kind:
            # which variant a lead gets hangs on the cadence's name
            text = _replaced(text, r'(, email: [\w-]+), variant: \w+, subject: "[^"]*"', r"\1")
        form = self._form or FORM
        return text if form == FORM else text.replace(f"{{form: {FORM}}}", f"{{form: {json.dumps(form)}}}")

    def templates(self) -> Iterator[tuple[str, str]]:
        """(file, text) of every template that the cadence names, in all languages, and of the parts of each."""
        named = dict.fromkeys(_TEMPLATE.findall(self.cadence))
        shelf = _shelf(TEMPLATES)
        waiting = [file for name in named for file in shelf if file == f"{name}.mjml" or file.startswith(f"{name}.")]
        for file in waiting:
            text = _library(f"{TEMPLATES}/{file}")
            yield file, text.replace(SITE, f"https://www.{self._domain}")
            waiting.extend(part for part in _INCLUDE.findall(text) if part not in waiting)

    def check(self) -> None:
        """Raises Problem where the cadence asks for a custom field that this workspace does not have."""
        declared = self.settings.fields
        for field in dict.fromkeys(_CUSTOM.findall(self.cadence)) if declared is not None else ():
            types = _TYPES[field]
            if (declared or {}).get(field) not in types:
                cure = f"write '{field} = \"{types[0]}\"' under [fields] in {CONFIG} first"
                raise Problem(f"{self.kind} goes by custom.{field}, a {types[0]}: {cure}")

    def _named(self, text: str) -> str:
        """Its title and its tags are of its own name."""
        if self.name == self.kind:
            return text
        title = re.sub(r"[-_]+", " ", self.name).strip().capitalize()
        titled = _replaced(text, r"^name: .*", f'name: "{title}"')
        return _replaced(titled, rf"\btag: {self.kind}-", f"tag: {self.name}-")

    @cached_property
    def _topic(self) -> str | None:
        topics = list(self.settings.topics)
        return TOPIC if TOPIC in topics else next(iter(topics), None)

    @cached_property
    def _form(self) -> str | None:
        """The library's form where there is one of this name, else the first that gives something away."""
        document = self.sources.special.get(FORMS)
        data = document.data if document is not None and isinstance(document.data, dict) else {}
        forms: Mapping[str, Mapping[str, object]] = data.get("forms") or {}
        giving = [name for name, form in forms.items() if form.get("offer")]
        return FORM if FORM in forms else next(iter([*giving, *forms]), None)

    @property
    def _domain(self) -> str:
        return read_mailbox(self.settings.senders[self.settings.sending.sender].from_).domain


def _replaced(text: str, pattern: str, by: str) -> str:
    return re.sub(pattern, by, text, flags=re.MULTILINE)


def _library(path: str) -> str:
    return (files(__package__) / "library").joinpath(*path.split("/")).read_text(encoding="utf-8")


def _shelf(folder: str) -> list[str]:
    held: Traversable = (files(__package__) / "library").joinpath(*folder.split("/"))
    return sorted(entry.name for entry in held.iterdir() if entry.is_file())


def _write(root: Path, contents: Mapping[str, str]) -> None:
    """All of them, or none. A file that appeared meanwhile is never overwritten."""
    done: list[Path] = []
    try:
        for name, text in contents.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                done.append(path)
                stream.write(text)
    except OSError as error:
        for path in done:
            path.unlink(missing_ok=True)
        raise Problem(f"{error.filename or root} can't be written: {error.strerror}; nothing was changed") from None
