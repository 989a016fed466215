"""An alert on its way to a channel: in a room's words, or as a webhook's facts."""

from __future__ import annotations

from typing import Any

from nurture.content.tokens import Purpose, Tokens
from nurture.domain.alerts import AlertStatus
from nurture.notify.alert_mail import say_what_happened
from nurture.notify.slack import alert_lines, notice_lines, slack_body
from nurture.settings import Settings
from nurture.store.alerts import AlertView
from nurture.store.posts import NewPost

SHARED = "~c"
"""Ends the payload of an alert's link in a room: its page asks who answers."""


def alert_post(view: AlertView, channel: str, *, key: str, settings: Settings, tokens: Tokens) -> NewPost:
    """`key` names the alert and which time it is told; the post is unique by it and the channel."""
    is_notice = view.status is AlertStatus.NOTICE
    base = settings.workspace.public_url.rstrip("/")
    url = f"{base}/a/{tokens.sign(Purpose.ALERT, f'{view.id}{SHARED}')}"
    rep = settings.reps.get(view.rep)
    if settings.alerts[channel].kind == "webhook":
        body = _facts(view, url=None if is_notice else url, rep=rep.email if rep is not None else None)
    elif is_notice:
        body = slack_body(notice_lines(view))
    else:
        body = slack_body(
            alert_lines(
                view,
                did=say_what_happened(view),
                may_call=bool(view.evidence.get("may_call")) and view.phone is not None,
                evidence=view.evidence,
                url=url,
                rep=rep.name if rep is not None else "",
            )
        )
    kind = "alert.notice" if is_notice else "alert.told"
    return NewPost(post_key=f"{key}:{channel}", channel=channel, lead_id=view.lead_id, kind=kind, body=body)


def _facts(view: AlertView, *, url: str | None, rep: str | None) -> dict[str, Any]:
    known = view.evidence
    return {
        "lead": {
            "email": view.email,
            "name": view.name or None,
            "company": view.company,
            "title": view.title,
            "phone": view.phone,
            "stage": view.stage,
            "fit": known.get("grade", view.fit),
            "score": known.get("score"),
            "owner": view.owner,
        },
        "alert": {
            "id": view.id,
            "rule": view.rule,
            "reasons": list(view.reasons),
            "message": view.message,
            "rep": view.rep or None,
            "rep_email": rep,
            "may_call": bool(known.get("may_call")),
            "answer_url": url,
        },
    }
