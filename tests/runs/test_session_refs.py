"""Session refs of runs: who has them, how long they live, and that nothing stays behind."""

import gc
import signal
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    RefLifetime,
    RegistryKey,
    RetryConfig,
    RunStatus,
    SessionRefCapacityError,
    SessionRefRegistry,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    step,
)

from .stories import Done, finish, solo

KEPT, EXPLICIT, SNAPSHOT, PARENT = RefLifetime


class Connection:
    """A live object."""


class Opened(Event):
    connection: RegistryKey


@step
async def open_connections(event: StartEvent, ctx: Context) -> Opened:
    for lifetime in (EXPLICIT, SNAPSHOT, PARENT):
        ctx.session_refs.insert(Connection(), lifetime)
    return Opened(ctx.session_refs.insert(Connection()))


@step
async def use(event: Opened, ctx: Context) -> StopEvent:
    assert isinstance(ctx.session_refs.get(event.connection), Connection)
    return StopEvent(event.connection)


workflow = Workflow("connections", [open_connections, use])


def lifetimes(refs: SessionRefRegistry) -> list[RefLifetime]:
    return [refs.lifetime_of(key) for key in refs]


def watch(refs: SessionRefRegistry) -> list[weakref.ref[Connection]]:
    return [weakref.ref(refs.get(key)) for key in refs]


def living(watched: list[weakref.ref[Connection]]) -> int:
    gc.collect()
    return sum(ref() is not None for ref in watched)


async def test_steps_share_live_objects_by_key():
    outcome = await workflow.run()
    assert isinstance(outcome.session_refs.get(outcome.result), Connection)


async def test_every_run_has_a_registry_of_its_own():
    first, second = await workflow.run(), await workflow.run()
    assert second.session_refs.get(first.result) is None
    assert (await solo(nothing).run()).session_refs.keys() == ()


async def nothing(event: StartEvent) -> StopEvent:
    return StopEvent()


async def test_run_hands_its_refs_over_but_those_of_the_run_itself():
    refs = (await workflow.run()).session_refs
    assert lifetimes(refs) == [EXPLICIT, SNAPSHOT, KEPT]
    watched = watch(refs)
    del refs
    assert living(watched) == 0


async def test_in_a_block_refs_last_until_it_ends_and_some_until_they_are_removed():
    async with workflow.start() as run:
        result = await run.result()
        assert result.session_refs is run.session_refs is (await run.result()).session_refs
        await run.abort()  # a checkpoint that waits for the last call
        assert lifetimes(run.session_refs) == [EXPLICIT, SNAPSHOT, KEPT]
        watched = watch(run.session_refs)
    assert lifetimes(run.session_refs) == lifetimes(result.session_refs) == [EXPLICIT]
    assert living(watched) == 1
    assert run.session_refs.drain() == 1
    assert living(watched) == 0


async def test_a_ref_of_the_run_itself_lasts_until_its_last_call_has_ended():
    seen = []

    @step
    async def linger(event: StartEvent, ctx: Context) -> None:
        key = ctx.session_refs.insert(Connection(), PARENT)
        try:
            await trio.sleep_forever()
        finally:
            seen.append(ctx.session_refs.get(key) is not None)

    @step
    async def stop(event: StartEvent) -> StopEvent:
        return StopEvent()

    async with Workflow("lingering", [linger, stop]).start() as run:
        await run.result()
        await run.abort()
        assert (seen, len(run.session_refs)) == ([True], 0)


@pytest.mark.parametrize("lifetime", RefLifetime)
async def test_however_a_run_ends_its_refs_go(lifetime):
    watched = []

    @step
    async def hold(event: StartEvent, ctx: Context) -> Done:
        connection = Connection()
        watched.append(weakref.ref(connection))
        ctx.session_refs.insert(connection, lifetime)
        if event.data == "fail":
            raise LookupError
        del connection
        await trio.sleep_forever()
        return Done()

    holding = Workflow("holding", [hold, finish])
    errors = []
    try:
        await holding.run("fail")
    except StepFailedError as error:  # whose traceback holds frames, but no refs
        errors.append(error)
    with trio.move_on_after(0):
        await holding.run()
    with pytest.raises(OSError, match="the body's own"):
        async with holding.start():
            await trio.testing.wait_all_tasks_blocked()
            raise OSError("the body's own")
    async with holding.start() as run:
        await trio.testing.wait_all_tasks_blocked()
        await run.abort()
        assert run.status is RunStatus.ABORTED
    del run
    errors.clear()
    assert len(watched) >= 3  # a run that is cancelled at once may end before its first call
    assert living(watched) == 0


async def test_the_error_of_a_run_keeps_no_refs():
    watched = []

    @step
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.session_refs.insert(Connection())
        watched.extend(watch(ctx.session_refs))
        raise LookupError

    with pytest.raises(StepFailedError) as raised:
        await Workflow("failing", [fail]).run()
    assert (living(watched), raised.value.step_name) == (0, "fail")


async def test_the_body_of_a_block_may_insert_before_any_step_does():
    @step
    async def look(event: StartEvent, ctx: Context) -> StopEvent:
        opened = await ctx.wait_for_event(Opened)
        return StopEvent(ctx.session_refs.get(opened.connection) is connection)

    connection = Connection()
    async with Workflow("given", [look], events=[Opened]).start() as run:
        key = run.session_refs.insert(connection)
        assert run.statistics()["session_refs"] == 1
        await run.send_event(Opened(key))
        assert (await run.result()).result is True
    assert run.statistics()["session_refs"] == 0


async def test_the_workflow_says_how_many_refs_there_may_be():
    @step
    async def hoard(event: StartEvent, ctx: Context) -> StopEvent:
        while True:
            ctx.session_refs.insert(Connection())

    with pytest.raises(StepFailedError) as raised:
        await Workflow("hoarding", [hoard], max_session_refs=3).run()
    assert isinstance(raised.value.__cause__, SessionRefCapacityError)
    assert raised.value.__cause__.capacity == 3


async def test_a_failed_attempt_leaves_its_refs_and_once_inserts_once():
    @step(retry=RetryConfig(max_retries=2, initial_delay_ms=0))
    async def connect(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.session_refs.insert(Connection())
        key = await ctx.once("connect", lambda: ctx.session_refs.insert(Connection()))
        ctx.state["connection"] = key
        if ctx.attempt < 3:
            raise OSError
        return StopEvent((key, ctx.state["connection"], len(ctx.session_refs)))

    key, stored, count = (await Workflow("retrying", [connect]).run()).result
    assert (key, count) == (stored, 4)
    assert type(stored) is RegistryKey


async def test_steps_in_threads_use_the_registry_from_there():
    @step
    async def spread(event: StartEvent) -> list[Done]:
        return [Done(number) for number in range(20)]

    barrier = threading.Barrier(20)

    @step
    def insert(event: Done, ctx: Context) -> Opened:
        barrier.wait()  # all of them are the first to ask for it
        return Opened(ctx.session_refs.insert(Connection()))

    @step
    async def join(opened: list[Opened], ctx: Context) -> StopEvent:
        return StopEvent([type(ctx.session_refs.get(each.connection)) for each in opened])

    outcome = await Workflow("threads", [spread, insert, join]).run()
    assert outcome.result == [Connection] * 20


async def test_a_run_with_a_borrowed_registry_leaves_it_to_the_owner():
    refs = SessionRefRegistry()
    refs.insert(Connection())
    block = workflow.start()
    block._runner.use_session_refs(refs, is_owner=False)
    async with block as run:
        await run.result()
    assert run.session_refs is refs
    assert lifetimes(refs) == [KEPT, EXPLICIT, SNAPSHOT, PARENT, KEPT]


async def test_a_run_that_uses_no_refs_has_no_registry():
    async with Workflow("asking", [ask]).start() as run:
        await trio.testing.wait_all_tasks_blocked()
        assert not any(isinstance(each, SessionRefRegistry) for each in gc.get_referents(run._runner))
        assert run.statistics()["session_refs"] == 0


@step
async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    return StopEvent(await ctx.request_input("?"))


async def test_a_thousand_runs_with_refs_leave_no_memory():
    async def many(count: int) -> int:
        for _ in range(count):
            await workflow.run()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await many(50)
        assert await many(500) - before < 50_000
    finally:
        tracemalloc.stop()


class Struck:
    """A lock; Ctrl-C strikes at the worst moment: when it is taken, and before the block has begun."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __enter__(self) -> None:
        self.lock.acquire()
        signal.raise_signal(signal.SIGINT)

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def is_free(self) -> bool:
        with ThreadPoolExecutor(1) as other:  # for the thread that has it, a lock like this one is always free
            return other.submit(self.lock.acquire, blocking=False).result()


@pytest.mark.parametrize("place", ["blazen_trio.parts._making", "blazen_trio.session_refs.registry._lock"])
def test_ctrl_c_leaves_no_lock_behind(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    struck = Struck()

    @step
    async def insert(event: StartEvent, ctx: Context) -> StopEvent:
        monkeypatch.setattr(place, struck)
        ctx.session_refs.insert(object())
        return StopEvent()

    with pytest.raises(KeyboardInterrupt):
        trio.run(Workflow("struck", [insert]).run)
    assert struck.is_free()
