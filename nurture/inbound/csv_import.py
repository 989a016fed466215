"""A list of leads -> leads, consents and suppressions, in batches: constant memory, and harmless to run again.

Each batch is one short transaction, so an interrupted import is finished by running it once more. A dry run does all
of it and rolls every batch back.
"""

from __future__ import annotations

import csv
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, insert, update

from nurture.domain.addresses import erased_key
from nurture.domain.problem import Problem
from nurture.domain.stages import Stage
from nurture.inbound.columns import Column, map_columns
from nurture.inbound.csv_file import CsvFile, Record
from nurture.inbound.lead_rows import LeadRow, Rejection, RowReader
from nurture.inbound.scratch import Scratch
from nurture.store import tables as t
from nurture.store.consents import NewConsent, email_proofs, give_consents, given_at
from nurture.store.database import Database
from nurture.store.leads import KnownLeads, LeadInput, SavedLead, known_leads, raise_stages, save_leads, would_change
from nurture.store.suppressions import has_erased, suppress_all, suppressed_among

BATCH = 2_000
"""Rows that are taken in together."""
CHANGED_AT_ONCE = 500
"""Rows of leads that are known; each brings along all that is on file of it."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """`mapping` is column -> field, `owners` folded name or address -> rep.

    `secrets` gives the workspace's secret keys; it is asked only where anyone was ever erased.
    """

    path: Path
    source: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    consent_text: str | None = None
    owners: Mapping[str, str] = field(default_factory=dict)
    secrets: Callable[[], Sequence[str]] = tuple
    rejects: Path | None = None
    dry_run: bool = False


@dataclass(kw_only=True)
class ImportReport:
    """`valid` leads and `updated_duplicates` (later rows of one of them) were taken, `rejected` rows not.

    Of the valid leads `created` are new, `changed` were known and have something new, `unchanged` have not.
    `suppressed` addresses are new among those that get nothing. `notes` counts values left out, by what they were.
    """

    rows: int = 0
    valid: int = 0
    updated_duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    suppressed: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    encoding: str = ""
    columns: Sequence[Column] = ()

    def counts(self) -> dict[str, Any]:
        """What is printed and kept: JSON-able."""
        counted = {**self.__dict__, "rejected": dict(sorted(self.rejected.items()))}
        counted["notes"] = dict(sorted(self.notes.items()))
        counted["columns"] = {column.header: column.target for column in self.columns}
        return counted


def import_leads(
    database: Database, request: ImportRequest, *, now: datetime, progress: Callable[[int, int], None] | None = None
) -> ImportReport:
    """Take the list in. `progress` is told the bytes read and their sum. Raises Problem for what is no list."""
    with CsvFile(request.path) as file, closing(Scratch()) as scratch, _calm_collector():
        columns = map_columns(file.columns, request.mapping)
        with _rejects(request, file.columns) as reject:
            run = _Run(database, request, columns, scratch, now)
            for batch in _batches(file):
                run.take(batch, reject)
                if progress is not None:
                    progress(file.position, file.size)
            run.take_later(reject)
    run.report.encoding = file.encoding.removesuffix("-sig")
    run.finish()
    return run.report


class _Reject(Protocol):
    def __call__(self, record: Record, reason: str, detail: str) -> None: ...


class _Run:
    """One import under way."""

    def __init__(
        self, database: Database, request: ImportRequest, columns: Sequence[Column], scratch: Scratch, now: datetime
    ) -> None:
        self._database, self._request, self._scratch, self._now = database, request, scratch, now
        self.report = ImportReport(columns=columns)
        self._import_id = None if request.dry_run else self._begin()
        self._reader = RowReader(
            columns,
            source=request.source,
            consent_text=request.consent_text,
            tags=request.tags,
            owners=request.owners,
            import_id=self._import_id,
        )

    def take(self, records: Sequence[Record], reject: _Reject) -> None:
        """One batch. Rows that would change a known lead wait until the end of the file.

        Another row of the same address may stand further down, and the last one has the say: a file that is imported
        again changes nothing, not even for a moment.
        """
        self._take(records, reject, put_off=True)

    def take_later(self, reject: _Reject) -> None:
        for records in self._scratch.later(CHANGED_AT_ONCE):
            self._take(records, reject, put_off=False)

    def _take(self, records: Sequence[Record], reject: _Reject, *, put_off: bool) -> None:
        """Read, look up, write, count."""
        rows = [(record, self._read(record)) for record in records]
        with self._database.engine.connect() as connection, connection.begin() as transaction:
            refused = self._suppress(connection, [row for _, row in rows])
            accepted = {record.line: row for record, row in rows if not row.rejection and row.key not in refused}
            known = known_leads(connection, sorted({row.key for row in accepted.values()}))
            waiting = self._waiting(known, accepted.values()) if put_off else set()
            taken = [row for row in accepted.values() if row.key not in waiting]
            saved = self._save(connection, taken, known)
            if self._request.dry_run:
                transaction.rollback()
        self._scratch.put_off(
            (row.key, record) for record, row in rows if record.line in accepted and row.key in waiting
        )
        for record, row in rows:
            if record.line not in accepted:
                reason = row.rejection or refused[row.key]
                self.report.rejected[reason] += 1
                self.report.rows += 1
                reject(record, reason, row.detail)
        self._count(taken, saved, known)
        gc.collect()  # see _calm_collector

    def _waiting(self, known: KnownLeads, rows: Iterable[LeadRow]) -> set[str]:
        leads = [row.lead for row in rows if row.lead is not None]
        return would_change(known, leads) | self._scratch.put_off_among(lead.address.key for lead in leads)

    def _met_first(self, saved: Mapping[str, SavedLead], known: KnownLeads) -> set[str]:
        """The addresses that no earlier row of this file had. A lead that this run made tells so by itself."""
        if self._import_id is None:
            return self._scratch.add(saved)
        made = {key for key, one in saved.items() if one.created}
        others = (key for key in saved if key not in made)
        return made | self._scratch.add(
            key for key in others if key not in known or known[key]["import_id"] != self._import_id
        )

    def finish(self) -> None:
        if self._import_id is not None:
            one = update(t.import_run).where(t.import_run.c.id == self._import_id)
            with self._database.transaction() as connection:
                connection.execute(one.values(counts=self.report.counts()))

    def _begin(self) -> int:
        row = {"at": self._now, "file": self._request.path.name, "source": self._request.source, "counts": {}}
        with self._database.transaction() as connection:
            made = connection.execute(insert(t.import_run).values(row).returning(t.import_run.c.id))
            return int(made.scalar_one())

    def _read(self, record: Record) -> LeadRow:
        if record.fault:
            return LeadRow(rejection=Rejection.BAD_ROW, detail=record.fault)
        return self._reader.read(record.cells)

    def _suppress(self, connection: Connection, rows: Iterable[LeadRow]) -> dict[str, str]:
        """Write what the list says of opt-outs and bounces; key -> why it is refused, of those that get nothing."""
        suppressions = {row.key: row.suppression for row in rows if row.key}
        erased = self._erased(connection, sorted(suppressions))
        gone = {key: reason for key, reason in suppressions.items() if reason and key not in erased}
        note = f"import of {self._request.path.name}"
        self.report.suppressed += len(suppress_all(connection, gone, now=self._now, note=note))
        refused = dict.fromkeys(suppressed_among(connection, sorted(suppressions)), Rejection.SUPPRESSED.value)
        return refused | dict.fromkeys(erased, Rejection.ERASED.value)

    def _erased(self, connection: Connection, keys: Sequence[str]) -> set[str]:
        if not has_erased(connection):
            return set()
        hashes = {erased_key(secret, key): key for secret in self._request.secrets() for key in keys}
        return {hashes[found] for found in suppressed_among(connection, sorted(hashes))}

    def _save(self, connection: Connection, rows: Sequence[LeadRow], known: KnownLeads) -> dict[str, SavedLead]:
        """Fields and tags, then consents and stages; a lead that is made has its consent by that."""
        leads = [row.lead for row in rows if row.lead is not None]
        saved = save_leads(connection, leads, now=self._now, known=known)
        given, too_late = _new_proofs(connection, leads, saved, self._now)
        if too_late:
            self.report.notes["consent_withdrawn_since"] += too_late
        give_consents(connection, given, now=self._now)
        hints = {saved[row.key].id: row.stage for row in rows if row.stage not in (None, Stage.LEAD)}
        raise_stages(connection, hints, because=f"import of {self._request.source}", now=self._now)
        return saved

    def _count(self, taken: Sequence[LeadRow], saved: Mapping[str, SavedLead], known: KnownLeads) -> None:
        report = self.report
        report.rows += len(taken)
        for row in taken:
            report.notes.update(row.notes)
        fresh = self._met_first(saved, known)
        report.valid += len(fresh)
        report.updated_duplicates += len(taken) - len(fresh)
        for key in fresh:
            report.created += saved[key].created
            report.changed += saved[key].changed
            report.unchanged += not saved[key].created and not saved[key].changed


def _new_proofs(
    connection: Connection, leads: Iterable[LeadInput], saved: Mapping[str, SavedLead], now: datetime
) -> tuple[list[tuple[int, NewConsent]], int]:
    """The consents that are not on file yet; and how many are older than the lead's withdrawal, and so no consent."""
    claimed: set[int] = set()
    wanted: list[tuple[int, NewConsent]] = []
    for lead in leads:
        one = saved[lead.address.key]
        if lead.consent is not None and (not one.created or one.id in claimed):
            wanted.append((one.id, lead.consent))
        claimed.add(one.id)
    proofs = email_proofs(connection, [lead_id for lead_id, _ in wanted])
    on_file = {(lead_id, each.text, each.source, each.at) for lead_id, found in proofs.items() for each in found}
    undated = {each[:3] for each in on_file}
    given, too_late = [], 0
    for lead_id, consent in wanted:
        at, mark = given_at(consent, now), (lead_id, consent.text, consent.source)
        if (*mark, at) in on_file or (consent.at is None and mark in undated):
            continue
        withdrawn = [each.at for each in proofs.get(lead_id, ()) if not each.granted]
        if withdrawn and at <= max(withdrawn):
            too_late += 1
            continue
        on_file.add((*mark, at))
        undated.add(mark)
        given.append((lead_id, consent))
    return given, too_late


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Python's collector looks through all objects again and again while a batch is built, none of which is garbage.

    That costs a fifth of an import; so it rests until a batch is done, and what was there before is out of its sight.
    It may not rest for longer: a batch leaves few objects behind, so it would not come by itself, but long texts.
    """
    was_on = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        gc.unfreeze()


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    source = iter(records)
    while batch := list(islice(source, BATCH)):
        yield batch


@contextmanager
def _rejects(request: ImportRequest, headers: Sequence[str]) -> Iterator[_Reject]:
    """Where refused rows go: to the file of --rejects, as they were read, after their line and the reason."""
    path = request.rejects
    if path is None:
        yield lambda record, reason, detail: None
        return
    if path.resolve() == request.path.resolve():
        raise Problem(f"--rejects {path}: this is the list itself; name another file")
    try:
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise Problem(f"--rejects {path}: {error.strerror or error}") from None
    with file:
        writer = csv.writer(file)
        writer.writerow(["rejected_line", "rejected_reason", "rejected_detail", *headers])
        yield lambda record, reason, detail: writer.writerow([record.line, reason, detail, *record.cells])
