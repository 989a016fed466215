"""What is wrong in a file, and where: the one form in which everything that reads files reports mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """`file` is relative to the workspace; `line` and `column` count from 1, in characters."""

    file: str
    line: int
    column: int
    level: Level = "error"
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.message} [{self.code}]"


def has_errors(findings: list[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)
