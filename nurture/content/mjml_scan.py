"""Reads MJML tolerantly and with positions: unknown tags and attributes, tags left open, and where Jinja tags stand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nurture.content.mjml_words import ATTRIBUTES, DEFAULTS, HTML_INSIDE, REFUSED
from nurture.content.names import nearest
from nurture.content.slots import FILLER

DEPTH_LIMIT = 60
_TAG = re.compile(rf"<(/?)([A-Za-z][^\s<>/{FILLER}]*)")
_ATTRIBUTE = re.compile(
    rf"""\s*(?:([^\s"'<>/={FILLER}]+)(\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>]+))?|(/?>)|(.))""", re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    offset: int
    message: str


@dataclass(kw_only=True)
class Scan:
    """What a reading found. `attributes` are the stretches of quoted values, `tags` the tags as a whole."""

    complaints: list[Complaint] = field(default_factory=list)
    values: list[tuple[int, int, str]] = field(default_factory=list)
    """(start, end, attribute) of each attribute's value."""
    tags: list[tuple[int, int]] = field(default_factory=list)
    comments: list[tuple[int, int]] = field(default_factory=list)
    styles: list[tuple[int, int]] = field(default_factory=list)
    """The stretches inside `<mj-style>`, where MJML's own comments mean nothing."""

    tables: list[tuple[int, int]] = field(default_factory=list)
    """The stretches inside `<mj-table>`."""

    def value_at(self, offset: int) -> tuple[int, int, str] | None:
        return next((value for value in self.values if value[0] <= offset < value[1]), None)

    def attribute_at(self, offset: int) -> str | None:
        value = self.value_at(offset)
        return None if value is None else value[2]

    def in_tag(self, offset: int) -> bool:
        return any(start <= offset < end for start, end in self.tags)

    def in_style(self, offset: int) -> bool:
        return any(start <= offset < end for start, end in self.styles)


def scan(text: str) -> Scan:
    """`text` has its Jinja tags written over with fillers."""
    found = Scan()
    open_tags: list[tuple[str, int]] = []
    html_in: str | None = None
    opened_until = 0
    position = 0
    while (start := text.find("<", position)) >= 0:
        position = start + 1
        if text.startswith("<!--", start):
            end = text.find("-->", start)
            if end < 0:
                found.complaints.append(Complaint(offset=start, message="this comment is never closed"))
                break
            found.comments.append((start, end + 3))
            position = end + 3
            continue
        tag = _TAG.match(text, start)
        if not tag:
            continue
        closing, name = bool(tag[1]), tag[2]
        attributes, end = _read_attributes(text, tag.end())
        found.tags.append((start, end))
        found.values += [(at, until, attribute) for attribute, _, at, until in attributes if at >= 0]
        position = end
        if html_in is not None and not (closing and name == html_in):
            continue
        if closing:
            if html_in == "mj-style":
                found.styles.append((opened_until, start))
            elif html_in == "mj-table":
                found.tables.append((opened_until, start))
            html_in = None
            _close(name, start, open_tags, found)
            continue
        _check(name, start, attributes, found, in_defaults=any(each == "mj-attributes" for each, _ in open_tags))
        if text[end - 2 : end] != "/>":
            open_tags.append((name, start))
            if name in HTML_INSIDE and not any(each == "mj-attributes" for each, _ in open_tags):
                html_in, opened_until = name, end
        if len(open_tags) > DEPTH_LIMIT:
            found.complaints.append(Complaint(offset=start, message=f"tags are nested more than {DEPTH_LIMIT} deep"))
            break
    else:
        for name, start in open_tags[-1:]:
            found.complaints.append(Complaint(offset=start, message=f"<{name}> is never closed"))
    if not found.tags:
        found.complaints.append(Complaint(offset=0, message="there is no MJML in it; it begins with <mjml>"))
    return found


def _read_attributes(text: str, position: int) -> tuple[list[tuple[str, int, int, int]], int]:
    """(name, its offset, start and end of the value or -1) of each attribute, and where the tag ends."""
    attributes: list[tuple[str, int, int, int]] = []
    while position < len(text):
        piece = _ATTRIBUTE.match(text, position)
        if piece is None:
            return attributes, len(text)
        position = piece.end()
        if piece[4]:
            return attributes, position
        if piece[1]:
            attributes.append((piece[1], piece.start(1), piece.start(3), piece.end(3)))
        elif piece[5] == "<":
            return attributes, piece.start(5)
    return attributes, len(text)


def _check(
    name: str, start: int, attributes: list[tuple[str, int, int, int]], found: Scan, *, in_defaults: bool
) -> None:
    known = DEFAULTS.get(name) if in_defaults and name in DEFAULTS else ATTRIBUTES.get(name)
    if name in REFUSED:
        found.complaints.append(Complaint(offset=start, message=REFUSED[name]))
        return
    if known is None:
        message = f"unknown tag <{name}>" + nearest(name, [*ATTRIBUTES, *(DEFAULTS if in_defaults else ())])
        found.complaints.append(Complaint(offset=start, message=message))
        return
    for attribute, at, _, _ in attributes:
        if attribute not in known and not attribute.startswith("xmlns"):
            message = f'unknown attribute "{attribute}" of <{name}>' + nearest(attribute, known)
            found.complaints.append(Complaint(offset=at, message=message))


def _close(name: str, start: int, open_tags: list[tuple[str, int]], found: Scan) -> None:
    if open_tags and open_tags[-1][0] == name:
        open_tags.pop()
        return
    expected = f", expected </{open_tags[-1][0]}>" if open_tags else ""
    found.complaints.append(Complaint(offset=start, message=f"</{name}> closes nothing{expected}"))
    for at in range(len(open_tags) - 1, -1, -1):
        if open_tags[at][0] == name:
            del open_tags[at:]
            return
