"""Reads a template's Jinja before it is ever run: what it may not contain, and the names it speaks of."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError

from nurture.content.filters import FILTERS
from nurture.content.names import TemplateNames, nearest
from nurture.content.sandbox import FUNCTIONS, LOOP_FIELDS, TESTS, dotted_name

_STATEMENTS = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock)
_EXPRESSIONS = (
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Dict,
    nodes.Pair,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Concat,
    nodes.Compare,
    nodes.Operand,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.Not,
    nodes.And,
    nodes.Or,
    nodes.Keyword,
)
SLOT_LIMIT = 3000
DEPTH_LIMIT = 15


class Objection(Exception):
    """Something in the Jinja that can't be; `line` counts from 1 in the text that was read, `word` stands on it."""

    def __init__(self, message: str, *, line: int, word: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.word = word


def parse(environment: Environment, text: str) -> nodes.Template:
    """The tree of a text; raises Objection, also for what only the depth of it makes impossible."""
    try:
        return environment.parse(text)
    except TemplateSyntaxError as error:
        raise Objection(str(error.message), line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        raise Objection(f"the expression is too deep or too long ({type(error).__name__})", line=1) from None


def inspect(tree: nodes.Template, names: TemplateNames) -> frozenset[str]:
    """The dotted names read from outside (`lead.custom.plan`). Raises Objection at the first thing not allowed."""
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"} | {"loop"}
    used = set()
    slots = 0
    for node, depth in _walk(tree):
        slots += isinstance(node, nodes.Output)
        if depth > DEPTH_LIMIT or slots > SLOT_LIMIT:
            raise Objection("the template is too deep, or has too many slots", line=node.lineno)
        _refuse(node)
    for node in _outermost_names(tree):
        dotted = dotted_name(node)
        root = dotted.split(".")[0]
        if root == "loop" and "." in dotted and dotted.split(".")[1] not in LOOP_FIELDS:
            raise Objection(f"{dotted} does not exist in a loop", line=node.lineno, word=dotted)
        if root in own or root in FUNCTIONS:
            continue
        complaint = names.complaint(dotted)
        if complaint:
            raise Objection(complaint, line=node.lineno, word=dotted)
        used.add(dotted)
    return frozenset(used)


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Every node with the number of `if` and `for` around it (the branches of one `elif` chain are one)."""
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        for name in node.fields:
            value = getattr(node, name)
            inner = depth + (isinstance(node, nodes.If | nodes.For) and name == "body")
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, nodes.Node):
                    stack.append((child, inner))


def _refuse(node: nodes.Node) -> None:
    line = node.lineno
    if not isinstance(node, _STATEMENTS + _EXPRESSIONS):
        kind = type(node).__name__
        raise Objection(f"{_WORDS.get(kind, kind.lower())} can't be used in a template", line=line)
    if isinstance(node, nodes.Name) and node.name.startswith("_"):
        raise Objection(f'a name can\'t begin with "_": {node.name}', line=line, word=node.name)
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise Objection(f'a name can\'t begin with "_": {node.attr}', line=line, word=node.attr)
    if isinstance(node, nodes.Assign | nodes.AssignBlock | nodes.For) and not isinstance(node.target, nodes.Name):
        raise Objection("write a single name there", line=line)
    if isinstance(node, nodes.For) and node.recursive:
        raise Objection("a recursive loop can't be used in a template", line=line)
    if isinstance(node, nodes.AssignBlock) and (node.filter or any(node.find_all(nodes.For))):
        raise Objection("a `set` block takes no filter and no loop", line=line)
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise Objection(f'unknown filter "{node.name}"' + nearest(node.name, FILTERS), line=line, word=node.name)
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise Objection(f'unknown test "{node.name}"' + nearest(node.name, TESTS), line=line, word=node.name)
    if isinstance(node, nodes.Filter | nodes.Test | nodes.Call) and (node.dyn_args or node.dyn_kwargs):
        raise Objection("`*` and `**` can't be used in a template", line=line)
    if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS):
        raise Objection("only range(…) and asset(…) can be called", line=line, word=dotted_name(node.node))


_WORDS = {
    "Pow": "`**`",
    "Slice": "a slice",
    "Macro": "a macro",
    "Include": "an include that is not a plain file name",
    "Extends": "`extends`",
    "Import": "`import`",
    "FromImport": "`import`",
    "FilterBlock": "a filter block",
    "CallBlock": "a call block",
    "Block": "a block",
    "With": "`with`",
    "Scope": "`autoescape`",
    "NSRef": "a namespace",
}


def _outermost_names(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Names with all the fields behind them: `lead.custom.plan` once, and not `lead` as well."""
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.Getattr | nodes.Getitem) and _is_path(node):
            yield node
            continue
        if isinstance(node, nodes.Name) and node.ctx == "load":
            yield node
        stack.extend(node.iter_child_nodes())


def _is_path(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return _is_path(node.node)
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and _is_path(node.node)
    return isinstance(node, nodes.Name)
