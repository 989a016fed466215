"""Which touches a sale is owed to: five models, each of which splits a deal's revenue to the last cent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

HALF_LIFE = timedelta(days=7)
"""Under `time-decay` a touch counts half as much as one that came so much later."""

ENDS = 0.4
"""Under `position` the first and the last touch get so much each; those between share the rest."""


def first(moments: Sequence[datetime], _: datetime) -> list[float]:
    return [1.0] + [0.0] * (len(moments) - 1)


def last(moments: Sequence[datetime], _: datetime) -> list[float]:
    return [0.0] * (len(moments) - 1) + [1.0]


def linear(moments: Sequence[datetime], _: datetime) -> list[float]:
    return [1.0] * len(moments)


def position(moments: Sequence[datetime], _: datetime) -> list[float]:
    between = len(moments) - 2
    if between < 1:
        return [1.0] * len(moments)
    return [ENDS, *[(1 - 2 * ENDS) / between] * between, ENDS]


def time_decay(moments: Sequence[datetime], won_at: datetime) -> list[float]:
    # a bound on the exponent keeps the weight of a touch of long ago above zero
    return [0.5 ** min((won_at - moment) / HALF_LIFE, 900.0) for moment in moments]


MODELS: Mapping[str, Callable[[Sequence[datetime], datetime], list[float]]] = {
    "first": first,
    "last": last,
    "linear": linear,
    "position": position,
    "time-decay": time_decay,
}
"""Each gives the weights of a deal's touches, which are sorted by time and at least one."""


def split_cents(cents: int, weights: Sequence[float]) -> list[int]:
    """The amount in whole cents by these weights; what rounding leaves goes to the largest remainders."""
    total = sum(weights)
    exact = [cents * weight / total for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda place: (shares[place] - exact[place], place))
    for place in by_remainder[: cents - sum(shares)]:
        shares[place] += 1
    return shares
