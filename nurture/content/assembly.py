"""Compiled HTML with sentinels becomes Jinja again: each slot with the guard that its place needs.

A slot in text or a plain attribute is escaped; in a link's address it becomes part of a checked destination; in any
other address it must be http(s); in a style it may be a plain value only; in scripts, styles' text and between
attributes it can't be.
"""

from __future__ import annotations

import html as html_entities
import re
from collections.abc import Callable
from typing import Any

from markupsafe import escape

from nurture.content.filters import text_of
from nurture.content.links import COMPLETE_HOST, destination, encode_url, html_slot
from nurture.content.problems import RenderProblem
from nurture.content.sandbox import EXPR_CLOSE, EXPR_OPEN, STATEMENT_CLOSE, STATEMENT_OPEN
from nurture.content.slots import JinjaTag, Sentinels
from nurture.content.text_part import LINK_CLOSE, LINK_OPEN

_TAG = re.compile(r"""<!--.*?-->|<([a-zA-Z][^\s>/]*)((?:\s+[^\s=>"/]+(?:="[^"]*")?)*)\s*/?>""", re.DOTALL)
_ATTRIBUTE = re.compile(r"""(\s+)([^\s=>"/]+)="([^"]*)\"""")
_RAW_TEXT = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_ADDRESSES = frozenset({"src", "background", "poster", "action", "formaction", "cite", "srcset", "xlink:href"})
_STYLE_VALUE = re.compile(r"[\w#%., +-]{0,80}\Z")
_URL_IN_TEXT = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]")

Refusal = Callable[[JinjaTag | None, str], Exception]
"""Makes the error for a tag (None: of the template as a whole) and a message."""


def html_to_jinja(html: str, sentinels: Sentinels, refuse: Refusal) -> str:
    """The source of the HTML part, in delimiters that nobody can type, with the places for preheader and pixel."""
    for raw in _RAW_TEXT.finditer(html):
        for word in sentinels.pattern.findall(raw[2]):
            raise refuse(sentinels.tags[word], f"a Jinja tag can't stand inside <{raw[1].lower()}>")
    out = _TAG.sub(lambda tag: _guarded_tag(tag, sentinels, refuse), html)
    out = re.sub(r"(<body\b[^>]*>)", lambda body: body[1] + _expression("_start"), out, count=1)
    head, end, tail = out.rpartition("</body>")
    if not end or "_start" not in out:
        raise refuse(None, "the compiled template has no body")
    out = f"{head}{_expression('_end')}</body>{tail}"
    return _newlines(sentinels.put_back(out, {word: tag.own() for word, tag in sentinels.tags.items()}))


def text_to_jinja(text: str, sentinels: Sentinels, refuse: Refusal) -> str:
    """The source of a text part that was read from the HTML: addresses stand between LINK_OPEN and LINK_CLOSE."""
    out = re.sub(
        f"{LINK_OPEN}([^{LINK_CLOSE}]*){LINK_CLOSE}",
        lambda link: link_call(link[1], sentinels, refuse, escaped=False),
        text,
    )
    return _newlines(sentinels.put_back(out, {word: tag.own() for word, tag in sentinels.tags.items()}))


def written_text_to_jinja(text: str, sentinels: Sentinels, refuse: Refusal) -> str:
    """The source of a text part that a person wrote: its http(s) addresses are links."""
    out = _URL_IN_TEXT.sub(lambda url: link_call(url[0], sentinels, refuse, escaped=False), text)
    return _newlines(sentinels.put_back(out, {word: tag.own() for word, tag in sentinels.tags.items()}))


def link_call(address: str, sentinels: Sentinels, refuse: Refusal, *, escaped: bool) -> str:
    """The Jinja that stands where the address of a link stood; `address` is plain text with sentinels."""
    pieces = sentinels.pattern.split(address)
    tags = [sentinels.tags[word] for word in pieces[1::2]]
    literals = pieces[0::2]
    if not tags:
        return _fixed_link(address, refuse, escaped=escaped)
    if literals[0] and not (COMPLETE_HOST.match(literals[0]) or literals[0].lower().startswith(("mailto:", "#"))):
        message = "a slot can't be part of a link's scheme or host; write the whole host and a /, or one slot for all"
        raise refuse(tags[0], message)
    if all(tag.kind == "expression" for tag in tags):
        return _expression(f"_link({', '.join(_arguments(literals, tags))})")
    literals = [str(escape(literal)) if escaped else literal for literal in literals]
    inside = "".join(literal + tag.own() for literal, tag in zip(literals, tags, strict=False))
    captured = f"{_statement('set _address')}{inside}{literals[-1]}{_statement('endset')}"
    return captured + _expression("_link(_address)")


def _fixed_link(address: str, refuse: Refusal, *, escaped: bool) -> str:
    try:
        url = destination(address)
    except RenderProblem as problem:
        raise refuse(None, str(problem)) from None
    if url[:4].lower() != "http":
        return str(escape(url)) if escaped else url
    return _expression(f"_fixed({url!a}, {encode_url(url, escaped)!a})")


def _arguments(literals: list[str], tags: list[JinjaTag]) -> list[str]:
    arguments = []
    for literal, tag in zip(literals, [*tags, None], strict=True):
        arguments += [ascii(literal)] if literal else []
        arguments += [f"({tag.bare()})"] if tag else []
    return arguments


def _guarded_tag(tag: re.Match[str], sentinels: Sentinels, refuse: Refusal) -> str:
    name = (tag[1] or "").lower()
    if not name:
        return tag[0]
    outside = _ATTRIBUTE.sub("", tag[0])
    for word in sentinels.pattern.findall(outside):
        raise refuse(sentinels.tags[word], "a Jinja tag can't stand between attributes; put it inside a value")
    return _ATTRIBUTE.sub(
        lambda found: f'{found[1]}{found[2]}="{_guarded(name, found[2].lower(), found[3], sentinels, refuse)}"', tag[0]
    )


def _guarded(tag: str, attribute: str, value: str, sentinels: Sentinels, refuse: Refusal) -> str:
    inside = [sentinels.tags[word] for word in sentinels.pattern.findall(value)]
    if attribute == "href" and tag in ("a", "area"):
        return link_call(html_entities.unescape(value), sentinels, refuse, escaped=True)
    if not inside:
        return value
    if attribute.startswith("on") or tag in ("script", "iframe", "object", "embed", "base", "meta", "link", "form"):
        raise refuse(inside[0], f'a Jinja tag can\'t stand in "{attribute}" of <{tag}>')
    if attribute == "style":
        return _each(value, sentinels, "_style")
    if attribute in _ADDRESSES:
        if any(each.kind != "expression" for each in inside):
            raise refuse(inside[0], "only {{ }} can stand in the address of an image")
        pieces = sentinels.pattern.split(html_entities.unescape(value))
        return _expression(f"_source({', '.join(_arguments(pieces[0::2], inside))})")
    return value


def _each(value: str, sentinels: Sentinels, function: str) -> str:
    def guarded(found: re.Match[str]) -> str:
        tag = sentinels.tags[found[1]]
        return _expression(f"{function}({tag.bare()})") if tag.kind == "expression" else tag.own()

    return sentinels.pattern.sub(guarded, value)


def _expression(inside: str) -> str:
    return f"{EXPR_OPEN} {inside} {EXPR_CLOSE}"


def _statement(inside: str) -> str:
    return f"{STATEMENT_OPEN} {inside} {STATEMENT_CLOSE}"


def _newlines(text: str) -> str:
    """LF only, and one at the end, so that the last line of a part is a whole one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"


def style_value(value: Any) -> str:
    """A slot in a style: a colour, a length, a word; nothing that ends a declaration or fetches anything."""
    return html_slot(style_text(value))


def style_text(value: Any) -> str:
    """The same before it is encoded."""
    text = text_of(value)
    if not _STYLE_VALUE.match(text):
        raise RenderProblem(f'"{text[:40]}" can\'t stand in a style')
    return text


def source_address(*parts: Any) -> str:
    """The address of an image: http(s) only."""
    url = destination("".join([part if type(part) is str else text_of(part) for part in parts]))
    if url[:4].lower() != "http":
        raise RenderProblem(f'an image comes from "{url[:60]}"; write a whole http(s) address')
    return encode_url(url, True)
