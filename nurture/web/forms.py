"""Hosted forms and double opt-in. Only a POST with our own token counts, and only a confirmed one becomes consent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from nurture.content.tokens import Purpose
from nurture.domain.addresses import read_address
from nurture.domain.event import Verdict
from nurture.domain.forms import Form
from nurture.domain.verdict import HitFacts, HitKind, judge
from nurture.store.form_views import count_view
from nurture.store.opt_ins import Asked, Confirmed, Submission, asked, confirm, is_flood, submit
from nurture.web.fields import EMAIL, Reading, read_answers, show_boxes, show_fields
from nurture.web.guard import CONTENT_SECURITY_POLICY
from nurture.web.security import is_form_token, network_prefix, read_form, sign_form
from nurture.web.site import Site, site_of
from nurture.web.tracking import AGENT_AT_MOST, is_crawler, offer_path, read_id
from nurture.web.words import words_for

BAIT = "leave_this_empty"
FORM_TOKEN = "form_token"  # noqa: S105  a field's name
TOKEN_AT_MOST = 200
SENT_CONFIRMATION = "confirmation"
SENT_AT_ONCE = "at-once"
_NOTHING_TYPED = Reading(typed={}, answers={}, consents={}, errors={})


async def hosted_form(request: Request) -> Response:
    """GET|POST /f/NAME"""
    site = site_of(request)
    form = site.parts.forms.get(request.path_params["name"])
    if form is None:
        return site.notice(request, "not_found", status=404)
    language = _language(site, form, request)
    shown = _localised(form, language)
    if request.method == "POST":
        return await _send_in(site, request, shown, language)
    if "sent" in request.query_params:
        return _thanks(site, language, confirming=request.query_params["sent"] == SENT_CONFIRMATION)
    if _is_person(request):
        await site.in_thread(_count, site, form.name)
    hidden = {field.name: request.query_params.get(field.name, "") for field in form.fields if field.kind == "hidden"}
    return _show(site, shown, language, replace(_NOTHING_TYPED, typed=hidden))


async def double_opt_in(request: Request) -> Response:
    """GET|POST /d/T: the page has a button, and only its POST confirms, because scanners follow links."""
    site = site_of(request)
    opt_in_id = read_id(site.parts.tokens.read(Purpose.CONFIRM, request.path_params["token"]))
    if opt_in_id is None:
        return site.notice(request, "not_found", status=404)
    if request.method != "POST":
        found: Asked | None = await site.in_thread(_asked, site, opt_in_id)
        language = site.language(request, found.language if found else None)
        consents = list(found.consents.values()) if found else []
        return site.page("confirm.html", language=language, consents=consents)
    await read_form(request)
    address = site.network_address(request)
    confirmed: Confirmed | None = await site.in_thread(_confirm, site, opt_in_id, address)
    language = site.language(request, confirmed.language if confirmed else None)
    if confirmed is None:
        words = words_for(language)
        return site.page("notice.html", language=language, title=words["expired_title"], text=words["expired_text"])
    return site.page("confirmed.html", language=language, offer_url=_offer_url(site, confirmed))


# --- the form's page


def _language(site: Site, form: Form, request: Request) -> str:
    """`?lang=`, else the browser's wish where the form speaks it, else the workspace's own."""
    own = site.parts.settings.workspace.language
    wished = request.query_params.get("lang", "")[:5].lower()
    if wished in form.locales or wished == own:
        return wished
    language = site.language(request)
    return language if language in form.locales else own


def _localised(form: Form, language: str) -> Form:
    own = form.locales.get(language, {})
    texts = {name: own[name] for name in ("title", "promise", "button") if name in own}
    return replace(form, **texts) if texts else form  # type: ignore[arg-type]  # these three are texts


def _show(
    site: Site, form: Form, language: str, reading: Reading, *, summary: str = "", status: int = 200
) -> HTMLResponse:
    words = words_for(language)
    values = {
        "form": form,
        "fields": show_fields(form, reading.typed, reading.errors, words),
        "boxes": show_boxes(form, reading.consents, reading.errors, words),
        "form_token": sign_form(site.parts.tokens, form.name, site.now()),
        "bait": BAIT,
        "summary": summary,
    }
    headers = {"content-security-policy": _policy(form)}
    if form.template is None:
        return site.page("form.html", language=language, status=status, headers=headers, **values)
    fields = site.pages.get_template("form_fields.html").render(words=words, **values)
    html = _own_template(site.parts.root, form.template).render(
        form=form,
        fields=Markup(fields),  # noqa: S704  our own template's output, escaped there
        workspace=site.parts.settings.workspace.name,
        language=language,
        style_path=site.style_path,
    )
    return HTMLResponse(html, status_code=status, headers=headers)


def _own_template(root: Path, name: str) -> Any:
    """The workspace's own page: sees the form's texts and `fields`, and nothing else of the installation."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(root / "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(name)


def _policy(form: Form) -> str:
    """Browsers hold `form-action` against where the answer to a POST leads, too; an own page brings its own style."""
    policy = CONTENT_SECURITY_POLICY
    if form.redirect is not None:
        parts = urlsplit(form.redirect)
        policy = policy.replace("form-action 'self'", f"form-action 'self' {parts.scheme}://{parts.netloc}")
    if form.template is not None:
        policy = policy.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
        policy = policy.replace("img-src 'self'", "img-src 'self' data: https:")
    return policy


def _thanks(site: Site, language: str, *, confirming: bool) -> Response:
    words = words_for(language)
    if not confirming:
        return site.page(
            "notice.html", language=language, title=words["done_title"], text=words["done_text"], ticked=True
        )
    return site.page(
        "notice.html",
        language=language,
        title=words["thanks_title"],
        text=words["thanks_text"],
        hint=words["thanks_hint"],
        ticked=True,
    )


# --- sending in


async def _send_in(site: Site, request: Request, form: Form, language: str) -> Response:
    submitted = _texts(await read_form(request))
    reading = read_answers(form, submitted, country=site.parts.settings.workspace.country)
    if submitted.get(BAIT):
        return _done(form, reading, language)  # a machine filled what no person sees; it is told nothing
    words = words_for(language)
    if not is_form_token(site.parts.tokens, form.name, submitted.get(FORM_TOKEN, "")[:TOKEN_AT_MOST], site.now()):
        return _show(site, form, language, replace(reading, errors={}), summary=words["form_stale"], status=403)
    if reading.errors:
        count = len(reading.errors)
        summary = words["form_errors_one"] if count == 1 else words["form_errors"].format(count=count)
        return _show(site, form, language, reading, summary=summary, status=422)
    submission = Submission(
        form=site.parts.forms[form.name],
        address=read_address(reading.typed[EMAIL]),
        answers=reading.answers,
        consents=reading.consents,
        language=language,
        network_address=site.network_address(request),
        user_agent=request.headers.get("user-agent", "")[:AGENT_AT_MOST],
        sender=site.parts.settings.sending.sender,
    )
    kept = await site.in_thread(_submit, site, submission)
    if kept:
        return _done(form, reading, language)
    return site.notice(request, "too_many", status=429, headers={"retry-after": "3600"})


def _done(form: Form, reading: Reading, language: str) -> Response:
    """The same for known and unknown addresses; what it says depends on the form and its ticks alone."""
    confirming = form.double_opt_in and (bool(reading.consents) or form.offer is None)
    sent = SENT_CONFIRMATION if confirming else SENT_AT_ONCE
    return RedirectResponse(form.redirect or f"/f/{quote(form.name)}?sent={sent}&lang={language}", status_code=303)


def _texts(fields: FormData) -> Mapping[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _is_person(request: Request) -> bool:
    """Whether a view looks human enough to be counted."""
    agent = request.headers.get("user-agent", "")[:AGENT_AT_MOST]
    facts = HitFacts(kind=HitKind.CLICK, method=request.method, user_agent=agent, crawler=is_crawler(agent))
    return judge(facts).verdict is Verdict.HUMAN


def _count(site: Site, form: str) -> None:
    with site.parts.database.transaction() as connection:
        count_view(connection, form, day=site.now().date())


def _submit(site: Site, submission: Submission) -> bool:
    with site.parts.database.transaction() as connection:
        if is_flood(connection, network_prefix(submission.network_address), now=site.now()):
            return False
        submit(connection, submission, secrets=site.secrets, now=site.now())
    return True


# --- confirming


def _asked(site: Site, opt_in_id: int) -> Asked | None:
    with site.parts.database.reading() as connection:
        return asked(connection, opt_in_id)


def _confirm(site: Site, opt_in_id: int, address: str) -> Confirmed | None:
    parts = site.parts
    with parts.database.transaction() as connection:
        return confirm(
            connection,
            opt_in_id,
            forms=parts.forms,
            sender=parts.settings.sending.sender,
            network_address=address,
            now=site.now(),
        )


def _offer_url(site: Site, confirmed: Confirmed) -> str | None:
    """The offer at once, for whoever proved to own the address; the mail brings it as well."""
    wanted = site.parts.offers.get(confirmed.offer or "")
    if wanted is None or (wanted.file is not None and offer_path(site.parts.root, wanted.file) is None):
        return None
    return "/m/" + site.parts.tokens.sign(Purpose.OFFER, f"{confirmed.lead_id}~{wanted.name}~")
