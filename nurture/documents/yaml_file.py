"""YAML (1.2) with positions, built from the parser's events: no tags, no anchors, no aliases, no duplicate keys.

Only `true`, `false`, `null` and numbers are anything but text, so `NO`, `on`, `12:30` and `2026-12-01` stay what was
written. Keys are always text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from nurture.documents.document import TOP, Document, Mark, Path, Scalar
from nurture.documents.finding import Finding
from nurture.documents.source import DEEPEST, read_source

_NULL = re.compile(r"^(?:null|Null|NULL|~|)$")
_INTEGER = re.compile(r"^[-+]?\d{1,18}$")
_FLOAT = re.compile(r"^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$")
_STYLES: dict[Any, Any] = {None: "plain", "": "plain", "'": "single", '"': "double", "|": "block", ">": "block"}


class _Stop(Exception):
    """Reading cannot go on; the finding is already noted."""


@dataclass
class _Open:
    """A list or mapping that is being read. `key` waits for its value."""

    path: Path
    value: dict[str, Any] | list[Any]
    key: str | None = None


@dataclass
class _Builder:
    """Turns events into a tree, marks and findings, without recursion."""

    file: str
    text: str
    root: Any = None
    open: list[_Open] = field(default_factory=list)
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    scalars: dict[Path, Scalar] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    documents: int = 0

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.stop(event, "documents", "a second document ('---'): write one document a file")
        elif isinstance(event, CollectionEndEvent):
            self.open.pop()
        elif isinstance(event, AliasEvent):
            self.stop(event, "alias", f"alias '*{event.anchor}': write the value out")
        elif isinstance(event, NodeEvent):
            self._take_node(event)

    def _take_node(self, event: NodeEvent) -> None:
        if event.anchor is not None:
            self.note(event, "anchor", f"anchor '&{event.anchor}': anchors are not read, write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.note(event, "tag", f"tag '{tag}': tags are not read, put a text in quotes")
        holder = self.open[-1] if self.open else None
        if holder is not None and isinstance(holder.value, dict) and holder.key is None:
            self._take_key(holder, event)
        else:
            self._take_value(holder, event)

    def _take_key(self, holder: _Open, event: NodeEvent) -> None:
        if not isinstance(event, ScalarEvent):
            if isinstance(event, MappingStartEvent) and self.text[event.start_mark.index - 1 :][:2] == "{{":
                mark = Mark(line=event.start_mark.line + 1, column=event.start_mark.column)
                self.findings.append(_at(self.file, mark, "quotes", _BRACES))
                raise _Stop
            self.note(event, "key", "a key is a text: put it in quotes")
            raise _Stop
        key, mark = event.value, _mark(event.start_mark)
        path = (*holder.path, key)
        if path in self.keys:
            message = f"duplicate key '{key}' (first in line {self.keys[path].line})"
            self.findings.append(_at(self.file, mark, "duplicate-key", message))
        self.keys[path] = mark
        holder.key = key

    def _take_value(self, holder: _Open | None, event: NodeEvent) -> None:
        path = self._place(holder)
        value: Any
        if isinstance(event, ScalarEvent):
            value = _resolve(event)
            self.scalars[path] = self._scalar(event)
        else:
            value = {} if isinstance(event, MappingStartEvent) else []
        self.values[path] = _mark(event.start_mark)
        if holder is None:
            self.root = value
        elif isinstance(holder.value, list):
            holder.value.append(value)
        else:
            assert holder.key is not None
            holder.value[holder.key], holder.key = value, None
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            if len(self.open) >= DEEPEST:
                self.stop(event, "too-deep", f"more than {DEEPEST} levels")
            self.open.append(_Open(path=path, value=value))

    @staticmethod
    def _place(holder: _Open | None) -> Path:
        if holder is None:
            return ()
        last: str | int = len(holder.value) if isinstance(holder.value, list) else (holder.key or "")
        return (*holder.path, last)

    def _scalar(self, event: ScalarEvent) -> Scalar:
        style = _STYLES[event.style]
        one_line = event.start_mark.line == event.end_mark.line
        source = self.text[event.start_mark.index : event.end_mark.index] if one_line else None
        cut = None
        if style == "plain" and event.value:
            rest = self.text[event.end_mark.index :].partition("\n")[0]
            cut = rest if re.match(r"^[ \t]+#", rest) else None
        return Scalar(style=style, source=source, cut=cut)

    def note(self, event: Event, code: str, message: str) -> None:
        self.findings.append(_at(self.file, _mark(event.start_mark), code, message))

    def stop(self, event: Event, code: str, message: str) -> None:
        self.note(event, code, message)
        raise _Stop


def read_yaml(root: FilePath, file: str) -> tuple[Document | None, list[Finding]]:
    """The document of `file` (relative to `root`), or None where it cannot be read, and what is wrong with it."""
    source = read_source(root, file)
    if isinstance(source, Finding):
        return None, [source]
    return parse_yaml(source, file)


def parse_yaml(text: str, file: str) -> tuple[Document | None, list[Finding]]:
    """As `read_yaml`, from text."""
    builder = _Builder(file=file, text=text)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except _Stop:
        return None, builder.findings
    except MarkedYAMLError as error:
        return None, [*builder.findings, _syntax(error, text, file)]
    except YAMLError as error:
        return None, [*builder.findings, _unprintable(error, text, file)]
    document = Document(file=file, data=builder.root, keys=builder.keys, values=builder.values, scalars=builder.scalars)
    return document, builder.findings


def _resolve(event: ScalarEvent) -> Any:
    """A plain scalar by YAML 1.2's core schema, less octal, hexadecimal and the infinite; everything else is text."""
    text: str = event.value
    if _STYLES[event.style] != "plain":
        return text
    if _NULL.match(text):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _FLOAT.match(text) else text


def _mark(mark: Any) -> Mark:
    return Mark(line=mark.line + 1, column=mark.column + 1)


def _at(file: str, mark: Mark, code: str, message: str) -> Finding:
    return Finding(file=file, line=mark.line, column=mark.column, code=code, message=message)


_BRACES = "a value that starts with '{{' needs quotes: \"{{ … }}\""


def _syntax(error: MarkedYAMLError, text: str, file: str) -> Finding:
    """The parser's complaint in the words of the usual causes."""
    mark = _mark(error.problem_mark) if error.problem_mark is not None else TOP
    problem = str(error.problem or error.context or "cannot be read").replace("\n", " ")
    lines = text.split("\n")
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    braces = re.search(r"(?:^|:\s+|-\s+)(\{\{|\{%)", line)
    if braces and braces.start(1) < mark.column:
        place = Mark(line=mark.line, column=braces.start(1) + 1)
        return _at(file, place, "quotes", _BRACES.replace("{{", braces[1], 1) if braces[1] == "{%" else _BRACES)
    if "\\t" in problem or "tab" in problem.lower():
        return _at(file, mark, "tab", "a tab: YAML is indented with spaces")
    if "mapping values are not allowed" in problem:
        return _at(file, mark, "quotes", "': ' inside a value: put the whole value in quotes, or indent this line")
    if "cannot start any token" in problem:
        return _at(file, mark, "quotes", f"{problem}: put the whole value in quotes")
    if "unknown escape" in problem:
        return _at(
            file, mark, "quotes", "a backslash in double quotes starts an escape: write \\\\, or use single quotes"
        )
    if "unexpected end of stream" in problem or "quoted scalar" in str(error.context):
        start = _mark(error.context_mark) if error.context_mark is not None else mark
        return _at(file, start, "quotes", "a quote that is opened here is not closed")
    if "expected <block end>" in problem:
        message = "not valid YAML: is a quote open above, or is this line indented differently?"
        return _at(file, mark, "syntax", message)
    return _at(file, mark, "syntax", f"not valid YAML: {problem}")


def _unprintable(error: YAMLError, text: str, file: str) -> Finding:
    position = getattr(error, "position", 0)
    position = position if isinstance(position, int) else 0
    before = text[:position]
    mark = Mark(line=before.count("\n") + 1, column=position - (before.rfind("\n") + 1) + 1)
    return _at(file, mark, "control-character", "a control character that YAML forbids: delete it")
