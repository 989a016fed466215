"""Copy lint: what readers, mail programs and spam filters dislike in a letter that is otherwise right.

Pure functions over a subject or compiled HTML (`CompiledTemplate.html_source`, or a rendered `Letter.html`); `check`
puts the remarks at the file they come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import urlsplit

CLIPPED_BYTES = 102 * 1024
"""From here on Gmail shows only the beginning, and hides the way out at the end."""
NEARLY_CLIPPED_BYTES = 80 * 1024
SUBJECT_CHARACTERS = 60
"""What phones show of a subject."""
SHORTENERS = frozenset(
    {
        *("bit.ly", "buff.ly", "cutt.ly", "goo.gl", "is.gd", "lnkd.in", "ow.ly", "rb.gy", "rebrand.ly", "short.io"),
        *("shorturl.at", "t.co", "t.ly", "tiny.cc", "tinyurl.com", "v.gd"),
    }
)

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_BUTTON = re.compile(
    r"display:\s*inline-block.*background|background.*display:\s*inline-block", re.IGNORECASE | re.DOTALL
)
# in compiled HTML a link is a call; its first argument is the address
_LINK_CALL = re.compile("\ue000 _fixed\\('((?:[^'\\\\]|\\\\.)*)'[^\ue001]*\ue001")
_SHOUTED = re.compile(r"\b[A-ZÄÖÜ]{4,}\b")


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One thing to mend. `code` is a stable word for it; `near` stands in the source where it is, if not changed."""

    level: Literal["error", "warning"]
    code: str
    message: str
    near: str = ""


def lint_subject(subject: str) -> list[Remark]:
    """A subject as written; its Jinja slots count for nothing, since only a lead fills them."""
    bare = _JINJA.sub("", subject)
    remarks = []
    if len(bare) > SUBJECT_CHARACTERS:
        message = f"subject of {len(bare)} characters: phones show about {SUBJECT_CHARACTERS}"
        remarks.append(Remark(level="warning", code="long-subject", message=message))
    letters = [character for character in bare if character.isalpha()]
    loud = len(letters) >= 8 and sum(map(str.isupper, letters)) > 0.6 * len(letters)
    if loud or "!!" in bare or len(_SHOUTED.findall(bare)) >= 2:
        remarks.append(Remark(level="warning", code="shouting", message="the subject shouts: capitals or !!"))
    return remarks


def lint_html(html: str) -> list[Remark]:
    """Size, images without alternative text, links that hide where they go or go nowhere, more than one button."""
    reader = _Reader()
    reader.feed(_LINK_CALL.sub(lambda call: call[1], html))
    reader.close()
    return [*_size(html), *reader.remarks, *_buttons(reader.buttons)]


def lint_text(text: str) -> list[Remark]:
    """The text part: a letter without one is what spam looks like, and some readers see nothing else."""
    if text.strip():
        return []
    return [Remark(level="warning", code="no-text", message="the text part is blank: say something in words")]


def _size(html: str) -> list[Remark]:
    size = len(html.encode("utf-8", "replace"))
    if size < NEARLY_CLIPPED_BYTES:
        return []
    message = f"HTML of {size // 1024} KB: Gmail clips at {CLIPPED_BYTES // 1024} KB, with the way out at its end"
    level: Literal["error", "warning"] = "error" if size > CLIPPED_BYTES else "warning"
    return [Remark(level=level, code="clipped", message=message)]


def _buttons(labels: list[str]) -> list[Remark]:
    if len(labels) < 2:
        return []
    named = ", ".join(f'"{label}"' for label in labels[:4])
    message = f"{len(labels)} buttons ({named}): one call to action is clicked more than several"
    return [Remark(level="warning", code="several-buttons", message=message, near=labels[1])]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.remarks: list[Remark] = []
        self.buttons: list[str] = []
        self._label: list[str] = []
        self._button = False
        self._in_link = False
        self._href = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "img":
            self._image(attributes)
        elif tag == "a":
            self._in_link, self._label, self._href = True, [], attributes.get("href") or ""
            self._button = bool(_BUTTON.search(attributes.get("style") or ""))
            self._link(self._href)

    def handle_data(self, data: str) -> None:
        if self._in_link:
            self._label.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag != "a" or not self._in_link:
            return
        self._in_link = False
        label = " ".join("".join(self._label).split())
        if self._button:
            self.buttons.append(label)
        if not label:
            self._warn("link-without-text", f'the link to "{self._href[:60]}" shows nothing to click on', self._href)

    def _image(self, attributes: dict[str, str | None]) -> None:
        source = attributes.get("src") or ""
        pixel = attributes.get("width") == "1" or attributes.get("height") == "1"
        if not (attributes.get("alt") or "").strip() and not pixel:
            self._warn("no-alt", f'the image "{source[-60:]}" has no alt text; many readers block images', source)
        self._label.append(attributes.get("alt") or source)

    def _link(self, href: str) -> None:
        if not href or href == "#":
            near = f'href="{href}"'
            self.remarks.append(Remark(level="error", code="empty-link", message="a link goes nowhere", near=near))
        elif _host(href) in SHORTENERS:
            self._warn("shortened-link", f'"{href}": filters distrust shortened links; write the real address', href)

    def _warn(self, code: str, message: str, near: str) -> None:
        self.remarks.append(Remark(level="warning", code=code, message=message, near=near))


def _host(href: str) -> str:
    try:
        return (urlsplit(href).hostname or "").lower().removeprefix("www.")
    except ValueError:
        return ""
