"""A thousand runs inside one run, all of them waiting for a person: nothing costs more for each the more there are."""

import time

from blazen_trio import RunStatus, WorkflowRun, WorkflowSnapshot
from tests.children.stories import approve, child_of, parent_of, until

COUNT = 1_000


async def test_a_thousand_children_wait_for_answers_and_survive_a_snapshot() -> None:
    workflow = parent_of(child_of(approve), count=COUNT, max_concurrency=COUNT)
    async with workflow.start() as run:
        await until(lambda: len(run.pending_inputs) == COUNT)
        for each in run.pending_inputs[: COUNT // 2]:
            await run.respond_to_input(each.request_id, 1)
        snapshot = await run.snapshot()

    async with workflow.resume(WorkflowSnapshot.from_msgpack(snapshot.to_msgpack())) as run:
        assert len(run.pending_inputs) == COUNT - COUNT // 2
        await until(lambda: run.status is RunStatus.AWAITING_INPUT)
        await run.pause(interrupt=True)
        await run.resume_in_place()
        for each in reversed(run.pending_inputs):
            await run.respond_to_input(each.request_id, 2)
        assert (await run.result()).result == COUNT // 2 + 2 * (COUNT - COUNT // 2)


async def seconds_per_answer(count: int) -> float:
    async with parent_of(child_of(approve), count=count, max_concurrency=count).start() as run:
        await until(lambda: len(run.pending_inputs) == count)
        return min([await _seconds_for_ten(run) for _ in range(10)]) / 10


async def _seconds_for_ten(run: WorkflowRun) -> float:
    questions = run.pending_inputs[:10]
    began = time.thread_time()
    for each in questions:
        await run.respond_to_input(each.request_id, 1)
    return time.thread_time() - began


async def test_an_answer_costs_the_same_however_many_wait() -> None:
    few, many = await seconds_per_answer(100), await seconds_per_answer(2_000)
    assert many < 8 * few  # were each question or child looked at for each answer, it would be twenty times as much
