"""``describe()`` gives the graph of a workflow, ``to_mermaid()`` its picture."""

from blazen_trio import (
    Edge,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    Node,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    step,
)

from .stories import Done, Item, fan_out, gather, one_item, stop, work


def edges(*steps, **options) -> set[tuple[str, str, str, bool]]:
    found = Workflow("story", steps, **options).describe().edges
    assert len(set(found)) == len(found)
    return {(edge.source, edge.target, edge.event, edge.is_fan_out) for edge in found}


def test_a_chain_has_a_node_for_each_step_and_end_and_an_edge_for_each_event():
    description = Workflow("story", [one_item, work, stop]).describe()
    assert description.name == "story"
    assert set(description.nodes) == {
        Node("start", "start"),
        Node("(stop)", "stop"),
        Node("one_item", "step", ("StartEvent",), ("Item",)),
        Node("work", "step", ("Item",), ("Done",)),
        Node("stop", "step", ("Done",), ("StopEvent",)),
    }
    assert Edge("one_item", "work", "Item") in description.edges
    assert len(description.edges) == 4


def test_fan_outs_and_joins_are_marked():
    description = Workflow("story", [fan_out, work, gather]).describe()
    assert {node.name: node.kind for node in description.nodes} == {
        "start": "start",
        "stop": "stop",
        "fan_out": "step",
        "work": "step",
        "gather": "join",
    }
    assert edges(fan_out, work, gather) == {
        ("start", "fan_out", "StartEvent", False),
        ("fan_out", "work", "Item", True),
        ("work", "gather", "Done", False),
        ("gather", "stop", "StopEvent", False),
    }


def test_what_is_sent_and_what_comes_from_outside_is_shown():
    @step(sends=[Item])
    async def begin(event: StartEvent) -> None: ...

    class Approval(Event, event_type="shop.approval"):
        pass

    @step
    async def approved(event: Approval) -> StopEvent:
        raise NotImplementedError

    found = edges(begin, work, gather, approved, events=[Approval])
    assert ("begin", "work", "Item", True) in found
    assert ("outside", "approved", "shop.approval", False) in found


def test_questions_and_recoveries_are_shown():
    @step
    async def ask(event: StartEvent) -> InputRequestEvent:
        raise NotImplementedError

    @step
    async def answered(event: InputResponseEvent) -> StopEvent:
        raise NotImplementedError

    @step(recovers=["ask"])
    async def rescue(event: StepFailedEvent) -> StopEvent:
        raise NotImplementedError

    found = edges(ask, answered, rescue)
    assert ("ask", "input", "InputRequestEvent", False) in found
    assert ("input", "answered", "InputResponseEvent", False) in found
    assert ("ask", "rescue", "StepFailedEvent", False) in found
    assert ("answered", "rescue", "StepFailedEvent", False) not in found


def test_every_edge_joins_two_nodes():
    async def handler(question: InputRequestEvent) -> object:
        raise NotImplementedError

    @step
    async def ask(event: StartEvent) -> InputRequestEvent | Item:
        raise NotImplementedError

    @step
    async def answered(event: InputResponseEvent) -> Event:
        raise NotImplementedError

    for options in ({}, {"input_handler": handler}, {"events": [Item]}):
        description = Workflow("story", [ask, answered, work, stop], **options).describe()
        names = {node.name for node in description.nodes}
        assert all({edge.source, edge.target} <= names for edge in description.edges)


def test_the_picture_is_a_mermaid_flowchart():
    picture = Workflow("story", [fan_out, work, gather]).to_mermaid()
    assert picture == (
        "flowchart TD\n"
        '    n0(["start"])\n'
        '    n1(["stop"])\n'
        '    n2["fan_out"]\n'
        '    n3["work"]\n'
        '    n4[["gather"]]\n'
        '    n0 -->|"StartEvent"| n2\n'
        '    n2 ==>|"Item"| n3\n'
        '    n3 -->|"Done"| n4\n'
        '    n4 -->|"StopEvent"| n1\n'
    )


def test_a_step_named_like_an_end_is_not_mistaken_for_it():
    picture = Workflow("story", [one_item, work, stop]).to_mermaid()
    lines = {line.strip() for line in picture.splitlines()}
    assert """n1(["#40;stop#41;"])""" in lines
    assert """n4["stop"]""" in lines
    assert """n3 -->|"Done"| n4""" in lines
    assert """n4 -->|"StopEvent"| n1""" in lines


def test_no_name_breaks_the_picture():
    wild = work.with_options(name='a"] --> b; <script>\n%% ünï "')
    picture = Workflow("story", [one_item, wild, stop]).to_mermaid()
    (line,) = [line for line in picture.splitlines() if "script" in line]
    assert line.startswith('    n3["a#34;#93; --#62; b#59; #60;script#62;#10;#37;#37; ünï #34;"]')


def test_the_picture_never_names_a_node_that_is_not_there():
    @step
    async def anything(event: StartEvent) -> Event:
        raise NotImplementedError

    @step
    async def rescue(event: StepFailedEvent) -> Done:
        raise NotImplementedError

    lines = Workflow("story", [anything, work, stop, rescue]).to_mermaid().splitlines()[1:]
    drawn = {line.split("[")[0].split("(")[0].split("{")[0].strip() for line in lines if "|" not in line}
    ends = {part for line in lines if "|" in line for part in (line.split()[0], line.split()[-1])}
    assert ends <= drawn
