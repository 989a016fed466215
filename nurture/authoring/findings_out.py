"""Findings in the forms that people and programs read: lines, JSON, GitHub annotations, SARIF 2.1.0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from nurture.documents.codes import FINDING_CODES
from nurture.documents.finding import Finding

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def count(findings: Sequence[Finding], level: str) -> int:
    return sum(finding.level == level for finding in findings)


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """What `check --json` prints."""
    return {
        "errors": count(findings, "error"),
        "warnings": count(findings, "warning"),
        "findings": [asdict(finding) for finding in findings],
    }


def as_github(findings: Sequence[Finding]) -> list[str]:
    """Workflow commands, one an annotation."""
    return [
        f"::{finding.level} file={_property(finding.file)},line={finding.line},col={finding.column}"
        f",title={_property(finding.code)}::{_data(finding.message)}"
        for finding in findings
    ]


def _data(text: str) -> str:
    """Escaped as the runner reads it; other control characters could play with the log, and are left out."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return "".join(char if char.isprintable() else "·" for char in escaped)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """One run of the tool `nurture`, for code scanning."""
    rules = sorted({finding.code for finding in findings})
    told = [{"id": code, "shortDescription": {"text": FINDING_CODES[code]}} for code in rules]
    driver = {"name": "nurture", "rules": told}
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, rules.index(finding.code)) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    location = {"artifactLocation": {"uri": _uri(finding.file)}, "region": region}
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": location}],
    }


def _uri(file: str) -> str:
    """Relative (RFC 3986, 4.2): a `:` in the first part would make it a scheme. Odd bytes of a name go as they are."""
    return quote(file.encode("utf-8", "surrogateescape"), safe="/")
