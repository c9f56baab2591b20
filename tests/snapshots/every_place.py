"""Every kind of place that a snapshot has, found in snapshots of varied runs: what tests put something wrong into."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import attrs

from blazen_trio import Workflow
from tests.snapshots.test_hostile_input import SAVED, at, places

MARK = "@here@"

OF_USERS = re.compile(
    r"context_state/|metadata/user|input_requests/answered|/record/(once|answers)|/event/data/(data|metadata|response)\b"
)
"""Places of users' own values: another value is as good there."""


def kind(value: Any) -> str:
    """The JSON type of a value."""
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text", list: "list", dict: "object"}
    return names[type(value)]


@attrs.frozen
class Place:
    """One place in the snapshot of a workflow."""

    workflow: Workflow
    path: tuple[Any, ...]
    tree: dict[str, Any] = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """Its path without what differs from run to run: numbers in lists, ids."""
        return "/".join("*" if isinstance(each, int) or _is_id(each) else each for each in self.path)

    @property
    def keys(self) -> list[str]:
        """The keys that lead there, without ids and the tags of markers."""
        keys = [each for each in self.path if isinstance(each, str)]
        return [each for each in keys if not _is_id(each) and not each.startswith("__blazen_")]

    @property
    def value(self) -> Any:
        """What stands there."""
        return at(self.tree, self.path)

    @property
    def is_of_users(self) -> bool:
        """Whether a user's value stands there."""
        return OF_USERS.search(self.name) is not None

    def with_text(self, text: str) -> str:
        """The snapshot with this JSON in the place."""
        tree = json.loads(json.dumps(self.tree))
        if not self.path:
            return text
        at(tree, self.path[:-1])[self.path[-1]] = MARK
        return json.dumps(tree, separators=(",", ":")).replace(f'"{MARK}"', text)


def _is_id(key: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}|[0-9a-f-]{36}", key) is not None


@cache
def every_place() -> list[Place]:
    """One of each kind, over all programs."""
    found: dict[tuple[str, str], Place] = {}
    for place in _all_places():
        found.setdefault((place.name, kind(place.value)), place)
    return list(found.values())


def _all_places() -> Iterator[Place]:
    for workflow, snapshot in SAVED:
        tree = json.loads(snapshot.to_json())
        for path in places(tree):
            yield Place(workflow, path, tree)
