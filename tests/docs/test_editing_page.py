"""What `docs/explanation/editing.md` says becomes of leads under way: every row is read from the page and played."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs
from typer.testing import CliRunner

from nurture.authoring.workspace import load_workspace
from nurture.bootstrap import build_library, build_stages
from nurture.cli.main import app
from nurture.daemon import FileWatch
from nurture.rehearsal.agenda import next_due
from nurture.rehearsal.clock import VirtualClock
from nurture.settings import load_settings
from nurture.store import tables as t
from tests.docs.pages import Row, blocks, rows, ticked
from tests.engine.world import NextHop, World, add_leads, make_root, steps, write_cadences
from tests.scenarios.edit_world import Quarry

PAGE = "explanation/editing.md"
HEAD = 'name: Tour\nsegment: stage == "lead"\nenroll: current_and_future\nwindow: any\n'
TOUR = "welcome, 5 days, tips, 3 days, case"
BEGINS_AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
MAX_COMES_AT = datetime(2026, 11, 6, 9, tzinfo=UTC)
EDITED_AT = datetime(2026, 11, 9, 12, tzinfo=UTC)
TAKEN_UP_AT = datetime(2026, 11, 13, 10, tzinfo=UTC)
"""72 hours after the second who tries the change came."""
RUNNER = CliRunner()
AFTER = "the steps become"
MOMENT = r"\w{3} \d+ \w{3}, \d\d:\d\d"


def moment(text: str) -> datetime:
    """`Tue 10 Nov, 09:00`; its weekday must be right."""
    found = datetime.strptime(f"2026 {text}", "%Y %a %d %b, %H:%M").replace(tzinfo=UTC)
    assert told_at(found) == text
    return found


def told_at(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b}, {at:%H:%M}"


def cadence(short: str, head: str = HEAD) -> str:
    """A file from the page's short form of its steps."""
    return head + steps(*(_step(each.strip()) for each in short.split(",")))


def _step(short: str) -> str:
    if " " not in short:
        return f"mail:{short}"
    length, _, name = short.partition(" as ")
    return f"wait: {length}" + (f"\n    id: {name}" if name else "")


class Play(World):
    """A world in which time goes from one thing that is due to the next."""

    def until(self, at: datetime) -> None:
        """Play on, up to and without what is due at this moment."""
        self.once()
        while (due := self._due()) is not None and due < at:
            self.clock.advance(due - self.clock())
            self.once()
        self.clock.advance(at - self.clock())

    def _due(self) -> datetime | None:
        with self.database.reading() as connection:
            return next_due(connection, self.clock())

    def comes(self, name: str, at: datetime, stage: str = "lead") -> int:
        self.until(at)
        (lead_id,) = add_leads(self.database, name.lower(), stage=stage)
        return lead_id

    def to_the_end(self) -> None:
        self.until(self.clock() + timedelta(days=40))

    def got(self, name: str) -> str:
        """What this lead got, as the page says it."""
        pairs = zip(self.hop.kept, self.hop.arrived, strict=True)
        mine = [f"{subject} {told_at(kept.at)}" for kept, (to, subject) in pairs if to == name.lower()]
        return "; ".join(mine) or "nothing"


@dataclass
class Quarries:
    """Where every story begins: one database and its templates, and the weeks before the edit that are kept."""

    quarry: Quarry
    kept: set[str] = field(default_factory=set)

    def play(self, at: datetime, files: Mapping[str, str]) -> Play:
        """The stages over the database as it is now, with these files."""
        quarry = self.quarry
        for path in (quarry.root / "cadences").iterdir():
            path.unlink()
        write_cadences(quarry.root, files)
        clock = VirtualClock(at)
        installation = quarry.installation.at(clock=clock, rng=random.Random(1))
        workspace, hop = load_workspace(quarry.root), NextHop(clock=clock)
        stages = build_stages(
            installation, workspace, sole_worker=True, servers={"primary": hop}, library=quarry.library
        )
        return Play(installation, workspace, stages, clock, hop)

    def begin(self, *, at: datetime = BEGINS_AT, **files: str) -> Play:
        """Nobody is there yet."""
        self.quarry.go_back()
        return self.play(at, files)

    def lived(self, short: str = TOUR) -> Play:
        """Zoe and Max are where the page has them on Monday, at noon."""
        name = re.sub(r"\W+", "_", short)
        if name not in self.kept:
            play = self.begin(tour=cadence(short))
            play.comes("Zoe", BEGINS_AT)
            play.comes("Max", MAX_COMES_AT)
            play.until(EDITED_AT)
            self.quarry.keep(name)
            self.kept.add(name)
        self.quarry.go_back(name)
        return self.play(EDITED_AT, {"tour": cadence(short)})


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarries]:
    config = "[limits]\nenroll_at_once = 3\n"
    root = make_root(tmp_path_factory.mktemp("editing") / "workspace", config=config)
    quarry = Quarry(root, build_library(root, load_settings(root)))
    quarry.keep()
    yield Quarries(quarry)
    quarry.installation.database.close()


def still_get(play: Play) -> tuple[str, str]:
    """Zoe and Max, from the edit on."""
    play.to_the_end()
    return play.got("Zoe"), play.got("Max")


def told(row: Row) -> tuple[str, str]:
    return row["Zoe"], row["Max"]


def test_the_example_is_the_one_that_is_played() -> None:
    assert blocks(PAGE, "The example", "yaml") == [cadence(TOUR)]


STEPS_THAT_CHANGE = rows(PAGE, "Steps that change")
WAITS_WITH_AN_ID = rows(PAGE, "Waits with an id")


@pytest.mark.parametrize("row", STEPS_THAT_CHANGE, ids=lambda row: row[AFTER])
def test_steps_that_change(row: Row, stories: Quarries) -> None:
    (short,) = ticked(row[AFTER])
    play = stories.lived()
    play.edit(tour=cadence(short))
    assert still_get(play) == told(row)


@pytest.mark.parametrize("row", WAITS_WITH_AN_ID, ids=lambda row: row[AFTER])
def test_waits_with_an_id(row: Row, stories: Quarries) -> None:
    (base,), (short,) = ticked(WAITS_WITH_AN_ID[0][AFTER]), ticked(row[AFTER])
    play = stories.lived(base)
    play.edit(tour=cadence(short))
    assert still_get(play) == told(row)


@pytest.mark.parametrize("row", rows(PAGE, "Follow, pin, restart"), ids=lambda row: row[""])
def test_follow_pin_and_restart(row: Row, stories: Quarries) -> None:
    (on_edit,), (short,) = ticked(row[""]), ticked(row[AFTER])
    play = stories.lived()
    play.edit(tour=cadence(short, f"{HEAD}{on_edit}\n"))
    assert still_get(play) == told(row)


# --- the file stops, goes, and comes back


def stop(play: Play, status: str) -> None:
    play.edit(tour=cadence(TOUR, f"{HEAD}status: {status}\n"))


def take_away(play: Play) -> None:
    (play.installation.root / "cadences" / "tour.yaml").unlink()
    play.edit()


def stopped_for_good(play: Play) -> None:
    stop(play, "paused")
    for _ in range(3):  # the daemon looks every quarter of an hour
        play.advance(days=1)


def stopped_for_three_days(play: Play) -> None:
    stopped_for_good(play)
    assert play.clock() == moment("Thu 12 Nov, 12:00")
    play.edit(tour=cadence(TOUR))


def away_for_three_days(play: Play, head: str = HEAD) -> None:
    take_away(play)
    play.until(moment("Thu 12 Nov, 12:00"))
    play.edit(tour=cadence(TOUR, head))


FILES: dict[str, Callable[[Play], None]] = {
    "`status: closed`": lambda play: stop(play, "closed"),
    "`status: paused`": stopped_for_good,
    "`status: paused`, and `live` again on Thu 12 Nov, 12:00": stopped_for_three_days,
    "gone": take_away,
    "gone, and back on Thu 12 Nov, 12:00": away_for_three_days,
    "gone, and back on Thu 12 Nov, 12:00 with `reentry: after 2 days`": lambda play: away_for_three_days(
        play, f"{HEAD}reentry: after 2 days\n"
    ),
}


@pytest.mark.parametrize("row", rows(PAGE, "Stopped, removed, put back"), ids=lambda row: row["the file"])
def test_stopped_removed_and_put_back(row: Row, stories: Quarries) -> None:
    play = stories.lived()
    FILES[row["the file"]](play)
    if row["the file"] != "`status: paused`":  # which is looked at for ever
        play.to_the_end()
    assert (play.got("Zoe"), play.got("Max")) == told(row)


# --- mail under way, leads that are held


def queued(play: Play) -> None:
    """It is Tuesday, and Zoe's mail is written, and not yet sent."""
    play.until(moment("Tue 10 Nov, 09:00"))
    play.stages.advance()


def taken_out(play: Play) -> None:
    queued(play)
    play.edit(tour=cadence("welcome, 5 days, tips, 3 days"))


def said_otherwise(play: Play) -> None:
    queued(play)
    play.edit(tour=cadence(TOUR).replace("subject: case", "subject: proof"))


def gone_altogether(play: Play) -> None:
    queued(play)
    take_away(play)


def held_by_sales(play: Play) -> None:
    until = moment("Fri 13 Nov, 12:00")
    with play.database.transaction() as connection:
        connection.execute(update(t.lead).where(t.lead.c.email_key == "zoe@example.com").values(hold_until=until))
    play.edit(tour=cadence("welcome, 5 days, tips, 1 day, case"))


def nobody_ran(play: Play) -> None:
    play.clock.advance(moment("Fri 13 Nov, 12:00") - play.clock())
    play.edit(tour=cadence("welcome, 5 days, tips, 1 day, case"))


UNDER_WAY: dict[str, Callable[[Play], None]] = {
    "`case` is taken out on Tue 10 Nov, 09:00, when her mail is queued already": taken_out,
    "`case` gets the subject `proof` at that moment": said_otherwise,
    "the file goes at that moment": gone_altogether,
    "sales holds Zoe until Fri 13 Nov, 12:00; the edit is `welcome, 5 days, tips, 1 day, case`": held_by_sales,
    "the daemon is off until Fri 13 Nov, 12:00, and then the edit is the same": nobody_ran,
}


@pytest.mark.parametrize("row", rows(PAGE, "What is under way, and who is held"), ids=lambda row: row["what happens"])
def test_what_is_under_way_and_who_is_held(row: Row, stories: Quarries) -> None:
    play = stories.lived()
    UNDER_WAY[row["what happens"]](play)
    assert still_get(play)[0] == row["Zoe"]


# --- who enters


def entering(keys: Mapping[str, str]) -> str:
    """A cadence of one mail with these keys."""
    given = {"name": "Tour", "segment": 'stage == "lead"', "window": "any", **keys}
    return "".join(f"{key}: {value}\n" for key, value in given.items()) + steps("mail:welcome")


@pytest.mark.parametrize("row", rows(PAGE, "Who enters"), ids=lambda row: row["the file says"])
def test_who_enters(row: Row, stories: Quarries) -> None:
    first, *later = re.split(rf", and from ({MOMENT}) ", row["the file says"])
    changes = {moment(at): keys_in(said) for at, said in zip(later[::2], later[1::2], strict=True)}
    play = stories.begin()
    ann, cem, *_ = add_leads(play.database, "ann"), add_leads(play.database, "cem", stage="mql")
    keys = keys_in(first)
    play.edit(tour=entering(keys))
    bea = [play.comes("Bea", moment("Wed 4 Nov, 10:00"))]
    for at in sorted({moment("Thu 5 Nov, 00:00"), EDITED_AT, *changes}):
        play.until(at)
        keys |= changes.get(at, {})
        play.edit(tour=entering(keys))
        play.once()
    entered = {
        each.lead_id: told_at(each.enrolled_at) for each in play.rows(t.enrollment, "lead_id", "enrolled_at", "id")
    }
    assert [entered.get(lead, "never") for (lead,) in (ann, bea, cem)] == [row["Ann"], row["Bea"], row["Cem"]]


def keys_in(text: str) -> dict[str, str]:
    return dict(each.split(": ", 1) for each in ticked(text))


# --- very many at once


def add(play: Play, *names: str, stage: str = "lead") -> int:
    add_leads(play.database, *names, stage=stage)
    return play.stages.enroll().enrolled


def take_up(play: Play, **keys: str) -> int:
    play.edit(tour=entering({"enroll": "current_and_future", **keys}))
    return play.stages.enroll().enrolled


def let_go(play: Play) -> int:
    result = RUNNER.invoke(app, ["release", "tour", "-C", str(play.installation.root)])
    assert result.exit_code == 0, result.output
    return play.stages.enroll().enrolled


MANY: dict[str, Callable[[Play], int]] = {
    "the file comes, and four leads meet its segment": take_up,
    "a person says `nurture release tour`": let_go,
    "five more leads come": lambda play: add(play, "e", "f", "g", "h", "i"),
    "its priority is edited, and nobody waits to enter": lambda play: take_up(play, priority="60"),
    "four more leads come": lambda play: add(play, "j", "k", "l", "m"),
    "its segment is widened, and six leads more meet it": lambda play: take_up(play, segment=WIDER),
    "a person says `nurture run --once`": lambda play: play.once().enrolled,
}
WIDER = 'stage in ["lead", "mql"]'


def test_very_many_at_once(stories: Quarries) -> None:
    play = stories.begin()
    add_leads(play.database, "a", "b", "c", "d")
    add_leads(play.database, "u", "v", "w", "x", "y", "z", stage="mql")
    told = rows(PAGE, "Very many at once")
    assert [row["what happens"] for row in told] == list(MANY)
    assert [MANY[row["what happens"]](play) for row in told] == [int(row["enter"]) for row in told]


# --- a change that is tried


def test_a_change_that_is_tried_on_two(stories: Quarries) -> None:
    told = rows(PAGE, "Trying a change on a few")
    (short,) = blocks(PAGE, "Trying a change on a few", "text")
    play = stories.begin(tour=cadence(TOUR))
    for row in told:
        comes_at = moment(row["comes on"])
        for at in (EDITED_AT, TAKEN_UP_AT):
            if play.clock() < at <= comes_at:
                play.until(at)
                play.once()
            if play.clock() == EDITED_AT:
                play.edit(tour=cadence(short, f"{HEAD}canary: 2\n"))
        play.comes(row["lead"], comes_at)
    play.to_the_end()
    assert {row["lead"]: play.got(row["lead"]) for row in told} == {row["lead"]: row["gets"] for row in told}


# --- before, and with a mistake


def test_a_file_with_a_mistake_changes_nothing(stories: Quarries) -> None:
    play = stories.lived()
    root = play.installation.root
    watch = FileWatch(root, lambda: play.stages.use(load_workspace(root)))
    (root / "cadences" / "tour.yaml").write_text(cadence(TOUR).replace("3 days", "3 dayz"))
    with capture_logs() as logged:
        watch.look()
    assert "files_not_taken_up" in str(logged)
    assert "cadences/tour.yaml:13:11: error: wait '3 dayz'" in logged[0]["problem"]
    assert still_get(play) == told(STEPS_THAT_CHANGE[0])
    (root / "cadences" / "tour.yaml").write_text(cadence(TOUR))
    with capture_logs() as logged:
        watch.look()
    assert "files_taken_up" in str(logged)


def test_a_plan_before_it(stories: Quarries, monkeypatch: pytest.MonkeyPatch) -> None:
    play = stories.lived()
    monkeypatch.setattr("nurture.cli.plan.system_clock", play.clock)
    write_cadences(play.installation.root, {"tour": cadence("welcome, 5 days, case")})
    result = RUNNER.invoke(app, ["plan", "--names", "-C", str(play.installation.root)])
    assert [result.output] == blocks(PAGE, "Before the edit", "text")


def test_a_comment_or_a_template_makes_no_version(stories: Quarries, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page says of versions: a mail is written when it goes, by the template of that moment."""
    play = stories.lived()
    template = play.installation.root / "templates" / "email" / "hello.mjml"
    before = template.read_text()
    template.write_text(before.replace("Hello,", "Moin,"))
    monkeypatch.setattr(stories.quarry.library, "_recheck_seconds", 0)  # it looks at its files every second
    try:
        play.edit(tour=f"# In November.\n{cadence(TOUR)}")
        play.to_the_end()
    finally:
        template.write_text(before)
    assert b"Moin," in play.hop.kept[0].wire
    with play.database.reading() as connection:
        assert len(connection.execute(t.cadence_version.select()).all()) == 1
