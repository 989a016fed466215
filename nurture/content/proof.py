"""Proves that compiling once equals compiling after rendering, by doing both with every branch both ways.

MJML computes with widths, paddings and neighbours, so a loop or an `if` in the wrong place gives a layout that is
silently off. Conditions, lists and values are replaced by ones that are chosen here; the two results must agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment

from nurture.content.mjml_scan import Scan
from nurture.content.sandbox import EXPR_CLOSE, EXPR_OPEN, STATEMENT_CLOSE, STATEMENT_OPEN
from nurture.content.slots import JinjaTag, Sentinels

LIST_LENGTHS = (0, 1, 3)
SINGLE_FLIPS = 40
BYTES_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way through the template: which conditions hold, and how long its lists are."""

    choices: tuple[bool, ...]
    length: int


@dataclass(frozen=True, kw_only=True)
class Proof:
    """`forms` are the tags as asked in this proof; `branches` the tags whose outcome is chosen, in order."""

    forms: Mapping[str, str]
    branches: tuple[JinjaTag, ...]
    loops: tuple[JinjaTag, ...]

    def cases(self, size: int) -> Iterator[Case]:
        """All conditions false, all true, each alone flipped; lists of 0, 1 and 3. Bounded by the template's size."""
        count = len(self.branches)
        none, every = (False,) * count, (True,) * count
        lengths = LIST_LENGTHS if self.loops else (1,)
        wanted = [Case(choices=choices, length=length) for length in lengths for choices in {none, every}]
        for at in range(min(count, SINGLE_FLIPS) if count > 1 else 0):
            wanted.append(Case(choices=(*none[:at], True, *none[at + 1 :]), length=1))
            wanted.append(Case(choices=(*every[:at], False, *every[at + 1 :]), length=1))
        yield from wanted[: max(2, BYTES_LIMIT // max(1, size))]

    def suspect(self, case: Case) -> JinjaTag | None:
        """The tag most likely to blame where this case differs and those before it did not."""
        odd = [at for at, choice in enumerate(case.choices) if case.choices.count(choice) == 1]
        if len(case.choices) > 1 and len(odd) == 1:
            return self.branches[odd[0]]
        return next(iter((*self.loops, *self.branches)), None) if case.length != 1 or any(case.choices) else None


def proof_of(text: str, sentinels: Sentinels, scan: Scan) -> Proof:
    forms: dict[str, str] = {}
    branches: list[JinjaTag] = []
    loops: list[JinjaTag] = []
    for word, tag in sentinels.tags.items():
        if tag.kind == "expression":
            forms[word] = _mark(text, tag, scan)
        elif tag.kind == "raw":
            forms[word] = tag.inside
        elif tag.kind == "comment":
            forms[word] = ""
        elif tag.word in ("if", "elif"):
            forms[word] = f"{STATEMENT_OPEN} {tag.word} choices[{len(branches)}] {STATEMENT_CLOSE}"
            branches.append(tag)
        elif tag.word == "for":
            forms[word] = f"{STATEMENT_OPEN} for item in items {STATEMENT_CLOSE}"
            loops.append(tag)
        elif tag.word == "set" and "=" in tag.inside:
            forms[word] = ""
        else:
            forms[word] = tag.own()
    return Proof(forms=forms, branches=tuple(branches), loops=tuple(loops))


def _mark(text: str, tag: JinjaTag, scan: Scan) -> str:
    """A value as it may stand there: a length in attributes, so that MJML computes with it if it ever does."""
    if scan.attribute_at(tag.start) is None:
        return "Mark"
    return "10" if re.match(r"[a-z%]", text[tag.end : tag.end + 1]) else "10px"


_environment = Environment(  # noqa: S701  plain MJML with the choices made here; nothing of a lead
    variable_start_string=EXPR_OPEN,
    variable_end_string=EXPR_CLOSE,
    block_start_string=STATEMENT_OPEN,
    block_end_string=STATEMENT_CLOSE,
    comment_start_string="\ue004",
    comment_end_string="\ue005",
    keep_trailing_newline=True,
    cache_size=0,
)


class Chosen:
    """A text that can be written for each case."""

    def __init__(self, source: str) -> None:
        self._template = _environment.from_string(source)

    def written(self, case: Case) -> str:
        return self._template.render(choices=case.choices, items=[None] * case.length)


def body_of(html: str) -> str:
    """What is compared: the body without white space, and without comments but those that Outlook reads."""
    start = html.find("<body")
    bare = re.sub(r"<!--(?!\[if|<!\[).*?-->", "", html[max(0, start) :], flags=re.DOTALL)
    return re.sub(r"\s+", "", bare)
