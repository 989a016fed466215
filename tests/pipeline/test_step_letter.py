"""What a step says by arm and language, what it answers, and the calendar entry that it brings: no database needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from nurture.domain.cadence import ANY_TIME, Cadence, Email, Expiry, Locale, Tracking
from nurture.pipeline.material import ENDS, STARTS, Material
from nurture.pipeline.step_letter import Organizer, calendar_entry, is_tracked, modes_of, saying, thread_of
from nurture.store.letter_facts import EarlierMail

NOON = datetime(2026, 11, 6, 12, tzinfo=UTC)
ANNA = Organizer(name="Anna", address="anna@acme.example", key=b"key", public_url="https://mail.acme.example")
ROW = SimpleNamespace(lead_id=3, enrollment_id=7, created_at=NOON - timedelta(days=2))


def step(**said: Any) -> Email:
    return Email(**{"key": "x", "next": None, "template": "plain", "subjects": {"": "Hello"}, **said})


def test_each_arm_has_its_own_texts() -> None:
    two = step(
        subjects={"a": "A", "b": "B"},
        bodies={"a": "one", "b": "two"},
        vars={"hero": {"a": "team.png", "b": "chart.png"}, "same": {"": "for all"}},
        preheader="p",
    )
    assert [saying(two, arm, "en").template for arm in "ab"] == ["one", "two"]
    assert saying(two, "b", "en").vars == {"hero": "chart.png", "same": "for all"}
    assert saying(two, "b", "en").subject == "B"


@pytest.mark.parametrize(
    ("language", "subject", "preheader"),
    [
        ("de-AT", "Hallo", "bis bald"),
        ("DE_ch", "Hallo", "bis bald"),
        ("fr", "Hello", "au revoir"),
        ("en", "Hello", "bye"),
    ],
)
def test_a_translation_says_what_it_has(language: str, subject: str, preheader: str) -> None:
    locales = {"de": Locale(subjects={"": "Hallo"}, preheader="bis bald"), "fr-FR": Locale(preheader="au revoir")}
    said = saying(step(preheader="bye", locales=locales), "", language)
    assert (said.subject, said.preheader) == (subject, preheader)


def mail(key: str) -> EarlierMail:
    return EarlierMail(step=key, header=f"{key}@x", subject=f"S {key}")


def test_a_thread_goes_back_to_the_mail_that_began_it() -> None:
    steps = {
        key: step(key=key, reply_in_thread=answers)
        for key, answers in {"a": False, "b": True, "c": False, "d": True}.items()
    }
    cadence = Cadence(name="x", title="x", sender="anna", window=ANY_TIME, first="a", steps=steps)
    found = thread_of([mail("a"), mail("b"), mail("c"), mail("d")], cadence)
    assert found is not None and (found.references, found.subject) == (("c@x", "d@x"), "S c")
    first = thread_of([mail("a"), mail("b")], cadence)
    assert first is not None and first.references == ("a@x", "b@x")
    gone = thread_of([mail("a"), mail("gone")], cadence)
    assert gone is not None and gone.references == ("gone@x",), "a step that is no more begins one"
    assert thread_of([], cadence) is None


@pytest.mark.parametrize(
    ("event", "dates", "minutes"),
    [
        ({}, {}, 60),
        ({"duration": "90"}, {}, 90),
        ({"duration": "soon"}, {}, 60),
        ({"duration": 1e300}, {}, 60),
        ({"duration": "nan"}, {}, 60),
        ({"duration": -5}, {}, 60),
        ({"duration": 30}, {ENDS: NOON + timedelta(minutes=45)}, 45),
        ({"duration": 30}, {ENDS: NOON - timedelta(minutes=45)}, 30),
        ({}, {ENDS: NOON + timedelta(days=400)}, 60),
    ],
)
def test_how_long_an_entry_is(event: dict[str, Any], dates: dict[str, datetime], minutes: int) -> None:
    entry = calendar_entry(step(ics=True), ROW, Material(event=event, dates={STARTS: NOON, **dates}), ANNA)
    assert entry is not None and entry.ends_at - entry.starts_at == timedelta(minutes=minutes)


def test_where_the_moment_comes_from_and_whose_entry_it_is() -> None:
    with_field = step(ics=True, expires=Expiry(field="custom.demo_at"))
    assert calendar_entry(with_field, ROW, Material(), ANNA) is None
    by_field = calendar_entry(with_field, ROW, Material(dates={"custom.demo_at": NOON}), ANNA)
    by_event = calendar_entry(with_field, ROW, Material(dates={"custom.demo_at": NOON, STARTS: NOON}), ANNA)
    assert by_field is not None and by_event is not None and by_field.uid != by_event.uid
    assert by_field.uid.endswith("@mail.acme.example")
    again = calendar_entry(step(ics=True, key="y"), ROW, Material(dates={STARTS: NOON + timedelta(days=1)}), ANNA)
    assert again is not None and again.uid == by_event.uid, "the later mail moves the entry"
    named = Material(dates={STARTS: NOON}, event={"uid": "w1", "title": True, "name": "N"})
    other = SimpleNamespace(lead_id=3, enrollment_id=8, created_at=NOON)
    one, two = (calendar_entry(step(ics=True), row, named, ANNA) for row in (ROW, other))
    assert one is not None and two is not None and one.uid == two.uid and one.summary == "N"


def test_the_cadences_word_on_tracking_comes_first() -> None:
    modes = modes_of(Tracking(opens="never"), opens="always", clicks="consent")
    assert (modes.opens, modes.clicks, modes.told_opens, modes.told_clicks) == ("never", "consent", "never", None)
    assert [is_tracked(mode, agreed=False) for mode in ("always", "consent", "hygiene", "never")] == [
        *(True, False, True, False)
    ]
    assert is_tracked("consent", agreed=True) and not is_tracked("never", agreed=True)
