"""Python's syntax tree -> a condition's tree: a whitelist, in which every name and every value is checked."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nurture.domain.conditions.calls import Arguments, read_happened
from nurture.domain.conditions.errors import ConditionError
from nurture.domain.conditions.source import MAX_DEPTH, Source, is_clean
from nurture.domain.conditions.tree import (
    FLIPPED,
    Always,
    Among,
    And,
    Compare,
    CompareDays,
    CustomField,
    Days,
    FieldOperand,
    HasTag,
    Holds,
    LeadField,
    Missing,
    Not,
    Operator,
    Or,
    TextTest,
    Tree,
    Value,
    joined,
)
from nurture.domain.conditions.values import (
    Unlike,
    Written,
    agree,
    agree_with_field,
    custom_field,
    event_field,
    moment_field,
    say_name,
    text_field,
)
from nurture.domain.conditions.vocabulary import (
    EVENT_FUNCTIONS,
    FUNCTIONS,
    LEAD_FIELDS,
    Kind,
    Vocabulary,
    did_you_mean,
)
from nurture.domain.patterns import PatternError, parse_pattern

MAX_PARTS = 1_000
MAX_DAYS = 36_500
LARGEST = 1e100

_OPERATORS: dict[type[ast.cmpop], Operator] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "none": None}
_REFUSED: dict[type[ast.expr], str] = {
    ast.BinOp: "arithmetic is not part of conditions",
    ast.Subscript: "brackets are not part of conditions: write custom.name",
    ast.IfExp: "'if' is not part of conditions: use and, or, not",
    ast.Lambda: "functions can't be defined in conditions",
    ast.JoinedStr: "a text in a condition is plain: leave out the f",
    ast.NamedExpr: "compare with '=='",
    ast.Dict: 'braces are not part of conditions: a list is written ["a", "b"]',
    ast.Set: 'braces are not part of conditions: a list is written ["a", "b"]',
}
_WANTED = 'write a comparison or a function, e.g. score >= 50 or tag("guide")'


@dataclass(frozen=True)
class Literal:
    value: Written | None
    node: ast.expr


@dataclass(frozen=True)
class ListLiteral:
    items: tuple[Literal, ...]
    node: ast.expr


Operand = LeadField | CustomField | Days | Literal | ListLiteral


class Budget:
    """What one condition may hold in all, its segments written out."""

    def __init__(self) -> None:
        self.parts = 0

    def take(self) -> bool:
        self.parts += 1
        return self.parts <= MAX_PARTS


class Parser:
    """Reads one text; a named segment inside is read by a parser of its own, with the same budget."""

    def __init__(
        self,
        text: str,
        vocabulary: Vocabulary,
        *,
        inside: tuple[str, ...] = (),
        depth: int = 0,
        budget: Budget | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.inside = inside
        self.depth = depth
        self.budget = budget or Budget()
        self.source = Source(text)

    def read(self) -> Tree:
        return self._condition(self.source.tree)

    def _fail(self, message: str, node: ast.expr | ast.keyword) -> ConditionError:
        return ConditionError(message, self.source.offset(node))

    # --- conditions

    def _condition(self, node: ast.expr) -> Tree:
        if not self.budget.take():
            raise self._fail(f"more than {MAX_PARTS} parts, segments written out: make it smaller", node)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fail(f"nested deeper than {MAX_DEPTH}", node)
        try:
            return self._condition_inside(node)
        except Unlike as error:
            raise self._fail(str(error), node) from None
        finally:
            self.depth -= 1

    def _condition_inside(self, node: ast.expr) -> Tree:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return joined(And, [self._condition(each) for each in values])
            case ast.BoolOp(values=values):
                return joined(Or, [self._condition(each) for each in values])
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                part = self._condition(inner)
                return part.part if isinstance(part, Not) else Not(part=part)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call_as_condition(node)
            case ast.Name() | ast.Attribute() | ast.Constant():
                return self._bare(node)
            case _:
                raise self._fail(_refusal(node), node)

    def _bare(self, node: ast.expr) -> Tree:
        found = self._operand(node)
        if isinstance(found, Literal):
            if isinstance(found.value, bool):
                return Always(holds=found.value)
            raise self._fail(f"a value by itself is no condition: {_WANTED}", node)
        if isinstance(found, LeadField | CustomField):
            if found.kind is Kind.TRUTH:
                return Holds(field=found)
            example = "== true" if found.kind is Kind.OPEN else "with something"
            raise self._fail(f"{say_name(found)} by itself is no condition: compare it {example}", node)
        raise self._fail(_WANTED, node)

    # --- comparisons

    def _comparison(self, node: ast.Compare) -> Tree:
        sides = [node.left, *node.comparators]
        parts = [
            self._one_comparison(left, operator, right)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return joined(And, parts)

    def _one_comparison(self, left_node: ast.expr, operator: ast.cmpop, right_node: ast.expr) -> Tree:
        if not self.budget.take():
            raise self._fail(f"more than {MAX_PARTS} parts, segments written out: make it smaller", left_node)
        left, right = self._operand(left_node), self._operand(right_node)
        try:
            match operator:
                case ast.Is() | ast.IsNot():
                    return self._missing(left, right, right_node, negated=isinstance(operator, ast.IsNot))
                case ast.In() | ast.NotIn():
                    return self._among(left, right, left_node, right_node, negated=isinstance(operator, ast.NotIn))
                case _:
                    return self._compare(left, _OPERATORS[type(operator)], right, right_node)
        except Unlike as error:
            literal = left_node if isinstance(left, Literal) else right_node
            raise self._fail(str(error), literal) from None

    def _missing(self, left: Operand, right: Operand, node: ast.expr, *, negated: bool) -> Tree:
        if not isinstance(right, Literal) or right.value is not None:
            raise self._fail("'is' goes with none: compare values with ==", node)
        field = left.field if isinstance(left, Days) else left
        if not isinstance(field, LeadField | CustomField):
            raise self._fail("'is none' asks whether a field is missing: name a field before it", node)
        return Missing(field=_settled(field), negated=negated)

    def _among(
        self, left: Operand, right: Operand, left_node: ast.expr, right_node: ast.expr, *, negated: bool
    ) -> Tree:
        word = "not in" if negated else "in"
        if isinstance(left, Literal) and isinstance(right, LeadField | CustomField):
            raise self._fail(
                f"'{word}' wants a list after it; for a part of a text write contains({say_name(right)}, …)", left_node
            )
        if isinstance(left, Days):
            raise self._fail("days are compared with <, <=, >, >=", left_node)
        if not isinstance(left, LeadField | CustomField):
            raise self._fail(f"'{word}' wants a field before it", left_node)
        if not isinstance(right, ListLiteral):
            raise self._fail(f'\'{word}\' wants a list after it, as in {say_name(left)} {word} ["a", "b"]', right_node)
        if not right.items:
            raise self._fail("the list is empty: nothing is ever in it", right_node)
        values: list[Value] = []
        readings: set[FieldOperand] = set()
        for item in right.items:
            field, value = self._agree(left, "==", item)
            readings.add(field)
            values.append(value)
        if len(readings) > 1:
            raise self._fail("the list holds unlike values: only numbers, only texts, or only dates", right_node)
        return Among(field=readings.pop(), values=tuple(values), negated=negated)

    def _agree(self, field: FieldOperand, operator: Operator, item: Literal) -> tuple[FieldOperand, Value]:
        try:
            return agree(field, operator, self._something(item), self.vocabulary)
        except Unlike as error:
            raise self._fail(str(error), item.node) from None

    def _something(self, literal: Literal) -> Written:
        if literal.value is None:
            raise self._fail("nothing equals none: write 'is none' or 'is not none'", literal.node)
        return literal.value

    def _compare(self, left: Operand, operator: Operator, right: Operand, right_node: ast.expr) -> Tree:
        if isinstance(left, Literal | ListLiteral) and not isinstance(right, Literal | ListLiteral):
            return self._compare(right, FLIPPED[operator], left, left.node)
        if isinstance(left, Literal | ListLiteral):
            raise self._fail("this compares two values: name a field on one side", left.node)
        if isinstance(right, ListLiteral):
            raise self._fail(f"a list goes with 'in', not with {operator}", right_node)
        if isinstance(left, Days) or isinstance(right, Days):
            return self._compare_days(left, operator, right, right_node)
        if isinstance(right, Literal):
            field, value = self._agree(left, operator, right)
            return Compare(left=field, operator=operator, right=value)
        one, other = agree_with_field(left, right)
        return Compare(left=one, operator=operator, right=other)

    def _compare_days(self, left: Operand, operator: Operator, right: Operand, right_node: ast.expr) -> Tree:
        if not isinstance(left, Days) or not isinstance(right, Literal):
            raise self._fail(
                "days_since and days_until are compared with a number, as in days_since(created_at) < 30", right_node
            )
        number = self._something(right)
        if isinstance(number, bool) or not isinstance(number, float):
            raise self._fail(
                "days_since and days_until are compared with a number, as in days_since(created_at) < 30", right_node
            )
        if operator in ("==", "!="):
            name = f"days_{left.direction}({say_name(left.field)})"
            raise self._fail(
                f"days count to the second, so they are never just equal: write e.g. 3 <= {name} < 4", right_node
            )
        if abs(number) > MAX_DAYS:
            raise self._fail(f"more than {MAX_DAYS} days: nothing lies that far away", right_node)
        return CompareDays(left=left, operator=operator, right=number)

    # --- operands

    def _operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant(value=value):
                return Literal(self._constant(value, node), node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)):
                number = self._constant(value, node)
                if isinstance(number, bool) or not isinstance(number, float):
                    raise self._fail("a sign goes with a number", node)
                return Literal(-number if isinstance(sign, ast.USub) else number, node)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return ListLiteral(tuple(self._item(each) for each in items), node)
            case ast.Name(id=name):
                return self._name(name, node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Call():
                return self._call_as_operand(node)
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()) | ast.Compare():
                raise self._fail("a condition can't be compared: combine conditions with and, or, not", node)
            case _:
                raise self._fail(_refusal(node), node)

    def _item(self, node: ast.expr) -> Literal:
        found = self._operand(node)
        if not isinstance(found, Literal):
            raise self._fail("a list holds values only", node)
        return found

    def _constant(self, value: object, node: ast.expr) -> Written | None:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._finite(value, node)
        if not isinstance(value, str):
            raise self._fail("a value is a text in quotes, a number, true, false or none", node)
        if not all(map(is_clean, value)):
            raise self._fail('a control character in a text: leave it out (a pattern with \\ is written r"…")', node)
        return value

    def _finite(self, value: int | float, node: ast.expr) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if abs(number) > LARGEST:
            raise self._fail("this number is too large", node)
        return number

    def _name(self, name: str, node: ast.expr) -> Operand:
        if name.lower() in _CONSTANTS:
            return Literal(_CONSTANTS[name.lower()], node)
        if name in LEAD_FIELDS:
            return LeadField(name=name, kind=LEAD_FIELDS[name])
        if name in FUNCTIONS:
            raise self._fail(f"{name} is a function: write {name}(…)", node)
        if name in ("custom", "event"):
            raise self._fail(f"{name} needs a name after it, as in {name}.plan", node)
        if name in self.vocabulary.segments:
            raise self._fail(f'{name} is a segment: write in_segment("{name}")', node)
        if name in (self.vocabulary.custom or ()):
            raise self._fail(f"{name} is a custom field: write custom.{name}", node)
        known = {*LEAD_FIELDS, *FUNCTIONS}
        raise self._fail(f"unknown field '{name[:80]}'{did_you_mean(name, known)}", node)

    def _attribute(self, node: ast.Attribute) -> Operand:
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base == "custom":
            return custom_field(node.attr, self.vocabulary)
        if base == "event":
            if not self.vocabulary.trigger:
                raise self._fail("event.X is a property of the event in 'trigger:', and there is none here", node)
            return event_field(node.attr)
        if base == "lead":
            raise self._fail(f"a condition speaks of the lead already: write {node.attr}", node)
        raise self._fail("only custom has names inside, as in custom.plan" + did_you_mean(base, ["custom"]), node)

    # --- functions

    def _call_as_operand(self, node: ast.Call) -> Operand:
        name = self._function(node)
        if name not in ("days_since", "days_until"):
            raise self._fail(f"{name}(…) is true or false by itself: don't compare it", node)
        (argument,) = self._positional(node, name, 1, "a date field, as in days_since(created_at)")
        field = self._operand(argument)
        if not isinstance(field, LeadField | CustomField):
            raise self._fail(f"{name} takes a date field, as in {name}(created_at)", argument)
        try:
            return Days(direction="since" if name == "days_since" else "until", field=moment_field(field))
        except Unlike as error:
            raise self._fail(str(error), argument) from None

    def _call_as_condition(self, node: ast.Call) -> Tree:
        name = self._function(node)
        if name in EVENT_FUNCTIONS:
            return read_happened(name, Arguments(node, self), self.vocabulary)
        match name:
            case "tag":
                return HasTag(tag=self._text(*self._positional(node, name, 1, 'a tag, as in tag("guide")')))
            case "in_segment":
                return self._segment(*self._positional(node, name, 1, 'a name, as in in_segment("dach")'))
            case "contains" | "starts_with" | "matches":
                field, needle = self._positional(node, name, 2, f'a field and a text, as in {name}(title, "growth")')
                return self._text_test(name, field, needle)
            case _:
                raise self._fail(f"{name}(…) is a number: compare it, as in {name}(created_at) < 30", node)

    def _function(self, node: ast.Call) -> str:
        if not isinstance(node.func, ast.Name):
            raise self._fail("this is no function", node)
        name = node.func.id
        if name in FUNCTIONS:
            return name
        if name in LEAD_FIELDS:
            raise self._fail(f"{name} is a field, not a function: leave out the parentheses", node)
        raise self._fail(f"unknown function '{name[:80]}'{did_you_mean(name, FUNCTIONS)}", node)

    def _positional(self, node: ast.Call, name: str, count: int, wanted: str) -> Sequence[ast.expr]:
        if node.keywords:
            raise self._fail(f"{name} takes no {node.keywords[0].arg or '**'}=: it takes {wanted}", node.keywords[0])
        if len(node.args) != count or any(isinstance(each, ast.Starred) for each in node.args):
            raise self._fail(f"{name} takes {wanted}", node)
        return node.args

    def _text(self, node: ast.expr) -> str:
        found = self._operand(node)
        if not isinstance(found, Literal) or not isinstance(found.value, str) or not found.value:
            raise self._fail("a text in quotes belongs here", node)
        return found.value

    def _text_test(self, name: str, field_node: ast.expr, needle_node: ast.expr) -> Tree:
        field = self._operand(field_node)
        if not isinstance(field, LeadField | CustomField):
            raise self._fail(f'{name} takes a field first, as in {name}(title, "growth")', field_node)
        needle = self._text(needle_node)
        try:
            pattern = parse_pattern(needle) if name == "matches" else None
        except PatternError as error:
            raise self._fail(f"{error} (at character {error.offset + 1} of the pattern)", needle_node) from None
        try:
            return TextTest(test=name, field=text_field(field), needle=needle, pattern=pattern)  # type: ignore[arg-type]  # one of three, by the caller
        except Unlike as error:
            raise self._fail(str(error), field_node) from None

    def _segment(self, node: ast.expr) -> Tree:
        name = self._text(node)
        if name not in self.vocabulary.segments:
            raise self._fail(f"unknown segment '{name[:80]}'{did_you_mean(name, self.vocabulary.segments)}", node)
        if name in self.inside:
            circle = " -> ".join((*self.inside[self.inside.index(name) :], name))
            raise self._fail(f"segments go in a circle: {circle}", node)
        try:
            return Parser(
                self.vocabulary.segments[name],
                self.vocabulary,
                inside=(*self.inside, name),
                depth=self.depth,
                budget=self.budget,
            ).read()
        except ConditionError as error:
            prefix = "" if error.message.startswith(("segment", "more than", "nested")) else f"segment '{name}': "
            raise self._fail(f"{prefix}{error.message}", node) from None

    # --- what `calls` asks

    def literal(self, node: ast.expr) -> Written | None:
        """A literal's value; raises where anything else stands."""
        found = self._operand(node)
        if not isinstance(found, Literal):
            raise self._fail("a value belongs here, not a field", node)
        return found.value

    def fail(self, message: str, node: ast.expr | ast.keyword) -> ConditionError:
        return self._fail(message, node)


def _settled(field: FieldOperand) -> FieldOperand:
    """An undeclared custom value asked only for being there is a text."""
    return text_field(field) if field.kind is Kind.OPEN else field


def _refusal(node: ast.expr) -> str:
    return _REFUSED.get(type(node), f"this is not part of conditions: {_WANTED}")
