"""Templates that MJML compiles for each letter (`compile: per_lead`), because what it computes depends on the lead.

The guards are those of a template compiled once: no slot in a style's text, none that makes a link's host, and in what
MJML turns into styles only plain values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nurture.content.links import COMPLETE_HOST
from nurture.content.mjml_scan import Scan
from nurture.content.parts import Part
from nurture.content.pasting import Pasted
from nurture.content.problems import RenderProblem, TemplateError
from nurture.content.sandbox import EXPR_CLOSE, EXPR_OPEN
from nurture.content.slots import FILLER, JinjaTag, blanked, replaced

if TYPE_CHECKING:
    from nurture.content.templates import CompiledTemplate

# attributes that stay attributes; MJML writes the others into styles
_KEPT = frozenset({"href", "src", "srcset", "sizes", "alt", "title", "name", "rel", "target", "thumbnails-src"})


class PerLead:
    """A template whose Jinja is rendered first. `compile_written` compiles MJML in which no Jinja is left."""

    def __init__(self, *, mjml: Part, file: str, compile_written: Callable[[str], CompiledTemplate]) -> None:
        self._mjml = mjml
        self._file = file
        self._compile_written = compile_written

    def compiled_for(self, values: dict[str, Any]) -> CompiledTemplate:
        """Raises RenderProblem."""
        try:
            return self._compile_written(self._mjml.render(values))
        except TemplateError as error:
            raise RenderProblem(f"{self._file}: {error.message}") from None


def guarded_mjml(pasted: Pasted, tags: list[JinjaTag], found: Scan) -> str:
    """The MJML as Jinja in delimiters that nobody can type. Raises TemplateError for a slot where none can be."""
    plain = blanked(pasted.text, tags)
    return replaced(pasted.text, tags, lambda tag: _guarded(tag, plain, pasted, found))


def _guarded(tag: JinjaTag, plain: str, pasted: Pasted, found: Scan) -> str:
    place = found.value_at(tag.start)
    if tag.kind in ("raw", "comment"):
        return tag.own()
    if found.in_style(tag.start):
        raise pasted.error(tag.start, "a Jinja tag can't stand inside <style>")
    if place is None:
        if found.in_tag(tag.start):
            raise pasted.error(tag.start, "a Jinja tag can't stand between attributes; put it inside a value")
        return tag.own()
    start, _, attribute = place
    if attribute.startswith("on"):
        raise pasted.error(tag.start, f'a Jinja tag can\'t stand in "{attribute}"')
    before = plain[start + 1 : tag.start]
    if attribute == "href" and before.strip(FILLER) and not COMPLETE_HOST.match(before.lstrip(FILLER)):
        message = "a slot can't be part of a link's scheme or host; write the whole host and a /, or one slot for all"
        raise pasted.error(tag.start, message)
    if attribute in _KEPT or tag.kind != "expression":
        return tag.own()
    return f"{EXPR_OPEN} _style_text(({tag.bare()})) {EXPR_CLOSE}"
