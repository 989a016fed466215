"""Random cadences of a small grammar, and random edits of them, as the files say them.

A step is a tuple: ("mail", id), ("wait", span), ("wait_for", condition, span), ("until", weekday and time),
("tag", name), ("untag", name), ("task", id), ("enroll", cadence), ("back", id of a mail), ("exit", reason),
("if", id, condition, then, else) or ("split", id, steps, steps). Whoever jumps back stops after the third mail, so
every cadence ends.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

Step = tuple[Any, ...]
SPANS = ("30 minutes", "3 hours", "1 day", "2 days", "5 days", "2 business days", "1 day at 09:00")
CONDITIONS = ("clicked()", 'tag("seen")', 'not tag("seen")', 'country == "DE"', "clicked(times=2)")
WEEKDAYS = ("monday 09:00", "thursday 16:30")
TAGS = ("seen", "done")
HEADS: dict[str, tuple[Any, ...]] = {
    "on_edit": ("follow", "follow", "follow", "pin", "restart"),
    "priority": (20, 50, 50, 80),
    "concurrent": (False, False, True),
    "status": ("live", "live", "live", "live", "paused", "closed"),
    "reentry": ("never", "never", "after 2 days"),
    "goal": (None, None, 'tag("buyer")'),
    "exit": (None, None, 'country == "FR"'),
    "exit_on_leave": (None, None, True),
    "window": ("any", "any", "{days: mon-fri, hours: '09:00-17:00'}"),
    "max_late": ("60 days", "60 days", "2 days"),
    "segment": ('stage == "lead"', 'stage == "lead"', 'stage == "lead" and country != "US"'),
    "sender": ("anna", "anna", "ben"),
}


@dataclass(frozen=True)
class File:
    """One cadence as its file says it."""

    name: str
    head: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def text(self) -> str:
        head = "".join(f"{key}: {_said(value)}\n" for key, value in self.head.items() if value is not None)
        return f"name: {self.name}\nenroll: current_and_future\n{head}steps:\n" + "".join(map(_lines, self.steps))


def random_file(rng: random.Random, name: str, others: tuple[str, ...] = ()) -> File:
    head = {key: rng.choice(values) for key, values in HEADS.items()}
    return File(name, {**head, "status": "live"}, _path(rng, name, rng.randint(2, 6), others, depth=0))


def random_edit(rng: random.Random, file: File, others: tuple[str, ...] = ()) -> File:
    """One to three changes of it."""
    for _ in range(rng.randint(1, 3)):
        file = _changed(rng, file, others)
    return file


def mails(steps: tuple[Step, ...]) -> list[str]:
    found: list[str] = []
    for step in steps:
        if step[0] == "mail":
            found.append(step[1])
        for path in _paths(step):
            found += mails(path)
    return found


# --- drawing


def _path(rng: random.Random, name: str, length: int, others: tuple[str, ...], *, depth: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    for _ in range(length):
        steps += _step(rng, name, others, mails(tuple(steps)), depth)
    return tuple(steps) or (("mail", _id(rng, name)),)


def _step(rng: random.Random, name: str, others: tuple[str, ...], before: list[str], depth: int) -> list[Step]:
    kinds = ["mail"] * 5 + ["wait"] * 5 + ["wait_for", "wait_for", "until", "tag", "untag", "task"]
    kinds += ["if", "if", "split"] if depth < 2 else []
    kinds += ["back"] if before else []
    kinds += ["enroll"] if others else []
    kinds += ["exit"] if depth == 2 else []
    match rng.choice(kinds):
        case "mail":
            return [("mail", _id(rng, name))]
        case "wait":
            return [("wait", rng.choice(SPANS))]
        case "wait_for":
            return [("wait_for", rng.choice(CONDITIONS), rng.choice(SPANS))]
        case "until":
            return [("until", rng.choice(WEEKDAYS))]
        case "tag" | "untag" as kind:
            return [(kind, rng.choice(TAGS))]
        case "task":
            return [("task", _id(rng, name))]
        case "if":
            then, other = (_path(rng, name, rng.randint(1, 3), others, depth=depth + 1) for _ in range(2))
            return [("if", rng.choice([None, _id(rng, name)]), rng.choice(CONDITIONS), then, other)]
        case "split":
            one, two = (_path(rng, name, rng.randint(1, 2), others, depth=depth + 1) for _ in range(2))
            return [("split", _id(rng, name), one, two)]
        case "back":
            return [("wait", "1 day"), ("back", rng.choice(before))]
        case "enroll":
            return [("enroll", rng.choice(others))]
        case "exit":
            return [("exit", "enough")]
    return []


def _id(rng: random.Random, name: str) -> str:
    return f"{name}{rng.randrange(10**6)}"


# --- editing


def _changed(rng: random.Random, file: File, others: tuple[str, ...]) -> File:
    kind = rng.choice(["head", "drop", "drop", "insert", "insert", "wait", "wait", "move", "rename", "wrap", "unwrap"])
    if kind == "head":
        key = rng.choice(list(HEADS))
        return replace(file, head={**file.head, key: rng.choice(HEADS[key])})
    return replace(file, steps=_somewhere(rng, file, file.steps, kind, others))


def _somewhere(
    rng: random.Random, file: File, steps: tuple[Step, ...], kind: str, others: tuple[str, ...]
) -> tuple[Step, ...]:
    """The change at a random place, at times inside of a path."""
    inner = [place for place, step in enumerate(steps) if _paths(step)]
    if inner and rng.random() < 0.4:
        place = rng.choice(inner)
        chosen = rng.randrange(2)
        paths = list(_paths(steps[place]))
        paths[chosen] = _somewhere(rng, file, paths[chosen], kind, others) or (("tag", "done"),)
        return (*steps[:place], _with_paths(steps[place], paths), *steps[place + 1 :])
    place = rng.randrange(len(steps))
    step = steps[place]
    match kind:
        case "drop" if len(steps) > 1:
            new: list[Step] = []
        case "insert":
            new = [step, *_step(rng, file.name, others, mails(steps[: place + 1]), 1)]
        case "wait" if step[0] in ("wait", "wait_for"):
            new = [(*step[:-1], rng.choice(SPANS))]
        case "move":
            rest = [*steps[:place], *steps[place + 1 :]]
            rest.insert(rng.randrange(len(rest) + 1), step)
            return tuple(rest)
        case "rename" if step[0] in ("mail", "task"):
            new = [(step[0], _id(rng, file.name))]
        case "wrap":
            new = [("if", None, rng.choice(CONDITIONS), (step,), (("tag", "done"),))]
        case "unwrap" if _paths(step):
            new = list(rng.choice(_paths(step)))
        case _:
            new = [step]
    return (*steps[:place], *new, *steps[place + 1 :])


def _paths(step: Step) -> tuple[tuple[Step, ...], ...]:
    return step[-2:] if step[0] in ("if", "split") else ()


def _with_paths(step: Step, paths: list[tuple[Step, ...]]) -> Step:
    return (*step[:-2], *paths)


# --- writing


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) and '"' in value else str(value)


def _lines(step: Step, indent: int = 2) -> str:
    pad = " " * indent
    match step:
        case ("mail", name):
            return f"{pad}- email: hello\n{pad}  id: {name}\n{pad}  subject: {name}\n"
        case ("wait", span):
            return f"{pad}- wait: {span}\n"
        case ("wait_for", condition, span):
            return f"{pad}- wait_for: '{condition}'\n{pad}  up_to: {span}\n"
        case ("until", moment):
            return f"{pad}- wait_until: {moment}\n"
        case ("task", name):
            return f"{pad}- task: Call\n{pad}  id: {name}\n{pad}  wait: true\n{pad}  up_to: 3 days\n"
        case ("back", name):
            return f"{pad}- goto: {name}\n{pad}  when: 'not sent(step=\"{name}\", times=3)'\n"
        case ("if", name, condition, then, other):
            said = f"{pad}- if: '{condition}'\n" + (f"{pad}  id: {name}\n" if name else "")
            return f"{said}{pad}  then:\n{_block(then, indent)}{pad}  else:\n{_block(other, indent)}"
        case ("split", name, one, two):
            paths = "".join(
                f"{pad}    {key}:\n{pad}      weight: 50\n{pad}      steps:\n{_block(path, indent + 4)}"
                for key, path in (("one", one), ("two", two))
            )
            return f"{pad}- split:\n{paths}{pad}  id: {name}\n"
        case (kind, value):
            return f"{pad}- {kind}: {value}\n"
    raise ValueError(step)


def _block(steps: tuple[Step, ...], indent: int) -> str:
    return "".join(_lines(step, indent + 4) for step in steps)
