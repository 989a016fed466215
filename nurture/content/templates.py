"""The library of templates: each compiled once a version, and checked as a whole before it is used.

MJML with Jinja in it becomes two Jinja sources, one for HTML and one for text, whose literal parts are encoded for the
wire when they are compiled. A template of which MJML must know the lead is compiled for each letter instead
(`per_lead`). Nothing here knows a lead; `letters` fills the templates in.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

from jinja2.exceptions import TemplateError as JinjaError
from markupsafe import Markup, escape

from nurture.content.assembly import (
    html_to_jinja,
    source_address,
    style_text,
    style_value,
    text_to_jinja,
    written_text_to_jinja,
)
from nurture.content.assets import AssetFunction, Assets
from nurture.content.inspection import Objection, inspect, parse
from nurture.content.languages import language_of, nearest_language
from nurture.content.links import html_slot, printed, text_slot
from nurture.content.mjml_compiler import MjmlCompiler, shared_compiler
from nurture.content.mjml_scan import Scan, scan
from nurture.content.names import TemplateNames, nearest
from nurture.content.once import compile_once, preamble
from nurture.content.parts import Line, Part
from nurture.content.pasting import UNTYPED, Pasted, paste
from nurture.content.per_lead import PerLead, guarded_mjml
from nurture.content.problems import TemplateError
from nurture.content.quoted_printable import encode
from nurture.content.sandbox import EXPR_CLOSE, EXPR_OPEN, LetterEnvironment, bounded_range
from nurture.content.slots import JinjaTag, Sentinels, Unclosed, blanked, jinja_tags, replaced
from nurture.content.text_part import text_of_html

__all__ = ["CompiledTemplate", "Line", "TemplateError", "TemplateLibrary"]

Stamps = dict[str, tuple[int, int]]
"""What the files that a template was read from looked like, and the folder, where others may appear."""

# of a rendered template: controls that XML has no place for, and what UNTYPED keeps out of templates
_UNREADABLE = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|{UNTYPED.pattern}")
_UNSAID = 'lang="und"'
"""What MJML writes where `<mjml lang="…">` does not say it."""
KNOWN_AT_MOST = 5_000
"""Templates by language as leads say it; leads may say anything."""


@dataclass(frozen=True, kw_only=True)
class CompiledTemplate:
    """One template in one language. `html` and `text` render to quoted-printable, whole lines of it."""

    name: str
    file: str
    variables: frozenset[str]
    html: Part
    text: Part
    html_source: str
    """The compiled HTML, slots still in it: for lint, and for its size."""
    language: str = ""
    """Of its file; "" for one that has no language in its name."""
    has_written_text: bool = False
    """A person wrote its text part, blank lines and all; else it is derived from the HTML."""
    per_lead: PerLead | None = None
    """Compiles it for one lead; `html` and `text` are then of no use."""


@dataclass(kw_only=True)
class _Known:
    """A template as compiled, and what its files looked like."""

    template: CompiledTemplate
    stamps: Stamps
    looked_at: float


class TemplateLibrary:
    """The templates of one folder (a workspace's `templates/email`). Safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        names: TemplateNames | None = None,
        compiler: MjmlCompiler | None = None,
        recheck_seconds: float = 1.0,
    ) -> None:
        """Of a workspace's `templates/email`; its `assets/` lie beside `templates/`.

        Whether files changed is looked up at most every `recheck_seconds`: asking the disk for every letter costs as
        much as the letter where other threads wait for the interpreter.
        """
        self._folder = folder
        self.root = folder.parent.parent
        self._assets = Assets(self.root)
        self._names = names or TemplateNames()
        self._compiler = compiler or shared_compiler()
        self._lock = threading.RLock()
        self._recheck_seconds = recheck_seconds
        self._compiled: dict[tuple[str, str, bool], _Known] = {}
        self._by_content: dict[str, CompiledTemplate] = {}
        self.functions: Mapping[str, Any] = {
            "range": bounded_range,
            "_style": style_value,
            "_style_text": style_text,
            "_source": source_address,
            "asset": self.asset_function("https://mail.example"),
        }
        self._html = self._environment(autoescape=True, slot=html_slot, literal=encode, own_delimiters=True)
        self._text = self._environment(autoescape=False, slot=text_slot, literal=encode, own_delimiters=True)
        self._mjml = self._environment(autoescape=True, slot=_escaped, literal=str, own_delimiters=True)
        self._plain = self._environment(autoescape=True, slot=_escaped, literal=str)
        self._lines = self._environment(autoescape=False, slot=printed, literal=str)
        self._line = lru_cache(maxsize=2000)(self._compile_line)

    # --- what others ask

    def asset_function(self, base_url: str) -> AssetFunction:
        """`asset` for letters whose assets are served under this address; `functions` has one for trying letters."""
        return AssetFunction(lambda name: f"{base_url}{self._assets.path_of(name)}")

    def compile(self, name: str, *, language: str | None = None, per_lead: bool = False) -> CompiledTemplate:
        """The template of this name, in the language if there is one. Raises TemplateError."""
        key = (name, language or "", per_lead)
        known = self._compiled.get(key)
        if known is not None and self._is_fresh(known):
            return known.template
        with self._lock:
            compiled, stamps = self._compile(name, language, per_lead)
            if len(self._compiled) >= KNOWN_AT_MOST:
                self._compiled.clear()
            self._compiled[key] = _Known(template=compiled, stamps=stamps, looked_at=monotonic())
            return compiled

    def variables(self, name: str, *, language: str | None = None) -> frozenset[str]:
        """The dotted names that a template uses, its text override's included. Raises TemplateError."""
        file = self._file(name, language)
        pasted = paste(self._folder, file)
        found = self._inspected(pasted)[1]
        override = self._text_file(file)
        return found | self._inspected(paste(self._folder, override))[1] if override else found

    def line(self, text: str) -> Line:
        """A subject or preheader. Raises TemplateError with the place in the text (file "subject")."""
        return self._line(text)

    def names(self) -> list[str]:
        """The stems of all templates, partials and language variants left out."""
        return sorted(
            path.stem for path in self._folder.glob("*.mjml") if not path.name.startswith("_") and "." not in path.stem
        )

    # --- how it is done

    def _is_fresh(self, known: _Known) -> bool:
        now = monotonic()
        if now - known.looked_at < self._recheck_seconds:
            return True
        known.looked_at = now
        return all(_stamp(path) == stamp for path, stamp in known.stamps.items())

    @staticmethod
    def _environment(**forms: Any) -> LetterEnvironment:
        return LetterEnvironment(held=_escaped if forms["autoescape"] else printed, **forms)

    def _compile(self, name: str, language: str | None, per_lead: bool) -> tuple[CompiledTemplate, Stamps]:
        folder = str((self._folder / name).parent)
        stamps = {folder: _stamp(folder)}
        file = self._file(name, language)
        override = self._text_file(file)
        pasted = paste(self._folder, file)
        text = paste(self._folder, override) if override else None
        read = {**pasted.files, **(text.files if text else {})}
        stamps |= {path: _stamp(path) for path in (str(self._folder / each) for each in read)}
        digest = hashlib.sha256(repr((file, per_lead, sorted(read.items()))).encode()).hexdigest()
        if digest not in self._by_content:
            self._by_content[digest] = self._compile_files(name, pasted, text, per_lead)
        return self._by_content[digest], stamps

    def _compile_files(self, name: str, pasted: Pasted, text: Pasted | None, per_lead: bool) -> CompiledTemplate:
        tags, variables = self._inspected(pasted)
        found = scan(blanked(pasted.text, tags))
        for complaint in found.complaints[:1]:
            raise pasted.error(complaint.offset, complaint.message)
        if not per_lead:
            return self._assemble(name, pasted, tags, found, variables, text, prove=True)
        mjml = self._part(self._mjml, guarded_mjml(pasted, tags, found), pasted)
        empty = Part(self._lines, self._lines.parse(""))
        file = pasted.place(0).file
        return CompiledTemplate(
            name=name,
            file=file,
            variables=variables | (self._override(text)[1] if text else frozenset()),
            html=empty,
            text=empty,
            html_source="",
            language=language_of(file),
            per_lead=PerLead(
                mjml=mjml, file=file, compile_written=lambda written: self._compile_written(name, file, written, text)
            ),
        )

    def _compile_written(self, name: str, file: str, mjml: str, text: Pasted | None) -> CompiledTemplate:
        """Compile MJML in which no Jinja is left, nor anything that a lead's field could have it taken for."""
        mjml = _UNREADABLE.sub("", mjml).encode("utf-8", "replace").decode("utf-8")
        pasted = Pasted()
        pasted.files[file] = mjml
        pasted.append(file, 0, mjml)
        return self._assemble(name, pasted, [], scan(mjml), frozenset(), text, prove=False)

    def _assemble(
        self,
        name: str,
        pasted: Pasted,
        tags: list[JinjaTag],
        found: Scan,
        variables: frozenset[str],
        text: Pasted | None,
        *,
        prove: bool,
    ) -> CompiledTemplate:
        first, tags = preamble(pasted, tags, found)
        sentinels = Sentinels(pasted.text, tags)
        html = compile_once(self._compiler, pasted, tags, found, sentinels, prove=prove)

        def refuse(tag: JinjaTag | None, message: str) -> TemplateError:
            return pasted.error(tag.start if tag else 0, message)

        said = language_of(pasted.place(0).file) or f"{EXPR_OPEN} _language {EXPR_CLOSE}"
        html_source = first + html_to_jinja(html, sentinels, refuse).replace(_UNSAID, f'lang="{said}"')
        if text is None:
            text_source = first + text_to_jinja(text_of_html(html, sentinels.pattern), sentinels, refuse)
            text_variables: frozenset[str] = frozenset()
        else:
            text_source, text_variables = self._override(text)
        return CompiledTemplate(
            name=name,
            file=pasted.place(0).file,
            variables=variables | text_variables,
            html=self._part(self._html, html_source, pasted),
            text=self._part(self._text, text_source, pasted),
            html_source=html_source,
            language=language_of(pasted.place(0).file),
            has_written_text=text is not None,
        )

    def _override(self, text: Pasted) -> tuple[str, frozenset[str]]:
        tags, variables = self._inspected(text)
        sentinels = Sentinels(text.text, tags)

        def refuse(tag: JinjaTag | None, message: str) -> TemplateError:
            return text.error(tag.start if tag else 0, message)

        cut = replaced(text.text, tags, lambda tag: sentinels.words[id(tag)])
        return written_text_to_jinja(cut, sentinels, refuse), variables

    def _inspected(self, pasted: Pasted) -> tuple[list[JinjaTag], frozenset[str]]:
        try:
            tags = jinja_tags(pasted.text)
            variables = inspect(parse(self._plain, pasted.text), self._names)
        except Unclosed as error:
            raise pasted.error(error.offset, str(error)) from None
        except Objection as error:
            raise pasted.error_on_line(error.line, error.word, error.message) from None
        return tags, variables

    def _part(self, environment: LetterEnvironment, source: str, pasted: Pasted) -> Part:
        try:
            return Part(environment, parse(environment, source))
        except (Objection, JinjaError, SyntaxError, RecursionError, MemoryError) as error:
            raise pasted.error(0, f"the template can't be compiled: {error}") from None

    def _file(self, name: str, language: str | None) -> str:
        """The file for a language: of `de-AT` `x.de-AT.mjml`, `x.de.mjml`, or another region's; else `x.mjml`."""
        plain = self._folder / f"{name}.mjml"
        if language and plain.parent.is_dir():
            prefix = f"{plain.stem}."
            files = [path.name for path in plain.parent.glob("*.mjml") if path.name.startswith(prefix)]
            translated = {language_of(file): file for file in files if language_of(file)}
            nearest_one = nearest_language(language, translated)
            if nearest_one is not None:
                return (Path(name).parent / translated[nearest_one]).as_posix()
        if plain.is_file():
            return f"{name}.mjml"
        known = ", ".join(self.names()[:12])
        message = f'there is no template "{name}"{nearest(name, self.names())}' + (
            f" (there are {known})" if known else ""
        )
        raise TemplateError(file=f"{name}.mjml", line=1, column=1, message=message)

    def _text_file(self, file: str) -> str | None:
        override = f"{file.removesuffix('.mjml')}.txt"
        return override if (self._folder / override).is_file() else None

    def _compile_line(self, text: str) -> Line:
        if "{" not in text:
            return Line(variables=frozenset(), part=None, text=text)
        try:
            tree = parse(self._lines, text)
            variables = inspect(tree, self._names)
            return Line(variables=variables, part=Part(self._lines, tree), text=text)
        except (JinjaError, SyntaxError, RecursionError, MemoryError) as error:
            message = f"it can't be compiled: {error}"
            raise TemplateError(file="subject", line=1, column=1, message=message) from None
        except Objection as error:
            pasted = Pasted()
            pasted.files["subject"] = text
            pasted.append("subject", 0, text)
            raise pasted.error_on_line(error.line, error.word, error.message) from None


def _escaped(value: Any) -> str:
    return str(value) if type(value) is Markup else str(escape(printed(value)))


def _stamp(path: str) -> tuple[int, int]:
    """What changes when a file does; (0, 0) for none."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
