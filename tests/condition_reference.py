"""What a condition means, said as plainly as Python can: the oracle that both databases are compared with.

It reads the text by itself, without the project's parser, and asks one person at a time. It knows nothing of SQL, of
indexes, or of sets; where it and a database differ, one of them is wrong.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal

GRADES = "DCBA"
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
TIME = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?$")
UNITS = {"hour": 3600, "hours": 3600, "day": 86400, "days": 86400, "week": 604800, "weeks": 604800}


@dataclass(frozen=True, kw_only=True)
class Run:
    """An enrollment of the person that is asked about."""

    id: int
    enrolled_at: datetime
    texts: dict[str, str] | None = None
    """The properties of the event that started it; None: no event did."""
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Person:
    id: int
    fields: dict[str, Any]
    custom: dict[str, str] = field(default_factory=dict)
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    events: tuple[dict[str, Any], ...] = ()
    messages: tuple[dict[str, Any], ...] = ()
    tasks: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class World:
    """What stays the same for all persons. `custom` are declared types, or None."""

    now: datetime
    half_life: timedelta
    cap: float
    segments: dict[str, str]
    custom: dict[str, Any] | None


def simple_fold(text: str) -> str:
    """Character by character, full folding where it stays one character, else lower case."""
    out = []
    for each in text:
        candidates = [form for form in (each.casefold(), each.lower()) if len(form) == 1]
        out.append("i" if each == "İ" else candidates[0] if candidates else each)
    return "".join(out)


@lru_cache(maxsize=100)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


@dataclass(frozen=True)
class Reference:
    world: World
    person: Person
    run: Run | None = None
    since: Literal["ever", "enrollment"] = "ever"

    def meets(self, text: str) -> bool:
        return self._true(_parsed(text))

    # --- logic

    def _true(self, node: ast.expr) -> bool:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return all(self._true(each) for each in values)
            case ast.BoolOp(values=values):
                return any(self._true(each) for each in values)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._true(inner)
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                return all(self._compare(a, o, b) for a, o, b in zip(sides, ops, others, strict=False))
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node)
            case ast.Name(id=name) if name.lower() in ("true", "false"):
                return name.lower() == "true"
            case ast.Constant(value=bool() as value):
                return value
            case _:
                return self._value(node, True) is True

    def _compare(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> bool:
        if isinstance(sign, ast.Is | ast.IsNot):
            missing = self._value(left, None) is None or (ast.unparse(left) == "fit" and self._fit() == "unknown")
            return missing is isinstance(sign, ast.Is)
        if isinstance(sign, ast.In | ast.NotIn):
            assert isinstance(right, ast.List | ast.Tuple)
            values = [self._literal(each) for each in right.elts]
            found = self._value(left, values[0])
            if found is None:
                return False
            return any(self._equal(found, each) for each in values) is isinstance(sign, ast.In)
        if self._is_literal(left):
            flipped = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
            return self._compare(right, flipped.get(type(sign), type(sign))(), left)
        if self._is_literal(right):
            other = self._literal(right)
            found = self._value(left, other)
        else:
            other, found = self._value(right, self._sample(left)), self._value(left, self._sample(right))
        if found is None or other is None:
            return False
        if ast.unparse(left) == "fit" and not isinstance(sign, ast.Eq | ast.NotEq):
            return found != "unknown" and self._ordered(GRADES.index(found), sign, GRADES.index(other))
        return self._ordered(found, sign, other)

    def _ordered(self, found: Any, sign: ast.cmpop, other: Any) -> bool:
        if isinstance(found, datetime) and isinstance(other, str):
            start = self._moment(other)
            assert start is not None
            if DATE.match(other):  # a bare date is the whole day
                day = (found - start) // timedelta(days=1)
                found, other = day, 0
            else:
                other = start
        match sign:
            case ast.Eq():
                return bool(found == other)
            case ast.NotEq():
                return bool(found != other)
            case ast.Lt():
                return bool(found < other)
            case ast.LtE():
                return bool(found <= other)
            case ast.Gt():
                return bool(found > other)
            case _:
                return bool(found >= other)

    def _equal(self, found: Any, other: Any) -> bool:
        return self._ordered(found, ast.Eq(), other)

    # --- values

    def _is_literal(self, node: ast.expr) -> bool:
        inner = node.operand if isinstance(node, ast.UnaryOp) else node
        return isinstance(inner, ast.Constant) or (
            isinstance(inner, ast.Name) and inner.id.lower() in ("true", "false")
        )

    def _literal(self, node: ast.expr) -> Any:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
                return -value  # type: ignore[operator]  # a number, or the test is wrong
            case ast.Name(id=name):
                return name.lower() == "true"
            case ast.Constant(value=value):
                return value
        raise AssertionError(ast.unparse(node))

    def _sample(self, node: ast.expr) -> Any:
        """A value of the kind that a field has, for reading an undeclared custom value beside it."""
        name = ast.unparse(node)
        if name.startswith(("custom.", "event.")):
            return None
        if name in ("score", "engagement", "fit_points"):
            return 1.0
        return self.world.now if name.endswith("_at") else "text"

    def _value(self, node: ast.expr, beside: Any) -> Any:
        """A field's value, None where it is missing; a custom one is read as what stands beside it."""
        match node:
            case ast.Call(func=ast.Name(id="days_since" | "days_until" as name), args=[of]):
                moment = self._value(of, self.world.now)
                if moment is None:
                    return None
                away = self.world.now - moment if name == "days_since" else moment - self.world.now
                return away / timedelta(days=1)
            case ast.Attribute(value=ast.Name(id="event"), attr=name):
                if self.run is None or self.run.texts is None:
                    return None
                return self._read(None, name, beside, self.run.texts, self.run.readings)
            case ast.Attribute(attr=name):
                declared = None if self.world.custom is None else self.world.custom[name]
                return self._read(declared, name, beside, self.person.custom, self.person.readings)
            case ast.Name(id="fit"):
                return self._fit()
            case ast.Name(id="engagement"):
                return self._engagement()
            case ast.Name(id="score"):
                return self.person.fields["fit_points"] + self._engagement()
            case ast.Name(id="prospect"):
                return self._fit() in ("A", "B") and self.person.fields["stage"] in ("mql", "pql", "sql", "opportunity")
            case ast.Name(id=name):
                value = self.person.fields.get(name)
                return None if value == "" else value
        raise AssertionError(ast.unparse(node))

    def _read(
        self, declared: Any, name: str, beside: Any, texts: dict[str, str], readings: dict[str, dict[str, Any]]
    ) -> Any:
        if declared is None and beside is not None:
            if isinstance(beside, bool):
                declared = "boolean"
            elif isinstance(beside, int | float):
                declared = "number"
            elif isinstance(beside, datetime) or self._moment(beside) is not None:
                declared = "datetime"
        reading = {"boolean": "truth", "number": "number", "date": "moment", "datetime": "moment"}
        if isinstance(declared, str) and declared in reading:
            value = readings.get(reading[declared], {}).get(name)
            return datetime.fromisoformat(value) if reading[declared] == "moment" and value is not None else value
        return texts.get(name) or None

    def _moment(self, text: Any) -> datetime | None:
        if not isinstance(text, str) or not (DATE.match(text) or TIME.match(text)):
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)

    def _fit(self) -> str:
        return str(self.person.fields["fit"])

    def _engagement(self) -> float:
        epoch = datetime(2020, 1, 1, tzinfo=UTC)
        exponent = math.log(2) * ((self.world.now - epoch) / self.world.half_life)
        gains, losses = (self.person.fields.get(name) for name in ("gains", "losses"))
        worth = (0.0 if gains is None else math.exp(gains - exponent)) - (
            0.0 if losses is None else math.exp(losses - exponent)
        )
        return math.floor(min(self.world.cap, max(0.0, worth)) * 1e6 + 0.5) / 1e6

    # --- functions

    def _call(self, name: str, node: ast.Call) -> bool:
        said = {str(each.arg): self._literal(each.value) for each in node.keywords}
        if name == "tag":
            return self._literal(node.args[0]) in self.person.tags
        if name == "in_segment":
            return self.meets(self.world.segments[self._literal(node.args[0])])
        if name in ("contains", "starts_with", "matches"):
            return self._text_test(name, self._value(node.args[0], "text"), self._literal(node.args[1]))
        if name == "sent":
            return self._enough(self._sent(said), said)
        if name == "task":
            return self._enough(self._closed(said), said)
        if name == "visited" and node.args:
            said["path"] = self._literal(node.args[0])
        kinds = {"visited": "page viewed"}
        kind = self._literal(node.args[0]) if name == "did" else kinds.get(name, name)
        return self._enough([each for each in self.person.events if self._is(each, kind, name, said)], said)

    def _text_test(self, name: str, value: str | None, needle: str) -> bool:
        if value is None:
            return False
        folded, wanted = simple_fold(value), simple_fold(needle)
        if name == "contains":
            return wanted in folded
        if name == "starts_with":
            return folded.startswith(wanted)
        return re.search(re.sub(r"(?<!\\)\$", r"\\Z", wanted), folded, re.DOTALL | re.ASCII) is not None

    def _sent(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        out = []
        for each in self.person.messages:
            at = each["sent_at"] or (each["dotted_at"] if each["status"] == "unknown" else None)
            if each["kind"] == "step" and at is not None and self._of_step(each, said):
                out.append({**each, "at": at})
        return out

    def _closed(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        outcomes = [said["outcome"]] if "outcome" in said else ["done", "no answer", "wrong number", "skipped"]
        closed = [each for each in self.person.tasks if each["status"] in outcomes and self._of_step(each, said)]
        return [{**each, "at": each["closed_at"]} for each in closed]

    def _of_step(self, happened: dict[str, Any], said: dict[str, Any]) -> bool:
        own = "step" in said and "cadence" not in said and self.run is not None
        return (
            all(happened[name] == said[name] for name in ("step", "cadence") if name in said)
            and (not own or happened["enrollment_id"] == self.run.id)  # type: ignore[union-attr]  # asked before
        )

    def _is(self, event: dict[str, Any], kind: str, function: str, said: dict[str, Any]) -> bool:
        if event["kind"] != kind or not self._of_step(event, said):
            return False
        if event["verdict"] != "human" and said.get("verdict") != "any" and function != "bounced":
            return False
        if "path" in said and not self._glob(event["path"], said["path"]):
            return False
        if "link" in said and not (self._glob(event["link"], said["link"]) or event["link_name"] == said["link"]):
            return False
        known = {"step", "cadence", "link", "path", "within", "times", "since", "verdict"}
        return all(self._property(event, name, value) for name, value in said.items() if name not in known)

    def _glob(self, value: str | None, glob: str) -> bool:
        return value is not None and re.match(translate(glob.replace("[", "[[]")), value) is not None

    def _property(self, event: dict[str, Any], name: str, value: Any) -> bool:
        found = event["value"] if name == "value" else event["props"].get(name)
        if isinstance(value, bool) or isinstance(found, bool):
            return found is value or (
                isinstance(found, str) and isinstance(value, bool) and found == str(value).lower()
            )
        if isinstance(value, int | float):
            spelled = {repr(float(value))} | ({str(int(value))} if value == int(value) else set())
            return found in spelled if isinstance(found, str) else found == value
        return isinstance(found, str) and found == value

    def _enough(self, happened: list[dict[str, Any]], said: dict[str, Any]) -> bool:
        since = said.get("since", self.since)
        if since == "enrollment":
            if self.run is None:
                return False
            happened = [each for each in happened if each["at"] >= self.run.enrolled_at]
        if "within" in said:
            amount, unit = said["within"].split()
            span = timedelta(seconds=float(amount) * UNITS[unit])
            happened = [each for each in happened if each["at"] >= self.world.now - span]
        return len(happened) >= said.get("times", 1)
