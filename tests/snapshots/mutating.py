"""Mutated snapshots, each from a number: the same number gives the same bytes, for ever.

Half of them are damaged as bytes (flipped, cut, spliced with another snapshot), half as trees (values swapped or copied
between places, keys dropped, doubled, renamed, numbers made extreme, lists reversed): the former mostly end in the
parser, the latter get deep into the reader.
"""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import attrs
import msgspec

from blazen_trio import Workflow, WorkflowSnapshot
from blazen_trio.codec import Plain
from tests.snapshots.live_objects import inserting, rich
from tests.snapshots.programs import Program, double, failures, gather, nested_joins, retries, spread
from tests.snapshots.test_hostile_input import SAVED, at, places, richest, taken_of

RECORDED = Path(__file__).with_name("recorded")

NUMBERS = [
    0,
    -1,
    1,
    2,
    2**31,
    2**53 + 1,
    2**62,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    0.0,
    -0.0,
    0.5,
    1e308,
    5e-324,
    -1e18,
]
LEAVES: list[Any] = [
    None,
    True,
    False,
    "",
    "x",
    "\0",
    "é",
    "0" * 32,
    "f" * 32,
    [],
    {},
    [[]],
    [0],
    {"__blazen_int__": "0x1"},
    *NUMBERS,
]
KEYS = ["", "id", "event", "data", "event_type", "scope", "__blazen_set__", "__blazen_x__", "é", "parent", "items"]
DOUBLED = "@doubled@"
ODD = [b"a", msgspec.msgpack.Ext(5, b"x"), datetime(2024, 2, 29, tzinfo=UTC), math.nan, -math.inf, {1: 2}, {None: 1}]
"""What MessagePack can hold and JSON cannot."""


Spot = Any
"""A list or dict, in which an index or key is to change."""


@attrs.frozen
class Source:
    """A snapshot that is right, with the workflow that reads it."""

    workflow: Workflow
    tree: dict[str, Any] = attrs.field(repr=False)
    texts: tuple[bytes, bytes] = attrs.field(repr=False)
    paths: list[tuple[Any, ...]] = attrs.field(repr=False)


@attrs.frozen
class Mutant:
    """What somebody might hand in as a snapshot of this workflow."""

    workflow: Workflow
    data: bytes
    is_json: bool

    def read(self) -> WorkflowSnapshot:
        """As whoever resumes it does."""
        return WorkflowSnapshot.from_json(self.data) if self.is_json else WorkflowSnapshot.from_msgpack(self.data)


@cache
def sources() -> list[Source]:
    """The recorded snapshots, and rich ones of varied runs."""
    recorded = {"retries": retries().workflow, "session-refs": rich()[0], "pickled-refs": inserting(["a", "b"])}
    found = [_source(flow, (RECORDED / f"version-2-{name}.json").read_text()) for name, flow in recorded.items()]
    return [*found, *(_source(workflow, snapshot.to_json()) for workflow, snapshot in [*SAVED, *_ended(), _typed()])]


def _ended() -> list[tuple[Workflow, WorkflowSnapshot]]:
    """Runs that are over: with a result, and with an error."""
    return [(program.workflow, taken_of(program)[-1]) for program in (nested_joins(), failures())]


@attrs.define
class Trip:
    """What a run remembers."""

    city: str = ""
    stops: list[int] = attrs.Factory(list)
    seen: dict[str, datetime] = attrs.Factory(dict)


def _typed() -> tuple[Workflow, WorkflowSnapshot]:
    """A run with a history, and with values whose types are declared."""
    program = Program(Workflow("typed", [spread, double, gather], collect_history=True, state_type=Trip))
    seen: Plain = {"Rome": {"__blazen_datetime__": "2024-02-29T12:00:00+01:00"}}
    values: dict[str, Plain] = {"city": "Rome", "stops": [1, 2], "seen": seen, "more": {"__blazen_set__": [1]}}
    return program.workflow, attrs.evolve(richest(program), context_state=values)


def _source(workflow: Workflow, text: str) -> Source:
    snapshot = WorkflowSnapshot.from_json(text.strip())
    tree = json.loads(snapshot.to_json())
    return Source(
        workflow, tree, (snapshot.to_json().encode(), snapshot.to_msgpack()), [path for path in places(tree) if path]
    )


def mutant(seed: int, number: int) -> Mutant:
    """The mutated snapshot of this number."""
    random = Random(seed << 64 | number)
    source = random.choice(sources())
    is_json = random.random() < 0.5
    if random.random() < 0.5:
        return Mutant(source.workflow, _mutated_bytes(source.texts[not is_json], random, not is_json), is_json)
    tree = _mutated_tree(source, random)
    if is_json:
        return Mutant(source.workflow, _json(tree), is_json)
    if random.random() < 0.1:
        _put_odd(tree, source, random)
    return Mutant(source.workflow, _msgpack(tree), is_json)


# --- Bytes ------------------------------------------------------------------------------------------------------------


def _mutated_bytes(data: bytes, random: Random, form: int) -> bytes:
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        data = random.choice(_OF_BYTES)(data, random, form)
    return data


def _flip(data: bytes, random: Random, _form: int) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + bytes(byte ^ 1 << random.randrange(8) for byte in data[place : place + 1]) + data[place + 1 :]


def _put(data: bytes, random: Random, _form: int) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice((b"0", b"9", b'"', b",", b"}", b"]", b"\\", b" ", b"\xff")) + data[place + 1 :]


def _cut(data: bytes, random: Random, _form: int) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _take_out(data: bytes, random: Random, _form: int) -> bytes:
    begin = random.randrange(len(data) + 1)
    return data[:begin] + data[begin + random.choice((1, 1, 2, 10, 100)) :]


def _double(data: bytes, random: Random, _form: int) -> bytes:
    begin = random.randrange(len(data) + 1)
    return data[: begin + random.choice((1, 2, 10, 100))] + data[begin:]


def _splice(data: bytes, random: Random, form: int) -> bytes:
    other = random.choice(sources()).texts[form]
    begin, end = random.randrange(len(data) + 1), random.randrange(len(other) + 1)
    return data[:begin] + other[end : end + random.choice((5, 50, 5_000))] + data[begin + random.choice((0, 5, 50)) :]


_OF_BYTES: list[Callable[[bytes, Random, int], bytes]] = [_flip, _flip, _put, _cut, _take_out, _double, _splice]


# --- Trees ------------------------------------------------------------------------------------------------------------


def _mutated_tree(source: Source, random: Random) -> Any:
    tree = json.loads(source.texts[0])
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path = random.choice(source.paths)
        around = _around(tree, path)
        if around is not None:
            random.choice(_OF_TREES)(around, path[-1], tree, source, random)
    return tree


def _around(tree: Any, path: tuple[Any, ...]) -> Spot | None:
    """The list or dict that a place is in; nothing if it went with an earlier change."""
    try:
        around = at(tree, path[:-1])
        around[path[-1]]
    except (KeyError, IndexError, TypeError):
        return None
    return around if isinstance(around, list | dict) else None


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _set(around: Spot, key: Any, _tree: Any, _source: Source, random: Random) -> None:
    around[key] = random.choice(LEAVES)


def _extreme(around: Spot, key: Any, _tree: Any, _source: Source, random: Random) -> None:
    value = around[key]
    if type(value) in (int, float):
        around[key] = random.choice([*NUMBERS, value + 1, value - 1, -value, float(value)])
    else:
        around[key] = random.choice(NUMBERS)


def _swap(around: Spot, key: Any, tree: Any, source: Source, random: Random) -> None:
    other = random.choice(source.paths)
    theirs = _around(tree, other)
    if theirs is not None:
        mine, its = _copied(around[key]), _copied(theirs[other[-1]])
        theirs[other[-1]], around[key] = mine, its  # of two inside each other the outer one changes


def _copy(around: Spot, key: Any, tree: Any, source: Source, random: Random) -> None:
    other = random.choice(source.paths)
    theirs = _around(tree, other)
    if theirs is not None:
        around[key] = _copied(theirs[other[-1]])


def _drop(around: Spot, key: Any, _tree: Any, _source: Source, _random: Random) -> None:
    del around[key]


def _again(around: Spot, key: Any, _tree: Any, _source: Source, random: Random) -> None:
    if isinstance(around, list):
        around.insert(random.randrange(len(around) + 1), around[key])
    else:
        around[DOUBLED + key] = around[key]


def _rename(around: Spot, key: Any, _tree: Any, _source: Source, random: Random) -> None:
    if isinstance(around, dict):
        around[random.choice(KEYS)] = around.pop(key)


def _reverse(around: Spot, key: Any, _tree: Any, _source: Source, _random: Random) -> None:
    value = around[key]
    if isinstance(value, list | str):
        around[key] = value[::-1]
    elif isinstance(value, dict):
        around[key] = dict(reversed(value.items()))


_OF_TREES: list[Callable[[Spot, Any, Any, Source, Random], None]] = [
    _set,
    _extreme,
    _swap,
    _copy,
    _drop,
    _again,
    _rename,
    _reverse,
]


def _put_odd(tree: Any, source: Source, random: Random) -> None:
    path = random.choice(source.paths)
    around = _around(tree, path)
    if around is not None:
        around[path[-1]] = random.choice(ODD)


def _json(tree: Any) -> bytes:
    """As it would be written, keys that stand twice included."""
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).replace(DOUBLED, "").encode()


def _msgpack(tree: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(tree)
    except OverflowError:
        return b"\xc1"  # MessagePack has no such ints
