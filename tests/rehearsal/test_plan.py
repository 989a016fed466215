"""What `nurture plan` says of an edit, and what happens when it is taken up: the same, lead by lead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from nurture.authoring.workspace import load_workspace
from nurture.delivery.replies import Reply
from nurture.domain.message import ReplyClass
from nurture.rehearsal.cadence_tests import empty
from nurture.rehearsal.copying import copy_all, scratch, snapshot
from nurture.store import tables as t
from nurture.store.database import Database
from nurture.store.events import NewEvent, record_event, wake_enrollments
from nurture.store.leads import tag_leads
from tests.engine.world import HEAD, World, add_leads, steps, write_cadences
from tests.rehearsal.planning import Groups, as_groups, entered, opened, planned, standing, what_happened

GREY = Reply(klass=ReplyClass.SOFT, text="451 4.7.1 later")
FORK = """if: clicked()
    id: fork
    then:
      - email: hello
        id: roi
        subject: roi
    else:
      - wait: 1 day
      - email: hello
        id: again
        subject: again"""
ANOTHER_FORK = FORK.replace("fork", "more").replace("roi", "r2").replace("again", "a2")
TOUR = ("mail:a", "wait: 3 days", "mail:b", "wait: 2 days", FORK, "wait: 5 days\n    id: rest", "mail:z", "tag: toured")
NO_BUYERS = HEAD.replace('"lead"', '"lead" and not tag("buyer")')
WIDER = HEAD.replace('stage == "lead"', 'stage in ["lead", "mql"]')
SIDE = HEAD + "priority: 20\n" + steps("wait: 4 days", "mail:s")
BESIDE = HEAD + "concurrent: true\n" + steps("wait: 9 days", "mail:t")
LATER = HEAD.replace("current_and_future", "only_future") + "concurrent: true\n" + steps("mail:u")


def tour(*said: str, head: str = HEAD) -> str:
    return head + steps(*(said or TOUR))


def without(place: int) -> tuple[str, ...]:
    return TOUR[:place] + TOUR[place + 1 :]


def instead(place: int, *said: str) -> tuple[str, ...]:
    return TOUR[:place] + said + TOUR[place + 1 :]


EDITS: dict[str, dict[str, str | None]] = {
    "a wait shortened": {"tour": tour(*instead(1, "wait: 1 day"))},
    "a wait lengthened": {"tour": tour(*instead(1, "wait: 6 days"))},
    "a wait removed": {"tour": tour(*without(1))},
    "another wait removed": {"tour": tour(*without(5))},
    "a step removed": {"tour": tour(*without(2))},
    "the last steps removed": {"tour": tour(*TOUR[:3])},
    "all but the last removed": {"tour": tour(*TOUR[-2:])},
    "a step moved": {"tour": tour("mail:b", "wait: 3 days", "mail:a", *TOUR[3:])},
    "a step renamed": {"tour": tour(*instead(0, "mail:first"))},
    "a wait renamed": {"tour": tour(*instead(5, "wait: 5 days\n    id: pause"))},
    "a branch added": {"tour": tour(*TOUR[:4], ANOTHER_FORK, *TOUR[4:])},
    "a branch removed": {"tour": tour(*without(4))},
    "priority": {"tour": tour(head=HEAD + "priority: 10\n")},
    "priority of another": {"side": SIDE.replace("20", "90")},
    "beside others": {"side": SIDE.replace("priority: 20", "concurrent: true")},
    "paused": {"tour": tour(head=HEAD + "status: paused\n")},
    "closed": {"tour": tour(head=HEAD + "status: closed\n")},
    "draft": {"tour": tour(head=HEAD + "status: draft\n")},
    "pin": {"tour": tour(*instead(1, "wait: 1 day"), head=HEAD + "on_edit: pin\n")},
    "restart": {"tour": tour(*instead(1, "wait: 1 day"), head=HEAD + "on_edit: restart\n")},
    "a goal": {"tour": tour(head=HEAD + 'goal: tag("buyer")\n')},
    "an exit": {"tour": tour(head=HEAD + 'exit: country == "DE"\n')},
    "less time for the goal": {"tour": tour(head=HEAD + "goal: stage == \"mql\"\ngoal_within: 5 days\n")},
    "who leaves the segment": {"tour": tour(head=NO_BUYERS + "exit_on_leave: true\n")},
    "a wider segment": {"tour": tour(head=WIDER)},
    "again after a while": {"tour": tour(head=HEAD + "reentry: after 2 days\n")},
    "a limit": {"tour": tour(head=WIDER + "enroll_limit: 2 per day\n")},
    "a window": {"tour": tour(head=HEAD.replace("window: any", 'window: {days: sun, hours: "10:00-11:00"}'))},
    "a canary": {"tour": tour(*without(1), head=HEAD + "canary: 5\n")},
    "another sender": {"tour": tour(head=HEAD + "sender: ben\n")},
    "another subject": {"tour": tour(*instead(6, "email: hello\n    id: z\n    subject: The end"))},
    "a file removed": {"tour": None},
    "another file removed": {"side": None},
    "all files removed": {"tour": None, "side": None, "beside": None},
    "a new cadence": {"new": HEAD + "concurrent: true\n" + steps("mail:n")},
    "a new one that goes first": {"new": HEAD + "priority: 99\n" + steps("mail:n")},
    "a new one for those to come": {"new": LATER},
    "a new one for those of now": {"new": LATER.replace("only_future", "only_current")},
    "one for those to come takes all": {"later": LATER.replace("only_future", "current_and_future")},
    "nothing": {},
    "much at once": {"tour": tour("mail:b", "wait: 1 day", "mail:z"), "side": None, "beside": BESIDE.replace("9", "2")},
}  # fmt: skip
BEN = '[senders.ben]\nfrom = "Ben <ben@acme.example>"\n'


@dataclass(frozen=True)
class Lived:
    """A world with a past, and that past once more, to go back to."""

    world: World
    kept: Database
    files: dict[str, str]

    def again(self) -> World:
        empty(self.world.database)
        with self.kept.reading() as connection:
            copy_all(connection, self.world.database)
        folder = self.world.installation.root / "cadences"
        for path in folder.glob("*.yaml"):
            path.unlink()
        write_cadences(self.world.installation.root, self.files)
        return self.world


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Ten days of a tour, with leads at every place of it; nothing is due any more."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    cadences = {"tour": tour(), "side": SIDE, "beside": BESIDE, "later": LATER}
    with opened(tmp_path_factory.mktemp("lived") / "workspace", url, config=BEN, **cadences) as made:
        live_through(made)
        kept = scratch(tmp_path_factory.mktemp("kept"), "kept")
        with snapshot(made.database) as connection:
            copy_all(connection, kept)
        yield Lived(made, kept, cadences)
        kept.close()


@pytest.fixture
def world(lived: Lived) -> World:
    return lived.again()


def live_through(world: World) -> None:
    for day in range(11):
        people = [f"lead{day}", f"other{day}"]
        ids = add_leads(world.database, *people, country="DE" if day % 3 else "US", stage="mql" if day == 4 else "lead")
        with world.database.transaction() as connection:
            if day % 4 == 1:
                tag_leads(connection, ids[:1], "buyer")
        world.once()
        if day == 6:
            click(world, "b")
        if day == 9:  # whose mail does not get through
            world.hop.refuse |= {f"{name}@example.com": GREY for name in ("lead10", "lead7")}
        world.advance(days=1)


def click(world: World, step: str) -> None:
    now = world.clock()
    with world.database.transaction() as connection:
        for row in world.rows(t.message, "id", "lead_id", "enrollment_id", "step", "status"):
            if row.step == step and row.status == "sent" and row.lead_id % 2:
                new = NewEvent(
                    lead_id=row.lead_id,
                    kind="clicked",
                    at=now,
                    source="test",
                    source_id=str(row.id),
                    message_id=row.id,
                    enrollment_id=row.enrollment_id,
                    cadence="tour",
                    step=step,
                )
                record_event(connection, new, now=now)
                wake_enrollments(connection, [row.lead_id], now=now)
    world.once()


def edit(world: World, changes: dict[str, str | None]) -> None:
    root = world.installation.root
    write_cadences(root, {name: text for name, text in changes.items() if text is not None})
    for name in (name for name, text in changes.items() if text is None):
        (root / "cadences" / f"{name}.yaml").unlink()


def taken_up(world: World) -> Groups:
    """Take the files up, and say what became of whom."""
    files = load_workspace(world.installation.root)
    before = standing(world.database)
    world.stages.use(files)
    world.stages.advance()
    after = standing(world.database)
    happened = what_happened(before, before, after, files)
    world.stages.enroll()
    for name, groups in entered(after, standing(world.database)).items():
        happened.setdefault(name, {}).update(groups)
    return happened


@pytest.mark.parametrize("changes", EDITS.values(), ids=list(EDITS))
def test_a_plan_says_what_happens_lead_by_lead(world: World, changes: dict[str, str | None]) -> None:
    edit(world, changes)
    before = standing(world.database)
    said = as_groups(planned(world))
    assert standing(world.database) == before, "a plan changes nothing"
    assert said == taken_up(world)
