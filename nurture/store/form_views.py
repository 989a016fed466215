"""Views of hosted forms, counted a day; no person in it."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection

from nurture.store import tables as t
from nurture.store.database import insert


def count_view(connection: Connection, form: str, *, day: date) -> None:
    statement = insert(connection, t.form_view).values(form=form, day=day.isoformat(), views=1)
    again = {"views": t.form_view.c.views + 1}
    connection.execute(statement.on_conflict_do_update(index_elements=["form", "day"], set_=again))
