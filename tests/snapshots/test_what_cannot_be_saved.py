"""What users give and no snapshot can hold: one error that names it, and the run goes on unharmed."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import (
    Context,
    EncodeError,
    Event,
    SessionRefsNotSerializableError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)
from blazen_trio.session_refs import pickles
from tests.snapshots.live_objects import SERIALIZE, Model, inserting, serializing


class Odd(Event):
    thing: Any


@step
async def begin(start: StartEvent) -> Odd:
    return Odd(start.data())


@step
async def work(event: Odd, ctx: Context) -> StopEvent:
    await trio.sleep(1)
    return StopEvent("unharmed")


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def ring() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: nested(65), "64 levels"),
        (lambda: nested(1_000), "64 levels"),
        (lambda: nested(100_000), "64 levels"),
        (ring, "contains itself"),
        (lambda: print, "builtin_function_or_method"),
        (lambda: {"key": {object()}}, "object"),
    ],
    ids=["65 levels", "1,000 levels", "100,000 levels", "a ring", "a function", "an object in a set"],
)
async def test_what_no_snapshot_can_hold_is_named_and_the_run_goes_on(
    make: Callable[[], Any], problem: str, autojump_clock: MockClock
) -> None:
    async with Workflow("odd", [begin, work]).start(make) as run:
        await trio.sleep(0.5)
        for _ in range(2):
            with pytest.raises(EncodeError, match=r"event Odd\.thing") as caught:
                await run.snapshot()
            assert problem in str(caught.value)
        assert (await run.result()).result == "unharmed"


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 10**4_300, "\ud800", {"\udfff": 1}, {float("inf"): 2}],
    ids=["NaN", "infinity", "4,301 digits", "a lone surrogate", "one as a key", "infinity as a key"],
)
async def test_what_json_itself_does_not_have_comes_back_all_the_same(value: Any, autojump_clock: MockClock) -> None:
    workflow = Workflow("odd", [begin, work])
    async with workflow.start(lambda: value) as run:
        await trio.sleep(0.5)
        snapshot = await run.snapshot()
    for again in (
        WorkflowSnapshot.from_json(snapshot.to_json()),
        WorkflowSnapshot.from_msgpack(snapshot.to_msgpack()),
    ):
        assert again == snapshot
        async with workflow.resume(again) as run:
            assert (await run.result()).result == "unharmed"


async def test_a_key_that_no_encoding_can_hold_is_named_and_the_run_goes_on(autojump_clock: MockClock) -> None:
    @step
    async def remember(start: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["\ud800"] = 1
        await trio.sleep(1)
        return StopEvent("unharmed")

    async with Workflow("keys", [remember]).start(metadata={"\ud800": 1}) as run:
        await trio.sleep(0.5)
        with pytest.raises(EncodeError, match="surrogate"):
            await run.snapshot()
        assert (await run.result()).result == "unharmed"


@pytest.mark.parametrize(
    "workflow",
    [serializing(Model(bytes(1_001)), session_pause_policy=SERIALIZE), inserting(bytes(1_001))],
    ids=["serialized", "pickled"],
)
async def test_a_huge_session_ref_is_named_and_the_run_goes_on(
    workflow: Workflow, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "SAVED_BYTES_MAX", 1_000)
    async with workflow.start() as run:
        await trio.sleep(0.5)
        with pytest.raises(SessionRefsNotSerializableError, match="more than") as raised:
            await run.snapshot()
        key = (await run.result()).result
    assert raised.value.keys == (str(key),)
