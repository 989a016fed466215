"""A lead as templates see it: its fields without blanks, custom fields inside, and nothing of the engine's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from nurture.store import tables as t

# What a template may say after `lead.`; `custom.X` stands beside them.
LEAD_FIELDS = (
    "email",
    "first_name",
    "last_name",
    "title",
    "company",
    "phone",
    "country",
    "timezone",
    "language",
    "source",
    "channel",
    "campaign",
    "offer",
    "persona",
    "partner",
    "owner",
    "stage",
    "fit",
    "created_at",
)
LEAD_COLUMNS = [t.lead.c.id, t.lead.c.custom, *(t.lead.c[name] for name in LEAD_FIELDS)]


def lead_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that templates get; a field the lead lacks, a blank one included, is absent."""
    return view_of([row[name] for name in LEAD_FIELDS], row["custom"])


def view_of(values: Sequence[Any], custom: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same of the values of LEAD_FIELDS, in their order."""
    view = {name: value for name, value in zip(LEAD_FIELDS, values, strict=True) if value is not None and value != ""}
    view["custom"] = {name: value for name, value in custom.items() if value not in (None, "")} if custom else {}
    return view


def lead_views(connection: Connection, lead_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """id -> the mapping that templates get."""
    ids, views = sorted(set(lead_ids)), {}
    for start in range(0, len(ids), 500):
        rows = connection.execute(select(*LEAD_COLUMNS).where(t.lead.c.id.in_(ids[start : start + 500])))
        for row in rows.mappings():
            views[row["id"]] = lead_view(dict(row))
    return views
