"""What is wrong in a file, and where: the one form in which everything that reads files reports mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nurture.documents.codes import FINDING_CODES

Level = Literal["error", "warning"]
LONGEST = 500


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """`file` is relative to the workspace; `line` and `column` count from 1, in characters.

    `code` is one of FINDING_CODES; raises LookupError for any other, which only a programmer can make. `message` is
    one line of at most LONGEST characters that all can be seen, whatever it quotes; of a longer one the ends are kept.
    """

    file: str
    line: int
    column: int
    level: Level = "error"
    code: str
    message: str

    def __post_init__(self) -> None:
        if self.code not in FINDING_CODES:
            raise LookupError(f"no finding has the code '{self.code}': it belongs into documents/codes.py")
        object.__setattr__(self, "message", _one_line(self.message))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.message} [{self.code}]"


def _one_line(text: str) -> str:
    seen = "".join(char if char.isprintable() else "·" for char in text)
    return seen if len(seen) <= LONGEST else f"{seen[: LONGEST // 2]}…{seen[1 - LONGEST // 2 :]}"


def has_errors(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)
