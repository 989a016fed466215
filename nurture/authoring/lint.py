"""Mistakes that no single key shows: what is valid, and still will not do what its author thinks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from nurture.authoring.content_checks import texts_of
from nurture.authoring.cycles import reachable
from nurture.authoring.sources import FORMS
from nurture.authoring.step_keys import KeyedStep, in_file_order, key_steps
from nurture.authoring.workspace import Compiled
from nurture.content.lint import lint_subject
from nurture.documents.document import Document, Path
from nurture.documents.finding import Finding
from nurture.domain.cadence import Cadence, Email
from nurture.domain.freemail import FREEMAIL
from nurture.domain.mailbox import read_mailbox
from nurture.settings import Settings

_PROSE_KEYS = "subject preheader message title promise button consent tracking_consent label text name task"
_PROSE = frozenset(_PROSE_KEYS.split())
_EARLIER = {"awareness": (), "consideration": ("awareness",), "decision": ("awareness", "consideration")}

# config.toml keys that are read and checked, and that nothing in this version acts on; `*` is any name
NOT_ACTING: tuple[Path, ...] = (
    ("api",),
    ("senders", "*", "tracking_domain"),
    ("inbox",),
    ("hooks",),
    ("alerts", "*", "digest"),
    ("consent",),
    ("retention",),
)


def lint(compiled: Compiled) -> Iterator[Finding]:
    """Warnings about a workspace as it was compiled."""
    sources = compiled.sources
    if sources.config is not None:
        yield from _not_acting(sources.config)
        if sources.settings is not None:
            yield from _exposed(sources.settings, sources.config)
    for document in (*sources.special.values(), *sources.cadences.values(), *sources.tests.values()):
        yield from _cut_values(document)
    for stem, cadence in compiled.cadences.items():
        document, keyed = sources.cadences[stem], key_steps(compiled.files[stem].steps)
        yield from _unreachable(document, keyed, cadence)
        yield from _subjects(document, keyed)
        yield from _offer_first(document, keyed, cadence, compiled)
    if FORMS in sources.special:
        yield from _subjects_of_forms(sources.special[FORMS], compiled)


def _warn(document: Document, path: Path, code: str, message: str, *, at_key: bool = False) -> Finding:
    mark = document.key_at(path) if at_key else document.value_at(path)
    return document.finding(mark, code, message, level="warning")


def _not_acting(config: Document) -> Iterator[Finding]:
    for pattern in NOT_ACTING:
        for path in config.keys:
            if len(path) == len(pattern) and all(want in ("*", part) for want, part in zip(pattern, path, strict=True)):
                said = ".".join(map(str, path))
                message = f"'{said}' is read and checked, but this version of nurture does not act on it"
                yield _warn(config, path, "not-acting", message, at_key=True)


def _exposed(settings: Settings, config: Document) -> Iterator[Finding]:
    """What would cross a network in the clear, and a From that receivers reject."""
    address = urlsplit(settings.workspace.public_url)
    if address.scheme == "http" and not _is_loopback(address.hostname or ""):
        message = "links in mail would be plain http: use https"
        yield _warn(config, ("workspace", "public_url"), "plain-http", message)
    for name, server in settings.smtp.items():
        if server.security == "none" and not _is_loopback(server.host):
            path = ("smtp", name, "security")
            yield _warn(config, path, "plain-smtp", f"mail to {server.host} would go in the clear: use starttls or tls")
    for name, sender in settings.senders.items():
        domain = read_mailbox(sender.from_).domain
        if domain in FREEMAIL:
            message = f"mail From {domain} sent by another server fails DMARC: use a domain of your own"
            yield _warn(config, ("senders", name, "from"), "freemail", message)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _cut_values(document: Document) -> Iterator[Finding]:
    """A plain value ends at ` #`. A comment has a space behind the `#`, and prose rarely one space before it."""
    for path, scalar in document.scalars.items():
        if scalar.cut is None:
            continue
        is_prose = any(part in _PROSE for part in path)
        if re.match(r"^\s+#[^\s#!]", scalar.cut) or (is_prose and re.match(r"^ #", scalar.cut)):
            message = f"the value ends before '{scalar.cut.strip()[:30]}': put it in quotes"
            yield _warn(document, path, "cut-value", message)


def _unreachable(document: Document, keyed: tuple[KeyedStep, ...], cadence: Cadence) -> Iterator[Finding]:
    """The first step of each stretch that nobody comes to."""
    come_to, before_reached = reachable(cadence), True
    for step in in_file_order(keyed):
        reached = step.key in come_to
        if not reached and before_reached:
            yield _warn(document, step.path, "unreachable", "nobody comes to this step: every path before it exits")
        before_reached = reached


def _subjects(document: Document, keyed: tuple[KeyedStep, ...]) -> Iterator[Finding]:
    for step in in_file_order(keyed):
        for path, text in texts_of(step.body):
            if path[0] == "subject" or (path[0] == "locales" and path[2] == "subject"):
                yield from _subject(document, (*step.path, *path), text)


def _subjects_of_forms(document: Document, compiled: Compiled) -> Iterator[Finding]:
    for name, offer in compiled.offers.items():
        yield from _subject(document, ("offers", name, "subject"), offer.subject)
    for name, form in compiled.forms.items():
        if form.confirm is not None:
            yield from _subject(document, ("forms", name, "confirm", "subject"), form.confirm.subject)


def _subject(document: Document, path: Path, text: str) -> Iterator[Finding]:
    for remark in lint_subject(text):
        yield document.finding(document.value_at(path), remark.code, remark.message, level=remark.level)


def _offer_first(
    document: Document, keyed: tuple[KeyedStep, ...], cadence: Cadence, compiled: Compiled
) -> Iterator[Finding]:
    """An offer before any proof, in this cadence or in one of an earlier part of the funnel."""
    earlier = _EARLIER.get(cadence.funnel or "", ())
    if any(each.funnel in earlier and "proof" in _roles(each) for each in compiled.cadences.values()):
        return
    for step in in_file_order(keyed):
        role = getattr(step.body, "role", None)
        if role == "proof":
            return
        if role == "offer":
            message = "an offer before any proof: show first that it works (role: proof)"
            yield _warn(document, (*step.path, "role"), "offer-before-proof", message)
            return


def _roles(cadence: Cadence) -> set[str | None]:
    return {step.role for step in cadence.steps.values() if isinstance(step, Email)}
