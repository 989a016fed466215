"""Findings in the forms that people and programs read: lines, JSON, GitHub annotations, SARIF 2.1.0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

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
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """One run of the tool `nurture`, for code scanning."""
    rules = sorted({finding.code for finding in findings})
    driver = {"name": "nurture", "rules": [{"id": code} for code in rules]}
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(finding) for finding in findings]}],
    }


def _result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    location = {"artifactLocation": {"uri": finding.file}, "region": region}
    return {
        "ruleId": finding.code,
        "level": finding.level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": location}],
    }
