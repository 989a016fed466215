"""Findings for programs: GitHub's annotations and SARIF 2.1.0, also where names and texts are hostile."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from nurture.authoring.findings_out import as_document, as_github, as_sarif
from nurture.documents.codes import FINDING_CODES
from nurture.documents.finding import LONGEST, Finding

HOSTILE = [
    "a,b.yaml",
    "a:b.yaml",
    "::error file=x::owned.yaml",
    "line\nbreak\r.yaml",
    "50% off.yaml",
    "Grüße 日本.yaml",
    "c:\\windows\\x.yaml",
    "\x1b[31mred\u202e.yaml",
    "http://evil.example/x.yaml",
    "odd\udcffbyte.yaml",
]


def test_a_message_is_one_line_that_can_be_seen_with_both_its_ends() -> None:
    said = finding(message="unknown\n'" + "\u202e" * 5_000 + "': use x").message
    assert said.startswith("unknown·'··")
    assert said.endswith("··': use x")
    assert len(said) == LONGEST


def finding(file: str = "cadences/x.yaml", message: str = "m", code: str = "value") -> Finding:
    return Finding(file=file, line=3, column=4, code=code, message=message, level="warning")


def test_an_annotation_has_its_place_and_its_code() -> None:
    said = Finding(file="a,b.yaml", line=3, column=4, code="value", message="50% of it: x")
    assert as_github([said]) == ["::error file=a%2Cb.yaml,line=3,col=4,title=value::50%25 of it: x"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_name_or_a_text_ends_an_annotation_or_adds_a_property(text: str) -> None:
    (line,) = as_github([finding(file=text, message=text)])
    found = re.fullmatch(r"::warning file=([^,:]*),line=3,col=4,title=value::(.*)", line)
    assert found
    assert line.isprintable()
    plain = text.replace("\x1b", "·").replace("\u202e", "·").replace("\udcff", "·")
    assert _unescaped(found[1]) == plain
    assert _unescaped(found[2]) == plain.replace("\n", "·").replace("\r", "·")


def _unescaped(text: str) -> str:
    """As the runner of GitHub's actions reads a command (actions/runner, ActionCommand)."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize("text", HOSTILE)
def test_sarif_names_files_relative_to_the_workspace(text: str) -> None:
    result = as_sarif([finding(file=text, message=text)])["runs"][0]["results"][0]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})+", uri)
    assert unquote(uri, errors="surrogateescape") == text


def test_what_sarif_asks_for_is_there() -> None:
    log = as_sarif([finding(), finding(code="render"), finding(code="value", message="other")])
    assert json.loads(json.dumps(log)) == log
    assert _mistakes(log, SARIF, "$") == []
    (run,) = log["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ids == sorted(set(ids)) == ["render", "value"]
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]


def test_without_findings_it_is_a_run_with_no_results() -> None:
    log = as_sarif([])
    assert _mistakes(log, SARIF, "$") == []
    assert log["runs"][0]["results"] == []


def test_the_check_of_sarif_sees_what_is_wrong() -> None:
    log = as_sarif([finding()])
    del log["runs"][0]["tool"]["driver"]["name"]
    log["runs"][0]["results"][0]["level"] = "fatal"
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert len(_mistakes(log, SARIF, "$")) == 3


def test_every_code_has_its_words_in_sarif() -> None:
    log = as_sarif([finding(code=code) for code in FINDING_CODES])
    told = {rule["id"]: rule["shortDescription"]["text"] for rule in log["runs"][0]["tool"]["driver"]["rules"]}
    assert told == dict(FINDING_CODES)


def test_the_document_counts() -> None:
    document = as_document([finding(), Finding(file="x", line=1, column=1, code="value", message="m")])
    assert (document["errors"], document["warnings"]) == (1, 1)
    assert set(document["findings"][0]) == {"file", "line", "column", "level", "code", "message"}


TEXT: dict[str, Any] = {"required": {"text": str}}
REGION: dict[str, Any] = {"required": {}, "optional": {"startLine": 1, "startColumn": 1}}
PLACE: dict[str, Any] = {"optional": {"artifactLocation": {"optional": {"uri": str}}, "region": REGION}}
RESULT: dict[str, Any] = {
    "required": {"message": {"optional": {"text": str}}},
    "optional": {
        "ruleId": str,
        "ruleIndex": 0,
        "level": {"none", "note", "warning", "error"},
        "locations": [{"optional": {"physicalLocation": PLACE}}],
    },
}
DRIVER: dict[str, Any] = {
    "required": {"name": str},
    "optional": {"rules": [{"required": {"id": str}, "optional": {"shortDescription": TEXT}}], "informationUri": str},
}
SARIF: dict[str, Any] = {
    "required": {
        "version": {"2.1.0"},
        "runs": [
            {
                "required": {"tool": {"required": {"driver": DRIVER}}},
                "optional": {"results": [RESULT], "columnKind": {"utf16CodeUnits", "unicodeCodePoints"}},
            }
        ],
    },
    "optional": {"$schema": str},
}
"""What the schema of OASIS (sarif-schema-2.1.0.json) says of the parts that are written here: types, required keys,
least values and enumerations; none of these objects may have other keys."""


def _mistakes(value: Any, wanted: Any, path: str) -> list[str]:
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return [f"{path}: no object"]
        required, known = wanted.get("required", {}), {**wanted.get("required", {}), **wanted.get("optional", {})}
        wrong = [f"{path}: no {key}" for key in required if key not in value]
        wrong += [f"{path}: {key} is not known" for key in value if key not in known]
        return wrong + [
            each for key, held in value.items() if key in known for each in _mistakes(held, known[key], f"{path}.{key}")
        ]
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return [f"{path}: no array"]
        return [each for at, held in enumerate(value) for each in _mistakes(held, wanted[0], f"{path}[{at}]")]
    if isinstance(wanted, set):
        return [] if value in wanted else [f"{path}: {value}"]
    if isinstance(wanted, int):
        return [] if isinstance(value, int) and value >= wanted else [f"{path}: {value} < {wanted}"]
    return [] if isinstance(value, wanted) else [f"{path}: {value!r}"]
