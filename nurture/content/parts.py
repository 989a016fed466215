"""One text of a letter, ready to be filled in: compiled Jinja whose loops and blocks are bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError as JinjaError

from nurture.content.problems import RenderProblem
from nurture.content.sandbox import CAPTURED, LetterEnvironment, LoopBudget

OUTPUT_LIMIT = 1024 * 1024
"""Characters of one rendered part."""

_RENDER_ERRORS = (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, AttributeError)


class Part:
    """One text of a letter, ready to be filled in."""

    __slots__ = ("_has_loops", "_root", "_template")

    def __init__(self, environment: LetterEnvironment, tree: nodes.Template) -> None:
        self._has_loops = _bound(tree)
        code = environment.compile(tree)
        self._template = Template.from_code(environment, code, environment.globals)
        self._root = self._template.root_render_func

    def render(self, values: dict[str, Any]) -> str:
        """`values` holds the library's `functions` as well. Raises RenderProblem."""
        try:
            if self._has_loops:
                return self._counted({**values, "_loop": LoopBudget()})
            written = "".join(self._root(self._template.new_context(values, shared=True)))
        except RecursionError:
            raise RenderProblem("the template is too deep") from None
        except _RENDER_ERRORS as error:
            raise RenderProblem(str(error)) from None
        if len(written) > OUTPUT_LIMIT:
            raise RenderProblem(f"the letter is larger than {OUTPUT_LIMIT:,} characters")
        return written

    def _counted(self, values: dict[str, Any]) -> str:
        pieces = []
        left = OUTPUT_LIMIT
        for piece in self._root(self._template.new_context(values, shared=True)):
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise RenderProblem(f"the letter is larger than {OUTPUT_LIMIT:,} characters")
        return "".join(pieces)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A subject or preheader: plain text with slots."""

    variables: frozenset[str]
    part: Part | None
    text: str

    def render(self, values: dict[str, Any]) -> str:
        """Raises RenderProblem."""
        return self.text if self.part is None else self.part.render(values)


def _bound(tree: nodes.Template) -> bool:
    """Make each loop pay for its work, and limit the size of each `set` block; whether there are loops."""
    for block in tree.find_all(nodes.AssignBlock):
        block.filter = nodes.Filter(None, CAPTURED, [], [], None, None)
        block.filter.set_lineno(block.lineno)
    loops = list(tree.find_all(nodes.For))
    for loop in loops:
        weight = 1 + sum(1 for child in (*loop.body, *loop.else_) for _ in child.find_all(nodes.Node))
        items = nodes.Call(nodes.Name("_loop", "load"), [loop.iter, nodes.Const(weight)], [], None, None)
        loop.iter = items.set_lineno(loop.lineno)
    return bool(loops)
