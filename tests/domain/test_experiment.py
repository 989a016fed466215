"""Experiments: fair draws, a choice that costs little, and a proof that may be looked at as often as one likes."""

from __future__ import annotations

import random
from math import exp, lgamma, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.experiment import (
    PROVEN_AT,
    Tally,
    choose,
    draw_arm,
    e_value,
    equal_odds,
    expected_losses,
    leading_arm,
    lift_interval,
    log_e_value,
    mismatch,
    next_odds,
    paused_arms,
    proves,
    results,
    thompson_odds,
)

ARMS = ("a", "b")
KEY = b"a key of this installation"


def tallies(a: int, b: int, *, sent: int = 2_000, odds: float = 0.5) -> list[Tally]:
    return [
        Tally(arm="a", odds=odds, sent=sent, converted=a),
        Tally(arm="b", odds=1 - odds, sent=sent, converted=b),
    ]


class TestTheDraw:
    def test_the_same_lead_always_draws_the_same_arm(self) -> None:
        odds = equal_odds(ARMS)
        assert [draw_arm("c/s", 7, odds, seed_key=KEY) for _ in range(3)] == [
            draw_arm("c/s", 7, odds, seed_key=KEY)
        ] * 3

    def test_the_order_of_arms_in_the_file_does_not_matter(self) -> None:
        for lead in range(200):
            one = draw_arm("c/s", lead, {"a": 0.3, "b": 0.7}, seed_key=KEY)
            assert one == draw_arm("c/s", lead, {"b": 0.7, "a": 0.3}, seed_key=KEY)

    def test_leads_follow_the_odds(self) -> None:
        drawn = [draw_arm("c/s", lead, {"a": 0.2, "b": 0.8}, seed_key=KEY) for lead in range(10_000)]
        assert 1_850 < drawn.count("a") < 2_150

    def test_two_experiments_draw_independently(self) -> None:
        odds = equal_odds(ARMS)
        same = sum(
            draw_arm("c/one", lead, odds, seed_key=KEY) == draw_arm("c/two", lead, odds, seed_key=KEY)
            for lead in range(10_000)
        )
        assert 4_800 < same < 5_200

    def test_an_arm_without_odds_is_never_drawn(self) -> None:
        assert {draw_arm("c/s", lead, {"a": 0.0, "b": 1.0}, seed_key=KEY) for lead in range(500)} == {"b"}


class TestTheProof:
    @pytest.mark.parametrize(("a", "b", "expected"), [(100, 130, 2.157), (200, 260, 10.94), (300, 390, 63.66)], ids=str)
    def test_check_values(self, a: int, b: int, expected: float) -> None:
        assert e_value(tallies(a, b), ARMS) == pytest.approx(expected, rel=5e-4)

    def test_it_is_the_formula_with_constant_unequal_odds(self) -> None:
        x, y = 40, 90
        formula = lgamma(60) - lgamma(60 + x + y) + lgamma(30 + x) + lgamma(30 + y) - 2 * lgamma(30)
        formula -= x * log(0.3) + y * log(0.7)
        assert log_e_value(tallies(x, y, odds=0.3), ARMS) == pytest.approx(formula)

    def test_changing_odds_take_each_converter_at_its_own(self) -> None:
        """ln E is the same whether one adds it up converter by converter or by groups of equal odds."""
        drawn = [("a", 0.5), ("b", 0.5), ("b", 0.8), ("a", 0.2), ("b", 0.8)]
        step_by_step, counts = 0.0, {"a": 0, "b": 0}
        for n, (arm, odds) in enumerate(drawn):
            step_by_step += log((30 + counts[arm]) / (60 + n)) - log(odds)
            counts[arm] += 1
        grouped = [Tally(arm=arm, odds=odds, sent=9, converted=1) for arm, odds in drawn]
        assert log_e_value(grouped, ARMS) == pytest.approx(step_by_step)

    def test_those_who_could_get_one_arm_only_prove_nothing(self) -> None:
        settled = [*tallies(300, 390), Tally(arm="b", odds=1.0, sent=9_000, converted=2_000)]
        assert e_value(settled, ARMS) == e_value(tallies(300, 390), ARMS)

    def test_nothing_happened_is_no_evidence(self) -> None:
        assert e_value(tallies(0, 0), ARMS) == pytest.approx(1.0)
        assert leading_arm(tallies(0, 0), ARMS) is None

    def test_overwhelming_evidence_stays_a_number(self) -> None:
        assert e_value(tallies(0, 50_000, sent=100_000), ARMS) > 1e300

    def test_two_thousand_equal_pairs_looked_at_after_each_batch(self) -> None:
        """A/A: the chance of ever calling equal arms different is at most 5%, whatever the number of looks."""
        chance, false_proofs, runs = random.Random(20_261), 0, 2_000
        for _ in range(runs):
            a = b = 0
            for _ in range(40):
                for _ in range(25):
                    a, b = (a + 1, b) if chance.getrandbits(1) else (a, b + 1)
                if e_value(tallies(a, b), ARMS) >= PROVEN_AT:
                    false_proofs += 1
                    break
        assert 0 < false_proofs <= 0.05 * runs

    def test_equal_arms_whose_odds_follow_the_data(self) -> None:
        """Odds that chase the leader after every batch do not raise the chance of a false proof either."""
        chance, false_proofs, runs = random.Random(77), 0, 500
        for _ in range(runs):
            found: list[Tally] = []
            odds_of_b = 0.5
            for _ in range(20):
                b = sum(chance.random() < odds_of_b for _ in range(40))
                found += tallies(40 - b, b, odds=1 - odds_of_b)
                if e_value(found, ARMS) >= PROVEN_AT:
                    false_proofs += 1
                    break
                odds_of_b = {"a": 0.2, "b": 0.8, None: 0.5}[leading_arm(found, ARMS)]
        assert false_proofs <= 0.05 * runs

    def test_a_real_difference_is_found(self) -> None:
        chance, found = random.Random(4), 0
        for _ in range(50):
            a = sum(chance.random() < 0.10 for _ in range(6_000))
            b = sum(chance.random() < 0.14 for _ in range(6_000))
            found += proves(tallies(a, b, sent=6_000), ARMS, "b")
        assert found >= 45

    def test_of_three_arms_the_leader_must_beat_each_of_the_others(self) -> None:
        arms = ("a", "b", "c")
        two_good = [
            Tally(arm=arm, odds=1 / 3, sent=5_000, converted=x) for arm, x in zip(arms, (200, 500, 510), strict=True)
        ]
        one_good = [
            Tally(arm=arm, odds=1 / 3, sent=5_000, converted=x) for arm, x in zip(arms, (200, 300, 510), strict=True)
        ]
        assert e_value(two_good, arms) > PROVEN_AT
        assert not proves(two_good, arms, "c")
        assert proves(one_good, arms, "c")


class TestTheInterval:
    def test_it_leaves_out_zero_exactly_when_proven(self) -> None:
        for b in range(300, 420, 5):
            low, high = lift_interval(tallies(300, b), "b")
            assert low is not None and high is not None
            assert (low > 0 or high < 0) == (e_value(tallies(300, b), ARMS) >= PROVEN_AT)

    def test_it_reads_the_same_from_both_sides(self) -> None:
        low, high = lift_interval(tallies(300, 390), "b")
        other_low, other_high = lift_interval(tallies(300, 390), "a")
        assert low is not None and high is not None and other_low is not None and other_high is not None
        assert (1 + low) * (1 + other_high) == pytest.approx(1)
        assert (1 + high) * (1 + other_low) == pytest.approx(1)

    def test_unequal_odds_are_taken_out(self) -> None:
        """Twice the clickers at twice the odds is no lift."""
        low, high = lift_interval(tallies(300, 600, odds=1 / 3), "b")
        assert low is not None and high is not None
        assert low < 0 < high

    def test_without_converters_there_is_no_bound(self) -> None:
        assert lift_interval(tallies(0, 0), "b") == (None, None)

    def test_it_covers_the_truth(self) -> None:
        chance, missed = random.Random(9), 0
        for _ in range(200):
            a = sum(chance.random() < 0.10 for _ in range(1_500))
            b = sum(chance.random() < 0.12 for _ in range(1_500))
            low, high = lift_interval(tallies(a, b, sent=1_500), "b")
            missed += not (low is not None and high is not None and low <= 0.2 <= high)
        assert missed <= 10

    def test_results_tell_leading_from_proven(self) -> None:
        leading = {each.arm: each for each in results(tallies(100, 130), ARMS)}
        proven = {each.arm: each for each in results(tallies(300, 390), ARMS)}
        assert (leading["a"].state, leading["b"].state) == ("open", "leading")
        assert (proven["a"].state, proven["b"].state) == ("open", "proven")
        assert proven["b"].lift == pytest.approx(0.3)
        assert proven["a"].lift == pytest.approx(300 / 390 - 1)

    def test_what_was_proven_once_stays_proven(self) -> None:
        later = {each.arm: each.state for each in results(tallies(300, 310), ARMS, proven_before="b")}
        assert later == {"a": "open", "b": "proven"}


class TestTheChoice:
    def test_expected_losses_equal_the_closed_form_for_two_arms(self) -> None:
        losses = expected_losses({"a": (100, 2_000), "b": (130, 2_000)})
        assert losses["a"] == pytest.approx(_closed_form(101, 1_901, 131, 1_871), rel=1e-4)
        assert losses["b"] == pytest.approx(_closed_form(131, 1_871, 101, 1_901), rel=1e-3)

    def test_the_odds_stay_equal_until_every_arm_has_five_hundred(self) -> None:
        few = [
            Tally(arm="a", odds=0.5, sent=499, converted=5),
            Tally(arm="b", odds=0.5, sent=5_000, converted=900),
        ]
        assert choose(few, ARMS) is None
        assert choose([Tally(arm="a", odds=0.5, sent=500, converted=5), few[1]], ARMS) == "b"

    def test_the_odds_stay_equal_while_a_wrong_choice_would_cost(self) -> None:
        assert choose(tallies(50, 55, sent=600), ARMS) is None

    def test_all_further_sends_go_to_the_chosen_arm_and_stay_there(self) -> None:
        odds, chosen = _next(tallies(100, 190))
        assert (odds, chosen) == ({"a": 0.0, "b": 1.0}, "b")
        settled = [*tallies(100, 190), Tally(arm="b", odds=1.0, sent=10_000, converted=1)]
        assert _next(settled, chosen="b") == ({"a": 0.0, "b": 1.0}, "b")

    def test_a_paused_arm_gets_nothing_even_when_chosen(self) -> None:
        odds, chosen = _next(tallies(100, 190), chosen="b", paused=frozenset("b"))
        assert (odds, chosen) == ({"a": 1.0, "b": 0.0}, None)

    def test_when_all_are_paused_none_is(self) -> None:
        odds, _ = _next(tallies(1, 2), paused=frozenset("ab"))
        assert odds == {"a": 0.5, "b": 0.5}

    def test_split_never_moves(self) -> None:
        rng = random.Random(1)
        assert next_odds("split", tallies(0, 900), ARMS, chosen=None, paused=frozenset(), rng=rng) == (
            {"a": 0.5, "b": 0.5},
            None,
        )

    def test_thompson_favours_the_better_arm_and_starves_none(self) -> None:
        odds = thompson_odds(tallies(100, 150), ARMS, rng=random.Random(5))
        assert odds["b"] > 0.9
        assert odds["a"] >= 0.05
        assert sum(odds.values()) == pytest.approx(1)
        assert odds == thompson_odds(tallies(100, 150), ARMS, rng=random.Random(5))

    def test_equal_clicks_of_equal_arms_are_soon_sent_on_without_a_proof(self) -> None:
        """Choosing between equals costs nothing, so it is done early; it proves nothing."""
        equal = tallies(20_000, 20_000, sent=200_000)
        assert choose(equal, ARMS) in ARMS
        assert e_value(equal, ARMS) < 1


class TestTheGuards:
    def test_complaints_pause_an_arm_from_three_and_three_in_a_thousand(self) -> None:
        nobody = tallies(0, 0)
        assert paused_arms(nobody, tallies(2, 0, sent=100), ARMS) == frozenset()
        assert paused_arms(nobody, tallies(3, 0, sent=1_000), ARMS) == frozenset("a")
        assert paused_arms(nobody, tallies(3, 0, sent=1_001), ARMS) == frozenset()

    def test_unsubscribes_pause_the_worse_arm_once_proven(self) -> None:
        assert paused_arms(tallies(30, 45), tallies(0, 0), ARMS) == frozenset()
        assert paused_arms(tallies(30, 130), tallies(0, 0), ARMS) == frozenset("b")

    def test_a_skewed_draw_is_flagged(self) -> None:
        fair = [Tally(arm=arm, odds=0.5, sent=n, converted=n) for arm, n in (("a", 1_000), ("b", 1_040))]
        skewed = [Tally(arm=arm, odds=0.5, sent=n, converted=n) for arm, n in (("a", 1_000), ("b", 1_400))]
        assert not mismatch(fair, ARMS)
        assert mismatch(skewed, ARMS)


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=5),
    odds=st.lists(st.floats(0.05, 0.95), min_size=5, max_size=5),
)
def test_swapping_the_arms_swaps_nothing_in_the_evidence(counts: list[tuple[int, int]], odds: list[float]) -> None:
    one, other = [], []
    for (a, b), share in zip(counts, odds, strict=False):
        one += tallies(a, b, sent=400, odds=share)
        other += tallies(b, a, sent=400, odds=1 - share)
    assert log_e_value(one, ARMS) == pytest.approx(log_e_value(other, ARMS), abs=1e-6)


def _next(
    found: list[Tally], *, chosen: str | None = None, paused: frozenset[str] = frozenset()
) -> tuple[dict[str, float], str | None]:
    return next_odds("expected_loss", found, ARMS, chosen=chosen, paused=paused, rng=random.Random(1))


def _closed_form(a: float, b: float, c: float, d: float) -> float:
    """E[max(θ₂ − θ₁, 0)], θ₁ ~ Beta(a, b), θ₂ ~ Beta(c, d), c a whole number (Evan Miller's sum)."""

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    def wins(a: float, b: float, c: int, d: float) -> float:
        terms = (log_beta(a + i, b + d) - log(d + i) - log_beta(1 + i, d) - log_beta(a, b) for i in range(c))
        return sum(exp(each) for each in terms)

    return exp(log_beta(c + 1, d) - log_beta(c, d)) * wins(a, b, int(c) + 1, d) - exp(
        log_beta(a + 1, b) - log_beta(a, b)
    ) * wins(a + 1, b, int(c), d)
