"""Writes docs/reference/ from the models, so that it says what the program reads: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from nurture.authoring import not_yet
from nurture.authoring.lint import NOT_ACTING
from nurture.authoring.schema import MODELS, schemas
from nurture.cli.main import app
from nurture.documents.codes import FINDING_CODES
from nurture.domain.conditions.vocabulary import EVENT_FUNCTIONS, FUNCTIONS, LEAD_FIELDS
from nurture.domain.enrollment import WHY_IT_ENDED, ExitReason
from nurture.domain.event import EventName
from nurture.domain.explain import SENTENCES
from nurture.store.reports import REPORTS
from nurture.web.metrics import METRICS

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- made by docs/generate.py: change the models, then `make docs` -->\n\n"
LATER = "not in this version"


def pages() -> dict[str, str]:
    """File name -> its text."""
    texts = {name: _file_page(name, schema) for name, schema in schemas().items()}
    texts |= {"conditions": _conditions(), "reasons": _reasons(), "events": _events(), "commands": _commands()}
    texts |= {"finding-codes": _finding_codes(), "metrics": _metrics()}
    return {f"{name}.md": MADE + text.rstrip() + "\n" for name, text in texts.items()}


# --- files


def _file_page(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"# {MODELS[name][1]}", ""]
    described = {"": schema, **schema.get("$defs", {})}
    for title, part in described.items():
        if part.get("type") != "object" or "properties" not in part:
            continue
        if title:
            lines += [f"## {_heading(title)}", ""]
        if part.get("description"):
            lines += [" ".join(part["description"].split()), ""]
        lines += ["| key | takes | default |", "| --- | --- | --- |", *_keys(name, title, part), ""]
    return "\n".join(lines)


def _heading(title: str) -> str:
    """`EmailStep` -> `email`, the step; other parts by their own name."""
    if title.endswith("Step"):
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in title.removesuffix("Step"))
        return f"The step `{words.strip('_')}`"
    return title


def _keys(name: str, title: str, part: Mapping[str, Any]) -> Iterator[str]:
    required = part.get("required", [])
    for key, value in part["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        note = f" ({LATER})" if _is_later(name, title, key) else ""
        yield f"| `{key}`{note} | {_takes(value)} | {default} |"


def _is_later(name: str, title: str, key: str) -> bool:
    """Whether this version refuses the key, or only reads it."""
    if name == "config":
        return (key,) in NOT_ACTING or any(len(path) > 1 and path[-1] == key and title for path in NOT_ACTING)
    tables: Mapping[tuple[str, str], Any] = {
        ("lifecycle", ""): not_yet.LIFECYCLE_KEYS,
    }
    return key in tables.get((name, title), {})


def _takes(value: Mapping[str, Any]) -> str:
    if "anyOf" in value or "oneOf" in value:
        if len(value.get("oneOf", ())) > 10:
            return "steps"
        kinds = [_takes(each) for each in value.get("anyOf", value.get("oneOf")) if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in value:
        return f"[{value['$ref'].rpartition('/')[2]}]"
    if "enum" in value or "const" in value:
        return ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    kind = str(value.get("type", "text"))
    if kind == "array":
        return f"a list of {_takes(value.get('items', {}))}".replace("a list of steps", "steps")
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"names with {_takes(inner)}" if isinstance(inner, dict) else "keys and values"
    return {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(
        kind, kind
    )


def _default(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# --- words


def _conditions() -> str:
    lines = ["# Conditions", "", "## Names", "", "| name | holds |", "| --- | --- |"]
    lines += [f"| `{name}` | {kind.value} |" for name, kind in LEAD_FIELDS.items()]
    lines += ["| `custom.X` | what `[fields]` of config.toml says, or text |"]
    lines += ["| `event.X` | a property of the event in `trigger:`, in its cadence alone |", "", "## Functions", ""]
    lines += ["| function | keywords |", "| --- | --- |"]
    for name in sorted(FUNCTIONS):
        keywords = ", ".join(f"`{each}=`" for each in sorted(EVENT_FUNCTIONS.get(name, ()))) or "–"
        lines.append(f"| `{name}` | {keywords} |")
    return "\n".join(lines)


def _reasons() -> str:
    lines = ["# Reason codes", "", "What `nurture why` and the `decision` table say of each decision.", ""]
    lines += ["| code | in words |", "| --- | --- |"]
    lines += [f"| `{code.value}` | {text.replace('|', ' ')} |" for code, text in SENTENCES.items()]
    lines += ["", "## Why an enrollment ended", "", "An `exit:` step adds reasons of its own.", ""]
    lines += [f"- `{reason.value}`: {WHY_IT_ENDED[reason]}" for reason in ExitReason]
    return "\n".join(lines)


def _finding_codes() -> str:
    lines = ["# Finding codes", "", "What `nurture check` puts in brackets behind each finding.", ""]
    lines += ["| code | what it means, and what to do |", "| --- | --- |"]
    told = ((code, text.replace("|", "\\|")) for code, text in sorted(FINDING_CODES.items()))
    return "\n".join([*lines, *(f"| `{code}` | {text} |" for code, text in told)])


def _metrics() -> str:
    lines = ["# Metrics", "", "What `/metrics` of the private listener tells. Times are in seconds. Gauges are the"]
    lines += ["database's, the same from any process; the others count what one process did since it began.", ""]
    lines += ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(lines)


def _events() -> str:
    lines = ["# Events", "", "nurture gives these names a meaning; `track` may bring any other.", ""]
    return "\n".join([*lines, *(f"- `{name.value}`" for name in EventName)])


def _commands() -> str:
    lines = ["# Commands", ""]
    for path, command in _walk(typer.main.get_command(app), "nurture"):
        lines += [f"## `{path}`", "", " ".join((command.help or "").split()), ""]
        options = [_option(each) for each in command.params if each.name != "help"]
        lines += [*filter(None, options), ""]
    lines += ["## Reports", "", *(f"- `{name}`" for name in REPORTS), ""]
    return "\n".join(lines)


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from _walk(each, f"{path} {name}")


def _option(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        names = ", ".join(f"`{each}`" for each in parameter.opts)
    else:
        names = f"`{(parameter.metavar or parameter.name).upper()}`"
    said = " ".join((getattr(parameter, "help", None) or "").split())
    return f"- {names}: {said}" if said else f"- {names}"


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
