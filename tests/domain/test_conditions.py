"""The language of conditions: what it takes, how it writes it, and how it says no."""

from __future__ import annotations

import pytest

from nurture.domain.conditions import ConditionError, Vocabulary, parse_condition

OPEN = Vocabulary(segments={"dach": 'country in ["DE", "AT", "CH"]'})
WORKSPACE = Vocabulary(
    custom={
        "employees": "number",
        "plan": ["team", "pro"],
        "trial_ends_at": "datetime",
        "born": "date",
        "competitor": "boolean",
        "industry": "text",
    },
    segments={"dach": 'country in ["DE", "AT", "CH"]', "warm": 'score >= 40 and in_segment("dach")'},
    cadences={"welcome": frozenset({"hello"}), "guide": frozenset({"intro", "case"})},
)

DATES = 'write e.g. created_at > "2026-12-01", or days_since(created_at) < 30'
EXAMPLES = 'write a comparison or a function, e.g. score >= 50 or tag("guide")'
RAW = 'a control character in a text: leave it out (a pattern with \\ is written r"…")'


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # as the files of a workspace write them
        ('stage == "lead" and tag("guide")', 'stage == "lead" and tag("guide")'),
        ('stage == "lead" and not tag("guide")', 'stage == "lead" and not tag("guide")'),
        ("fit >= 'B' and score>=50", 'fit >= "B" and score >= 50'),
        ('did("demo requested", within="7 days")', 'did("demo requested", within="7 days")'),
        ('contains(title, "marketing") or contains(title, "growth")',) * 2,
        ('stage in ["lead", "mql"] and days_since(last_engaged_at) > 90',) * 2,
        ('in_segment("dach")', 'country in ["DE", "AT", "CH"]'),
        ('in_segment("warm") or prospect', 'score >= 40 and country in ["DE", "AT", "CH"] or prospect'),
        ('not in_segment("warm")', 'not (score >= 40 and country in ["DE", "AT", "CH"])'),
        ('clicked(step="intro", within="7 days") or visited("/pricing*", within="14 days", times=2)',) * 2,
        ('clicked(cadence="guide", step="case", link="*/roi*", verdict="any")',
         'clicked(step="case", cadence="guide", link="*/roi*", verdict="any")'),
        ("custom.employees >= 50 and custom.plan == \"pro\"",) * 2,
        # spellings
        ("True and FALSE or true", "true and false or true"),
        ("custom.competitor", "custom.competitor"),
        ("custom.competitor == True", "custom.competitor == true"),
        ("owner is None or owner is not none", "owner is none or owner is not none"),
        ("not not prospect", "prospect"),
        ("50 <= score", "score >= 50"),
        ("-5 < score <= 1e2", "score > -5 and score <= 100"),
        ("custom.employees in (1, 2.5)", "custom.employees in [1, 2.5]"),
        ('visited(path="/a")', 'visited("/a")'),
        ('bounced(times=2) and sent(step="hello")', 'bounced(times=2) and sent(step="hello")'),
        ('replied(since="enrollment")', 'replied(since="enrollment")'),
        ('did("deal won", value=100, plan="pro", paid=true)', 'did("deal won", value=100, plan="pro", paid=true)'),
        ('created_at >= "2026-01-01" and created_at < "2026-02-01 09:30"',) * 2,
        ("7 < days_since(custom.born) <= 30", "days_since(custom.born) > 7 and days_since(custom.born) <= 30"),
        ('first_name == custom.industry and last_engaged_at > contacted_at',) * 2,
        ('company == "Zoë\'s \\"GmbH\\" 😀"', 'company == "Zoë\'s \\"GmbH\\" 😀"'),
        ('stage == "lead"\n  and tag("guide")\n', 'stage == "lead" and tag("guide")'),
        ('(stage == "lead" or prospect) and (tag("a") and tag("b"))',
         '(stage == "lead" or prospect) and tag("a") and tag("b")'),
        ('matches(title, "^(head|vp) of\\s")', 'matches(title, "^(head|vp) of\\\\s")'),
        ('matches(title, r"^\\d+$")', 'matches(title, "^\\\\d+$")'),
        ("fit is none and fit != \"unknown\"",) * 2,
        # text is text, whatever it looks like
        ('company == "x\\" or 1=1 --"', 'company == "x\\" or 1=1 --"'),
        ("tag(\"'); DROP TABLE lead; --\")",) * 2,
    ],
)  # fmt: skip
def test_a_condition_is_read_and_written_in_one_way(text: str, canonical: str) -> None:
    condition = parse_condition(text, WORKSPACE)
    assert condition.text == canonical
    assert parse_condition(condition.text, WORKSPACE) == condition


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        # names
        ('contry == "DE"', 0, "unknown field 'contry': did you mean 'country'?"),
        ('prospect and contry == "DE"', 13, "unknown field 'contry': did you mean 'country'?"),
        ('company == "Zoë" and stge == "lead"', 21, "unknown field 'stge': did you mean 'stage'?"),
        ('cliked(step="intro")', 0, "unknown function 'cliked': did you mean 'clicked'?"),
        ('custom.employes > 5', 0, "unknown custom field 'custom.employes': did you mean 'employees'?"),
        ('custom.zzz > 5', 0, "unknown custom field 'custom.zzz': declare it under [fields] in config.toml"),
        ('in_segment("dahc")', 11, "unknown segment 'dahc': did you mean 'dach'?"),
        ("dach", 0, 'dach is a segment: write in_segment("dach")'),
        ("employees > 5", 0, "employees is a custom field: write custom.employees"),
        ('lead.country == "DE"', 0, "a condition speaks of the lead already: write country"),
        ("tag", 0, "tag is a function: write tag(…)"),
        ("custom == 3", 0, "custom needs a name after it, as in custom.plan"),
        ('stage("lead")', 0, "stage is a field, not a function: leave out the parentheses"),
        ('clicked(step="intor")', 13, 'step="intor" is unknown: did you mean \'intro\'?'),
        ('clicked(step="hello", cadence="guide")', 13, 'step="hello" is unknown: use case, intro'),
        ('clicked(cadence="giude")', 16, 'cadence="giude" is unknown: did you mean \'guide\'?'),
        # unlike types and impossible values
        ('score == "a"', 9, 'score is a number, and "a" is not: write e.g. score == 50'),
        ("score == true", 9, "score is a number, and true is not: write e.g. score == 50"),
        ("fit > 3", 6, 'fit is a grade, and 3 is not: write e.g. fit > "B"'),
        ("country < 5", 10, 'country is a text, and 5 is not: put it in quotes, as in country < "5"'),
        ('"lead" == score', 0, 'score is a number, and "lead" is not: write e.g. score == 50'),
        ('stage == "leed"', 9, "stage is never \"leed\": did you mean 'lead'?"),
        ('stage in ["lead", "mqll"]', 18, "stage is never \"mqll\": did you mean 'mql'?"),
        ('stage >= "mql"', 9, "stage has no order: use ==, != or in"),
        ('fit == "E"', 7, '"E" is no grade: use A, B, C, D or unknown'),
        ('fit == "b"', 7, "\"b\" is no grade: did you mean 'B'?"),
        ('fit < "unknown"', 6, '"unknown" is no grade and has no order: write fit == "unknown"'),
        ('custom.plan == "gold"', 15, 'custom.plan is never "gold": use team, pro'),
        ("custom.industry == 5", 19,
         'custom.industry is a text, and 5 is not: put it in quotes, as in custom.industry == "5"'),
        ("custom.competitor == 1", 21,
         "custom.competitor is a truth value, and 1 is not: write custom.competitor == true"),
        ("prospect > true", 11, "prospect is a truth value: compare it with == or !="),
        ('created_at > "soon"', 13, f'created_at is a date, and "soon" is not: {DATES}'),
        ('created_at > "2026-02-30"', 13, f'created_at is a date, and "2026-02-30" is not: {DATES}'),
        ("score == company", 9, "score is a number, company a text: only like compares with like"),
        ("stage == fit", 9, "stage is a choice, fit a grade: only like compares with like"),
        ("fit == fit", 7, "fit is a grade: compare it with a value, not with another field"),
        ('company == ""', 11, "an empty text counts as missing: write company is none"),
        ("stage == none", 9, "nothing equals none: write 'is none' or 'is not none'"),
        ('stage is "lead"', 9, "'is' goes with none: compare values with =="),
        ('country in "DE"', 11, '\'in\' wants a list after it, as in country in ["a", "b"]'),
        ('"growth" in title', 0, "'in' wants a list after it; for a part of a text write contains(title, …)"),
        ("country in []", 11, "the list is empty: nothing is ever in it"),
        ("country in [country]", 12, "a list holds values only"),
        ('country == ["DE"]', 11, "a list goes with 'in', not with =="),
        ("score > 1e999", 8, "this number is too large"),
        ('"a" == "b"', 0, "this compares two values: name a field on one side"),
        # days and times
        ("days_since(company) < 3", 11, "company is a text, not a date: use e.g. days_since(last_engaged_at)"),
        ("days_since(created_at)", 0, "days_since(…) is a number: compare it, as in days_since(created_at) < 30"),
        ("days_since(created_at) == 3", 26,
         "days count to the second, so they are never just equal: write e.g. 3 <= days_since(created_at) < 4"),
        ("days_since(created_at) < 1e9", 25, "more than 36500 days: nothing lies that far away"),
        ('days_since(created_at) < "3"', 25,
         "days_since and days_until are compared with a number, as in days_since(created_at) < 30"),
        ('opened(within="soon")', 14, 'within="soon" is no stretch of time: write e.g. within="7 days"'),
        ('opened(within="-1 day")', 14, 'within="-1 day" is no stretch of time: write e.g. within="7 days"'),
        ("opened(times=0)", 13, "times= is a whole number from 1 on"),
        ("opened(times=1.5)", 13, "times= is a whole number from 1 on"),
        # functions
        ('opened(stp="intro")', 7, "opened takes no stp=: did you mean 'step'?"),
        ('opened(link="*")', 7, "opened takes no link=: it takes cadence, since, step, times, verdict, within"),
        ('opened("intro")', 7, 'opened takes named arguments only, as in opened(step="intro")'),
        ('opened(step="intro", step="case")', 21, "step is said twice"),
        ("opened(**custom)", 7, "** is not supported"),
        ("opened(step=company)", 12, "a value belongs here, not a field"),
        ("opened(step=3)", 12, "a text for step= is a text in quotes"),
        ('opened(since="today")', 13, 'since="today" is unknown: use enrollment, ever'),
        ('opened(verdict="machine")', 15, 'verdict="machine" is unknown: use any, human'),
        ("did()", 0, 'did takes the event\'s name first, as in did("demo requested")'),
        ("did(demo)", 4, "unknown field 'demo'"),
        ('visited("/a", path="/b")', 14, "the path is said twice"),
        ("tag()", 0, 'tag takes a tag, as in tag("guide")'),
        ('tag("a", "b")', 0, 'tag takes a tag, as in tag("guide")'),
        ('tag(name="a")', 4, 'tag takes no name=: it takes a tag, as in tag("guide")'),
        ('contains(title)', 0, 'contains takes a field and a text, as in contains(title, "growth")'),
        ('contains(score, "5")', 9, "score is a number, not a text"),
        ('contains("title", "growth")', 9, 'contains takes a field first, as in contains(title, "growth")'),
        ('tag("a") == true', 0, "tag(…) is true or false by itself: don't compare it"),
        ("(prospect or prospect) == true", 1, "a condition can't be compared: combine conditions with and, or, not"),
        ('matches(title, "a{3}")', 15,
         "{…} counts are not supported: repeat the part itself, or use * + ? (at character 2 of the pattern)"),
        ('matches(title, "(a")', 15,
         "a ( without its ): write \\( for the character itself (at character 1 of the pattern)"),
        ('matches(title, "\\bcto")', 15,
         RAW),
        # not conditions
        ("", 0, 'an empty condition: write e.g. stage == "lead"'),
        ("score", 0, "score by itself is no condition: compare it with something"),
        ("custom.industry", 0, "custom.industry by itself is no condition: compare it with something"),
        ('"lead"', 0, f"a value by itself is no condition: {EXAMPLES}"),
        ('stage = "lead"', 6, "'=' can't be read here: compare with '=='"),
        ("prospect && tag(\"a\")", 9, "'&&' can't be read here: write 'and' and 'or'"),
        ('prospect AND tag("a")', 9, "'AND' can't be read here: write 'and', 'or', 'not', 'in', 'is' in small letters"),
        ('company == “Acme”', 11, "'“' can't be read here: use straight quotes: \""),
        ('stage == "lead', 9, "this can't be read as a condition: look for a missing quote, bracket or 'and'"),
        ("prospect # really", 9, "a comment inside a condition: leave it out"),
        ("score + 5 > 3", 0, "arithmetic is not part of conditions"),
        ('custom["plan"] == "pro"', 0, "brackets are not part of conditions: write custom.name"),
        ("prospect if score else prospect", 0, "'if' is not part of conditions: use and, or, not"),
        ("lambda: prospect", 0, "functions can't be defined in conditions"),
        ('f"{score}" == "5"', 0, "a text in a condition is plain: leave out the f"),
        ('b"a" == country', 0, "a value is a text in quotes, a number, true, false or none"),
        ("(stage := 3)", 1, "compare with '=='"),
        ("a.b.c == 3", 0, "only custom has names inside, as in custom.plan"),
        ("[each for each in country]", 0, f"this is not part of conditions: {EXAMPLES}"),
        ("__import__('os').system('id')", 0, "this is no function"),
        ('company == "a\x00b"', 13, "a control character (U+0000): leave it out"),
        ('company == "a\ud800"', 13, "a control character (U+D800): leave it out"),
        ('company == "a\\x00b"', 11, RAW),
        ('company == "a\\ud800"', 11, RAW),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place_with_the_cure(text: str, offset: int, message: str) -> None:
    with pytest.raises(ConditionError) as raised:
        parse_condition(text, WORKSPACE)
    assert (raised.value.offset, raised.value.message) == (offset, message)


def test_an_undeclared_custom_value_is_read_as_what_it_is_compared_with() -> None:
    for text in (
        'custom.plan == "pro"',
        "custom.employees >= 50",
        "custom.competitor == true",
        'custom.trial_ends_at > "2026-12-01"',
        "days_until(custom.trial_ends_at) < 3",
        'contains(custom.plan, "pro")',
        "custom.quota <= score",
    ):
        assert parse_condition(text, OPEN).text == text
    with pytest.raises(ConditionError, match=r"custom\.plan by itself is no condition: compare it == true"):
        parse_condition("custom.plan", OPEN)
    with pytest.raises(ConditionError, match="the list holds unlike values"):
        parse_condition('custom.plan in ["pro", 3]', OPEN)


def test_inside_a_cadence_a_step_is_one_of_its_own() -> None:
    inside = Vocabulary(cadences=WORKSPACE.cadences, cadence="guide")
    assert parse_condition('clicked(step="intro")', inside).text == 'clicked(step="intro")'
    with pytest.raises(ConditionError, match="is unknown: use case, intro"):
        parse_condition('clicked(step="hello")', inside)
    assert parse_condition('clicked(step="hello", cadence="welcome")', inside)


def test_segments_that_go_in_a_circle_are_told_with_the_way_round() -> None:
    vocabulary = Vocabulary(segments={"a": 'in_segment("b")', "b": 'prospect and not in_segment("a")', "c": "scor > 3"})
    with pytest.raises(ConditionError) as raised:
        parse_condition('prospect or in_segment("a")', vocabulary)
    assert (raised.value.offset, raised.value.message) == (23, "segments go in a circle: a -> b -> a")
    with pytest.raises(ConditionError) as raised:
        parse_condition('in_segment("c")', vocabulary)
    assert raised.value.message == "segment 'c': unknown field 'scor': did you mean 'score'?"


def test_segments_that_double_are_stopped_before_they_fill_the_memory() -> None:
    segments = {f"s{n}": f'in_segment("s{n + 1}") or in_segment("s{n + 1}")' for n in range(20)} | {"s20": "prospect"}
    with pytest.raises(ConditionError, match="more than 1000 parts"):
        parse_condition('in_segment("s0")', Vocabulary(segments=segments))


def test_a_condition_is_bounded_with_its_segments_written_out() -> None:
    long = " or ".join(f'company == "{n:050d}"' for n in range(40))
    assert parse_condition(long, OPEN)
    with pytest.raises(ConditionError, match="longer than 4000 characters, segments written out"):
        parse_condition('in_segment("a") and in_segment("b")', Vocabulary(segments={"a": long, "b": long}))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000,
        "(" * 1999 + "prospect" + ")" * 1999,
        "not " * 990 + "prospect",
        "not " * 60 + "prospect",
        "-" * 3999 + "1",
        "[" * 4000,
        "{" * 3000,
        "a." * 1900 + "b == 3",
        "a(" * 1900,
        "score > " + "9" * 3900,
        "score > 0x" + "f" * 3900,
        "score > 1" + "_0" * 1900,
        "score > 1e" + "9" * 3000,
        "score > 5j",
        "prospect and " * 300 + "prospect",
        "'" * 3999,
        '"""' * 1000,
        "\\" * 4000,
        "\n" * 4000,
        "\x0c\x0c prospect",
        "lambda " * 500,
        "score == " * 400 + "1",
        "f'" + "{" * 3000,
        "x" * 4001,
        "\ufeffprospect",
        "\u2028",
        "prospect\\\n",
        "await prospect",
        "yield",
        "*prospect",
        "prospect;prospect",
        "import os",
        ")(",
        "prospect) or (prospect",
        "tag('a' 'b')",
        "ｐｒｏｓｐｅｃｔ",
        "1if prospect else 2",
        "0777 < score",
    ],
    ids=lambda text: text[:12].encode("unicode_escape").decode(),
)
def test_no_text_makes_it_crash(text: str) -> None:
    try:
        condition = parse_condition(text, OPEN)
    except ConditionError as error:
        assert 0 <= error.offset <= max(len(text), 1)
        assert "\n" not in error.message
        assert len(error.message) < 300
    else:
        assert parse_condition(condition.text, OPEN) == condition


def test_the_opposite_of_a_condition_is_a_condition() -> None:
    condition = parse_condition('country == "DE" and prospect', OPEN)
    assert condition.negated().text == 'not (country == "DE" and prospect)'
    assert condition.negated().negated() == condition
    assert parse_condition(condition.negated().text, OPEN) == condition.negated()
