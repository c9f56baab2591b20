"""Objects in ``Live`` fields of events: they come back with the events, wherever these wait."""

import json
import threading
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    Event,
    Live,
    RetryConfig,
    SessionRefCapacityError,
    SessionRefsNotSerializableError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)
from tests.snapshots.live_objects import (
    BOTH_WAYS,
    DROP,
    SERIALIZE,
    Connection,
    Model,
    Opened,
    passing,
    taken,
    wires_after,
)


@BOTH_WAYS
async def test_objects_of_events_come_back_and_what_they_share_they_share_again(
    through: Callable[[WorkflowSnapshot], WorkflowSnapshot], autojump_clock: MockClock
) -> None:
    wire = Connection("far")
    workflow = passing(wire, wire, allow_pickle=True)
    snapshot = through(await taken(workflow))
    [(first, second)], refs = await wires_after(workflow, snapshot)
    assert first is second
    assert (first.address, first is wire, refs) == ("far", False, 0)


async def test_objects_of_events_do_not_pile_up_from_resume_to_resume(autojump_clock: MockClock) -> None:
    workflow = passing(Connection("far"), allow_pickle=True, max_session_refs=1)
    snapshot = await taken(workflow)
    for _ in range(3):
        async with workflow.resume(snapshot) as run:
            snapshot = WorkflowSnapshot.from_json((await run.snapshot()).to_json())
            assert len(run.session_refs) == 0
    [(wire, _)], _ = await wires_after(workflow, snapshot)
    assert wire.address == "far"


async def test_an_object_with_a_ref_and_in_an_event_is_one_object_again(autojump_clock: MockClock) -> None:
    @step
    async def begin(event: StartEvent, ctx: Context) -> Opened:
        wire = Connection()
        return Opened(wire, key=ctx.session_refs.insert(wire))

    @step
    async def work(event: Opened, ctx: Context) -> StopEvent:
        await trio.sleep(1)
        return StopEvent(ctx.session_refs.get(event.key) is event.wire)

    workflow = Workflow("both", [begin, work], allow_pickle=True)
    snapshot = await taken(workflow)
    async with workflow.resume(snapshot) as run:
        assert len(run.session_refs) == 1
        assert (await run.result()).result is True


async def test_objects_come_back_wherever_their_events_wait(autojump_clock: MockClock) -> None:
    """Collected for a join, being worked on, waiting for a slot, waiting for the next attempt."""

    class Part(Event):
        wire: Live[Connection]

    class Whole(Event):
        wire: Live[Connection]

    @step
    async def begin(event: StartEvent) -> list[Part]:
        return [Part(Connection(str(number))) for number in range(4)]

    @step(max_concurrency=1, retry=RetryConfig(max_retries=1, initial_delay_ms=2_000, jitter=False))
    async def work(event: Part, ctx: Context) -> Whole:
        await trio.sleep(1)
        if event.wire.address == "1" and ctx.attempt == 1:
            raise OSError
        return Whole(event.wire)

    @step
    async def gather(parts: list[Whole]) -> StopEvent:
        return StopEvent([part.wire.address for part in parts])

    workflow = Workflow("everywhere", [begin, work, gather], allow_pickle=True)
    async with workflow.start() as run:
        await trio.sleep(2.5)
        text = (await run.snapshot()).to_json()
    pending = json.loads(text)["pending_events"]
    assert (len(pending["retrying"]), len(pending["steps"]["work"])) == (1, 2)
    async with workflow.resume(WorkflowSnapshot.from_json(text)) as run:
        assert (await run.result()).result == ["0", "1", "2", "3"]


async def test_an_object_in_the_result_of_a_run_that_was_over_comes_back(autojump_clock: MockClock) -> None:
    class Finished(StopEvent):
        wire: Live[Connection | None] = None

    @step
    async def finish(event: StartEvent) -> Finished:
        return Finished(wire=Connection("end"))

    workflow = Workflow("over", [finish], allow_pickle=True)
    async with workflow.start() as run:
        await run.result()
        snapshot = await run.snapshot()
    async with workflow.resume(snapshot) as run:
        assert (await run.result()).result.wire.address == "end"


async def test_an_object_of_an_event_that_cannot_be_saved_is_an_error_and_the_run_goes_on(
    autojump_clock: MockClock,
) -> None:
    lock = threading.Lock()
    async with passing(lock).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefsNotSerializableError, match="pickle"):
            await run.snapshot()
        assert (await run.result()).result[0].wire is lock


async def test_dropped_objects_of_events_are_none(autojump_clock: MockClock) -> None:
    workflow = passing(threading.Lock(), session_pause_policy=DROP)
    assert await wires_after(workflow, await taken(workflow)) == ([(None, None)], 0)


async def test_objects_of_events_that_know_their_bytes_are_rebuilt_or_missed(autojump_clock: MockClock) -> None:
    workflow = passing(Model(b"w"), session_pause_policy=SERIALIZE)
    snapshot = await taken(workflow)
    [(model, _)], refs = await wires_after(workflow, snapshot, deserializers={"model": Model})
    assert (model.weights, refs) == (b"w", 0)
    with pytest.raises(SessionRefsNotSerializableError, match="Live field") as raised:
        workflow.resume(snapshot)
    assert raised.value.type_tag == "model"


async def test_too_many_objects_in_events_are_an_error_and_the_run_goes_on(autojump_clock: MockClock) -> None:
    async with passing(Connection(), Connection(), max_session_refs=1).start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefCapacityError):
            await run.snapshot()
        await run.result()
