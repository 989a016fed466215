"""One row of a list -> a lead with its consent, or the reason why not. Pure but for the clock that is handed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from disposable_email_domains import blocklist

from nurture.domain.addresses import Address, AddressProblem, read_address
from nurture.domain.characters import is_plain, trimmed
from nurture.domain.custom import read_moment
from nurture.domain.folding import fold
from nurture.domain.stages import Stage
from nurture.inbound import columns as col
from nurture.inbound.columns import Column
from nurture.store.consents import NewConsent
from nurture.store.lead_fields import (
    CUSTOM,
    LEAD_FIELDS,
    LONGEST_FIELD,
    LONGEST_TAG,
    FieldProblem,
    read_custom_field,
    read_field,
    read_tag,
)
from nurture.store.leads import LeadInput


class Rejection(StrEnum):
    """Why a row is not taken, in the order in which the reasons are told."""

    BAD_ROW = "bad_row"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"
    UNSAFE_CHARACTERS = "unsafe_characters"
    NO_CONSENT = "no_consent"
    DISPOSABLE = "disposable"
    ERASED = "erased"
    SUPPRESSED = "suppressed"


_YES_WORDS = """
    yes y true t 1 x on ja j oui o si sí sim s tak da kyllä はい 是 ✓ ✔
    checked granted given accepted agreed confirmed subscribed express opt-in
"""
YES = frozenset([*_YES_WORDS.split(), "opt in", "opted in", "double opt-in", "double opt in"])
"""What a consent column says when it says yes, in small letters."""

_STAGES: Mapping[str, Stage] = {
    **{stage.value: stage for stage in Stage if stage != Stage.VISITOR},
    "marketing qualified lead": Stage.MQL,
    "marketingqualifiedlead": Stage.MQL,
    "product qualified lead": Stage.PQL,
    "sales qualified lead": Stage.SQL,
    "salesqualifiedlead": Stage.SQL,
    "evangelist": Stage.CUSTOMER,
    "client": Stage.CUSTOMER,
    "unqualified": Stage.DISQUALIFIED,
}
_GONE: Mapping[str, str] = {
    **dict.fromkeys(("unsubscribed", "opted out", "opt-out", "opt out", "optedout"), "unsubscribed"),
    **dict.fromkeys(("cleaned", "bounced", "hard bounced", "hard bounce", "invalid"), "bounced"),
    **dict.fromkeys(("complained", "complaint", "spam", "reported as spam"), "complained"),
}
"""What a status column says of those who get nothing."""
_NOT_SO = frozenset(("", "no", "n", "false", "f", "0", "nein", "non", "never", "none", "null", "n/a", "-", "nan"))
_GERMAN_DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?", re.ASCII)
_SLASHED_DAY = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:,? (\d{1,2}):(\d\d)(?::(\d\d))?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeadRow:
    """A row as read. `rejection` is empty for one that may be taken; `suppression` acts whatever the row says else."""

    address: Address | None = None
    rejection: str = ""
    detail: str = ""
    suppression: str = ""
    lead: LeadInput | None = None
    stage: Stage | None = None
    notes: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The key of its address; "" where there is none."""
        return self.address.key if self.address is not None else ""


class RowReader:
    """Reads the rows of one file. `consent_text` stands for a column of consent; `owners` is folded name -> rep."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        source: str,
        consent_text: str | None,
        tags: Sequence[str],
        owners: Mapping[str, str],
        import_id: int | None,
    ) -> None:
        self._columns, self._source, self._consent_text = columns, source, consent_text
        self._owners, self._import_id, self._own_tags = owners, import_id, [read_tag(tag) for tag in tags]
        by_target: dict[str, list[Column]] = {}
        for column in columns:
            by_target.setdefault(column.target, []).append(column)
        self._places = {target: tuple(each.index for each in found) for target, found in by_target.items()}
        self._headers = {target: found[0].header for target, found in by_target.items()}
        # the country before the phone that it reads
        names = sorted((name for name in self._places if name in LEAD_FIELDS), key=lambda name: name != "country")
        self._fields = [(name, self._places[name][0]) for name in names]
        custom = (column for column in columns if column.target.startswith(CUSTOM))
        self._custom = [(column.target.removeprefix(CUSTOM), column.index) for column in custom]
        self._splits_name = col.NAME in self._places and not {"first_name", "last_name"} & set(self._places)

    def read(self, cells: Sequence[str]) -> LeadRow:
        """Everything that the row says; nothing of it is looked up or stored."""
        try:
            address = read_address(self._cell(cells, col.EMAIL))
        except AddressProblem as problem:
            return LeadRow(rejection=problem.reason, detail=str(problem))
        gone = self._suppression(cells)
        try:
            self._check_cells(cells)
        except FieldProblem as problem:
            rejection = Rejection.UNSAFE_CHARACTERS if problem.fault == "unsafe_characters" else Rejection.BAD_ROW
            return LeadRow(address=address, suppression=gone, rejection=rejection, detail=str(problem))
        created_at = read_time(self._cell(cells, col.CREATED_AT))
        consent, note = self._consent(cells, created_at)
        if consent is None:
            return LeadRow(address=address, suppression=gone, rejection=Rejection.NO_CONSENT, detail=note)
        if address.domain in blocklist:
            detail = f"{address.domain} lends addresses for a day"
            return LeadRow(address=address, suppression=gone, rejection=Rejection.DISPOSABLE, detail=detail)
        lead, notes = self._lead(address, cells, created_at, consent)
        notes += [note] if note else []
        stage = _stage(self._cell(cells, col.STAGE))
        return LeadRow(address=address, suppression=gone, lead=lead, stage=stage, notes=notes)

    def _cell(self, cells: Sequence[str], target: str) -> str:
        """The first cell of this meaning; "" where there is no such column."""
        places = self._places.get(target)
        return cells[places[0]] if places else ""

    def _cells(self, cells: Sequence[str], target: str) -> Iterator[str]:
        for index in self._places.get(target, ()):
            yield trimmed(cells[index])

    def _check_cells(self, cells: Sequence[str]) -> None:
        """Raises FieldProblem for the cell that makes the row one not to be taken."""
        whole = "".join(cells)
        if is_plain(whole) and len(whole) <= LONGEST_FIELD:
            return
        for column in self._columns:
            cell = cells[column.index]
            if cell and column.target != col.IGNORE:
                check_cell(column, cell)

    def _lead(
        self, address: Address, cells: Sequence[str], created_at: datetime | None, consent: NewConsent
    ) -> tuple[LeadInput, list[str]]:
        """The lead, and which of its values could not be read and are left out."""
        fields, notes = {"source": self._source}, []
        for name, index in self._fields:
            value = trimmed(cells[index])
            if not value:
                continue
            try:
                fields[name] = read_field(name, value, country=fields.get("country"))
            except FieldProblem:
                notes.append(f"unreadable_{name}")
        if "owner" in fields:
            fields["owner"] = self._owners.get(fold(fields["owner"]), fields["owner"])
        if self._splits_name:
            first, _, last = trimmed(self._cell(cells, col.NAME)).partition(" ")
            fields |= {"first_name": first, "last_name": last.strip()}
        custom = {name: value for name, index in self._custom if (value := trimmed(cells[index]))}
        status = trimmed(self._cell(cells, col.STATUS))
        if status:
            custom.setdefault(col.STATUS, status)
        lead = LeadInput(
            address=address,
            fields=fields,
            custom=custom,
            tags=[*self._own_tags, *(tag for cell in self._cells(cells, col.TAGS) for tag in read_tags(cell))],
            created_at=created_at,
            import_id=self._import_id,
            consent=consent,
        )
        return lead, notes

    def _consent(self, cells: Sequence[str], created_at: datetime | None) -> tuple[NewConsent | None, str]:
        """The proof, and a note; or None, and what the row says instead of yes."""
        said = trimmed(self._cell(cells, col.CONSENT))
        if col.CONSENT in self._places:
            header = self._headers[col.CONSENT]
            if said.lower() not in YES:
                return None, f"{header} says '{said}'" if said else f"{header} is blank"
            text = self._consent_text or f"{header}: {said}"
        elif self._consent_text:
            text = self._consent_text
        else:
            return None, "the file has no column of consent"
        given = trimmed(self._cell(cells, col.CONSENT_AT))
        at = read_time(given)
        note = "unreadable_consent_date" if given and at is None else ""
        return NewConsent(text=text, source=self._source, at=at or created_at), note

    def _suppression(self, cells: Sequence[str]) -> str:
        """The reason why this address gets nothing, whatever the row says else; "" for none."""
        reasons = [_GONE.get(cell.lower(), "") for cell in self._cells(cells, col.STATUS)]
        reasons += ["bounced" for cell in self._cells(cells, col.BOUNCED) if cell.lower() not in _NOT_SO]
        reasons += ["unsubscribed" for cell in self._cells(cells, col.OPT_OUT) if cell.lower() not in _NOT_SO]
        return next((reason for reason in ("complained", "bounced", "unsubscribed") if reason in reasons), "")


def check_cell(column: Column, cell: str) -> None:
    """Raises FieldProblem for a cell that no field may hold: see `lead_fields`."""
    if any("\ud800" <= char <= "\udfff" for char in cell):
        raise FieldProblem("unreadable", f"{column.header}: bytes that are no text in the file's encoding")
    try:
        if column.is_free:
            read_custom_field("", cell)
        elif column.target == col.TAGS:
            read_custom_field("", cell.replace("\n", "\0"))
        else:
            read_field("", cell)
    except FieldProblem as problem:
        what = "too long" if problem.fault == "too_long" else "control or direction characters are in it"
        raise FieldProblem(problem.fault, f"{column.header}: {what}") from None


def read_tags(cell: str) -> list[str]:
    """`a;b`, and Mailchimp's `"a","b"`; a plain comma belongs to the tag. One that is too long is no tag."""
    parts = re.findall(r'"([^"]*)"', cell) if cell.startswith('"') else cell.split(";")
    return [tag for part in parts if 0 < len(tag := trimmed(part)) <= LONGEST_TAG]


@lru_cache(maxsize=4096)
def read_time(text: str) -> datetime | None:
    """ISO, `30.06.2026 10:40`, and `6/30/2026` where only one order of day and month is possible; UTC."""
    text = trimmed(text)
    if not text or len(text) > 40:
        return None
    found = read_moment(text)
    if found is not None:
        return found
    if match := _GERMAN_DAY.fullmatch(text):
        return _moment(match, day=int(match[1]), month=int(match[2]))
    if match := _SLASHED_DAY.fullmatch(text):
        first, second = int(match[1]), int(match[2])
        if first > 12 or second > 12 or first == second:
            return _moment(match, day=max(first, second), month=min(first, second))
    return None


def _moment(match: re.Match[str], *, day: int, month: int) -> datetime | None:
    hour, minute, second = (int(match[group] or 0) for group in (4, 5, 6))
    try:
        return datetime(int(match[3]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _stage(text: str) -> Stage | None:
    """The stage that another system means; a name that is none of ours is a lead."""
    said = trimmed(text)
    return _STAGES.get(" ".join(said.replace("_", " ").lower().split()), Stage.LEAD) if said else None
