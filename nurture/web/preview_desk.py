"""What the preview shows: the workspace as its files are at this moment, and one step's letter for one lead.

Files with mistakes are shown as far as they can be understood, with the mistakes beside them.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nurture.authoring.check import findings_of
from nurture.authoring.content_checks import library_of
from nurture.authoring.render_checks import place_of_problem
from nurture.authoring.samples import sample_event, sample_lead
from nurture.authoring.sources import TEMPLATES, read_sources
from nurture.authoring.workspace import Compiled, Workspace, compile_sources
from nurture.content.letters import RenderProblem
from nurture.content.lint import CLIPPED_BYTES, Remark, lint_html, lint_subject, lint_text
from nurture.content.templates import TemplateError, TemplateLibrary
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence, Email
from nurture.domain.problem import Problem
from nurture.pipeline.outgoing import LetterWriter, RenderFailed
from nurture.pipeline.proofs import (
    Proof,
    ProofRequest,
    choose_variant,
    emails_of,
    find_recipient,
    last_event,
    names_used,
    write_proof,
)
from nurture.settings import CONFIG
from nurture.store import tables as t
from nurture.store.database import Database

FULL, BARE = "full", "bare"
"""The two sample leads, as the query names them; anything else is an address."""
ADDRESSES_OFFERED = 100
WATCHED_AT_MOST = 10_000
_WATCHED = ("cadences", "templates", "assets", CONFIG)
_DARK = re.compile(r"\(\s*prefers-color-scheme\s*:\s*dark\s*\)", re.IGNORECASE)
_INVERTED = (
    "<style>html{filter:invert(1) hue-rotate(180deg);background:#fff}img{filter:invert(1) hue-rotate(180deg)}</style>"
)

MakeLetters = Callable[[Workspace, TemplateLibrary], LetterWriter]


@dataclass(frozen=True)
class Shelf:
    """The workspace as it was when its files bore `stamp`."""

    stamp: str
    compiled: Compiled
    library: TemplateLibrary
    findings: tuple[Finding, ...]
    make_letters: MakeLetters

    @cached_property
    def letters(self) -> LetterWriter | None:
        """None where config.toml has a mistake."""
        workspace = _as_far_as_understood(self.compiled)
        return self.make_letters(workspace, self.library) if workspace is not None else None

    @property
    def public_url(self) -> str:
        settings = self.compiled.sources.settings
        return settings.workspace.public_url.rstrip("/") if settings else ""

    @property
    def title(self) -> str:
        settings = self.compiled.sources.settings
        return settings.workspace.name if settings else "nurture"

    def steps(self) -> Iterator[tuple[Cadence, dict[str, Email]]]:
        """Each cadence with its steps that send."""
        for cadence in self.compiled.cadences.values():
            yield cadence, emails_of(cadence)

    def languages(self, step: Email, arm: str) -> list[str]:
        """The workspace's language first, then those that the step or its template is translated into."""
        settings = self.compiled.sources.settings
        first = settings.workspace.language if settings else "en"
        files = [file.removesuffix(".mjml").partition(".") for file in self.compiled.sources.template_files]
        translated = {language for name, _, language in files if name == step.template_of(arm) and language}
        return [first, *sorted({*translated, *step.locales} - {first})]

    def about(self, cadence: str, template: str) -> list[Finding]:
        """The mistakes that this letter may show: of its cadence, its template, and parts that templates share."""
        files = (f"cadences/{cadence}.yaml", f"{TEMPLATES}/{template}.", f"{TEMPLATES}/_", CONFIG)
        return [finding for finding in self.findings if finding.file.startswith(files)]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One letter as it was asked for: `lead` is FULL, BARE or an address."""

    lead: str = FULL
    variant: str | None = None
    language: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen: a letter with what lint says of it, or the mistake that keeps it from being written."""

    proof: Proof | None = None
    remarks: tuple[Remark, ...] = ()
    mistake: str | None = None
    place: str | None = None
    """file:line:column of the mistake."""

    @property
    def kilobytes(self) -> float:
        return len(self.proof.letter.html.encode()) / 1024 if self.proof else 0

    @property
    def kilobytes_at_most(self) -> int:
        return CLIPPED_BYTES // 1024

    @property
    def snippet(self) -> str:
        """What inboxes show behind the subject: the preheader, else how the letter begins."""
        if self.proof is None:
            return ""
        return self.proof.letter.preheader or " ".join(self.proof.letter.text.split())[:140]


class Desk:
    """Reads the files again when one changed. Safe to use from several threads."""

    def __init__(self, *, root: Path, database: Database, make_letters: MakeLetters) -> None:
        self.root = root
        self._database = database
        self._make_letters = make_letters
        self._lock = threading.Lock()
        self._shelf: Shelf | None = None

    def stamp(self) -> str:
        """Another text whenever a file was written, made or removed."""
        marks = sorted(_marks(self.root))
        return hashlib.sha256(repr(marks).encode()).hexdigest()[:16]

    def shelf(self) -> Shelf:
        """The workspace as its files are now."""
        with self._lock:
            stamp = self.stamp()
            if self._shelf is None or self._shelf.stamp != stamp:
                compiled = compile_sources(read_sources(self.root))
                library = library_of(compiled)
                findings = findings_of(compiled, library)
                self._shelf = Shelf(stamp, compiled, library, findings, self._make_letters)
            return self._shelf

    def addresses(self) -> list[str]:
        """The newest leads, to choose from."""
        with self._database.reading() as connection:
            newest = select(t.lead.c.email).where(t.lead.c.email.is_not(None)).order_by(t.lead.c.id.desc())
            return list(connection.scalars(newest.limit(ADDRESSES_OFFERED)))

    def see(self, shelf: Shelf, cadence: Cadence, step: Email, look: Look) -> Sight:
        """The step's letter. Raises Problem for a lead or a variant that is not there."""
        letters = shelf.letters
        if letters is None:
            return Sight(mistake=f"{CONFIG} has a mistake")
        variant = choose_variant(step, look.variant)
        used = names_used(shelf.library, step, variant, look.language)
        lead = self._lead(shelf, used, look)
        request = ProofRequest(
            cadence=cadence,
            step=step,
            variant=variant,
            lead=lead,
            to_address=lead["email"],
            event=self._event(cadence, used, look),
        )
        try:
            proof = write_proof(letters, request)
        except TemplateError as error:
            if error.file == "subject":
                return self._failed(shelf, cadence, step, error.message)
            return Sight(mistake=error.message, place=f"{TEMPLATES}/{error.file}:{error.line}:{error.column}")
        except (RenderProblem, RenderFailed) as error:
            return self._failed(shelf, cadence, step, str(error))
        letter = proof.letter
        remarks = (*lint_subject(letter.subject), *lint_html(letter.html), *lint_text(letter.text))
        return Sight(proof=proof, remarks=remarks)

    @staticmethod
    def _failed(shelf: Shelf, cadence: Cadence, step: Email, message: str) -> Sight:
        file, line, column = place_of_problem(shelf.compiled, cadence.name, step.key, message)
        return Sight(mistake=message, place=f"{file}:{line}:{column}")

    def _event(self, cadence: Cadence, used: frozenset[str], look: Look) -> Mapping[str, Any]:
        """The lead's own, where one of the kind that begins this cadence happened to it."""
        found = None
        if look.lead not in (FULL, BARE):
            with self._database.reading() as connection:
                found = last_event(connection, look.lead, cadence)
        return found if found is not None else sample_event(used, full=look.lead != BARE)

    def _lead(self, shelf: Shelf, used: frozenset[str], look: Look) -> Mapping[str, Any]:
        if look.lead in (FULL, BARE):
            settings = shelf.compiled.sources.settings
            assert settings is not None  # there are letters
            lead = sample_lead(settings, used, full=look.lead == FULL)
            lead["language"] = None
        else:
            with self._database.reading() as connection:
                lead = find_recipient(connection, look.lead)
        return {**lead, "language": look.language} if look.language else lead


def framed(html: str, *, dark: bool, public_url: str = "") -> str:
    """The letter for its frame: links open beside the preview, and the colour scheme is the one that was chosen.

    Pictures of `assets/`, which the mail has at `public_url`, come from the preview itself.

    Where the letter has no dark colours of its own, dark shows what programs make of it that invert colours.
    """
    is_ready = has_dark_colours(html)
    if public_url:
        html = html.replace(f'src="{public_url}/s/', 'src="/s/')
    html = _DARK.sub("(min-width:0)" if dark else "(max-width:0)", html)
    head = '<base target="_blank">' + (_INVERTED if dark and not is_ready else "")
    return html.replace("<head>", f"<head>{head}", 1)


def has_dark_colours(html: str) -> bool:
    return _DARK.search(html) is not None


def find_shown(shelf: Shelf, cadence: str, step: str) -> tuple[Cadence, Email] | None:
    """The step at this address, if it is (still) there."""
    found = shelf.compiled.cadences.get(cadence)
    email = emails_of(found).get(step) if found else None
    return (found, email) if found and email else None


def problem_of(error: Problem) -> Sight:
    return Sight(mistake=str(error))


def _as_far_as_understood(compiled: Compiled) -> Workspace | None:
    """A workspace in which a file may have mistakes: what is wrong with one letter need not keep the others away."""
    settings = compiled.sources.settings
    if settings is None:
        return None
    vocabulary = compiled.sources.vocabulary()
    return Workspace(
        root=compiled.sources.root,
        settings=settings,
        segments=vocabulary.segments,
        vocabulary=vocabulary,
        cadences=compiled.cadences,
        lifecycle=compiled.lifecycle,
        forms=compiled.forms,
        offers=compiled.offers,
    )


def _marks(root: Path) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of each watched file."""
    seen = 0
    for name in _WATCHED:
        path = root / name
        for each in (path, *(path.rglob("*") if path.is_dir() else ())):
            seen += 1
            if seen > WATCHED_AT_MOST:
                return
            try:
                status = each.stat()
            except OSError:
                continue  # gone since it was listed
            yield str(each), status.st_mtime_ns, status.st_size
