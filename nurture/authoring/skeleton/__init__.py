"""A new workspace: the files beside this one, the schemas, and a secret of its own."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nurture.authoring.schema import schemas
from nurture.domain.problem import Problem
from nurture.settings import CONFIG

SECRET_FILE = "secret.key"  # noqa: S105  its name, not a secret
_RENAMED = {"gitignore.txt": ".gitignore"}


def write_skeleton(folder: Path, *, secret: str) -> list[str]:
    """Write a workspace that checks clean into `folder`, which holds none of its files yet.

    Returns the files, relative to the folder. Raises Problem, and then nothing was overwritten.
    """
    contents = {name: source.read_bytes() for name, source in _walk(files(__package__) / "files")}
    for name, schema in schemas().items():
        contents[f".schema/{name}.json"] = (json.dumps(schema, indent=2) + "\n").encode()
    try:
        for name in (CONFIG, SECRET_FILE, *contents):
            if (folder / name).exists():
                raise Problem(f"{folder} has a {name} already: name another folder")
        for name, content in contents.items():
            _write(folder / name, content)
        _write_secret(folder / SECRET_FILE, secret)
    except OSError as error:
        raise Problem(f"no workspace can be written to {folder}: {error.strerror}") from None
    return [*contents, SECRET_FILE]


def _write_secret(path: Path, secret: str) -> None:
    """Readable by its owner alone, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret + "\n")


def _walk(source: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for each in sorted(source.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            found.extend(_walk(each, f"{prefix}{each.name}/"))
        elif not each.name.startswith("__"):
            found.append((prefix + _RENAMED.get(each.name, each.name), each))
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
