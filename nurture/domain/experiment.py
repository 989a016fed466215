"""Experiments: which arm a lead gets, which arm to send next, and what is proven. The three are kept apart.

A lead's arm is drawn once, by a keyed hash, at odds that are stored beside it. Choosing what to send may follow the
data as it likes, because the proof takes each lead at the odds it was drawn at.
"""

from __future__ import annotations

import hmac
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import exp, isclose, lgamma, log, log1p, sqrt
from typing import Literal

Send = Literal["expected_loss", "thompson", "split"]
State = Literal["leading", "proven", "open"]

MATURE_AFTER = timedelta(hours=72)
"""A send is judged when this much time has passed since it went out, by what happened within that time."""
PROVEN_AT = 20.0
"""1/α for α = 0.05: under the null hypothesis an e-process ever reaches it with probability at most α (Ville)."""
MIXTURE = 30.0
"""The Dirichlet parameter `a`: how near to no difference the mixture expects the arms to be."""
LEAST_SENDS = 500
"""Matured sends that every arm needs before `expected_loss` chooses."""
TOLERATED_LOSS = 0.01
"""Of the base rate: what choosing the leading arm may cost in expectation."""
THOMPSON_FLOOR = 0.05
"""The least share of an arm under `thompson`, so that no arm starves on an unlucky start."""
THOMPSON_DRAWS = 2_000
COMPLAINT_RATE = 0.003
LEAST_COMPLAINTS = 3
GRID = 2_000


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Leads of one arm who were drawn at the same odds: how many got the mail, and how many of them did X."""

    arm: str
    odds: float
    sent: int
    converted: int

    @property
    def randomised(self) -> bool:
        """Whether chance had a say; a lead who could get one arm only compares nothing."""
        return 0.0 < self.odds < 1.0


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm against the best of the others. `lift` is (rate / other's rate) - 1; `low` and `high` bound it."""

    arm: str
    sent: int
    converted: int
    state: State
    lift: float | None
    low: float | None
    high: float | None


def equal_odds(arms: Sequence[str]) -> dict[str, float]:
    return {arm: 1.0 / len(arms) for arm in arms}


def draw_arm(experiment: str, lead_id: int, odds: Mapping[str, float], *, seed_key: bytes) -> str:
    """The arm of this lead at these odds: HMAC-SHA256 of experiment and lead, read as a point of [0, 1)."""
    digest = hmac.digest(seed_key, f"experiment:{experiment}:{lead_id}".encode(), "sha256")
    point = int.from_bytes(digest[:8], "big") / 2**64
    possible = [(arm, share) for arm, share in sorted(odds.items()) if share > 0]
    reached = 0.0
    for arm, share in possible:
        reached += share
        if point < reached:
            return arm
    return possible[-1][0]


def log_e_value(tallies: Sequence[Tally], arms: Sequence[str]) -> float:
    """ln E against "a converter's arm follows the odds of its draw", i.e. all arms convert alike.

    Given that somebody converts, the null makes their arm a draw from the odds π they were assigned at, whatever the
    base rate is. Against it stands a Dirichlet(a, …, a) mixture over the K arms, which gives the predictive product

        ln E = lnΓ(Ka) − lnΓ(Ka+n) + Σ_k [lnΓ(a+x_k) − lnΓ(a)] − Σ_i ln π_i,   a = 30,

    π_i being the odds of the arm that converter i got. With constant odds the last sum is Σ_k x_k ln π_k, the usual
    form; since each factor divides a predictive probability by the null's, E stays a martingale of mean 1 when the
    odds change with what was learned before the draw. Hence it may be looked at as often as one likes (Ville's
    inequality; Howard, Ramdas et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"; Lindon
    and Malek 2022, "Anytime-valid inference for multinomial count data"). Converters who could get one arm only
    (odds 1) say nothing and are left out: that is known at their draw, so leaving them out biases nothing.
    """
    informative = [each for each in tallies if each.randomised]
    counts = _converted_by_arm(informative, arms)
    null = sum(each.converted * log(each.odds) for each in informative)
    return _log_mixture(list(counts.values())) - null


def e_value(tallies: Sequence[Tally], arms: Sequence[str]) -> float:
    """E of `log_e_value`; beyond what a float holds it is the largest power that does."""
    return exp(min(log_e_value(tallies, arms), 700.0))


def mismatch(assigned: Sequence[Tally], arms: Sequence[str]) -> bool:
    """Sample-ratio mismatch: the same e-value over assignments (`converted` counts them) says the draw is off."""
    return e_value(assigned, arms) >= PROVEN_AT


def results(tallies: Sequence[Tally], arms: Sequence[str], *, proven_before: str | None = None) -> list[ArmResult]:
    """Every arm, judged by the sends that chance assigned. `proven_before` is the arm proven at an earlier look."""
    compared = [each for each in tallies if each.randomised]
    sent, converted = _sent_by_arm(compared, arms), _converted_by_arm(compared, arms)
    ranked = sorted(arms, key=lambda arm: (-_rate(converted[arm], sent[arm]), arm))
    leader = proven_before or leading_arm(compared, arms)
    proven = proven_before or (leader if leader and proves(compared, arms, leader) else None)
    found = []
    for arm in arms:
        other = next((each for each in ranked if each != arm), None)
        lift = low = high = None
        if other is not None and sent[arm] and sent[other] and converted[other]:
            lift = _rate(converted[arm], sent[arm]) / _rate(converted[other], sent[other]) - 1
            low, high = lift_interval(_pair(compared, arms, arm, other), arm)
        state: State = "proven" if arm == proven else "leading" if arm == leader else "open"
        found.append(
            ArmResult(arm=arm, sent=sent[arm], converted=converted[arm], state=state, lift=lift, low=low, high=high)
        )
    return found


def leading_arm(tallies: Sequence[Tally], arms: Sequence[str]) -> str | None:
    """The arm with the highest rate among randomised sends; None while two share it or nothing converted."""
    compared = [each for each in tallies if each.randomised]
    sent, converted = _sent_by_arm(compared, arms), _converted_by_arm(compared, arms)
    rates = sorted((_rate(converted[arm], sent[arm]), arm) for arm in arms)
    if len(rates) < 2 or isclose(rates[-1][0], rates[-2][0]):
        return None
    return rates[-1][1]


def proves(tallies: Sequence[Tally], arms: Sequence[str], leader: str) -> bool:
    """Whether `leader` is proven: E ≥ 20 over all arms and, where there are more than two, against each other arm.

    E over all arms alone would say that the arms differ, not which one is best.
    """
    if e_value(tallies, arms) < PROVEN_AT:
        return False
    return len(arms) == 2 or all(
        e_value(_pair(tallies, arms, leader, other), (leader, other)) >= PROVEN_AT for other in arms if other != leader
    )


def lift_interval(pair: Sequence[Tally], arm: str) -> tuple[float | None, float | None]:
    """The lifts of `arm` over the other arm of `pair` that E does not refute: a 95% interval valid at every look.

    A ratio of rates ρ makes a converter's arm a draw with odds πρ / (πρ + 1 − π). The interval holds each ρ whose
    e-value stays below 20, hence it leaves out 0 exactly when E ≥ 20. ln E is convex in ln ρ, so bisection finds
    both ends. None where the data set no bound.
    """
    informative = [each for each in pair if each.randomised and each.converted]
    if not informative:
        return None, None
    counts = [sum(each.converted for each in informative if (each.arm == arm) == mine) for mine in (True, False)]
    mixture, bound = _log_mixture(counts), log(PROVEN_AT)

    def log_e(log_ratio: float) -> float:
        # −ln P(this arm) = ln(1 + e^{−z}), z being the log odds of this arm under the ratio
        signed = ((1 if each.arm == arm else -1) * log_ratio + log(each.odds / (1 - each.odds)) for each in informative)
        return mixture + sum(each.converted * _softplus(-z) for each, z in zip(informative, signed, strict=True))

    limit = 10.0
    best = _lowest(log_e, -limit, limit)
    if log_e(best) >= bound:
        return None, None
    low, high = _crossing(log_e, best, -limit, bound), _crossing(log_e, best, limit, bound)
    return (None if low is None else exp(low) - 1), (None if high is None else exp(high) - 1)


def next_odds(
    send: Send,
    tallies: Sequence[Tally],
    arms: Sequence[str],
    *,
    chosen: str | None,
    paused: frozenset[str],
    rng: random.Random,
) -> tuple[dict[str, float], str | None]:
    """The odds for the next assignments, and the arm that `expected_loss` has settled on.

    A choice once made stands: after it nothing is compared any more, so later data could only mislead it. Paused arms
    get nothing, unless all are paused: then the sender's own limits act.
    """
    open_arms = [arm for arm in arms if arm not in paused] or list(arms)
    if send == "expected_loss":
        settled = chosen if chosen in open_arms else choose(tallies, open_arms)
        odds = {settled: 1.0} if settled else equal_odds(open_arms)
    else:
        settled = None
        odds = thompson_odds(tallies, open_arms, rng=rng) if send == "thompson" else equal_odds(open_arms)
    return {arm: odds.get(arm, 0.0) for arm in arms}, settled


def choose(tallies: Sequence[Tally], arms: Sequence[str]) -> str | None:
    """The arm to send from now on, once a wrong choice would cost less than 1% of the base rate; else None."""
    compared = [each for each in tallies if each.randomised and each.arm in arms]
    sent, converted = _sent_by_arm(compared, arms), _converted_by_arm(compared, arms)
    if len(arms) < 2 or min(sent.values()) < LEAST_SENDS:
        return None
    base_rate = sum(converted.values()) / sum(sent.values())
    losses = expected_losses({arm: (converted[arm], sent[arm]) for arm in arms})
    best = min(losses, key=lambda arm: (losses[arm], arm))
    return best if losses[best] < TOLERATED_LOSS * base_rate else None


def expected_losses(counts: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """What choosing each arm costs in expectation: E[max_j θ_j] − E[θ_k], θ_k ~ Beta(1 + x_k, 1 + n_k − x_k).

    `counts` maps an arm to (converted, sent). E[max] is the integral of 1 − Π_j F_j over [0, 1], taken by the
    trapezoid rule on a grid that spans eight standard deviations around every arm; the result is deterministic.
    """
    posteriors = {arm: (1.0 + x, 1.0 + n - x) for arm, (x, n) in counts.items()}
    means = {arm: a / (a + b) for arm, (a, b) in posteriors.items()}
    spread = {arm: 8 * sqrt(means[arm] * (1 - means[arm]) / (a + b + 1)) for arm, (a, b) in posteriors.items()}
    low = max(0.0, min(means[arm] - spread[arm] for arm in means))
    high = min(1.0, max(means[arm] + spread[arm] for arm in means))
    width = (high - low) / GRID
    below = [_beta_cumulative(a, b, low, width) for a, b in posteriors.values()]
    above_all = [1.0 - _product(each) for each in zip(*below, strict=True)]
    expected_max = low + width * (sum(above_all) - (above_all[0] + above_all[-1]) / 2)
    return {arm: max(0.0, expected_max - mean) for arm, mean in means.items()}


def thompson_odds(tallies: Sequence[Tally], arms: Sequence[str], *, rng: random.Random) -> dict[str, float]:
    """Each arm's probability of being the best, by `THOMPSON_DRAWS` draws from the posteriors, no less than 5%."""
    sent, converted = _sent_by_arm(tallies, arms), _converted_by_arm(tallies, arms)
    wins: dict[str, int] = dict.fromkeys(arms, 0)
    for _ in range(THOMPSON_DRAWS):
        drawn = {arm: rng.betavariate(1 + converted[arm], 1 + sent[arm] - converted[arm]) for arm in arms}
        wins[max(drawn, key=lambda arm: drawn[arm])] += 1
    floor = min(THOMPSON_FLOOR, 1.0 / len(arms))
    room = 1.0 - floor * len(arms)
    return {arm: floor + room * wins[arm] / THOMPSON_DRAWS for arm in arms}


def paused_arms(unsubscribed: Sequence[Tally], complained: Sequence[Tally], arms: Sequence[str]) -> frozenset[str]:
    """Arms that do harm: the worst one when E ≥ 20 over unsubscribers, and each with complaints ≥ 0.3% and ≥ 3."""
    found = set()
    worst = leading_arm(unsubscribed, arms)
    if worst is not None and e_value(unsubscribed, arms) >= PROVEN_AT:
        found.add(worst)
    sent, complaints = _sent_by_arm(complained, arms), _converted_by_arm(complained, arms)
    for arm in arms:
        if complaints[arm] >= LEAST_COMPLAINTS and _rate(complaints[arm], sent[arm]) >= COMPLAINT_RATE:
            found.add(arm)
    return frozenset(found)


def _pair(tallies: Sequence[Tally], arms: Sequence[str], one: str, other: str) -> list[Tally]:
    """Converters of two arms with their odds between those two.

    Of more than two arms only the odds of the own arm are stored, so only leads drawn at equal odds are comparable.
    """
    mine = [each for each in tallies if each.arm in (one, other)]
    if len(arms) == 2:
        return mine
    even = 1.0 / len(arms)
    return [
        Tally(arm=each.arm, odds=0.5, sent=each.sent, converted=each.converted)
        for each in mine
        if isclose(each.odds, even)
    ]


def _log_mixture(counts: Sequence[int]) -> float:
    """ln of the Dirichlet-multinomial probability of one order of the converters' arms."""
    total = MIXTURE * len(counts)
    arms = sum(lgamma(MIXTURE + x) - lgamma(MIXTURE) for x in counts)
    return lgamma(total) - lgamma(total + sum(counts)) + arms


def _sent_by_arm(tallies: Sequence[Tally], arms: Sequence[str]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for each in tallies:
        totals[each.arm] += each.sent
    return {arm: totals[arm] for arm in arms}


def _converted_by_arm(tallies: Sequence[Tally], arms: Sequence[str]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for each in tallies:
        totals[each.arm] += each.converted
    return {arm: totals[arm] for arm in arms}


def _rate(converted: int, sent: int) -> float:
    return converted / sent if sent else 0.0


def _beta_cumulative(a: float, b: float, low: float, width: float) -> list[float]:
    """P(θ ≤ x) on the grid, by the trapezoid rule over the density scaled to its largest value."""
    points = [min(max(low + width * i, 1e-300), 1 - 1e-16) for i in range(GRID + 1)]
    logs = [(a - 1) * log(x) + (b - 1) * log1p(-x) for x in points]
    top = max(logs)
    density = [exp(each - top) for each in logs]
    reached, sums = 0.0, [0.0]
    for left, right in itertools.pairwise(density):
        reached += (left + right) / 2
        sums.append(reached)
    return [each / reached for each in sums]


def _product(factors: Sequence[float]) -> float:
    result = 1.0
    for each in factors:
        result *= each
    return result


def _softplus(x: float) -> float:
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _lowest(convex: Callable[[float], float], low: float, high: float) -> float:
    """Where a convex function is least, by thirds."""
    for _ in range(100):
        third = (high - low) / 3
        if convex(low + third) < convex(high - third):
            high -= third
        else:
            low += third
    return (low + high) / 2


def _crossing(convex: Callable[[float], float], inside: float, outside: float, bound: float) -> float | None:
    """Where the function rises over `bound` on the way from `inside` to `outside`, by halves; None if it does not."""
    if convex(outside) < bound:
        return None
    for _ in range(100):
        middle = (inside + outside) / 2
        if convex(middle) < bound:
            inside = middle
        else:
            outside = middle
    return inside
