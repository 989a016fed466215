# ruff: noqa: E501  a row of the tables is read across, like a line of a ledger
"""Seeded mistakes: each is found at its line and column, with its cure.

A row changes one file of the acceptance workspace. `‸` in the new text marks the place where the finding must stand.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.documents.finding import Finding

ACCEPTANCE = Path(__file__).parents[1] / "data" / "acceptance"
GUIDE, WELCOME = "cadences/guide-followup.yaml", "cadences/welcome.yaml"
CASE = "templates/email/case-study.mjml"
TEST, FORMS = "cadences/guide-followup.test.yaml", "cadences/_forms.yaml"
LIFECYCLE, SEGMENTS, CONFIG = "cadences/_lifecycle.yaml", "cadences/_segments.yaml", "config.toml"

# file, what is replaced (None: the whole text), by what, a piece of the message
CADENCES = [
    (GUIDE, "segment:", "‸segmnt:", "unknown key 'segmnt': did you mean 'segment'?"),
    (GUIDE, "- wait: 3 days", "- wait: ‸3 dayz", "wait '3 dayz' is no span: use e.g. '3 days'"),
    (GUIDE, "- wait: 3 days", "- wait: ‸3", "wait '3': use e.g. '3 days'"),
    (GUIDE, "- wait: 3 days", "- wait: ‸-3 days", "a wait is a positive number"),
    (GUIDE, "- wait: 3 days", "- ‸wiat: 3 days", "unknown step 'wiat': did you mean 'wait'?"),
    (GUIDE, "- wait: 3 days", "- wait: 3 days\n    ‸notify: sales", "a step does one thing, found 'wait' and 'notify'"),
    (GUIDE, "- wait: 3 days", "- ‸wait 3 days", "a step is a mapping"),
    (GUIDE, "- wait: 3 days", "- wait: 3 days\n    ‸untill: x", "unknown key 'untill'"),
    (GUIDE, "- wait: 3 days", "- wait_for: clicked(step=\"intro\")\n    up_to: ‸soon", "up_to 'soon' is no span"),
    (GUIDE, "- wait: 3 days", "- ‸wait_for: clicked(step=\"intro\")", "missing key 'up_to'"),
    (GUIDE, "- email: guide-followup", "- email: ‸guide-folowup", "unknown template 'guide-folowup': did you mean 'guide-followup'?"),
    (GUIDE, "    id: case\n", "    id: ‸intro\n", "duplicate id 'intro' (first in line 11)"),
    (GUIDE, "    id: case\n", "    id: ‸Case Study\n", "'Case Study' is no name: use a to z"),
    (GUIDE, "      - email: case-study\n        id: case\n", "      - ‸email: case-study\n", "a step that sends needs an id"),
    (GUIDE, "id: intro\n    subject:", "id: intro\n    ‸subjet:", "unknown key 'subjet': did you mean 'subject'?"),
    (GUIDE, "- email: guide-followup\n    id: intro\n    subject:", "- ‸email: guide-followup\n    id: intro\n    subjects:", "missing key 'subject'"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸3", "preheader: found the number 3, want text (put it in quotes)"),
    (GUIDE, "{metric: click, send: expected_loss", "{metric: click, send: ‸expected_los", "did you mean 'expected_loss'?"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: x\n        ‸test: {metric: click}", "a test needs several subjects"),
    (GUIDE, "      question: \"", "      ‸Big Question: \"", "'Big Question' is no name"),
    (GUIDE, "then:\n      - email: case-study", "then: ‸[]\n  - if: clicked(step=\"intro\")\n    then:\n      - email: case-study", "then: is empty"),
    (GUIDE, "clicked(step=\"intro\")", "clicked(step=‸\"intr\")", "'intro'"),
    (GUIDE, "if: score >= 40", "if: ‸scoer >= 40", "score"),
    (GUIDE, "if: score >= 40", "if: 'score >= ‸\"a\"'", ""),
    (GUIDE, "segment: guide_readers", "segment: ‸guide_reader", "unknown segment 'guide_reader': did you mean 'guide_readers'?"),
    (GUIDE, "segment: guide_readers", "‸segment:", "'segment' has no value"),
    (GUIDE, "when: clicked(step=\"case\")", "‸when:", "'when' has no value"),
    (GUIDE, "- promote: mql", "- promote: ‸mqll", "unknown stage 'mqll': did you mean 'mql'?"),
    (GUIDE, "- notify: sales", "- notify: ‸sale", "unknown rep 'sale': did you mean 'sales'?"),
    (GUIDE, "priority: 50", "priority: ‸high", "priority: found the text 'high', want a whole number"),
    (GUIDE, "priority: 50", "priority: ‸\"50\"", "want a whole number"),
    (GUIDE, "priority: 50", "concurrent: ‸yes", "want true or false ('yes' is text in YAML 1.2)"),
    (GUIDE, "priority: 50", "status: ‸alive", "status: found the text 'alive': did you mean 'live'?"),
    (GUIDE, "priority: 50", "sender: ‸ana", "unknown sender 'ana': did you mean 'anna'?"),
    (GUIDE, "priority: 50", "topic: ‸product", "unknown topic 'product': there is no [topics] in config.toml"),
    (GUIDE, "priority: 50", "max_late: ‸-2 days", "max_late '-2 days' is negative"),
    (GUIDE, "priority: 50", "max_late: ‸99999999999 days", "is longer than 100 years"),
    (GUIDE, "priority: 50", "priority: ‸9999999999", "want at most 1000000"),
    (GUIDE, "- wait: 3 days", "- wait: ‸99999999999 business days", "is longer than 100 years"),
    (GUIDE, "priority: 50", "max_late: ‸late", "max_late 'late' is no duration"),
    (GUIDE, "priority: 50", "window: {hours: ‸\"9-17\"}", "'9' is no time of day"),
    (GUIDE, "priority: 50", "window: {‸hour: \"09:00-17:00\"}", "unknown key 'hour': did you mean 'hours'?"),
    (GUIDE, "priority: 50", "window: {days: ‸weekdays}", "are no days"),
    (GUIDE, "priority: 50", "window: {hours: ‸\"09:00-09:00\"}", "never opens"),
    (GUIDE, "priority: 50", "window: {timezone: ‸Europe/Berlinn}", "unknown time zone 'Europe/Berlinn'"),
    (GUIDE, "priority: 50", "priority: 50\n‸priority: 60", "duplicate key 'priority' (first in line 6)"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸{{ lead.first_name }}", "needs quotes"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: One minute‸: three numbers", "put the whole value in quotes"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸&x One minute", "anchors are not read"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸*x", "write the value out"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸!fancy One minute", "tags are not read"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: \"One minute", "is a quote open above"),
    (WELCOME, "\"Three things to try first\"", "‸\"Three things to try first", "a quote that is opened here is not closed"),
    (GUIDE, "    preheader: One minute", "‸\tpreheader: One minute", "a tab: YAML is indented with spaces"),
    (WELCOME, None, "‸", "found nothing, want a mapping"),
    (WELCOME, None, "name: Welcome\nsteps: ‸[]\n", "steps: is empty"),
    (WELCOME, None, "‸name: Welcome\n", "missing key 'steps'"),
    (WELCOME, None, "a: 1\n‸---\nb: 1\n", "one document a file"),
    (WELCOME, None, "a: " + "[" * 49 + "‸[" + "]" * 50 + "\n", "more than 50 levels"),
]  # fmt: skip

OTHERS = [
    (SEGMENTS, "country in [\"DE\"", "country in [‸5", ""),
    (SEGMENTS, "dach: country", "dach: ‸contry", "country"),
    (SEGMENTS, "  dach:", "  ‸DACH region:", "'DACH region' is no name"),
    (SEGMENTS, "segments:", "‸segment:", "unknown key 'segment': did you mean 'segments'?"),
    (LIFECYCLE, "  - pql:", "  - ‸pqll:", "unknown stage 'pqll': did you mean 'pql'?"),
    (LIFECYCLE, "demote_when: score", "demote_when: ‸scor", "score"),
    (LIFECYCLE, "      demote_when: score < 35\n", "", "'demote_after' needs a 'demote_when'"),
    (LIFECYCLE, "half_life: 14 days", "half_life: ‸14 daze", "half_life '14 daze' is no duration"),
    (LIFECYCLE, "half_life: 14 days", "half_life: ‸0 days", "is no time at all"),
    (LIFECYCLE, "cap: 60", "cap: ‸1e999", "want a number that ends"),
    (LIFECYCLE, "at_most: 60 per week", "at_most: ‸60 a week", "use e.g. '60 per week'"),
    (LIFECYCLE, "points: 15}\n  - {when: 'contains(title, \"m", "points: ‸many}\n  - {when: 'contains(title, \"m", "found the text 'many', want a number"),
    (LIFECYCLE, "in_segment(\"dach\")", "in_segment(‸\"dch\")", "dach"),
    (LIFECYCLE, "fit: B", "fit: ‸E", "fit: found the text 'E'"),
    (LIFECYCLE, "channels: [email]", "channels: [‸emial]", "unknown channel 'emial': did you mean 'email'?"),
    (LIFECYCLE, "reps: [ben, chloe]", "reps: [ben, ‸cloe]", "unknown rep 'cloe': did you mean 'chloe'?"),
    (LIFECYCLE, "timezone: rep}", "timezone: ‸rap}", "unknown time zone 'rap'"),
    (LIFECYCLE, "  - lead\n  - mql:", "  - mql\n  - ‸lead\n  - pql:", "stage 'lead' comes too late"),
    (FORMS, "name: company", "name: ‸compny", "unknown field 'compny': did you mean 'company'?"),
    (FORMS, "offer: reporting-guide", "offer: ‸reporting-gide", "unknown offer 'reporting-gide': did you mean 'reporting-guide'?"),
    (FORMS, "file: offers/reporting-guide.pdf", "file: ‸offers/guide.pdf", "there is no file 'offers/guide.pdf'"),
    (FORMS, "file: offers/reporting-guide.pdf", "file: ‸../../secret", "lies outside of the workspace"),
    (FORMS, "email: guide-delivery", "email: ‸guide-delivry", "did you mean 'guide-delivery'?"),
    (FORMS, "type: number", "type: ‸numbr", "did you mean 'number'?"),
    (FORMS, "      - email\n", "", "add '- email'"),
    (FORMS, "double_opt_in: true", "double_opt_in: ‸on", "want true or false"),
    (FORMS, "double_opt_in: true", "‸embed: true", "'embed': this version of nurture does not run it"),
    (FORMS, "  reporting-guide:\n", "  ‸reporting-guide:\n    url: https://x.example/\n", "found 'file' and 'url'"),
    (TEST, "clicked: intro", "clicked: ‸intr", "unknown step 'intr': did you mean 'intro'?"),
    (TEST, "{at: 1 day, clicked", "{at: ‸one day, clicked", "use an offset from the start"),
    (TEST, "start: 2026-11-02 10:00", "start: ‸2026-13-02 10:00", "in no calendar"),
    (TEST, "start: 2026-11-02 10:00", "start: ‸10:00", "is no moment"),
    (TEST, "promote: mql}", "‸promot: mql}", "unknown key 'promot': did you mean 'promote'?"),
    (TEST, "email: intro}\n      - {at: 2026-11-05", "email: intro, variant: ‸nmber}\n      - {at: 2026-11-05", "did you mean 'number'?"),
    (TEST, "- {completed: true}", "- {completed: true, ‸done: true}", "unknown key 'done'"),
    (TEST, "- {at: 1 day, clicked: intro}", "- ‸{at: 1 day}", "an entry is one of opened, clicked"),
    (TEST, "{email: zoe@example.com, ", "‸{", "missing key 'email': a lead has an address"),
]  # fmt: skip

COPY = [
    (CASE, "href=\"https://www.acme.example/case-study\"", "‸href=\"#\"", "a link goes nowhere"),
    (CASE, "<mj-text>Or look", "<mj-text>" + "Many words. " * 9_000 + "</mj-text><mj-text>Or look", "Gmail clips at 102 KB"),
]  # fmt: skip

SETTINGS = [
    (CONFIG, "name = \"Acme", "‸nam = \"Acme", "unknown key 'nam': did you mean 'name'?"),
    (CONFIG, "name = \"Acme Analytics\"\n", "", "missing key 'name'"),
    (CONFIG, "\"http://127.0.0.1:8080\"", "‸\"127.0.0.1:8080\"", "is no web address"),
    (CONFIG, "timezone = \"Europe/Berlin\"\nlanguage", "timezone = ‸\"Berlin\"\nlanguage", "unknown time zone 'Berlin'"),
    (CONFIG, "\"env:NURTURE_SECRET_KEY\"", "‸\"hunter2\"", "a secret is never written here"),
    (CONFIG, "\"sqlite:///nurture.db\"", "‸\"mysql://root:geheim@db/x\"", "is no database: use sqlite:///FILE"),
    (CONFIG, "public = \"127.0.0.1:8080\"", "public = ‸\"8080\"", "use HOST:PORT"),
    (CONFIG, "port = 2525", "port = ‸\"2525\"", "port: found the text '2525', want a whole number"),
    (CONFIG, "port = 2525", "port = ‸99999", "want at most 65535"),
    (CONFIG, "port = 2525", "‸prot = 2525", "unknown key 'prot': did you mean 'port'?"),
    (CONFIG, "security = \"none\"", "security = ‸\"ssl\"", "security: found the text 'ssl': use one of"),
    (CONFIG, "connections = 8", "rate = ‸\"50 a second\"", "rate '50 a second' is no rate"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna Meier\"", "is no mailbox"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna\\r\\nBcc: x@y.example <anna@acme.example>\"", "without control or invisible characters"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"=?utf-8?q?a=0D=0ABcc=3A_x=40y?= <anna@acme.example>\"", "'=?' is not allowed"),
    (CONFIG, "smtp = \"primary\"", "smtp = ‸\"primry\"", "unknown smtp 'primry': did you mean 'primary'?"),
    (CONFIG, "weight = 2", "weight = ‸-2", "weight: found the number -2, want at least 0"),
    (CONFIG, "weight = 2", "weight = 2\naway = [‸\"2026-12-24 till 2027-01-02\"]", "is no day"),
    (CONFIG, "weight = 2", "weight = 2\nsender = ‸\"bob\"", "unknown sender 'bob': use one of anna"),
    (CONFIG, "\"3 per 7 days\"", "‸\"3 in 7 days\"", "is no cap: use e.g. '1 per day'"),
    (CONFIG, "\"3 per 7 days\"", "‸\"3 per 0 days\"", "a stretch of nothing"),
    (CONFIG, "weight = 2", "weight = ‸inf", "want a number that ends"),
    (CONFIG, "sender = \"anna\"", "sender = ‸\"ana\"", "unknown sender 'ana': did you mean 'anna'?"),
    (CONFIG, "holidays = \"lead\" }", "holidays = ‸\"yes\" }", "use 'lead' or 'none'"),
    (CONFIG, "hours = \"09:00-17:00\"", "‸hour = \"09:00-17:00\"", "unknown key 'hour': did you mean 'hours'?"),
    (CONFIG, "[limits]", "[‸limit]", "unknown key 'limit': did you mean 'limits'?"),
    (CONFIG, "[limits]", "[goals]\nmql = ‸\"many\"\n[limits]", "'many' is no goal"),
    (CONFIG, "[limits]", "[goals]\n‸mqql = \"4 per month\"\n[limits]", "unknown stage 'mqql': did you mean 'mql'?"),
    (CONFIG, "[limits]", "[fields]\nplan = ‸\"txt\"\n[limits]", "plan"),
    (CONFIG, "[limits]", "[holidays]\nextra = [‸2026-12-24]\n[limits]", "want text (put it in quotes)"),
    (CONFIG, "language = \"en\"", "language = ‸en", "not valid TOML"),
    (CONFIG, "language = \"en\"", "country = ‸\"Germany\"", "use two capitals"),
]  # fmt: skip

WARNINGS = [
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸Guide #1 for you", "the value ends before '#1 for you'"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸Guide # for you", "the value ends before '# for you'"),
    (GUIDE, "- wait: 4 days", "- exit: done\n  - ‸wait: 4 days", "nobody comes to this step"),
    (GUIDE, "preheader: One minute, three numbers", "role: ‸offer", "an offer before any proof"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: ‸\"" + "Too long " * 8 + "\"", "phones show about 60"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: ‸\"BUY NOW AND SAVE\"", "the subject shouts"),
    (FORMS, "subject: Here is", "subject: ‸Read me!! Here is", "the subject shouts"),
    (CASE, "<mj-text>Or look", "<mj-button href=\"https://www.acme.example/b\">‸Or ask us</mj-button><mj-text>Or look", "2 buttons (\"Read the case\", \"Or ask us\")"),
    (CASE, "<mj-text>Or look", "<mj-image src=\"‸https://www.acme.example/team.png\" /><mj-text>Or look", "no alt text"),
    (CASE, "https://www.acme.example/case-study", "‸https://bit.ly/x", "filters distrust shortened links"),
    (CASE, "<mj-text>Or look", "<mj-text>" + "Many words. " * 7_500 + "</mj-text><mj-text>Or look", "Gmail clips at 102 KB"),
    (WELCOME, "segment: stage == \"lead\" and not tag(\"guide\")\nenroll: current_and_future\npriority: 10", "segment: ‸guide_readers\npriority: 50", "as cadence 'guide-followup'"),
    (CONFIG, "\"http://127.0.0.1:8080\"", "‸\"http://mail.acme.example\"", "use https"),
    (CONFIG, "host = \"127.0.0.1\"\nport = 2525\nsecurity = ", "host = \"mx.acme.example\"\nsecurity = ‸", "would go in the clear"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna Meier <anna.meier@gmail.com>\"", "fails DMARC"),
    (CONFIG, "smtp = \"primary\"", "smtp = \"primary\"\n‸daily = 200", "'senders.anna.daily' is read and checked"),
    (CONFIG, "[limits]", "[‸hooks.sg]\nprovider = \"sendgrid\"\n[limits]", "'hooks' is read and checked"),
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("config.toml", "cadences", "templates", "offers"):
        source = ACCEPTANCE / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def seed(root: Path, file: str, old: str | None, new: str) -> tuple[int, int] | None:
    """Make the mistake. Returns the place of the caret, if there is one."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    if old is not None:
        assert old in text, "the row no longer fits the workspace"
    changed = new if old is None else text.replace(old, new, 1)
    place = changed.find("‸")
    path.write_text(changed.replace("‸", ""), encoding="utf-8")
    if place < 0:
        return None
    return changed.count("\n", 0, place) + 1, place - changed.rfind("\n", 0, place)


def about(findings: tuple[Finding, ...], file: str, level: str, message: str) -> list[Finding]:
    return [each for each in findings if each.file == file and each.level == level and message in each.message]


@pytest.mark.parametrize(("file", "old", "new", "message"), [*CADENCES, *OTHERS, *COPY, *SETTINGS])
def test_an_error_stands_where_it_was_made(root: Path, file: str, old: str | None, new: str, message: str) -> None:
    place = seed(root, file, old, new)
    findings = check_workspace(root).findings
    found = about(findings, file, "error", message)
    assert found, [str(each) for each in findings]
    if place is not None:
        assert place in [(each.line, each.column) for each in found], [str(each) for each in found]
    assert all("\n" not in str(each) for each in findings)


@pytest.mark.parametrize(("file", "old", "new", "message"), WARNINGS)
def test_a_warning_stands_where_it_was_made(root: Path, file: str, old: str | None, new: str, message: str) -> None:
    place = seed(root, file, old, new)
    findings = check_workspace(root).findings
    found = about(findings, file, "warning", message)
    assert [(each.line, each.column) for each in found] == [place or (1, 1)], [str(each) for each in findings]
    assert not [each for each in findings if each.level == "error"]


def test_a_mistake_shows_no_password(root: Path) -> None:
    seed(root, CONFIG, '"sqlite:///nurture.db"', '"mysql://root:geheim@db/x"')
    seed(root, CONFIG, '"env:NURTURE_SECRET_KEY"', '"hunter2"')
    said = "\n".join(map(str, check_workspace(root).findings))
    assert "geheim" not in said
    assert "hunter2" not in said


def test_unreadable_files_are_findings(root: Path) -> None:
    (root / WELCOME).write_bytes(b"name: Gr\xfc\xdfe\n")
    (root / "cadences/big.yaml").write_text("# " + "x" * (1024 * 1024))
    (root / "cadences/_segment.yaml").write_text("segments: {}\n")
    (root / "cadences/other.yml").write_text("steps: []\n")
    (root / "cadences/nothing.test.yaml").write_text("tests: []\n")
    (root / "cadences/two words.yaml").write_text("steps: [{tag: x}]\n")
    lines = {f"{each.file}:{each.line}:{each.column} {each.message}" for each in check_workspace(root).findings}
    for expected in (
        "cadences/welcome.yaml:1:9 byte 0xFC is not UTF-8: save the file as UTF-8",
        "cadences/big.yaml:1:1 larger than 1 MiB: split it",
        "cadences/_segment.yaml:1:1 unknown file '_segment.yaml': did you mean '_segments.yaml'?",
        "cadences/other.yml:1:1 'other.yml': rename it to 'other.yaml'",
        "cadences/two words.yaml:1:1 'two words' is no name of a cadence: use a to z, 0 to 9, '_' and '-'",
    ):
        assert expected in lines, sorted(lines)
    assert any(line.startswith("cadences/nothing.test.yaml:1:1 tests of no cadence") for line in lines)


def test_segments_that_go_round_in_a_circle_are_an_error(root: Path) -> None:
    (root / SEGMENTS).write_text('segments:\n  a: in_segment("b")\n  b: in_segment("a")\n')
    findings = check_workspace(root).findings
    assert {each.line for each in findings if each.file == SEGMENTS and each.level == "error"} == {2, 3}


def test_marketing_mail_without_a_way_out_or_an_address_is_an_error(root: Path) -> None:
    (root / "templates/email/_footer.mjml").write_text("<mj-section><mj-column /></mj-section>\n")
    codes = {(each.file, each.code) for each in check_workspace(root).findings if each.level == "error"}
    assert ("templates/email/welcome.mjml", "no-unsubscribe") in codes
    assert ("templates/email/welcome.mjml", "no-postal-address") in codes
    assert ("templates/email/guide-delivery.mjml", "no-unsubscribe") not in codes
