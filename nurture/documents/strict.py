"""Strict validation: a document against a pydantic model, every mistake at its line and column with its cure."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Tag, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding
from nurture.documents.nearest import suggest


class Strict(BaseModel):
    """The base of every model of a file: frozen, no coercion, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )


Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def misplaced(path: Path, code: str, message: str, *, at: Literal["key", "value"]) -> PydanticCustomError:
    """An error of a validator that stands deeper inside of the value, at the key or the value of `path`."""
    return PydanticCustomError("misplaced", "{message}", {"path": path, "code": code, "message": message, "at": at})


def validate(
    document: Document,
    model: type[Model],
    *,
    context: Mapping[str, Any] | None = None,
    may_be_empty: frozenset[str] = frozenset(),
) -> tuple[Model | None, list[Finding]]:
    """The document as `model`, or None and every mistake, at its place.

    A key without a value is a mistake (`when:` would hold for everyone), but below the keys of `may_be_empty`.
    """
    empty = [path for path in _empty_values(document.data) if path and may_be_empty.isdisjoint(path)]
    if empty:
        return None, [_empty(document, path) for path in empty]
    try:
        return model.model_validate(document.data, context=dict(context or {})), []
    except ValidationError as error:
        details = [(place_of(document, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    wanted: dict[Path, list[ErrorDetails]] = {}
    findings = []
    for path, detail in details:
        if detail["type"] not in _WANTED:
            findings.append(_finding(document, model, path, detail))
        elif not any(_within(other, path, place) for place, other in details):
            wanted.setdefault(path, []).append(detail)
    findings.extend(_wrong_type(document, path, alternatives) for path, alternatives in wanted.items())
    return None, sorted(set(findings))


def _empty_values(value: Any, path: Path = ()) -> Iterator[Path]:
    if value is None:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, each in pairs:
        yield from _empty_values(each, (*path, part))


def _empty(document: Document, path: Path) -> Finding:
    what = f"'{_short(str(path[-1]))}' has no value" if isinstance(path[-1], str) else "an entry without a value"
    return document.finding(document.key_at(path), "no-value", f"{what}: give it one, or delete it")


def _within(other: ErrorDetails, path: Path, place: Path) -> bool:
    """Whether another member of the union fits the value and complains about something else, in it or of it."""
    deeper = len(place) > len(path) and place[: len(path)] == path
    return deeper or (place == path and other["type"] not in _WANTED)


def _wrong_type(document: Document, path: Path, details: list[ErrorDetails]) -> Finding:
    """The members of a union each want something; one line tells them all."""
    wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
    message = f"found {say(details[0]['input'])}, want {' or '.join(wanted)}"
    return document.finding(document.value_at(path), "type", f"{_name(path) or 'the file'}: {message}")


def _name(path: Path) -> str:
    return next((str(part) for part in reversed(path) if isinstance(part, str)), "")


def _finding(document: Document, model: type[BaseModel], path: Path, detail: ErrorDetails) -> Finding:
    kind, loc, ctx = detail["type"], detail["loc"], detail.get("ctx", {})
    key, is_key = _name(path), bool(loc) and loc[-1] == "[key]"
    if kind == "extra_forbidden":
        wrong = str(loc[-1])
        message = f"unknown key '{_short(wrong)}'{suggest(wrong, allowed_keys(model, loc[:-1]))}"
        return document.finding(document.key_at(path), "unknown-key", message)
    if kind == "missing":
        return document.finding(document.value_at(path), "missing-key", f"missing key '{loc[-1]}'")
    if kind == "misplaced":
        inner = (*path, *ctx["path"])
        place = document.key_at(inner) if ctx["at"] == "key" else document.value_at(inner)
        return document.finding(place, ctx["code"], ctx["message"])
    mark = document.key_at(path) if is_key else document.value_at(path)
    if kind == "value_error":
        said = str(ctx["error"])
        return document.finding(mark, "name" if is_key else "value", said if is_key else _with_key(key, said))
    return document.finding(mark, "value", _other(key, kind, detail))


def _wanted(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "string_type" and isinstance(value, bool | int | float | date | time):
        return "text (put it in quotes)"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        return f"{_WANTED[kind]} ('{value}' is text in YAML 1.2)"
    return _WANTED[kind]


def _other(key: str, kind: str, detail: ErrorDetails) -> str:
    ctx, found = detail.get("ctx", {}), say(detail["input"])
    if kind == "literal_error":
        choices = [each.strip().strip("'") for each in str(ctx["expected"]).replace(" or ", ", ").split(",")]
        return f"{key}: found {found}{suggest(str(detail['input']), choices)}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{key}: found {found}, want {words} {ctx[bound]}"
    if kind == "finite_number":
        return f"{key}: want a number that ends"
    if kind == "too_short":
        many = ctx["min_length"]
        return f"{key}: is empty" if many == 1 else f"{key}: want at least {many}, found {ctx['actual_length']}"
    if kind == "too_long":
        return f"{key}: want at most {ctx['max_length']}, found {ctx['actual_length']}"
    if kind == "string_too_short":
        return f"{key}: is empty"
    return f"{key}: {detail['msg']}"


def say(value: Any) -> str:
    """A value as a message names it: "the text 'high'", "the number 3", "a list"."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{_short(value)}'"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, datetime | date | time):
        return f"the date {value}"
    return "a list" if isinstance(value, list) else "a mapping"


def _short(text: str) -> str:
    one_line = "".join(char if char.isprintable() else "·" for char in text)
    return one_line if len(one_line) <= 60 else one_line[:59] + "…"


def _with_key(key: str, message: str) -> str:
    return f"{key} {message}" if message.startswith("'") else f"{key}: {message}" if key else message


def place_of(document: Document, loc: Iterable[str | int]) -> Path:
    """A pydantic location as a path of the document: names of union members and functions are left out."""
    path: Path = ()
    for part in loc:
        if document.holds((*path, part)):
            path = (*path, part)
    return path


def allowed_keys(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """The keys that the model at a pydantic location takes."""
    candidates: list[Any] = [model]
    for part in loc:
        members = [member for each in candidates for member in _members(each)]
        tagged = [member for member in members if _tag(member) == part]
        candidates = tagged or [inner for member in members for inner in _step(_bare(member), part)] or candidates
    models = [_bare(member) for each in candidates for member in _members(each)]
    return [key for each in models if _is_model(each) for key in _fields(each)]


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _step(annotation: Any, part: str | int) -> list[Any]:
    """The annotations one step deeper."""
    if _is_model(annotation):
        fields = _fields(annotation)
        return [fields[part]] if part in fields else []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict and isinstance(part, str):
        return [arguments[1]]
    if origin is list and isinstance(part, int):
        return [arguments[0]]
    return []


def _members(annotation: Any) -> list[Any]:
    """The members of a union, each with its own annotations; anything else alone."""
    bare = _bare(annotation)
    if get_origin(bare) in (Union, types.UnionType):
        return [member for each in get_args(bare) for member in _members(each)]
    return [annotation]


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _tag(annotation: Any) -> str | None:
    extras = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((extra.tag for extra in extras if isinstance(extra, Tag)), None)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
