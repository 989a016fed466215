"""The double opt-in mail of a form that brings no template of its own: one question, one button, no advertising."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from nurture.domain.forms import Form
from nurture.settings import Workspace

_WORDS = {
    "en": {
        "subject": "Please confirm: {title}",
        "ask": "You asked for “{title}” from {name}. Please confirm that this is your address.",
        "button": "Yes, this is my address",
        "ignore": "If it was not you, do nothing: without your confirmation we write no more.",
    },
    "de": {
        "subject": "Bitte bestätigen: {title}",
        "ask": "Sie haben „{title}“ bei {name} angefordert. Bitte bestätigen Sie, dass dies Ihre Adresse ist.",
        "button": "Ja, das ist meine Adresse",
        "ignore": "Waren Sie es nicht, dann tun Sie nichts: Ohne Bestätigung schreiben wir Ihnen nicht wieder.",
    },
}


@dataclass(frozen=True, kw_only=True)
class OptInMail:
    subject: str
    text: str
    html: str


def opt_in_mail(form: Form, *, url: str, workspace: Workspace, language: str | None) -> OptInMail:
    """`url` is the signed address of the page whose button confirms."""
    words = _WORDS.get((language or workspace.language)[:2]) or _WORDS["en"]
    told = {key: text.format(title=form.title, name=workspace.name) for key, text in words.items()}
    text = f"{told['ask']}\n\n{told['button']}:\n{url}\n\n{told['ignore']}\n\n{workspace.postal_address}\n"
    html = _PAGE.format(
        **{key: escape(value) for key, value in told.items()}, url=escape(url), address=escape(workspace.postal_address)
    )
    return OptInMail(subject=told["subject"], text=text, html=html)


_PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"></head>
<body style="margin:0;padding:24px;font:16px/1.5 Helvetica,Arial,sans-serif">
<div style="max-width:560px;margin:0 auto">
<p>{ask}</p>
<p style="margin:28px 0"><a href="{url}" style="background:#155eef;color:#ffffff;padding:12px 20px;
border-radius:6px;text-decoration:none;font-weight:600;display:inline-block">{button}</a></p>
<p style="color:#667085;font-size:14px">{ignore}</p>
<p style="color:#667085;font-size:12px">{address}</p>
</div></body></html>
"""
