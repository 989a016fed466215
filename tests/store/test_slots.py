"""Slots of connections: never more than there are, shared out among those who are there, lost by nobody's death."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from nurture.store import slots as slots_module
from nurture.store.database import Database
from nurture.store.presence import Presence, absent
from nurture.store.slots import ServerSlots, Slots

MOST = 5


class Worker:
    """A process that holds slots of one server."""

    def __init__(self, database: Database, name: str, server: str = "primary", most: int = MOST) -> None:
        self.presence = Presence(database, name)
        self.slots = Slots(self.presence)
        self.of: ServerSlots = self.slots.of(server, most)
        self.server = server

    def attend(self, *, count: int) -> None:
        """As a deliverer with so many open connections does every few seconds."""
        self.presence.keep()
        self.slots.look()
        self.slots.free(self.slots.beyond({self.server: count}))

    def takes(self) -> int:
        """As many as it gets; how many those are."""
        return next(count for count in range(100) if not self.of.take(count + 1))


@pytest.fixture
def worker(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Worker]]:
    monkeypatch.setattr(slots_module, "ASK_AGAIN_S", 0.0)
    made: list[Worker] = []

    def make(name: str, server: str = "primary", most: int = MOST) -> Worker:
        made.append(Worker(postgres_database, name, server, most))
        made[-1].attend(count=0)
        return made[-1]

    yield make
    for each in made:
        each.presence.end()


def test_one_alone_has_them_all_and_no_more(worker: Callable[..., Worker]) -> None:
    here = worker("here:1")
    assert here.takes() == MOST
    assert here.of.allow(MOST) and not here.of.allow(MOST + 1)
    other = worker("other:2", server="backup")
    assert other.takes() == 3, "its share of another server, which nobody else asks for"


def test_who_comes_later_gets_a_share_once_the_first_has_let_go_of_it(worker: Callable[..., Worker]) -> None:
    here = worker("here:1")
    here.takes()
    there = worker("there:2")
    assert there.takes() == 0
    here.attend(count=MOST)
    assert here.of.allow(3) and not here.of.allow(4), "connections are closed after their messages"
    assert there.takes() == 0, "not before they are closed"
    here.attend(count=3)
    assert there.takes() == 2
    assert here.takes() == 3


def test_threads_that_ask_at_one_moment_take_no_more_than_the_share(worker: Callable[..., Worker]) -> None:
    here, there = worker("here:1"), worker("there:2")
    here.attend(count=0)
    free, all_ask = threading.Event(), threading.Barrier(MOST + 1)

    def ask(count: int) -> bool:
        all_ask.wait()
        return here.of.take(count)

    with ThreadPoolExecutor(MOST + 1) as pool:
        pool.submit(here.presence.with_connection, lambda _: free.wait(10))
        asking = [pool.submit(ask, count + 1) for count in range(MOST)]
        all_ask.wait()
        time.sleep(0.1)  # each has found that it may, and waits for the connection
        free.set()
        assert sum(each.result() for each in asking) == 3
    assert there.takes() == 2


@pytest.fixture
def found_none(worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, Worker]:
    """Who has one of two slots and found no other, so that it will not ask for a while, and who has the other."""
    monkeypatch.setattr(slots_module, "ASK_AGAIN_S", 60.0)
    here, there = worker("here:1", most=2), worker("there:2", most=2)
    assert (there.takes(), here.takes()) == (1, 1)
    return here, there


def test_who_found_none_and_lets_go_of_its_own_may_ask_at_once(found_none: tuple[Worker, Worker]) -> None:
    here, _ = found_none
    here.attend(count=0)
    assert here.takes() == 1


def test_who_found_none_and_comes_back_to_the_database_may_ask_at_once(found_none: tuple[Worker, Worker]) -> None:
    here, there = found_none
    there.presence.end()
    here.attend(count=1)
    assert here.takes() == 1, "it does not ask yet"
    here.presence.end()
    here.attend(count=1)
    assert here.takes() == 2


def test_more_workers_than_connections_have_one_or_none(worker: Callable[..., Worker]) -> None:
    workers = [worker(f"host:{number}", most=2) for number in range(4)]
    for each in workers:
        each.attend(count=0)
    assert [each.takes() for each in workers] == [1, 1, 0, 0]
    workers[0].presence.end()
    assert [each.takes() for each in workers[2:]] == [1, 0]


def test_what_was_lost_with_a_connection_is_taken_again_unless_others_have_it(
    worker: Callable[..., Worker], postgres_database: Database
) -> None:
    here, there = worker("here:1"), worker("there:2")
    for each in (here, there):
        each.attend(count=0)
    assert (here.takes(), there.takes()) == (3, 2)
    with postgres_database.transaction() as connection:
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND objid = :number"
        connection.execute(text(ended), {"number": here.presence._number})
    assert there.takes() == 3
    here.attend(count=3)
    assert here.of.allow(2) and not here.of.allow(3)
    with postgres_database.reading() as connection:
        assert absent(connection, ["here:1", "there:2"]) == []
    assert here.takes() == 2


def test_without_a_database_nothing_is_given(worker: Callable[..., Worker]) -> None:
    here = worker("here:1")
    here.takes()
    here.presence.end()
    assert not here.of.take(1) and not here.of.allow(1)
    here.attend(count=2)
    assert here.of.allow(2)


def test_a_server_that_is_in_no_file_any_more_keeps_no_slots(worker: Callable[..., Worker]) -> None:
    here, there = worker("here:1", server="old"), worker("there:2", server="old")
    assert (here.takes(), there.takes()) == (5, 0)
    here.slots.free(here.slots.beyond({"new": 1}))
    there.attend(count=0)
    assert there.takes() == 3


def test_one_that_froze_holds_nothing_for_longer_than_its_leases(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, postgres_database: Database
) -> None:
    monkeypatch.setattr("nurture.store.presence.SILENT_AT_MOST", timedelta(seconds=0.2))
    frozen = worker("frozen:1", most=1)
    assert frozen.takes() == 1
    monkeypatch.undo()
    there = worker("there:2", most=1)
    deadline = time.monotonic() + 20
    while not there.of.take(1) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert there.of.take(1)
    frozen.attend(count=1)
    assert not frozen.of.allow(1), "it finds out when it wakes up"
