"""What a step runs on a peer is shown as that, in every picture of its workflow."""

import json

from trio.testing import MockClock

from blazen_trio import MemoryStore, Node, Workflow, open_engine
from blazen_trio.cli.drawing import to_svg
from blazen_trio.cli.output import to_json
from tests.peers.stories import Answer, Query, Work, ask_all, collect, doubling, parent_of, peer_of
from tests.websocket.lines import exchange


async def test_a_remote_step_is_a_workflow_that_is_remote(autojump_clock: MockClock) -> None:
    async with peer_of() as peer:
        nodes = {each.name: each for each in parent_of(doubling(Work()), peer).describe().nodes}
    assert nodes["inside"] == Node("inside", "workflow", (Query.event_type,), (Answer.event_type,), is_remote=True)
    assert [name for name, each in nodes.items() if each.is_remote] == ["inside"]


async def test_a_step_that_runs_its_workflow_here_is_none(autojump_clock: MockClock) -> None:
    inside = doubling(Work()).as_step(accepts=Query, emits=Answer, name="inside")
    workflow = Workflow("parent", [ask_all(1), inside, collect])
    assert not any(each.is_remote for each in workflow.describe().nodes)
    assert "remote" not in workflow.to_mermaid()


async def test_pictures_have_a_dotted_outline(autojump_clock: MockClock) -> None:
    async with peer_of() as peer:
        workflow = parent_of(doubling(Work()), peer)
    mermaid = workflow.to_mermaid()
    assert '[/"inside"\\]:::remote\n' in mermaid
    assert mermaid.count(":::") == mermaid.count("classDef remote") == 1
    svg = to_svg(workflow.describe())
    assert '<g class="workflow remote"><title>inside (on a peer)</title>' in svg
    nodes = json.loads(to_json(workflow.describe()))["nodes"]
    assert [each["name"] for each in nodes if each["is_remote"]] == ["inside"]


async def test_who_looks_from_afar_sees_it_too(autojump_clock: MockClock) -> None:
    async with peer_of() as peer:
        workflow = parent_of(doubling(Work()), peer)
        async with open_engine(MemoryStore(), [workflow]) as engine, exchange() as there:
            await there.open(engine)
            async with there.client([], [workflow]) as remote:
                assert await remote.workflows() == [workflow.describe()]
