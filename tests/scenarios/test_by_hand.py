"""What a person does to enrollments by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nurture.inbound.csv_import import ImportRequest, import_leads
from nurture.pipeline.by_hand import enroll_by_hand, exit_by_hand
from nurture.store import tables as t
from nurture.store.segments import Asking
from nurture.store.suppressions import suppress
from tests.receiving import receiving
from tests.scenarios.workspaces import SECRET, Running, copy_acceptance, start

SUNDAY = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
LEADS = "Email,Time Zone,Tags,Marketing consent\nzoe@a.example,Europe/Berlin,guide,Yes\nmax@b.example,,other,Yes\n"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    with receiving(tmp_path / "mail") as receiver:
        root = copy_acceptance(tmp_path / "workspace", smtp_port=receiver.port)
        made = start(root, at=SUNDAY)
        (root / "two.csv").write_text(LEADS)
        import_leads(made.installation.database, ImportRequest(path=root / "two.csv", source="test"), now=SUNDAY)
        yield made
        made.installation.database.close()


def rows(running: Running, lead_id: int) -> list[tuple[str, str, str | None]]:
    e = t.enrollment.c
    with running.installation.database.reading() as connection:
        found = select(e.cadence, e.status, e.exit_reason).where(e.lead_id == lead_id).order_by(e.id)
        return [(row[0], row[1], row[2]) for row in connection.execute(found)]


def people(running: Running) -> tuple[int, int]:
    """The rows of Zoe and Max."""
    with running.installation.database.reading() as connection:
        ids = {row.email: row.id for row in connection.execute(select(t.lead.c.email, t.lead.c.id))}
    return ids["zoe@a.example"], ids["max@b.example"]


def asked(running: Running) -> dict[str, Any]:
    rules = running.stages.rules
    asking = Asking(now=SUNDAY, half_life=rules.half_life, engagement_cap=rules.engagement_cap)
    return {"asking": asking, "vocabulary": rules.vocabulary}


def test_by_hand_a_lead_enters_whatever_the_segment_says_but_not_without_consent(running: Running) -> None:
    zoe, max_ = people(running)
    with running.installation.database.transaction() as connection:
        suppress(connection, "zoe@a.example", reason="unsubscribed", now=SUNDAY)
        done = enroll_by_hand(connection, [zoe, max_], cadence="guide-followup", **asked(running))
        again = enroll_by_hand(connection, [zoe, max_], cadence="guide-followup", **asked(running))
    assert (done.enrolled, dict(done.refused)) == (1, {"no_consent": 1})
    assert (again.enrolled, dict(again.refused)) == (0, {"no_consent": 1, "already": 1})
    assert rows(running, max_) == [("guide-followup", "active", None)]
    assert rows(running, zoe) == []


def test_leaving_by_hand_lets_the_paused_cadence_run(running: Running) -> None:
    running.once()
    _, max_ = people(running)
    with running.installation.database.transaction() as connection:
        enroll_by_hand(connection, [max_], cadence="guide-followup", **asked(running))
    assert rows(running, max_) == [("welcome", "paused", None), ("guide-followup", "active", None)]
    with running.installation.database.transaction() as connection:
        assert exit_by_hand(connection, max_, cadence="guide-followup", now=SUNDAY) == ["guide-followup"]
        assert exit_by_hand(connection, max_, cadence="guide-followup", now=SUNDAY) == []
    assert rows(running, max_) == [("welcome", "active", None), ("guide-followup", "exited", "removed")]
    with running.installation.database.transaction() as connection:
        assert exit_by_hand(connection, max_, cadence=None, now=SUNDAY) == ["welcome"]
