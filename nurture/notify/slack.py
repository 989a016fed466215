"""A message to a Slack-compatible chat room. What a lead wrote can't call the room, hide a link or break a line.

Slack reads `<…>` as links and mentions and wants `&`, `<` and `>` escaped, and nothing else. Mattermost and its kin
read Markdown and a bare `@channel` besides; both lose their meaning to an invisible space, and look the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nurture.store.alerts import AlertView

_INVISIBLE_SPACE = "\u200b"
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_LINE_LIMIT, _TEXT_LIMIT = 300, 3_500
_REASONS = 5


def escape(text: str) -> str:
    """One line of somebody's text, as the room shows it letter for letter."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_LINE_LIMIT]
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub(f"@{_INVISIBLE_SPACE}", line).replace("](", f"]{_INVISIBLE_SPACE}(")


def link(url: str, label: str) -> str:
    """A link of ours; `label` is our own words."""
    return f"<{url}|{label}>"


def slack_body(lines: Sequence[str]) -> dict[str, Any]:
    """The body of an incoming webhook. `lines` are escaped already; addresses in them are not looked up."""
    return {
        "text": "\n".join(line for line in lines if line)[:_TEXT_LIMIT],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def alert_lines(
    view: AlertView, *, did: str, may_call: bool, evidence: Mapping[str, Any], url: str, rep: str
) -> list[str]:
    """An alert as a room reads it: who, why, what may not be done, and where to answer. `rep`: whom it was given to."""
    who = escape(view.name or view.email)
    firm = f" ({escape(view.company)})" if view.company else ""
    phone = escape(view.phone or "may be called, no number known") if may_call else "no permission to call"
    reasons = [f"• {escape(reason)}" for reason in view.reasons[:_REASONS]]
    return [
        f"*{who}*{firm} {escape(did)}: {_standing(view, evidence)}",
        *reasons,
        escape(view.message) if view.message and view.message not in view.reasons else "",
        f"{escape(view.email)}, {phone}",
        f"Given to {escape(rep)}." if rep else "",
        link(url, "Answer"),
    ]


def notice_lines(view: AlertView) -> list[str]:
    """A message of a step, which asks for no answer."""
    who = escape(view.name or view.email)
    firm = f" ({escape(view.company)})" if view.company else ""
    return [escape(view.message or ""), f"*{who}*{firm}, {escape(view.email)}"]


def _standing(view: AlertView, evidence: Mapping[str, Any]) -> str:
    grade = evidence.get("grade", view.fit)
    fit = "fit unknown" if grade == "unknown" else f"fit {grade}"
    return f"{fit}, score {evidence.get('score', 0):.0f} ({evidence.get('score_change', 0):+.0f} in 7 days)"
