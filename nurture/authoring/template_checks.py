"""What every mail needs by law and by good manners, looked for in the template and the parts that it includes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nurture.authoring.sources import TEMPLATES
from nurture.authoring.workspace import Compiled
from nurture.documents.finding import Finding
from nurture.documents.source import read_source
from nurture.domain.cadence import JUST_ASKED, Email

_INCLUDE = re.compile(r"\{%-?\s*include\s+[\"']([^\"']+)[\"']")
_COMMENT = re.compile(r"\{#.*?#\}|<!--.*?-->", re.DOTALL)
_LEAVE = re.compile(r"\b(unsubscribe_url|preferences_url)\b")
_ADDRESS = re.compile(r"\bworkspace\.postal_address\b")


def check_templates(compiled: Compiled) -> Iterator[Finding]:
    """Marketing mail has a way out and a postal address; mail that was just asked for, the address."""
    root = compiled.sources.root
    texts = {}
    for file in compiled.sources.template_files:
        text = read_source(root, f"{TEMPLATES}/{file}")
        if isinstance(text, Finding):
            yield text
        else:
            texts[file] = _COMMENT.sub("", text)
    marketing = set(_marketing(compiled))
    asked_for = {offer.email for offer in compiled.offers.values()} | set(_asked_for(compiled))
    for file in sorted(texts):
        name = file.removesuffix(".mjml").partition(".")[0]
        if name not in marketing | asked_for:
            continue
        whole = _pasted(file, texts)
        if not _ADDRESS.search(whole):
            yield _finding(file, "no-postal-address", "no postal address: add {{ workspace.postal_address }}")
        if name in marketing and not _LEAVE.search(whole):
            message = 'no unsubscribe link: add <a href="{{ unsubscribe_url }}">Unsubscribe</a>'
            yield _finding(file, "no-unsubscribe", message)


def _marketing(compiled: Compiled) -> Iterator[str]:
    for cadence in compiled.cadences.values():
        for step in cadence.steps.values():
            if isinstance(step, Email) and step.transactional not in JUST_ASKED:
                yield from map(step.template_of, step.arms)


def _asked_for(compiled: Compiled) -> Iterator[str]:
    for cadence in compiled.cadences.values():
        for step in cadence.steps.values():
            if isinstance(step, Email) and step.transactional in JUST_ASKED:
                yield from map(step.template_of, step.arms)
    for form in compiled.forms.values():
        if form.confirm is not None:
            yield form.confirm.template


def _pasted(file: str, texts: Mapping[str, str]) -> str:
    """The template and everything that it includes, each part once."""
    parts: dict[str, str] = {}
    waiting = [file]
    while waiting:
        name = waiting.pop()
        if name in texts and name not in parts:
            parts[name] = texts[name]
            waiting.extend(_INCLUDE.findall(texts[name]))
    return "\n".join(parts.values())


def _finding(file: str, code: str, message: str) -> Finding:
    return Finding(file=f"{TEMPLATES}/{file}", line=1, column=1, code=code, message=message)
