"""What content tests share: a templates' folder written from text, and a letter request that can be varied."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nurture.content.letters import LetterRequest, LinkStyle
from nurture.content.templates import TemplateLibrary

TRACKED = LinkStyle(
    click_base="https://go.acme.example/c/ab12.7.Zm9v",
    open_url="https://go.acme.example/o/ab12.7.Zm9v.gif",
    unsubscribe_url="https://go.acme.example/u/ab12.7.Zm9v",
    preferences_url="https://go.acme.example/u/ab12.7.Zm9v?page=preferences",
    one_click_url="https://go.acme.example/u/ab12.7.Zm9v",
)
UNTRACKED = LinkStyle(
    unsubscribe_url="https://go.acme.example/u/ab12.7.Zm9v",
    preferences_url="https://go.acme.example/u/ab12.7.Zm9v?page=preferences",
)
WORKSPACE = {"name": "Acme", "postal_address": "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin"}


def mjml(body: str, head: str = "") -> str:
    """A whole template around some text in one column."""
    return column(f"<mj-text>{body}</mj-text>", head)


def column(blocks: str, head: str = "") -> str:
    return (
        f"<mjml><mj-head>{head}</mj-head><mj-body><mj-section><mj-column>{blocks}</mj-column></mj-section>"
        "</mj-body></mjml>"
    )


def library(folder: Path, **files: str) -> TemplateLibrary:
    """Files by name: `welcome` is welcome.mjml, `welcome_txt` is welcome.txt, `welcome_de` is welcome.de.mjml."""
    for name, text in files.items():
        file = name.replace("_txt", ".txt") if name.endswith("_txt") else name.replace("_de", ".de") + ".mjml"
        (folder / file).write_text(text, encoding="utf-8")
    return TemplateLibrary(folder, recheck_seconds=0)


def request(template: str = "letter", **changed: Any) -> LetterRequest:
    lead = changed.pop("lead", {"first_name": "Zoë", "custom": {}})
    context = {"lead": lead, "workspace": WORKSPACE, **changed.pop("context", {})}
    given: dict[str, Any] = {
        "template": template,
        "subject": "Three numbers",
        "preheader": "",
        "language": "en",
        "per_lead": False,
        "context": context,
        "from_name": "Anna Meier",
        "from_address": "anna@acme.example",
        "reply_to": "anna@acme.example",
        "to_name": None,
        "to_address": "zoe@example.com",
        "message_id": "7.0123456789ab@acme.example",
        "date": datetime(2026, 11, 2, 9, 0, tzinfo=UTC),
        "links": TRACKED,
        "list_id": "product.acme.example",
        "feedback_id": "guide:intro:acme",
        "auto_submitted": False,
        "references": (),
        "dkim": (),
    }
    return LetterRequest(**(given | changed))
