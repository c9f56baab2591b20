"""A workflow as a picture: a small SVG that needs nothing else.

Rules of this file:

* The layout is layered: whatever a step emits goes downwards, only what goes round in a circle comes up again. Rows of
  boxes take turns with rows of labels, and an edge has a place in each row that it crosses: no line runs through a box
  or a word.
* All text is escaped, and cut where it would be too wide; the whole of it is the tooltip.
* Colours suit a light and a dark page, as the reader's system says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final, TypeAlias
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

import attrs

from blazen_trio import Edge, Node, WorkflowDescription
from blazen_trio.cli.output import printable

CHARS_MAX: Final = 32
"""Longer labels are cut."""

SWEEPS: Final = 8
"""So often the layers are put into order, each by its neighbours; more changes little."""

_CHAR_PX: Final = 8
_LABEL_CHAR_PX: Final = 7
_BOX_PX: Final = 34
_LABEL_PX: Final = 16
_SPACE_PX: Final = 24
_GAP_PX: Final = 24
_MARGIN_PX: Final = 16
_DUMMY_PX: Final = 10.0
_LAYER_PX: Final = _BOX_PX + _LABEL_PX + 2 * _SPACE_PX

_STYLE: Final = """\
text { font: 13px ui-monospace, monospace; text-anchor: middle; fill: #1f2328 }
.label { font-size: 11px; fill: #57606a }
rect { fill: #f6f8fa; stroke: #57606a }
path { fill: none; stroke: #57606a }
.join rect, .fan path { stroke-width: 3 }
.recovery rect { stroke-dasharray: 5 3 }
.workflow rect { fill: #ddf4ff }
.remote rect { stroke-dasharray: 2 3 }
marker path { fill: #57606a; stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .label { fill: #9198a1 } rect { fill: #21262d; stroke: #9198a1 }
  path { stroke: #9198a1 } .workflow rect { fill: #0c2d6b } marker path { fill: #9198a1 }
}"""

_ARROW: Final = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" '
    'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker>'
)

_ROUND: Final = frozenset({"start", "stop", "outside", "input"})

_Line: TypeAlias = tuple[int, int, bool]
"""From a node to another one, and whether as a fan-out."""


@attrs.define(eq=False)
class _Place:
    """What stands in a row: a box, a label, or where an edge passes. Boxes are in even rows, labels in odd ones."""

    row: int
    width: float
    x: float = 0.0

    @property
    def top(self) -> float:
        return _MARGIN_PX + self.row // 2 * _LAYER_PX + self.row % 2 * (_BOX_PX + _SPACE_PX)

    @property
    def bottom(self) -> float:
        return self.top + (_LABEL_PX if self.row % 2 else _BOX_PX)


def to_svg(graph: WorkflowDescription) -> str:
    """The picture as the text of a file."""
    lines = _lines(graph)
    layers = _layers(len(graph.nodes), [(source, target) for source, target, _ in lines])
    boxes = [
        _Place(2 * layer, 24 + _CHAR_PX * _columns(node.name)) for node, layer in zip(graph.nodes, layers, strict=True)
    ]
    ways = [_way(boxes[source], boxes[target], label) for (source, target, _), label in lines.items()]
    places = list(dict.fromkeys([*boxes, *(each for way in ways for each in way)]))
    _put_in_order(places, ways)
    parts = [_edge(way, label, is_fan_out=line[2]) for way, (line, label) in zip(ways, lines.items(), strict=True)]
    parts += [_box(node, box) for node, box in zip(graph.nodes, boxes, strict=True)]
    return _document(graph.name, parts, places)


def _lines(graph: WorkflowDescription) -> dict[_Line, str]:
    """The edges, those between the same nodes as one, with the names of their events."""
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    lines: dict[_Line, list[Edge]] = {}
    for edge in graph.edges:
        lines.setdefault((numbers[edge.source], numbers[edge.target], edge.is_fan_out), []).append(edge)
    return {line: ", ".join(each.event for each in edges) for line, edges in lines.items()}


# --- Layout -----------------------------------------------------------------------------------------------------------


def _layers(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: each below all that lead to it, but for what goes round."""
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in pairs:
        targets[source].append(target)
    order = _ordered(targets)
    rank = {node: place for place, node in enumerate(order)}
    layers = [0] * count
    for source in order:
        for target in targets[source]:
            if rank[source] < rank[target]:
                layers[target] = max(layers[target], layers[source] + 1)
    return layers


def _ordered(targets: Sequence[Sequence[int]]) -> list[int]:
    """All nodes, each before those it leads to, unless it is reached from them: depth first, the last ones first."""
    seen: set[int] = set()
    done: list[int] = []
    for root in range(len(targets)):
        if root in seen:
            continue
        seen.add(root)
        path: list[tuple[int, Iterator[int]]] = [(root, iter(targets[root]))]
        while path:
            node, rest = path[-1]
            following = next((each for each in rest if each not in seen), None)
            if following is None:
                done.append(node)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(targets[following])))
    return done[::-1]


def _way(source: _Place, target: _Place, label: str) -> list[_Place]:
    """From one box to another, with a place in each row between; the first one is the label's."""
    word = _LABEL_CHAR_PX * _columns(label)
    if source is target:
        return [source, _Place(source.row + 1, word), source]
    step = 1 if source.row < target.row else -1
    first, *others = range(source.row + step, target.row, step)
    return [source, _Place(first, word), *(_Place(row, _DUMMY_PX) for row in others), target]


def _put_in_order(places: Sequence[_Place], ways: Iterable[Sequence[_Place]]) -> None:
    """Give each place its ``x``: near its neighbours, and no two of a row over each other."""
    above: dict[_Place, list[_Place]] = {}
    below: dict[_Place, list[_Place]] = {}
    for one, other in (pair for way in ways for pair in pairwise(way)):
        upper, lower = (one, other) if one.row < other.row else (other, one)
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    rows: dict[int, list[_Place]] = {}
    for place in places:
        rows.setdefault(place.row, []).append(place)
    downwards = [rows[number] for number in sorted(rows)]
    for row in downwards:
        _pack(row)
    for sweep in range(SWEEPS):
        neighbours, order = (above, downwards) if sweep % 2 == 0 else (below, downwards[::-1])
        for row in order:
            row.sort(key=partial(_middle, neighbours))
            _pack(row)


def _middle(neighbours: Mapping[_Place, Sequence[_Place]], place: _Place) -> float:
    around = neighbours.get(place)
    return sum(each.x for each in around) / len(around) if around else place.x


def _pack(row: Sequence[_Place]) -> None:
    """Side by side, the middle of all at 0."""
    at = -(sum(each.width for each in row) + _GAP_PX * (len(row) - 1)) / 2
    for each in row:
        each.x = at + each.width / 2
        at += each.width + _GAP_PX


# --- Drawing ----------------------------------------------------------------------------------------------------------


def _document(name: str, parts: Sequence[str], places: Sequence[_Place]) -> str:
    left = min((each.x - each.width / 2 for each in places), default=0) - _MARGIN_PX
    width = max((each.x + each.width / 2 for each in places), default=0) + _MARGIN_PX - left
    height = max((each.bottom for each in places), default=0) + _MARGIN_PX
    size = f'viewBox="{left:g} 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, f"<title>{_safe(name)}</title>", f"<style>{_STYLE}</style>", _ARROW, *parts, "</svg>\n"])


def _box(node: Node, box: _Place) -> str:
    radius = _BOX_PX / 2 if node.kind in _ROUND else 4
    left = box.x - box.width / 2
    kind, name = (f"{node.kind} remote", f"{node.name} (on a peer)") if node.is_remote else (node.kind, node.name)
    return (
        f'<g class="{kind}"><title>{_safe(name)}</title>'
        f'<rect x="{left:g}" y="{box.top:g}" width="{box.width:g}" height="{_BOX_PX}" rx="{radius:g}"/>'
        f'<text x="{box.x:g}" y="{box.top + 22:g}">{_safe(_cut(node.name))}</text></g>'
    )


def _edge(way: Sequence[_Place], label: str, *, is_fan_out: bool) -> str:
    word = way[1]
    kind = ' class="fan"' if is_fan_out else ""
    text = f'<text class="label" x="{word.x:g}" y="{word.top + 12:g}">{_safe(_cut(label))}</text>'
    return f'<g{kind}><title>{_safe(label)}</title><path d="{_path(way)}" marker-end="url(#arrow)"/>{text}</g>'


def _path(way: Sequence[_Place]) -> str:
    """Curves between the rows, straight through places in them; the label is left free."""
    steps = list[str]()
    for one, other in pairwise(way):
        is_down = one.row < other.row
        begin, end = (one.bottom, other.top) if is_down else (one.top, other.bottom)
        steps.append(f"{'L' if steps and one is not way[1] else 'M'}{one.x:g} {begin:g}")
        half = (begin + end) / 2
        steps.append(f"C{one.x:g} {half:g} {other.x:g} {half:g} {other.x:g} {end:g}")
    return "".join(steps)


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in _cut(text))


def _cut(text: str) -> str:
    return printable(text, CHARS_MAX)


def _safe(text: str) -> str:
    return escape(printable(text), {'"': "&quot;"})
