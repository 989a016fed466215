"""Files and calendar entries that go along with a mail, as the standard library's parser reads them back."""

from __future__ import annotations

import email
import email.policy
import random
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from nurture.content.assets import Assets
from nurture.content.attachments import BYTES_LIMIT, KEPT_BYTES, Attachment, _kept, read_attachment, read_attachments
from nurture.content.calendar_entry import CalendarEntry, calendar_text
from nurture.content.languages import nearest_language
from nurture.content.letters import Composer, Letter, RenderProblem
from nurture.content.problems import TemplateError
from nurture.domain.problem import Problem
from tests.content.test_hostile_fields import hostile
from tests.content.writing import column, library, mjml, request

NOON = datetime(2026, 11, 6, 12, tzinfo=UTC)
CASES = 400


def entry(**changed: Any) -> CalendarEntry:
    given: dict[str, Any] = {
        "uid": "0123@mail.acme.example",
        "made_at": NOON - timedelta(days=4),
        "starts_at": NOON,
        "ends_at": NOON + timedelta(hours=1),
        "organizer_name": "Anna Meier",
        "organizer_address": "anna@acme.example",
    }
    return CalendarEntry(**(given | changed))


def parsed(letter: Letter) -> EmailMessage:
    message = email.message_from_bytes(letter.wire, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def unfolded(text: str) -> list[str]:
    assert text.endswith("\r\n")
    for line in text.split("\r\n"):
        assert len(line.encode()) <= 75 and "\n" not in line and "\r" not in line
    return text.replace("\r\n ", "").removesuffix("\r\n").split("\r\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("assets", "offers", "templates/email", "cadences"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "offers" / "guide.pdf").write_bytes(b"%PDF-1.4\n\x00\xff.\r\n.\r\n" * 300)
    (tmp_path / "assets" / "Preisübersicht für große Häuser 2026.csv").write_text("Größe;Preis\n")
    (tmp_path / "config.toml").write_text("secret")
    return tmp_path


def compose(root: Path, **changed: Any) -> Letter:
    folder = root / "templates" / "email"
    return Composer(library(folder, letter=mjml("Hello {{ lead.first_name }}"))).compose(request(**changed))


def test_files_around_the_letter(root: Path) -> None:
    names = ("offers/guide.pdf", "assets/Preisübersicht für große Häuser 2026.csv")
    letter = compose(root, attachments=read_attachments(root, names), calendar=entry())
    message = parsed(letter)
    assert message.get_content_type() == "multipart/mixed"
    body, guide, prices, invite = message.iter_parts()
    assert [part.get_content_type() for part in body.iter_parts()] == ["text/plain", "text/html"]
    assert guide.get_content() == (root / names[0]).read_bytes()
    assert (
        prices.get_filename() == "Preisübersicht für große Häuser 2026.csv" and prices.get_content_charset() == "utf-8"
    )
    assert prices.get_content() == "Größe;Preis\n"
    assert invite["Content-Type"].params["method"] == "PUBLISH" and invite.get_filename() == "invite.ics"
    assert letter.files == ("guide.pdf", "Preisübersicht für große Häuser 2026.csv", "invite.ics")
    for line in letter.wire.decode("ascii").split("\r\n"):
        assert len(line) <= 76 and not line.startswith(".")
    assert "Hello" in letter.html and letter.text == "Hello Zoë\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("offers/gone.pdf", "there is no file"),
        ("config.toml", "lies elsewhere"),
        ("cadences/x.yaml", "lies elsewhere"),
        ("../secret.pdf", "no plain name"),
        ("offers/../config.toml", "no plain name"),
        ("/etc/passwd", "no plain name"),
        ("offers/.env", "no plain name"),
        ("offers/x\r\nBcc: y@z.pdf", "no plain name"),
        ('offers/a".pdf', "no plain name"),
        ("offers/‮fdp.exe", "no plain name"),
        ("offers/" + "a" * 200 + ".pdf", "no plain name"),
        ("offers/link.pdf", "leads out of its folder"),
        ("offers/circle.pdf", "there is no file"),
        ("templates/email/x.mjml", "is of a type"),
        ("offers/empty.pdf", "is empty"),
        ("offers/large.pdf", "has 5.0 MB"),
        ("offers", "lies elsewhere|there is no file"),
    ],
)
def test_what_can_not_be_attached(root: Path, name: str, said: str) -> None:
    (root / "offers" / "link.pdf").symlink_to(root / "config.toml")
    (root / "offers" / "circle.pdf").symlink_to("circle.pdf")
    (root / "offers" / "empty.pdf").touch()
    (root / "templates" / "email" / "x.mjml").write_text("<mjml>")
    with (root / "offers" / "large.pdf").open("wb") as file:
        file.truncate(BYTES_LIMIT + 1)
    with pytest.raises(Problem, match=said) as raised:
        read_attachment(root, name)
    assert "\n" not in str(raised.value) and "\r" not in str(raised.value)


def test_a_folder_that_is_a_link_to_elsewhere_gives_nothing(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside, root):
        folder.mkdir()
    (outside / "key.pdf").write_bytes(b"secret")
    (root / "offers").symlink_to(outside)
    with pytest.raises(Problem, match="leads out"):
        read_attachment(root, "offers/key.pdf")


def test_bounds_for_all_together_and_for_what_is_kept(root: Path) -> None:
    for number in range(8):
        (root / "offers" / f"{number}.pdf").write_bytes(bytes([number]) * (BYTES_LIMIT - 1))
    with pytest.raises(Problem, match=r"15\.0 MB together"):
        read_attachments(root, [f"offers/{number}.pdf" for number in range(3)])
    for number in range(8):
        read_attachment(root, f"offers/{number}.pdf")
    kept: dict[Any, Attachment] = _kept._by_stamp
    assert sum(len(each.part) for each in kept.values()) <= KEPT_BYTES
    with pytest.raises(Problem, match=r"two attachments are named 'guide\.pdf'"):
        (root / "assets" / "guide.pdf").write_bytes(b"x")
        read_attachments(root, ["assets/guide.pdf", "offers/guide.pdf"])


def test_a_file_is_encoded_once_and_again_when_it_changes(root: Path) -> None:
    first = read_attachment(root, "offers/guide.pdf")
    assert read_attachment(root, "offers/guide.pdf").part is first.part
    (root / "offers" / "guide.pdf").write_bytes(b"another")
    assert read_attachment(root, "offers/guide.pdf").digest != first.digest


def test_an_entry_says_when_where_and_from_whom() -> None:
    text = calendar_text(entry(summary="Less; better, now\\", url="https://x.example/s?a=1&b=ü", location="A\nB"), "S")
    lines = unfolded(text)
    assert lines[0] == "BEGIN:VCALENDAR" and lines[-1] == "END:VCALENDAR"
    assert {
        "DTSTART:20261106T120000Z",
        "DTEND:20261106T130000Z",
        "DTSTAMP:20261102T120000Z",
        "SUMMARY:Less\\; better\\, now\\\\",
        "LOCATION:A B",
        "URL:https://x.example/s?a=1&b=%C3%BC",
        'ORGANIZER;CN="Anna Meier":mailto:anna@acme.example',
        "METHOD:PUBLISH",
    } <= set(lines)


def test_a_later_mail_moves_the_entry() -> None:
    def sequence(made_at: datetime) -> int:
        line = next(each for each in unfolded(calendar_text(entry(made_at=made_at), "x")) if "SEQUENCE" in each)
        return int(line.partition(":")[2])

    assert sequence(NOON) < sequence(NOON + timedelta(seconds=1)) < 2**31


def test_without_a_title_the_subject_is_the_summary_and_no_bad_address_is_told() -> None:
    text = calendar_text(entry(url="javascript:alert(1)", location=""), "Your seat")
    assert "SUMMARY:Your seat\r\n" in text
    assert "URL" not in text and "LOCATION" not in text


def test_hostile_texts_in_the_new_places_stay_texts(root: Path) -> None:
    """Vars, the entry's texts, the thread's subject, its sender's name: nothing of it makes a header, line or part."""
    rng = random.Random(4)
    folder = root / "templates" / "email"
    source = mjml('{{ vars.say }} <a href="https://acme.example/{{ vars.path }}">a</a>')
    composer = Composer(library(folder, letter=source))
    files = read_attachments(root, ["offers/guide.pdf"])
    blank = 0
    for _ in range(CASES):
        said, first = hostile(rng), hostile(rng)
        calendar = entry(
            summary=rng.choice([None, hostile(rng)]),
            url=hostile(rng),
            location=hostile(rng),
            organizer_name=hostile(rng),
            uid=f"{rng.getrandbits(64):x}@x",
        )
        try:
            letter = composer.compose(
                request(
                    lead={"first_name": said, "custom": {}},
                    subject="",
                    thread_subject=first,
                    references=("1.a@acme.example", "2.b@acme.example"),
                    vars={"say": "{{ lead.first_name }}!", "path": "{{ lead.first_name }}"},
                    attachments=files,
                    calendar=calendar,
                )
            )
        except RenderProblem as problem:
            assert "blank" in str(problem) or "longer than" in str(problem)
            blank += 1
            continue
        message = parsed(letter)
        assert len(message.keys()) == len(set(message.keys())) == 14
        assert letter.subject.startswith("Re: ") and message["Subject"] == letter.subject
        body, guide, invite = message.iter_parts()
        assert len(list(body.iter_parts())) == 2
        assert guide.get_content() == (root / "offers" / "guide.pdf").read_bytes()
        raw = invite.get_payload(decode=True)
        assert isinstance(raw, bytes)
        lines = unfolded(raw.decode())
        names = [line.partition(":")[0].partition(";")[0] for line in lines]
        assert names.count("UID") == names.count("SUMMARY") == names.count("BEGIN") - 1 == 1
        assert set(names) <= {
            *("BEGIN", "VERSION", "PRODID", "METHOD", "UID", "DTSTAMP", "SEQUENCE", "DTSTART", "DTEND", "SUMMARY"),
            *("LOCATION", "URL", "ORGANIZER", "STATUS", "END"),
        }
        wire = letter.wire.decode("ascii")
        assert not set("\r\n") & set(wire.replace("\r\n", ""))
    assert blank < CASES / 4


@pytest.mark.parametrize(
    ("own", "first", "subject"),
    [
        ("", "Three numbers", "Re: Three numbers"),
        ("Three NUMBERS", "Three numbers", "Re: Three numbers"),
        ("Re: three numbers", "Three numbers", "Re: Three numbers"),
        ("", "RE: AW: Re[2]: Three numbers", "Re: Three numbers"),
        ("How was it?", "Three numbers", "How was it?"),
        ("", "{{ 7*7 }} {% if %}", "Re: {{ 7*7 }} {% if %}"),
    ],
)
def test_the_subject_of_an_answer(root: Path, own: str, first: str, subject: str) -> None:
    assert compose(root, subject=own, thread_subject=first).subject == subject


def test_a_long_thread_keeps_its_first_mail_and_the_latest(root: Path) -> None:
    references = tuple(f"{number}.x@acme.example" for number in range(60))
    message = parsed(compose(root, references=references))
    named = message["References"].split()
    assert len(named) == 20 and named[0] == "<0.x@acme.example>" and named[-1] == message["In-Reply-To"]


def test_vars_are_filled_in_and_bounded(root: Path) -> None:
    folder = root / "templates" / "email"
    composer = Composer(library(folder, letter=mjml("{{ vars.a }}|{{ vars.b | default('none') }}")))
    assert composer.compose(request(vars={"a": "Hi {{ lead.first_name }} <b>"})).text == "Hi Zoë <b>|none\n"
    for text in ("{{ lead.phone }}", "{% for x in range(1000) %}" + "x" * 100 + "{% endfor %}"):
        with pytest.raises(RenderProblem, match=r"lead\.phone is missing|grew past"):
            composer.compose(request(vars={"a": text}))


def test_addresses_are_made_only_where_the_letter_speaks_of_them(root: Path) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("x")
        return "https://mail.acme.example/w/x"

    assert compose(root, addresses={"view_url": make}) and not made
    composer = Composer(library(root / "templates" / "email", letter=mjml("{{ vars.way }}")))
    letter = composer.compose(request(vars={"way": "See {{ view_url }}"}, addresses={"view_url": make}))
    assert letter.text == "See https://mail.acme.example/w/x\n" and made == ["x"]


def test_a_picture_of_assets_has_the_address_of_its_content(root: Path) -> None:
    (root / "assets" / "hero.png").write_bytes(b"one")
    composer = Composer(
        library(
            root / "templates" / "email",
            letter=column('<mj-image src="{{ asset(vars.hero) }}" alt="x" />'),
        )
    )
    context = {"asset": composer.asset_function("https://mail.acme.example")}
    html = composer.compose(request(vars={"hero": "hero.png"}, context=context)).html
    path = Assets(root).path_of("hero.png")
    assert f'src="https://mail.acme.example{path}"' in html
    (root / "assets" / "hero.png").write_bytes(b"two")
    assert Assets(root).path_of("hero.png") != path
    for name in ("../config.toml", "gone.png", "", "a\0b.png", "hero.png/x", "x" * 5000):
        with pytest.raises(RenderProblem, match="there is no picture"):
            composer.compose(request(vars={"hero": name}, context=context))


def test_the_language_of_a_letter_is_that_of_its_file(root: Path) -> None:
    folder = root / "templates" / "email"
    for name in ("letter.mjml", "letter.DE.mjml", "letter.pt-br.mjml"):
        (folder / name).write_text(mjml(name))
    (folder / "letter.DE.txt").write_text("Nur Text\n")
    composer = Composer(library(folder))
    shown = {
        asked: composer.compose(request(language=asked, base_language="fr"))
        for asked in ("de-AT", "de_ch", "pt-BR", "pt", "en-US", "nonsense!", "")
    }
    said = {asked: letter.html.partition('lang="')[2].partition('"')[0] for asked, letter in shown.items()}
    assert said == {
        "de-AT": "DE",
        "de_ch": "DE",
        "pt-BR": "pt-br",
        "pt": "pt-br",
        "en-US": "fr",
        "nonsense!": "fr",
        "": "fr",
    }
    assert shown["de-AT"].text == "Nur Text\n"


def test_the_nearest_language() -> None:
    there = ("de", "de-AT", "PT_br", "zh-Hant-TW")
    asked = ("de-AT", "DE_at", "de-CH", "pt", "zh-Hant", "fr", "", None, "d", "x" * 90)
    assert [nearest_language(each, there) for each in asked] == [
        *("de-AT", "de-AT", "de", "PT_br", "zh-Hant-TW", None, None, None, None, None)
    ]


def test_a_template_that_breaks_is_used_as_it_last_was_right(root: Path) -> None:
    folder = root / "templates" / "email"
    composer = Composer(library(folder, letter=mjml("right")))
    assert composer.compose(request()).text == "right\n"
    for broken in ("<mjml>{% if", None):
        if broken is None:
            (folder / "letter.mjml").unlink()
        else:
            (folder / "letter.mjml").write_text(broken)
        assert composer.compose(request()).text == "right\n"
    (folder / "letter.mjml").write_text(mjml("mended"))
    assert composer.compose(request()).text == "mended\n"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}",
        "{% for a in range(999) %}{{ lead.custom.long }}{% endfor %}",
        "{{ 'a' * 10 ** 9 }}",
        "{% set a %}" + "{{ lead.custom.long }}" * 30 + "{% endset %}" + "{{ a }}" * 30,
        "{{ (range(1000) | join('x' * 1000)) }}",
        "{{ lead.custom.long | replace('x', lead.custom.long) }}",
    ],
)
def test_a_hostile_template_ends_within_its_bounds(root: Path, source: str) -> None:
    folder = root / "templates" / "email"
    with pytest.raises((RenderProblem, TemplateError)):
        Composer(library(folder, letter=mjml(source))).compose(request(lead={"custom": {"long": "x" * 19_000}}))
