"""`docs/how-to/write-a-mail-in-two-languages.md`: its files are written, its commands run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Row, blocks, commands, make_edits, new_workspace, nurture, rows, ticked

PAGE = "how-to/write-a-mail-in-two-languages.md"
WHOSE, SEE = "Whose language", "See it"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = new_workspace(tmp_path_factory.mktemp("languages") / "acme")
    make_edits(PAGE, made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        for command in commands(PAGE, WHOSE):
            nurture(*command)
    return made


def test_what_is_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    check, ida, zoe = (nurture(*command) for command in commands(PAGE, SEE))
    assert "0 errors" in check
    assert "welcome" not in check
    (beginning,) = blocks(PAGE, SEE, "text")
    assert zoe.startswith(beginning)
    assert ida == zoe.replace("Guten Tag Zoe", "Guten Tag Ida")
    html, eml = (
        nurture("render", "welcome/hello", "--lead", "ida@example.com", "--format", each) for each in ("html", "eml")
    )
    assert 'lang="de"' in html
    assert "Was Sie erwartet, und wie Sie wieder gehen" in html
    assert "Subject: Willkommen, Ida" in eml.splitlines()


@pytest.mark.parametrize("row", rows(PAGE, WHOSE), ids=lambda row: row["the lead's `language`"])
def test_whose_language(row: Row, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    asked, file = row["the lead's `language`"], ticked(row["of `welcome.mjml` and `welcome.de.mjml` gets"])
    config = root / "config.toml"
    before = config.read_text()
    said = [each for each in ticked(asked) if each.startswith("language = ")]
    languages = [""] if said else ticked(asked.partition(", which")[0])
    config.write_text(before.replace('language = "en"', said[0]) if said else before)
    try:
        for language in languages:
            nurture("leads", "set", "zoe@example.com", f"language={language}")
            html = nurture("render", "welcome/hello", "--lead", "zoe@example.com")
            assert ["welcome.de.mjml" if "Guten Tag" in html else "welcome.mjml"] == file
    finally:
        config.write_text(before)
        nurture("leads", "set", "zoe@example.com", "language=")


def test_a_region(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    folder = root / "templates" / "email"
    german, swiss = folder / "welcome.de.mjml", folder / "welcome.de-CH.mjml"
    swiss.write_text(german.read_text().replace("Guten Tag", "Grüezi"))

    def greeting(*more: str) -> str:
        html = nurture("render", "welcome/hello", "--lead", "ida@example.com", *more)
        return next(each for each in ("Grüezi", "Guten Tag", "Hello") if each in html)

    try:
        asked = [greeting("--language", each) for each in ("de-CH", "de-AT", "fr")]
        assert [*asked, greeting()] == ["Grüezi", "Guten Tag", "Hello", "Guten Tag"]
        german.rename(folder / "kept")
        assert [greeting("--language", "de-AT"), greeting()] == ["Grüezi", "Grüezi"]
    finally:
        (folder / "kept").rename(german)
        swiss.unlink()


def test_what_stays_in_one_language(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (steps,) = blocks(PAGE, "What stays in one language", "yaml")
    (root / "offers" / "leitfaden.pdf").write_bytes((root / "offers" / "reporting-guide.pdf").read_bytes())
    (root / "cadences" / "guides.yaml").write_text(f"name: Guides\nsegment: guide_readers\nsteps:\n{steps}")
    try:
        assert " 0 errors" in nurture("check")
    finally:
        (root / "cadences" / "guides.yaml").unlink()
