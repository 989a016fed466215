"""The arguments of `clicked(…)`, `did(…)` and their kin."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, Protocol

from nurture.domain.conditions.errors import ConditionError
from nurture.domain.conditions.tree import Happened
from nurture.domain.conditions.values import Written
from nurture.domain.conditions.vocabulary import EVENT_FUNCTIONS, TASK_OUTCOMES, Vocabulary, did_you_mean
from nurture.domain.event import EventName
from nurture.domain.spans import parse_duration

MAX_TIMES = 1_000_000
MAX_WITHIN = timedelta(days=36_500)
Since = Literal["enrollment", "ever"]

_EVENTS = {
    "opened": EventName.OPENED,
    "clicked": EventName.CLICKED,
    "replied": EventName.REPLIED,
    "visited": EventName.PAGE_VIEWED,
    "bounced": EventName.BOUNCED,
}


class Reader(Protocol):
    """What reading arguments needs of the parser."""

    def literal(self, node: ast.expr) -> Written | None: ...

    def fail(self, message: str, node: ast.expr | ast.keyword) -> ConditionError: ...


class Arguments:
    """The arguments of one call; each is taken once, by name."""

    def __init__(self, node: ast.Call, reader: Reader) -> None:
        self.node, self.reader = node, reader
        self.keywords: dict[str, ast.keyword] = {}
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in self.keywords:
                raise reader.fail(
                    f"{keyword.arg or '**'} is said twice" if keyword.arg else "** is not supported", keyword
                )
            self.keywords[keyword.arg] = keyword

    def positional(self, function: str, wanted: str | None) -> str | None:
        """The one text before the keywords, where the function takes one."""
        if any(isinstance(each, ast.Starred) for each in self.node.args):
            raise self.reader.fail("* is not supported", self.node)
        if not self.node.args:
            return None
        if wanted is None:
            raise self.reader.fail(
                f'{function} takes named arguments only, as in {function}(step="intro")', self.node.args[0]
            )
        if len(self.node.args) > 1:
            raise self.reader.fail(f"{function} takes {wanted} and then named arguments", self.node.args[1])
        return self._text(self.node.args[0], wanted)

    def text(self, name: str) -> str | None:
        keyword = self.keywords.get(name)
        return None if keyword is None else self._text(keyword.value, f"a text for {name}=")

    def one_of(self, name: str, choices: Iterable[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            known = sorted(choices)
            hint = did_you_mean(value, known) or f": use {', '.join(known[:12])}"
            raise self.reader.fail(f'{name}="{value[:80]}" is unknown{hint}', self.keywords[name].value)
        return value

    def times(self) -> int:
        keyword = self.keywords.get("times")
        if keyword is None:
            return 1
        value = self.reader.literal(keyword.value)
        if (
            isinstance(value, bool)
            or not isinstance(value, float)
            or value != int(value)
            or not 1 <= value <= MAX_TIMES
        ):
            raise self.reader.fail("times= is a whole number from 1 on", keyword.value)
        return int(value)

    def within(self) -> str | None:
        value = self.text("within")
        if value is None:
            return None
        try:
            span = parse_duration(value)
        except (ValueError, OverflowError):
            span = None
        if span is None or not timedelta(0) < span <= MAX_WITHIN:
            raise self.reader.fail(
                f'within="{value[:80]}" is no stretch of time: write e.g. within="7 days"',
                self.keywords["within"].value,
            )
        return value

    def properties(self, known: Iterable[str]) -> tuple[tuple[str, str | float | bool], ...]:
        """Every further keyword: a property of the event and the value it must have."""
        found: list[tuple[str, str | float | bool]] = []
        for name, keyword in self.keywords.items():
            if name in known:
                continue
            value = self.reader.literal(keyword.value)
            if value is None or value == "":
                raise self.reader.fail(f"{name}= wants a text, a number, true or false", keyword.value)
            found.append((name, value))
        return tuple(found)

    def refuse_others(self, function: str, known: Iterable[str]) -> None:
        for name, keyword in self.keywords.items():
            if name not in known:
                hint = did_you_mean(name, known) or f": it takes {', '.join(sorted(known))}"
                raise self.reader.fail(f"{function} takes no {name[:80]}={hint}", keyword)

    def _text(self, node: ast.expr, wanted: str) -> str:
        value = self.reader.literal(node)
        if not isinstance(value, str) or not value:
            raise self.reader.fail(
                f"{wanted} is a text in quotes" if wanted.startswith("a text") else f"{wanted} belongs here, in quotes",
                node,
            )
        return value


def read_happened(function: str, arguments: Arguments, vocabulary: Vocabulary) -> Happened:
    """One event test, every argument checked; raises ConditionError."""
    known = EVENT_FUNCTIONS[function]
    positional = arguments.positional(function, {"did": "the event's name", "visited": "a path"}.get(function))
    properties = arguments.properties(known) if function == "did" else ()
    arguments.refuse_others(function, {*known, *(name for name, _ in properties)})
    cadence = (
        arguments.text("cadence") if vocabulary.cadences is None else arguments.one_of("cadence", vocabulary.cadences)
    )
    steps = vocabulary.steps(cadence)
    since = arguments.one_of("since", ("enrollment", "ever"))
    return Happened(
        function=function,
        event=_event(function, positional, arguments),
        step=arguments.text("step") if steps is None else arguments.one_of("step", steps),
        cadence=cadence,
        link=arguments.text("link"),
        path=_path(function, positional, arguments),
        within=arguments.within(),
        times=arguments.times(),
        since=None if since is None else "enrollment" if since == "enrollment" else "ever",
        outcome=arguments.one_of("outcome", TASK_OUTCOMES),
        # what a mail server reports is no person's doing, and counts all the same
        any_verdict=arguments.one_of("verdict", ("any", "human")) == "any" or function == "bounced",
        properties=properties,
    )


def _event(function: str, positional: str | None, arguments: Arguments) -> str:
    if function == "did":
        if positional is None:
            raise arguments.reader.fail(
                'did takes the event\'s name first, as in did("demo requested")', arguments.node
            )
        return positional
    return _EVENTS[function].value if function in _EVENTS else ""


def _path(function: str, positional: str | None, arguments: Arguments) -> str | None:
    path = arguments.text("path")
    if function != "visited" or positional is None:
        return path
    if path is not None:
        raise arguments.reader.fail("the path is said twice", arguments.keywords["path"])
    return positional
