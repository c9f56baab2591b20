"""``drive``: a run as a text that is the same each time."""

import random

import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    StartEvent,
    StepFailedError,
    StopEvent,
    Workflow,
    step,
)
from blazen_trio.testing import UnansweredError, drive
from tests.snapshots.programs import fan_out, retries


class Note(Event):
    text: str


@step
async def work(event: StartEvent, ctx: Context) -> StopEvent:
    await trio.sleep(90)
    ctx.write_event_to_stream(Note("half of it is done"))
    answer = await ctx.request_input("Go on?")
    return StopEvent(f"{event.data} {answer}")


workflow = Workflow("noted", [work], events=[Note])


def test_a_transcript_tells_what_happened_and_when() -> None:
    transcript = drive(workflow, "shall I?", answers={"Go on?": "yes"})

    assert transcript.result == "shall I? yes"
    assert transcript.text.splitlines() == [
        "    0.000  event_routed (StartEvent)",
        "    0.000  step_started work#1 (StartEvent)",
        "   90.000  work#1: Note(text='half of it is done')",
        "   90.000  work#1: InputRequestEvent(prompt='Go on?', request_id=<question 1>, metadata={})",
        "   90.000  input_requested work#1 (StartEvent)",
        "   90.000  step_completed work#1 (StartEvent)",
        "   90.000  event_routed (StopEvent)",
        "   90.000  run_completed (StopEvent)",
        "   90.000  run: StopEvent(result='shall I? yes')",
        "   90.000  the end: StopEvent(result='shall I? yes')",
    ]


@pytest.mark.parametrize("make", [fan_out, retries])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_text(make, seed: int) -> None:
    assert drive(make().workflow, seed=seed).text == drive(make().workflow, seed=seed).text


def test_other_seeds_give_other_orders_and_the_same_result() -> None:
    transcripts = [drive(fan_out().workflow, seed=seed) for seed in range(20)]

    assert len({each.text for each in transcripts}) > 1
    assert {tuple(each.result) for each in transcripts} == {(0, 2, 4, 6, 8, 10)}


def test_what_is_random_goes_by_the_seed_and_is_undone() -> None:
    @step
    async def roll(event: StartEvent) -> StopEvent:
        return StopEvent(random.getrandbits(60))

    before = random.getstate()
    dice = Workflow("dice", [roll])
    assert drive(dice, seed=1).result == drive(dice, seed=1).result != drive(dice, seed=2).result
    assert random.getstate() == before


def test_a_run_that_fails_has_a_transcript_too() -> None:
    @step
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        raise LookupError(ctx.run_id)

    transcript = drive(Workflow("fails", [fail]))

    assert "step_failed fail#1 (StartEvent) - LookupError: <run>" in transcript.text
    assert isinstance(transcript.error, StepFailedError)
    with pytest.raises(StepFailedError):
        _ = transcript.result


def test_ids_that_differ_each_time_are_not_in_the_text() -> None:
    @step
    async def ask(event: StartEvent) -> InputRequestEvent:
        return InputRequestEvent(prompt="Which?")

    @step
    async def hear(event: InputResponseEvent) -> StopEvent:
        return StopEvent([event, object()])

    first, again = (drive(Workflow("asks", [ask, hear]), answers={"Which?": 1}) for _ in range(2))

    assert first.text == again.text
    assert "request_id=<question 1>" in first.text
    assert "<object object>" in first.text


def test_a_question_without_an_answer_is_told() -> None:
    with pytest.raises(UnansweredError, match=r"Go on\?"):
        drive(workflow)


def test_a_run_that_waits_for_ever_is_told() -> None:
    @step
    async def wait(event: StartEvent) -> StopEvent:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(trio.TooSlowError):
        drive(Workflow("waits", [wait]))


def test_what_a_run_inside_publishes_is_told_once() -> None:
    transcript = drive(
        Workflow("outer", [workflow.as_step(accepts=StartEvent, emits=StopEvent)]), answers={"Go on?": "yes"}
    )

    assert transcript.text.count("Note(text='half of it is done')") == 1
    assert transcript.text.count("prompt='Go on?'") == 1
