"""A list of addresses and @domains that get nothing: one a line, or the first column of a CSV. All of it, or none."""

from __future__ import annotations

from pathlib import Path

from nurture.domain.addresses import AddressProblem, read_address
from nurture.domain.characters import trimmed
from nurture.domain.problem import Problem

LARGEST = 64 * 1024 * 1024
_SHOWN = 20
_HEADERS = ("email", "email address", "e-mail", "address", "domain")


def read_suppressions(path: Path) -> list[str]:
    """Address keys and "@domain"s, each once, in the file's order. Raises Problem with a line for each bad one."""
    keys: dict[str, None] = {}
    findings: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cell = trimmed(line.replace(";", ",").replace("\t", ",").split(",", 1)[0]).strip('"')
        if not cell or cell.startswith("#") or (number == 1 and cell.lower() in _HEADERS):
            continue
        try:
            keys[suppression_key(cell)] = None
        except AddressProblem as problem:
            findings.append(f"{path.name}:{number}: no address and no @domain: {problem}")
    if findings:
        more = [f"… and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
        raise Problem("\n".join([*findings[:_SHOWN], *more, "nothing was suppressed: mend these lines"]))
    return list(keys)


def suppression_key(text: str) -> str:
    """The key of an address, or "@domain" in small letters and ASCII. Raises AddressProblem."""
    bare = trimmed(text)
    if bare.startswith("@"):
        return "@" + read_address(f"x{bare}").domain
    return read_address(bare).key


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise Problem(f"{path}: larger than 64 MiB: split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Problem(f"{path}: this is no text in UTF-8") from None
