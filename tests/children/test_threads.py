"""Plain functions in threads, in a run inside a run: on the real clock, since one that jumps does not wait for them."""

import trio

from blazen_trio import Context, StartEvent, StopEvent, UsageEvent, Workflow, step
from tests.children.programs import Done, Item, gather, spread
from tests.children.stories import Mark, parent_of


@step
def work(event: Item, ctx: Context) -> Done:
    ctx.write_event_to_stream(Mark(f"thread {event.number}"))
    ctx.emit_usage(UsageEvent(total_tokens=1))
    ctx.state[str(event.number)] = event.number
    return Done(event.number)


async def use_threads() -> None:
    workflow = parent_of(Workflow("child", [spread, work, gather]), count=2)
    async with workflow.start(3) as run, run.stream_events(types=Mark) as events:
        marks = [item.source_step async for item in events.envelopes()]
        result = await run.result()
    assert (result.result, result.usage_total.total_tokens) == (3 + 6, 7)
    assert marks == ["inside/work"] * 7


def test_threads_work_for_runs_inside() -> None:
    trio.run(use_threads)


async def pause_while_threads_run() -> None:
    workflow = parent_of(Workflow("child", [begin, work, gather]), count=2)
    async with workflow.start(3) as run:
        await run.pause(interrupt=True)
        await run.resume_in_place()
        assert (await run.result()).result == 3 + 6


@step
def begin(event: StartEvent) -> list[Item]:
    return [Item(number) for number in range(event.data["number"])]


def test_a_pause_waits_for_threads_of_runs_inside() -> None:
    trio.run(pause_while_threads_run)


async def stop_while_threads_run() -> None:
    @step
    async def stop(event: StartEvent) -> StopEvent:
        return StopEvent("stopped")

    workflow = parent_of(Workflow("child", [begin, work, gather]), count=2)
    assert (await Workflow("parent", [*workflow.steps, stop]).run(3)).result == "stopped"


def test_a_run_that_is_over_waits_for_threads_of_runs_inside() -> None:
    trio.run(stop_while_threads_run)
