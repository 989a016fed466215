"""Two lists beside each other: what belongs together stands in one row, and what is missing leaves its side empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Row(Generic[Item]):
    expected: Item | None
    actual: Item | None
    same: bool


def side_by_side(
    expected: Sequence[Item], actual: Sequence[Item], meets: Callable[[Item, Item], bool]
) -> list[Row[Item]]:
    """The rows with the fewest differences (edit distance, a changed line counting as one)."""
    cost = _costs(expected, actual, meets)
    rows: list[Row[Item]] = []
    left, right = 0, 0
    while left < len(expected) or right < len(actual):
        here = cost[left][right]
        if left < len(expected) and right < len(actual):
            same = meets(expected[left], actual[right])
            if here == cost[left + 1][right + 1] + (0 if same else 1):
                rows.append(Row(expected=expected[left], actual=actual[right], same=same))
                left, right = left + 1, right + 1
                continue
        if left < len(expected) and here == cost[left + 1][right] + 1:
            rows.append(Row(expected=expected[left], actual=None, same=False))
            left += 1
        else:
            rows.append(Row(expected=None, actual=actual[right], same=False))
            right += 1
    return rows


def _costs(expected: Sequence[Item], actual: Sequence[Item], meets: Callable[[Item, Item], bool]) -> list[list[int]]:
    """[i][j]: the differences between what is left of the two from i and j on."""
    cost = [[0] * (len(actual) + 1) for _ in range(len(expected) + 1)]
    for left in range(len(expected), -1, -1):
        for right in range(len(actual), -1, -1):
            if left == len(expected) or right == len(actual):
                cost[left][right] = len(expected) - left + len(actual) - right
                continue
            changed = cost[left + 1][right + 1] + (0 if meets(expected[left], actual[right]) else 1)
            cost[left][right] = min(changed, cost[left + 1][right] + 1, cost[left][right + 1] + 1)
    return cost
