"""MJML to HTML once for a template: sentinels go in, come back as often, and the result is proven right.

Sentinels of statements are HTML comments where HTML may have them, so that tables and columns are not disturbed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from nurture.content.mjml_compiler import MjmlCompiler, MjmlError
from nurture.content.mjml_scan import Scan
from nurture.content.pasting import Pasted
from nurture.content.problems import TemplateError
from nurture.content.proof import Chosen, body_of, proof_of
from nurture.content.slots import JinjaTag, Sentinels

_CURE = "write `compile: per_lead` in the step"
_ROW_GROUP = re.compile(r"<(?:tbody|thead|tfoot|caption|colgroup)\b", re.IGNORECASE)


def compile_once(
    compiler: MjmlCompiler, pasted: Pasted, tags: list[JinjaTag], found: Scan, sentinels: Sentinels, *, prove: bool
) -> str:
    """The HTML with sentinels, each once for each time it went in, and proven where `prove` says so."""
    for tag in tags:
        if found.in_tag(tag.start) and found.attribute_at(tag.start) is None:
            raise pasted.error(tag.start, "a Jinja tag can't stand between attributes; put it inside a value")
    proof = proof_of(pasted.text, sentinels, found)
    after = Chosen(_cut(pasted.text, tags, found, lambda tag: proof.forms[sentinels.words[id(tag)]]))
    cases = list(proof.cases(len(pasted.text))) if prove and tags else []
    once = _cut(pasted.text, tags, found, lambda tag: _sentinel(tag, found, sentinels))
    try:
        html, *expected = compiler.compile([once, *(after.written(case) for case in cases)])
    except MjmlError as error:
        raise pasted.error(found.tags[0][0], f"MJML: {error}") from None
    _count(pasted, html, tags, sentinels)
    before = Chosen(sentinels.put_back(html, proof.forms))
    for case, wanted in zip(cases, expected, strict=True):
        if body_of(before.written(case)) != body_of(wanted):
            raise _unequal(pasted, proof.suspect(case))
    return html


def preamble(pasted: Pasted, tags: list[JinjaTag], found: Scan) -> tuple[str, list[JinjaTag]]:
    """`{% set %}` before <mjml> belongs before both parts; and the tags that MJML gets to see.

    An author's comment goes out of the template with all that is in it.
    """
    root = found.tags[0][0] if found.tags else 0
    before = [tag for tag in tags if tag.start < root]
    for tag in before:
        if tag.kind == "expression" or (tag.kind == "statement" and tag.word not in ("set", "endset")):
            raise pasted.error(tag.start, "only `set` and comments can stand before <mjml>")
    first = "".join(tag.own() for tag in before if tag.kind == "statement")
    seen = [tag for tag in tags if tag.start >= root and not _in_comment(tag.start, pasted.text, found)]
    return first, seen


def _in_comment(offset: int, text: str, found: Scan) -> bool:
    return any(start <= offset < end and not text.startswith("<!--[if", start) for start, end in found.comments)


def _cut(text: str, tags: list[JinjaTag], found: Scan, form: Callable[[JinjaTag], str]) -> str:
    """The text from its first MJML tag on, without comments, with each Jinja tag in a form."""
    root = found.tags[0][0] if found.tags else 0
    gone = [
        (start, end, "") for start, end in found.comments if start >= root and not text.startswith("<!--[if", start)
    ]
    rows = [
        edit for start, end in found.tables if not _ROW_GROUP.search(text, start, end) for edit in _grouped(start, end)
    ]
    edits = sorted([*gone, *rows, *((tag.start, tag.end, form(tag)) for tag in tags)])
    pieces = []
    position = root
    for start, end, put in edits:
        pieces += [text[position:start], put]
        position = end
    return "".join([*pieces, text[position:]])


def _grouped(start: int, end: int) -> list[tuple[int, int, str]]:
    """Puts rows into the `<tbody>` that HTML would else open inside a loop and close after it."""
    return [(start, start, "<tbody>"), (end, end, "</tbody>")]


def _sentinel(tag: JinjaTag, found: Scan, sentinels: Sentinels) -> str:
    """A comment for what is no text, where HTML may have one; so tables and columns are not disturbed."""
    word = sentinels.words[id(tag)]
    if tag.kind in ("expression", "raw") or found.attribute_at(tag.start) is not None or found.in_style(tag.start):
        return word
    return word if any(start <= tag.start < end for start, end in found.comments) else f"<!--{word}-->"


def _count(pasted: Pasted, html: str, tags: list[JinjaTag], sentinels: Sentinels) -> None:
    """Statements come back once; a value may be needed in several places (an image's address for Outlook as well)."""
    came_back = Counter(sentinels.pattern.findall(html))
    for tag in tags:
        times = came_back[sentinels.words[id(tag)]]
        if times == 0 or (times > 1 and tag.kind == "statement"):
            message = "MJML computes with what this gives, so it can't be left open: write a fixed value, or " + _CURE
            raise pasted.error(tag.start, message)


def _unequal(pasted: Pasted, tag: JinjaTag | None) -> TemplateError:
    message = "the layout depends on what is here, so compiling once would give another one: give columns a width, or "
    return pasted.error(tag.start if tag else 0, message + _CURE)
