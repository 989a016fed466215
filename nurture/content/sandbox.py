"""Jinja without a way out: mappings only, few names, few filters, bounded work; literals and slots encoded apart.

Templates reach nothing of Python: `a.b` looks `b` up in a mapping and never asks an object for an attribute, calls
go to two functions, and every computed text, loop and number is bounded. A missing field is false to `if`, filled by
`default`, equal to nothing, and an error that names it when printed.

An environment turns literal text and slots into what the letter needs as they pass: the literal parts once, when the
template is compiled, the slots at render.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nurture.content.filters import FILTERS, VALUE_LIMIT, bounded, text_of
from nurture.content.problems import RenderProblem

TESTS = frozenset(
    {
        *("defined", "undefined", "none", "string", "number", "mapping", "sequence", "true", "false", "in"),
        *("odd", "even", "divisibleby", "eq", "equalto", "ne", "lt", "lessthan", "le", "gt", "greaterthan", "ge"),
        *("==", "!=", "<", "<=", ">", ">="),
    }
)
LOOP_FIELDS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
FUNCTIONS = frozenset({"range", "asset"})
CAPTURED = "_captured"
"""The filter that every `set` block goes through, so that blocks made of blocks do not grow without end."""
RANGE_LIMIT = 1000
LOOP_WORK = 200_000
"""Nodes of a template that the loops of one render may run through; some tenths of a second."""

# Delimiters no author can type (they are refused in sources), so that literal text is never read as Jinja again.
EXPR_OPEN, EXPR_CLOSE, STATEMENT_OPEN, STATEMENT_CLOSE, _COMMENT_OPEN, _COMMENT_CLOSE = map(chr, range(0xE000, 0xE006))


class Missing(Undefined):
    """A field this lead lacks. `_undefined_name` is its whole dotted name."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return f"{self._undefined_name} is missing and has no default"

    def _refuse(self, *_: Any, **_named: Any) -> NoReturn:
        raise UndefinedError(self._undefined_message)

    def _no(self, _: object) -> bool:
        return False

    def __ne__(self, _: object) -> bool:
        return True

    __str__ = __iter__ = __len__ = _refuse
    __eq__ = __contains__ = _no
    __lt__ = __le__ = __gt__ = __ge__ = _no  # type: ignore[assignment]  # comparing with nothing is false, not an error
    __hash__ = Undefined.__hash__


class LoopBudget:
    """Called by templates as `_loop(items, weight)`: hands the items out while there is work left in this render."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = LOOP_WORK

    def __call__(self, items: Any, weight: int) -> Any:
        if isinstance(items, Undefined):
            iter(items)  # raises, naming the field
        if not isinstance(items, list | tuple | range | Mapping):
            raise RenderProblem(f"`for` needs a list, not a {type(items).__name__}")
        self._left -= len(items) * weight
        if self._left < 0:
            raise RenderProblem("the template's loops run too long")
        return list(items)


def bounded_range(*bounds: int) -> range:
    if not bounds or len(bounds) > 3 or not all(isinstance(each, int) for each in bounds):
        raise RenderProblem("range takes one to three whole numbers")
    try:
        found = range(*bounds)
        if len(found) <= RANGE_LIMIT:
            return found
    except (ValueError, OverflowError):
        pass
    raise RenderProblem(f"a range of more than {RANGE_LIMIT:,}, or of steps of 0")


class LetterCode(CodeGenerator):
    """Writes slots as `environment.slot(…)` and literals as `environment.literal` makes them.

    Inside `{% set x %}…{% endset %}` both stay as they are: that text is printed by a slot later.
    """

    environment: LetterEnvironment
    _captures = 0

    def visit_AssignBlock(self, node: nodes.AssignBlock, frame: Frame) -> None:
        self._captures += 1
        super().visit_AssignBlock(node, frame)
        self._captures -= 1

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        self.write("environment.field(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r}, {dotted_name(node)!r})")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if not is_ours(node):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.visit(node.node, frame)
        self.write("(")
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")

    def _output_const_repr(self, group: Any) -> str:
        text = "".join(group)
        return repr(text if self._captures else self.environment.literal(text))

    def _output_child_pre(self, node: nodes.Expr, _frame: Frame, _finalize: Any) -> None:
        function = "" if is_ours(node) else "environment.held" if self._captures else "environment.slot"
        self.write(f"{function}(")

    def _output_child_post(self, _node: nodes.Expr, _frame: Frame, _finalize: Any) -> None:
        self.write(")")


def is_ours(node: nodes.Node) -> bool:
    """Whether it is a call or a name that nurture put in; its value is encoded already."""
    name = node.node if isinstance(node, nodes.Call) else node
    return isinstance(name, nodes.Name) and name.name.startswith("_")


def dotted_name(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{dotted_name(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{dotted_name(node.node)}.{node.arg.value}"
    return "value"


class LetterEnvironment(ImmutableSandboxedEnvironment):
    """`slot` makes the printed form of a value, `literal` that of the template's own text."""

    code_generator_class = LetterCode
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(
        self,
        *,
        autoescape: bool,
        slot: Callable[[Any], str],
        literal: Callable[[str], str],
        held: Callable[[Any], str],
        own_delimiters: bool = False,
    ) -> None:
        delimiters = (
            {
                "variable_start_string": EXPR_OPEN,
                "variable_end_string": EXPR_CLOSE,
                "block_start_string": STATEMENT_OPEN,
                "block_end_string": STATEMENT_CLOSE,
                "comment_start_string": _COMMENT_OPEN,
                "comment_end_string": _COMMENT_CLOSE,
            }
            if own_delimiters
            else {}
        )
        super().__init__(
            autoescape=autoescape, undefined=Missing, keep_trailing_newline=True, cache_size=0, **delimiters
        )
        self.slot = slot
        self.literal = literal
        self.held = held
        self.globals = {}  # what templates may call comes with the values of each letter
        self.filters = {**FILTERS, CAPTURED: bounded}
        self.tests = {name: test for name, test in self.tests.items() if name in TESTS}

    def field(self, holder: Any, name: str, dotted: str) -> Any:
        """`holder.name`, where holder is a mapping; missing, or None, is `Missing`."""
        try:
            value = holder[name] if type(holder) is dict else _looked_up(holder, name)
        except KeyError:
            value = None
        return Missing(name=dotted) if value is None else value

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.field(obj, attribute, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, list | tuple) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else Missing(name=f"item {argument}")
        return self.field(obj, argument, str(argument)) if isinstance(argument, str) else Missing(name="item")

    def call(self, _context: Any, function: Any, *args: Any, **_named: Any) -> Any:
        if function is bounded_range or getattr(function, "callable_from_templates", False):
            return function(*args)
        raise SecurityError("only range and asset can be called")

    def call_binop(self, _context: Any, operator_: str, left: Any, right: Any) -> Any:
        for value in (left, right):
            if isinstance(value, Undefined):
                str(value)  # raises, naming the field
        if operator_ == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded(left + right)
        if operator_ == "+" and isinstance(left, list) and isinstance(right, list):
            if len(left) + len(right) > VALUE_LIMIT:
                raise RenderProblem("a list grew too long")
            return left + right
        if operator_ in _ARITHMETIC and isinstance(left, int | float) and isinstance(right, int | float):
            return _calculated(operator_, left, right)
        raise RenderProblem(f"{type(left).__name__} {operator_} {type(right).__name__} is not allowed")

    def concatenated(self, parts: tuple[Any, ...]) -> str:
        return bounded("".join(map(text_of, parts)))


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def _calculated(operator_: str, left: float, right: float) -> float:
    try:
        found: float = _ARITHMETIC[operator_](left, right)
    except (ZeroDivisionError, OverflowError):
        raise RenderProblem("a division by zero, or a number out of range") from None
    if not abs(found) < 1e15:
        raise RenderProblem("a number is out of range")
    return found


def _looked_up(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    if isinstance(holder, LoopContext) and name in LOOP_FIELDS:
        return getattr(holder, name)
    return None
