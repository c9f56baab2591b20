"""A workflow as a graph, for people and pictures."""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.events import Event, InputRequestEvent, InputResponseEvent, StartEvent, StepFailedEvent, StopEvent
from blazen_trio.core.plans import StepPlan

START: Final = "start"
STOP: Final = "stop"
OUTSIDE: Final = "outside"
INPUT: Final = "input"


@attrs.frozen
class Node:
    """A step or an end of the graph.

    The ``kind`` of a step is ``step``, ``join``, ``recovery`` or ``workflow`` (one that runs another workflow, on a
    peer if it ``is_remote``), that of an end ``start``, ``stop``, ``outside`` or ``input``. An end is named after its
    kind, in brackets if a step has that name.
    """

    name: str
    kind: str
    accepts: tuple[str, ...] = ()
    emits: tuple[str, ...] = ()
    is_remote: bool = False


@attrs.frozen
class Edge:
    """Events of one class that can go from one node to another; ``is_fan_out`` if in a list."""

    source: str
    target: str
    event: str
    is_fan_out: bool = False


@attrs.frozen
class WorkflowDescription:
    """The graph of a workflow."""

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def describe(definition: WorkflowDefinition) -> WorkflowDescription:
    """The nodes and edges of a workflow, in the order of registration."""
    steps = [_node(plan) for plan in definition.plans]
    names = _end_names(definition)
    edges = tuple(dict.fromkeys(_edges(definition, names)))
    used = {name for edge in edges for name in (edge.source, edge.target)}
    ends = [Node(name, kind) for kind, name in names.items() if name in used]
    return WorkflowDescription(definition.name, (*ends, *steps), edges)


def _node(plan: StepPlan) -> Node:
    kind = "join" if plan.is_join else "recovery" if plan.is_recovery else "step"
    kind = "workflow" if plan.step.child is not None or plan.step.is_remote else kind
    accepts = tuple(each.event_type for each in plan.step.accepts)
    emits = tuple(each.event_type for each in dict.fromkeys((*plan.step.emits, *plan.step.sends)))
    return Node(plan.name, kind, accepts, emits, plan.step.is_remote)


def _end_names(definition: WorkflowDefinition) -> dict[str, str]:
    """The names of the ends by kind, none of which is a step's."""
    steps = {plan.name for plan in definition.plans}
    names: dict[str, str] = {}
    for kind in (START, OUTSIDE, INPUT, STOP):
        name = kind
        while name in steps:
            name = f"({name})"
        names[kind] = name
    return names


def _edges(definition: WorkflowDefinition, ends: Mapping[str, str]) -> Iterator[Edge]:
    for plan in definition.plans:
        for accepted in plan.step.accepts:
            if issubclass(accepted, StartEvent):
                yield Edge(ends[START], plan.name, accepted.event_type)
            elif accepted in definition.options.events:
                yield Edge(ends[OUTSIDE], plan.name, accepted.event_type)
            elif accepted is InputResponseEvent:
                yield Edge(ends[INPUT], plan.name, accepted.event_type)
    for plan in definition.plans:
        single = definition.routing.expand(plan.step.returns.single)
        for emitted in single:
            yield from _targets(definition, plan, emitted, ends, is_fan_out=False)
        for emitted in definition.routing.expand(plan.fan_types):
            yield from _targets(definition, plan, emitted, ends, is_fan_out=True)
        recovery = definition.recoveries[plan.index]
        if recovery is not None:
            yield Edge(plan.name, recovery.name, StepFailedEvent.event_type)


def _targets(
    definition: WorkflowDefinition, plan: StepPlan, emitted: type[Event], ends: Mapping[str, str], *, is_fan_out: bool
) -> Iterator[Edge]:
    if issubclass(emitted, StopEvent):
        yield Edge(plan.name, ends[STOP], emitted.event_type, is_fan_out)
        return
    route = definition.routing.routes[emitted]
    if issubclass(emitted, InputRequestEvent) and route.is_question:
        yield Edge(plan.name, ends[INPUT], emitted.event_type, is_fan_out)
    for taker in (*route.plans, *route.joins):
        yield Edge(plan.name, taker.name, emitted.event_type, is_fan_out)


_SHAPES: Final = {
    "step": ("[", "]"),
    "join": ("[[", "]]"),
    "recovery": ("{{", "}}"),
    "workflow": ("[/", "\\]"),
    START: ("([", "])"),
    STOP: ("([", "])"),
    OUTSIDE: (">", "]"),
    INPUT: ("[/", "/]"),
}


def to_mermaid(description: WorkflowDescription) -> str:
    """A Mermaid flowchart; what is remote has a dotted outline.

    Node ids are numbers, so that no name can break the syntax; labels are escaped.
    """
    numbers = {node.name: f"n{i}" for i, node in enumerate(description.nodes)}
    lines = ["flowchart TD"]
    for node in description.nodes:
        left, right = _SHAPES[node.kind]
        look = ":::remote" if node.is_remote else ""
        lines.append(f'    {numbers[node.name]}{left}"{_escape(node.name)}"{right}{look}')
    for edge in description.edges:
        arrow = "==>" if edge.is_fan_out else "-->"
        lines.append(f'    {numbers[edge.source]} {arrow}|"{_escape(edge.event)}"| {numbers[edge.target]}')
    if any(node.is_remote for node in description.nodes):
        lines.append("    classDef remote stroke-dasharray: 2 3")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return "".join(char if char.isalnum() or char in " _-.:" else f"#{ord(char)};" for char in text)
