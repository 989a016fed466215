"""The path of leads through a cadence as an SVG: columns of mails, and bands between them as wide as leads are many.

The last column is how runs ended. Only layout; colours are the page's (`calendar_picture.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from nurture.rehearsal.findings import COMPLETED, ENDS, ENTERED, UNDER_WAY

Flows = Mapping[tuple[str, str], int]
BAR, MARGIN, GAP, TALLEST = 10, 4, 40, 240
WIDTH, ENDINGS_WIDTH = 1080, 150
NARROWEST, WIDEST = 150, 300
"""Of a column; the bands share the width of the page where they can."""
MOST_ENDINGS = 7
OTHERS = f"{ENDS}other reasons"
_GOOD = (COMPLETED, "goal")


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What stands beside a node: its name, and a second line."""

    name: str
    told: str


@dataclass(kw_only=True)
class _Node:
    name: str
    column: int
    x: int
    value: int
    y: float = 0.0
    height: float = 0.0
    taken_in: float = 0.0
    taken_out: float = 0.0

    @property
    def kind(self) -> str:
        """The class that colours it."""
        if not self.name.startswith(ENDS):
            return "mail"
        reason = self.name.removeprefix(ENDS)
        return "good" if reason in _GOOD else "open" if reason == UNDER_WAY else "left"


def draw_flow(flows: Flows, captions: Mapping[str, Caption], *, order: Sequence[str], title: str) -> str:
    """The SVG. `order` names the mails as their file does; `captions` are by node."""
    flows = _fewer_endings(flows)
    nodes = _placed(flows, order)
    height = max(node.y + max(node.height, 28) for node in nodes.values()) + MARGIN
    width = max(node.x for node in nodes.values()) + BAR + ENDINGS_WIDTH
    bands = "".join(_band(nodes[a], nodes[b], count, captions) for (a, b), count in _in_order(flows, nodes))
    bars = "".join(_bar(node, captions.get(node.name)) for node in nodes.values())
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{bands}{bars}</svg>'
    )


def _fewer_endings(flows: Flows) -> Flows:
    """The rare reasons as one."""
    totals: dict[str, int] = defaultdict(int)
    for (_, target), count in flows.items():
        if target.startswith(ENDS):
            totals[target] += count
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    if len(ranked) <= MOST_ENDINGS:
        return flows
    kept = set(ranked[: MOST_ENDINGS - 1])
    merged: dict[tuple[str, str], int] = defaultdict(int)
    for (source, target), count in flows.items():
        merged[source, target if target in kept or target not in totals else OTHERS] += count
    return merged


def _placed(flows: Flows, order: Sequence[str]) -> dict[str, _Node]:
    columns = _columns(flows, order)
    into: Counter[str] = Counter()
    out: Counter[str] = Counter()
    for (source, target), count in flows.items():
        out[source] += count
        into[target] += count
    wide = min(WIDEST, max(NARROWEST, (WIDTH - ENDINGS_WIDTH) // max(columns.values())))
    nodes = {
        name: _Node(name=name, column=column, x=MARGIN + column * wide, value=max(into[name], out[name]))
        for name, column in columns.items()
    }
    busiest: dict[int, int] = defaultdict(int)
    for node in nodes.values():
        busiest[node.column] += node.value
    scale = TALLEST / max(busiest.values())
    for column in sorted(busiest):
        _stack([node for node in nodes.values() if node.column == column], nodes, flows, scale)
    return nodes


def _columns(flows: Flows, order: Sequence[str]) -> dict[str, int]:
    """Each mail one column behind the last that leads to it; a way back is no reason to stand further right."""
    mails = [name for name in order if any(name in pair for pair in flows)]
    columns = dict.fromkeys([ENTERED, *mails], 0)
    columns.update(dict.fromkeys(mails, 1))
    place = {name: number for number, name in enumerate([ENTERED, *mails])}
    for name in mails:
        for source, target in flows:
            if target == name and place.get(source, len(place)) < place[name]:
                columns[name] = max(columns[name], columns[source] + 1)
    last = max(columns.values()) + 1
    endings = sorted({target for _, target in flows if target.startswith(ENDS)}, key=_rank)
    return {**columns, **dict.fromkeys(endings, last)}


def _rank(ending: str) -> tuple[int, str]:
    reason = ending.removeprefix(ENDS)
    return (0 if reason in _GOOD else 1 if reason == UNDER_WAY else 2, reason)


def _stack(column: list[_Node], nodes: Mapping[str, _Node], flows: Flows, scale: float) -> None:
    """One below the other, those beside where their leads come from first; endings keep their order."""

    def comes_from(node: _Node) -> float:
        sources = [(nodes[a], count) for (a, b), count in flows.items() if b == node.name and a in nodes]
        total = sum(count for _, count in sources)
        return sum(each.y * count for each, count in sources) / total if total else 0.0

    if not column[0].name.startswith(ENDS):
        column.sort(key=lambda node: (comes_from(node), -node.value))
    y = float(MARGIN)
    for node in column:
        node.y, node.height = y, max(2.0, node.value * scale)
        y += max(node.height + 14, GAP)


def _in_order(flows: Flows, nodes: Mapping[str, _Node]) -> list[tuple[tuple[str, str], int]]:
    """From the top down on both sides, so that bands cross as little as they can."""
    return sorted(flows.items(), key=lambda item: (nodes[item[0][1]].y, nodes[item[0][0]].y, item[0]))


def _band(source: _Node, target: _Node, count: int, captions: Mapping[str, Caption]) -> str:
    from_share, to_share = count / max(source.value, 1), count / max(target.value, 1)
    wide, narrow = source.height * from_share, target.height * to_share
    x1, x2 = source.x + BAR, target.x
    y1, y2 = source.y + source.taken_out, target.y + target.taken_in
    source.taken_out += wide
    target.taken_in += narrow
    wide, narrow, bend = max(wide, 0.75), max(narrow, 0.75), (x2 - x1) / 2
    names = [captions[node.name].name if node.name in captions else node.name for node in (source, target)]
    path = (
        f"M{x1} {y1:.1f}C{x1 + bend:.0f} {y1:.1f} {x2 - bend:.0f} {y2:.1f} {x2} {y2:.1f}V{y2 + narrow:.1f}"
        f"C{x2 - bend:.0f} {y2 + narrow:.1f} {x1 + bend:.0f} {y1 + wide:.1f} {x1} {y1 + wide:.1f}Z"
    )
    return f'<path class="to-{target.kind}" d="{path}"><title>{escape(" → ".join(names))}: {count:,}</title></path>'


def _bar(node: _Node, caption: Caption | None) -> str:
    caption = caption or Caption(name=node.name, told=f"{node.value:,}")
    x, y = node.x + BAR + 6, node.y + 11
    return (
        f'<rect class="{node.kind}" x="{node.x}" y="{node.y:.1f}" width="{BAR}" height="{node.height:.1f}" rx="2"/>'
        f'<text x="{x}" y="{y:.1f}"><tspan class="name">{escape(_short(caption.name))}</tspan>'
        f'<tspan class="told" x="{x}" dy="14">{escape(caption.told)}</tspan></text>'
    )


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
