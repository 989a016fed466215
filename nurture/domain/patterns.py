"""Patterns for `matches`: a small part of regular expressions that takes linear time and means one thing everywhere.

Literals, `.`, `[classes]`, `\\d`, `\\s`, `^`, `$`, `*`, `+`, `?`, `|` and `( )`. A pattern is read into a tree of which
PostgreSQL gets an expression for its own automaton (`store/database.py`), and SQLite and Python run `Machine` below: it
keeps the set of places where a match may be, never goes back in the text, and remembers the sets it has met.
Patterns ignore case: text is folded before (`folding.py`), and what stands in a pattern is folded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nurture.domain.folding import fold, folding

MAX_LENGTH = 200
MAX_DEPTH = 20
_LAST = 0x10FFFF
_DIGITS = ((ord("0"), ord("9")),)
_SPACES = ((0x09, 0x0D), (0x20, 0x20))
_META = frozenset(".[](){}^$*+?|\\")


class PatternError(ValueError):
    """The line says what is wrong and what to write; `offset` is where in the pattern."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True)
class Characters:
    """One character out of ranges of code points (both ends belong), already folded."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False

    def take(self, character: str) -> bool:
        code = ord(character)
        return any(low <= code <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True)
class Edge:
    """The text's start or end."""

    start: bool


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Choice:
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Repeat:
    """`*` (least 0, endless), `+` (least 1, endless) or `?` (least 0)."""

    part: Part
    sign: str


Part = Characters | Edge | Sequence | Choice | Repeat


@dataclass(frozen=True)
class Pattern:
    text: str
    tree: Part

    def found_in(self, folded: str) -> bool:
        """Whether it matches anywhere in a text that is folded already; linear in its length."""
        return machine(self.text).found_in(folded)


def parse_pattern(text: str) -> Pattern:
    """Raises PatternError with a line for a person."""
    if not text:
        raise PatternError("an empty pattern matches everything: write what to look for", 0)
    if len(text) > MAX_LENGTH:
        raise PatternError(f"a pattern of more than {MAX_LENGTH} characters", MAX_LENGTH)
    return Pattern(text=text, tree=_Reader(text).read())


class _Reader:
    """Recursive descent over the pattern's text."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def read(self) -> Part:
        tree = self._choice()
        if self.at < len(self.text):
            raise PatternError("a ) without its (: write \\) for the character itself", self.at)
        return tree

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _choice(self) -> Part:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PatternError(f"a pattern nested deeper than {MAX_DEPTH}", self.at)
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        self.depth -= 1
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while (sign := self._peek()) and sign not in "|)":
            parts.append(self._repeated())
        return Sequence(tuple(parts))

    def _repeated(self) -> Part:
        start = self.at
        part = self._atom()
        sign = self._peek()
        if sign == "{":
            raise PatternError("{…} counts are not supported: repeat the part itself, or use * + ?", self.at)
        if not sign or sign not in "*+?":
            return part
        if isinstance(part, Edge):
            raise PatternError(f"{self.text[start]} can't be repeated", self.at)
        self.at += 1
        if (again := self._peek()) and again in "*+?{":
            raise PatternError(f"'{sign}{again}' is not supported: one sign of repetition, * + or ?", self.at)
        return Repeat(part, sign)

    def _atom(self) -> Part:
        start, sign = self.at, self._peek()
        self.at += 1
        match sign:
            case "(":
                return self._group(start)
            case "[":
                return self._class(start)
            case ".":
                return Characters(((0, _LAST),))
            case "^" | "$":
                return Edge(start=sign == "^")
            case "\\":
                return Characters(_closed(self._escape()))
            case "*" | "+" | "?" | "{":
                raise PatternError(f"nothing before {sign} to repeat: write \\{sign} for the character itself", start)
            case _:
                return Characters(_closed(((ord(sign), ord(sign)),)))

    def _group(self, start: int) -> Part:
        if self._peek() == "?":
            if self.text[self.at : self.at + 2] != "?:":
                raise PatternError("(?…) is not supported, except (?:…)", start)
            self.at += 2
        inside = self._choice()
        if self._peek() != ")":
            raise PatternError("a ( without its ): write \\( for the character itself", start)
        self.at += 1
        return inside

    def _escape(self) -> tuple[tuple[int, int], ...]:
        """What follows a backslash, the backslash being read."""
        sign = self._peek()
        self.at += 1
        if sign == "d":
            return _DIGITS
        if sign == "s":
            return _SPACES
        if not sign or sign.isalnum():
            raise PatternError(
                f"'\\{sign}' is not supported: use \\d, \\s, a class such as [a-z0-9_], or \\ before a sign",
                self.at - 2,
            )
        return ((ord(sign), ord(sign)),)

    def _class(self, start: int) -> Part:
        negated = self._peek() == "^"
        self.at += negated
        ranges: list[tuple[int, int]] = []
        while (sign := self._peek()) != "]" or not ranges:
            if not sign:
                raise PatternError("a [ without its ]: write \\[ for the character itself", start)
            ranges.extend(self._class_item())
        self.at += 1
        return Characters(_closed(tuple(ranges)), negated)

    def _class_item(self) -> tuple[tuple[int, int], ...]:
        start = self.at
        low = self._class_character()
        if self._peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return low
        self.at += 1
        high = self._class_character()
        if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
            raise PatternError("a range in [ ] goes from one character to another", start)
        if low[0][0] > high[0][0]:
            raise PatternError("a range in [ ] that runs backwards", start)
        return ((low[0][0], high[0][0]),)

    def _class_character(self) -> tuple[tuple[int, int], ...]:
        sign = self._peek()
        self.at += 1
        if sign == "\\":
            return self._escape()
        if sign == "[":
            raise PatternError("[ inside [ ]: write \\[ for the character itself", self.at - 1)
        return ((ord(sign), ord(sign)),)


def _closed(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The ranges with what their characters fold to, so that they can be asked of folded text."""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        code = ord(fold(chr(ranges[0][0])))
        return ((code, code),)
    images = {target for source, target in folding().items() if any(low <= source <= high for low, high in ranges)}
    outside = sorted(code for code in images if not any(low <= code <= high for low, high in ranges))
    return (*ranges, *((code, code) for code in outside))


# --- the automaton (Thompson, CACM 11/6, 1968; sets of places remembered as in a lazy DFA)


class Machine:
    """Places 0…n; from each either one character's step, or free moves to other places."""

    _REMEMBERED = 2_000

    def __init__(self, tree: Part) -> None:
        self.steps: list[Characters | None] = []
        self.moves: list[list[int]] = []
        self.edges: list[Edge | None] = []
        self.final = self._place()
        self.first = self._build(tree, self.final)
        self.memory: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.opening = self._closure([self.first], at_start=True)

    def found_in(self, folded: str) -> bool:
        places = self.opening
        for character in folded:
            if self.final in places:
                return True
            places = self._after(places, character)
        return self.final in places or self.final in self._closure(places, at_end=True, at_start=not folded)

    def _after(self, places: frozenset[int], character: str) -> frozenset[int]:
        key = (places, character)
        known = self.memory.get(key)
        if known is None:
            if len(self.memory) >= self._REMEMBERED:
                self.memory.clear()
            stepped = [self.moves[each][0] for each in places if self._steps_over(each, character)]
            known = self.memory[key] = self._closure([*stepped, self.first])
        return known

    def _steps_over(self, place: int, character: str) -> bool:
        step = self.steps[place]
        return step is not None and step.take(character)

    def _closure(
        self, places: Iterator[int] | list[int] | frozenset[int], *, at_start: bool = False, at_end: bool = False
    ) -> frozenset[int]:
        """All places reachable by free moves; an edge is passed only where the text has it."""
        reached: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in reached:
                continue
            reached.add(place)
            edge = self.edges[place]
            if self.steps[place] is None and (edge is None or (at_start if edge.start else at_end)):
                waiting.extend(self.moves[place])
        return frozenset(reached)

    def _place(self, *moves: int, step: Characters | None = None, edge: Edge | None = None) -> int:
        self.steps.append(step)
        self.moves.append(list(moves))
        self.edges.append(edge)
        return len(self.steps) - 1

    def _build(self, part: Part, after: int) -> int:
        """The place where `part` begins, `after` being where it ends."""
        match part:
            case Characters():
                return self._place(after, step=part)
            case Edge():
                return self._place(after, edge=part)
            case Sequence(parts=parts):
                for each in reversed(parts):
                    after = self._build(each, after)
                return after
            case Choice(parts=parts):
                return self._place(*(self._build(each, after) for each in parts))
            case Repeat(part=inside, sign=sign):
                loop = self._place(after)
                begin = self._build(inside, after if sign == "?" else loop)
                self.moves[loop].append(begin)
                return begin if sign == "+" else loop


@lru_cache(maxsize=256)
def machine(text: str) -> Machine:
    """The automaton of a pattern that was read before."""
    return Machine(parse_pattern(text).tree)
