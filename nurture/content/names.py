"""The names that templates may speak of, so that a slip of the pen is an error before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

LEAD_FIELDS = frozenset(
    {
        *("email", "first_name", "last_name", "title", "company", "phone", "country", "timezone", "language"),
        *("source", "channel", "campaign", "offer", "persona", "partner", "owner", "external_id", "tags", "custom"),
        *("stage", "fit", "engagement", "score", "temperature", "funnel", "prospect"),
        *("created_at", "consented_at", "last_engaged_at", "contacted_at", "email_verified_at", "phone_verified_at"),
    }
)

# root -> the names below it; None: any (the names are someone's data)
ROOTS: Mapping[str, frozenset[str] | None] = {
    "lead": LEAD_FIELDS,
    "owner": frozenset({"name", "first_name", "email", "title", "phone", "meeting_url", "timezone"}),
    "sender": frozenset({"name", "first_name", "email", "title", "phone", "meeting_url", "reply_to"}),
    "workspace": frozenset({"name", "postal_address", "public_url", "language", "country", "timezone"}),
    "event": None,
    "offer": None,
    "vars": None,
}
URLS = frozenset({"unsubscribe_url", "preferences_url", "view_url", "stay_url", "offer_url", "confirm_url"})


@dataclass(frozen=True, kw_only=True)
class TemplateNames:
    """`custom` holds the declared custom fields; None where config.toml has no `[fields]`, so that any will do."""

    roots: Mapping[str, frozenset[str] | None] = field(default_factory=lambda: ROOTS)
    urls: frozenset[str] = URLS
    custom: frozenset[str] | None = None

    def complaint(self, dotted: str) -> str | None:
        """What is wrong with a dotted name, with the nearest right one; None when nothing is."""
        root, *rest = dotted.split(".")
        if root in self.urls:
            return f"{root} is an address and has no fields" if rest else None
        if root not in self.roots:
            return _unknown(dotted, root, [*self.roots, *self.urls])
        below = self.roots[root]
        if below is not None and rest and rest[0] not in below:
            return _unknown(dotted, rest[0], sorted(below), prefix=f"{root}.")
        if root == "lead" and len(rest) > 1 and rest[0] == "custom" and self.custom is not None:
            return None if rest[1] in self.custom else _unknown(dotted, rest[1], self.custom, prefix="lead.custom.")
        if root == "lead" and len(rest) > 1 and rest[0] != "custom":
            return f"lead.{rest[0]} has no fields of its own"
        return None


def nearest(word: str, among: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing."""
    found = get_close_matches(word, list(among), n=1, cutoff=0.6)
    return f'; did you mean "{found[0]}"?' if found else ""


def _unknown(dotted: str, word: str, among: Iterable[str], prefix: str = "") -> str:
    found = get_close_matches(word, list(among), n=1, cutoff=0.6)
    return f'unknown name "{dotted}"' + (f'; did you mean "{prefix}{found[0]}"?' if found else "")
