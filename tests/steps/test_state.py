"""``ctx.state``: what you set is encoded at once, what you read is yours, and a failed call's writes are undone."""

import datetime as dt
import decimal
import enum
import threading
import uuid
from collections.abc import MutableMapping

import attrs
import pytest
import trio

from blazen_trio import Context, EncodeError, EventDecodeError, StartEvent, StepFailedEvent, StopEvent, step

from .stories import TWICE, Done, Item, failure_of, fan_out, gather, one_item, result_of, running


def told(function):
    """The result of a run of one step that does ``function`` with the state."""

    async def look(event: StartEvent, ctx: Context) -> StopEvent:
        return StopEvent(function(ctx.state))

    return result_of(step(look))


async def test_the_state_is_a_mapping():
    def use(state):
        state["a"], state["b"] = 1, 2
        state.update(c=3)
        del state["b"]
        found = (dict(state), len(state), list(state), "a" in state, "b" in state, state.get("b"), state.get("b", 5))
        assert isinstance(state, MutableMapping)
        assert state.pop("a") == 1
        assert state.setdefault("d", 4) == 4
        state.clear()
        return (*found, dict(state))

    assert await told(use) == ({"a": 1, "c": 3}, 2, ["a", "c"], True, False, None, 5, {})


async def test_what_is_not_there_is_a_key_error():
    def use(state):
        for attempt in (lambda: state["nothing"], lambda: state.__delitem__("nothing"), lambda: state.pop("nothing")):
            with pytest.raises(KeyError, match="nothing"):
                attempt()

    await told(use)


async def test_what_was_set_does_not_change_with_the_object():
    def use(state):
        basket = ["apple"]
        state["basket"] = basket
        basket.append("pear")
        return state["basket"]

    assert await told(use) == ["apple"]


async def test_what_was_read_is_ours_until_it_is_set_again():
    def use(state):
        state["basket"] = {"fruit": ["apple"]}
        mine = state["basket"]
        mine["fruit"].append("pear")
        before = state["basket"]
        state["basket"] = mine
        return before, state["basket"]

    assert await told(use) == ({"fruit": ["apple"]}, {"fruit": ["apple", "pear"]})


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        10**40,
        "text",
        b"\xff\x00",
        (1, (2, 3)),
        {1: "int key", "1": "str key"},
        {1, 2},
        frozenset({(1, 2)}),
        dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.timedelta(days=1, microseconds=1),
        decimal.Decimal("1.10"),
        uuid.UUID(int=5),
        Item(3),
        [Item(1), Done(2)],
        {"_type": "looks like a marker"},
    ],
    ids=repr,
)
async def test_a_value_comes_back_equal_and_of_the_same_type(value):
    @step
    async def write(event: StartEvent, ctx: Context) -> Item:
        ctx.state["value"] = value
        return Item(0)

    @step
    async def read(event: Item, ctx: Context) -> Done:
        return Done(ctx.state["value"])  # type: ignore[arg-type]  # any value

    @step
    async def end(event: Done) -> StopEvent:
        return StopEvent(event.n)

    found = await result_of(write, read, end)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("value", [object(), lambda: None, trio.Event, threading.Lock(), {"deep": [object()]}])
async def test_what_cannot_be_encoded_is_an_error_at_the_assignment_and_changes_nothing(value):
    def use(state):
        state["kept"] = "old"
        with pytest.raises(EncodeError) as caught:
            state["kept"] = value
        assert "state['kept']" in str(caught.value)
        return dict(state)

    assert await told(use) == {"kept": "old"}


async def test_a_key_is_text():
    def use(state):
        with pytest.raises(TypeError, match="a state key is a str, not 5"):
            state[5] = 1

    await told(use)


@attrs.frozen
class Trip:
    city: str = "nowhere"
    days: int = 0


async def test_a_value_is_structured_into_a_type_on_request():
    def use(state):
        state["trip"] = {"city": "Rome", "days": 3}
        state["numbers"] = [1, 2]
        return (
            state.get("trip", type=Trip),
            state.get("numbers", type=list[int]),
            state.get("nothing", type=Trip),
            state.get("nothing", Trip("default"), type=Trip),
        )

    assert await told(use) == (Trip("Rome", 3), [1, 2], None, Trip("default"))


async def test_a_value_that_does_not_fit_the_type_is_an_error():
    def use(state):
        state["trip"] = {"city": "Rome", "days": "three"}
        with pytest.raises(EventDecodeError) as caught:
            state.get("trip", type=Trip)
        assert caught.value.field == "trip.days"

    await told(use)


async def test_writes_are_visible_to_other_steps_at_once():
    @step
    async def write(event: Item, ctx: Context) -> Done:
        if event.n == 0:
            ctx.state["said"] = "hello"
            await trio.sleep(10)
        else:
            await trio.sleep(1)
            seen.append(ctx.state.get("said"))
        return Done(event.n)

    seen: list[object] = []
    await result_of(fan_out, write, gather, start=2)
    assert seen == ["hello"]


async def test_a_counter_over_a_fan_out_counts_everybody():
    @step
    async def count(event: Item, ctx: Context) -> Done:
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        await trio.sleep(1)
        return Done(event.n)

    @step
    async def end(items: list[Done], ctx: Context) -> StopEvent:
        return StopEvent(ctx.state["seen"])

    assert await result_of(fan_out, count, end, start=250) == 250


async def test_the_writes_of_a_failed_attempt_are_undone_before_the_next():
    @step(retry=TWICE)
    async def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        ctx.state[f"attempt {ctx.attempt}"] = True
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(dict(ctx.state))

    assert await result_of(count) == {"count": 1, "attempt 2": True}


async def test_the_writes_of_a_call_that_timed_out_are_undone():
    @step(timeout=1, retry=TWICE)
    async def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return StopEvent(ctx.state["count"])

    assert await result_of(count) == 1


async def test_the_writes_of_an_interrupted_call_are_undone():
    @step
    async def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        begun.append(ctx.attempt)
        await trio.sleep(10)
        return StopEvent(ctx.state["count"])

    begun: list[int] = []
    async with running(count) as run:
        await run.pause(interrupt=True)
        await run.resume_in_place()
        assert (await run.result()).result == 1
    assert begun == [1, 1]


async def test_a_deletion_is_undone_too():
    @step
    async def begin(event: StartEvent, ctx: Context) -> Item:
        ctx.state["kept"] = "old"
        return Item(0)

    @step(retry=TWICE)
    async def delete(event: Item, ctx: Context) -> StopEvent:
        seen.append(ctx.state.pop("kept", None))
        if ctx.attempt == 1:
            ctx.state["new"] = 1
            raise OSError
        return StopEvent(dict(ctx.state))

    seen: list[object] = []
    assert await result_of(begin, delete) == {}
    assert seen == ["old", "old"]


async def test_the_writes_of_a_call_that_failed_for_good_are_undone():
    @step
    async def fail(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["wrote"] = 1
        raise OSError

    @step
    async def rescue(event: StepFailedEvent, ctx: Context) -> StopEvent:
        return StopEvent(dict(ctx.state))

    assert await result_of(fail, rescue) == {}


@pytest.mark.parametrize("writes_first", ["failing", "other"])
@pytest.mark.parametrize("ends_first", ["failing", "other"])
async def test_of_two_running_calls_the_failing_ones_value_goes_and_the_others_stays(writes_first, ends_first):
    @step
    async def write(event: Item, ctx: Context) -> Done:
        name = ("failing", "other")[event.n]
        await trio.sleep(1 if name == writes_first else 2)
        ctx.state["key"] = name
        await trio.sleep(10 if name == ends_first else 20)
        if name == "failing":
            raise OSError
        return Done(event.n)

    @step
    async def drop(event: StepFailedEvent) -> None:
        pass

    @step
    async def end(items: list[Done], ctx: Context) -> StopEvent:
        return StopEvent(ctx.state["key"])

    assert await result_of(fan_out, write, drop, end, start=2) == "other"


async def test_when_both_of_two_running_calls_fail_the_old_value_is_back():
    @step
    async def begin(event: StartEvent, ctx: Context) -> list[Item]:
        ctx.state["key"] = "old"
        return [Item(0), Item(1)]

    @step
    async def write(event: Item, ctx: Context) -> Done:
        ctx.state["key"] = event.n
        await trio.sleep(1)
        ctx.state["key"] = event.n + 10
        raise OSError

    @step
    async def drop(event: StepFailedEvent) -> None:
        pass

    @step
    async def end(items: list[Done], ctx: Context) -> StopEvent:
        return StopEvent(ctx.state["key"])

    assert await result_of(begin, write, drop, end) == "old"


async def test_each_run_begins_with_an_empty_state():
    @step
    async def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        return StopEvent(ctx.state["count"])

    assert [await result_of(count) for _ in range(2)] == [1, 1]


async def test_a_plain_function_writes_from_its_thread_and_is_undone_too():
    @step(retry=TWICE)
    def count(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(ctx.state["count"])

    assert await result_of(count) == 1


@attrs.frozen
class Notes:
    city: str = "nowhere"
    days: int = 3
    places: list[str] = attrs.field(factory=list)
    trip: Trip | None = None


async def test_a_typed_state_has_fields_with_defaults():
    @step
    async def plan(event: StartEvent, ctx: Context[Notes]) -> StopEvent:
        before = (ctx.state.city, ctx.state.days, ctx.state.places)
        ctx.state.city = "Rome"  # type: ignore[misc]  # the state is written through, though Notes is frozen
        ctx.state.trip = Trip("Rome", 2)  # type: ignore[misc]
        ctx.state.places.append("lost")  # a copy, which is not set again
        return StopEvent((before, ctx.state.city, ctx.state.trip, ctx.state.places))

    found = await result_of(plan, state_type=Notes)
    assert found == (("nowhere", 3, []), "Rome", Trip("Rome", 2), [])


async def test_a_typed_state_refuses_other_fields_and_types():
    @step
    async def plan(event: StartEvent, ctx: Context) -> StopEvent:
        with pytest.raises(AttributeError, match="no field 'town'; its fields are city, days"):
            ctx.state.town = "Rome"  # type: ignore[attr-defined]  # the mistake
        with pytest.raises(AttributeError, match="no field 'town'"):
            _ = ctx.state.town  # type: ignore[attr-defined]  # the mistake
        with pytest.raises(EventDecodeError):
            ctx.state.days = "three"  # type: ignore[attr-defined]  # the mistake
        with pytest.raises(EncodeError):
            ctx.state.city = object()  # type: ignore[attr-defined]  # the mistake
        with pytest.raises(KeyError):
            ctx.state["town"] = "Rome"
        return StopEvent((ctx.state.city, ctx.state.days))  # type: ignore[attr-defined]  # its type is not told here

    assert await result_of(plan, state_type=Notes) == ("nowhere", 3)


async def test_a_typed_state_is_undone_as_well():
    @step(retry=TWICE)
    async def plan(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state.days += 1  # type: ignore[attr-defined]  # its type is not told here
        if ctx.attempt == 1:
            raise OSError
        return StopEvent(ctx.state.days)  # type: ignore[attr-defined]

    assert await result_of(plan, state_type=Notes) == 4


async def test_a_field_set_back_has_its_default():
    @step
    async def plan(event: StartEvent, ctx: Context) -> StopEvent:
        ctx.state.days = 9  # type: ignore[attr-defined]  # its type is not told here
        del ctx.state.days  # type: ignore[attr-defined]
        return StopEvent(ctx.state.days)  # type: ignore[attr-defined]

    assert await result_of(plan, state_type=Notes) == 3


async def test_an_encode_error_that_nobody_catches_fails_the_step():
    @step
    async def write(event: Item, ctx: Context) -> StopEvent:
        ctx.state["lock"] = threading.Lock()
        return StopEvent()

    failure = await failure_of(one_item, write)
    assert isinstance(failure.__cause__, EncodeError)
    assert failure.step_name == "write"
