"""Odd and huge things of a run on their way to a client: they arrive exact, and harm nobody else."""

import math
import struct
from typing import Any

import attrs
import pytest
import trio

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    StartEvent,
    StopEvent,
    UsageEvent,
    Workflow,
    open_engine,
    step,
)
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import WebsocketLimits
from tests.websocket.castle import open_castle, start_event
from tests.websocket.remote import remote_engine


class Odd(Event):
    value: Any


class Size(Event, event_type="größe/✓ 😀"):
    value: Any


VALUES: list[Any] = [
    "half \ud800 of \udfff it",
    "\ud83d\ude00 as two halves",
    "😀 nul \0 and del \x7f, rtl \u202e, bom \ufeff, line \u2028",
    {"\ud800": "\udc00", "": 0, "__blazen_str__": 1, "\u00e9": "composed", "e\u0301": "not"},
    2**63,
    -(2**63) - 1,
    10**4_000,
    math.inf,
    -math.inf,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    b"",
    bytes(range(256)),
    (1, (2, [3, {"four": {5}}])),
    None,
    True,
    "</script><script>alert(1)</script>",
    '"}]}\\',
    "x" * 100_000,
]


@step
async def odd(event: StartEvent, ctx: Context) -> StopEvent:
    for value in VALUES:
        ctx.write_event_to_stream(Odd(value))
        ctx.write_event_to_stream(Size(value))
    ctx.write_event_to_stream(Odd(math.nan))
    return StopEvent(VALUES)


@step
async def stray(event: StartEvent, ctx: Context) -> StopEvent:
    """Say things that JSON has not."""
    ctx.report_progress(math.nan, math.inf, "half \ud800")
    ctx.emit_usage(UsageEvent(model="\ud800", total_tokens=2**70, cost_usd=math.nan))
    return StopEvent(await ctx.request_input("half \ud800", metadata={"m": "\udfff", "\ud801": b"x"}))


@step
async def huge(event: StartEvent, ctx: Context) -> StopEvent:
    kind, size = event.data
    if kind == "kept":
        await ctx.request_input("go on?")
    else:
        for letter in "abc":
            ctx.write_event_to_stream(Odd(letter))
            ctx.write_event_to_stream(Odd(letter * size))
    return StopEvent(size)


odds = Workflow("odds", [odd], events=[Odd, Size], publish_lifecycle=False)
strays = Workflow("strays", [stray], publish_lifecycle=False)
huges = Workflow("huges", [huge], events=[Odd], publish_lifecycle=False)
ALL = [odds, strays, huges]


def bits(value: Any) -> Any:
    """What tells floats apart that are equal."""
    return struct.pack("d", value) if isinstance(value, float) else value


async def test_whatever_an_event_holds_arrives_exact(autojump_clock):
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as remote:
        run = await remote.start("odds", VALUES)
        got: list[Any] = [each async for each in run.stream_events(0)]
        assert isinstance(got[-1], StopEvent)
        *values, nan = [each.value for each in got[:-1]]
        assert [bits(each) for each in values] == [bits(each) for value in VALUES for each in (value, value)]
        assert [type(each) for each in got[:2]] == [Odd, Size]
        assert math.isnan(nan)
        assert (await run.result()).result == VALUES


async def test_what_json_has_not_hides_neither_the_run_nor_the_others(autojump_clock, caplog):
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as remote:
        run = await remote.start("strays", run_id="stray")
        other = await remote.start("odds", run_id="other")
        await other.result()
        events = run.stream_events(0)
        said: list[Any] = [await events.receive() for _ in range(3)]
        progress, usage, question = said
        assert progress.label == "half \ud800"
        assert (usage.model, usage.total_tokens) == ("\ud800", 2**70)
        assert isinstance(question, InputRequestEvent)
        assert (question.prompt, question.metadata) == ("half \ud800", {"m": "\udfff", "\ud801": b"x"})
        await run.refresh()
        (seen,) = run.pending_inputs
        assert (seen.prompt, seen.metadata) == ("half \\ud800", question.metadata)
        assert run.progress is not None
        assert math.isnan(run.progress.current)
        assert (run.progress.total, run.progress.label) == (None, "half \\ud800")
        assert math.isnan(run.cost_total_usd)
        assert run.usage_total.total_tokens == 2**70
        assert {each.run_id for each in await remote.runs()} == {"stray", "other"}
        assert (await run.info()).pending_inputs[0].prompt == "half \\ud800"
        assert (await engine.runs(status=run.status))[0].pending_inputs[0].prompt == "half \ud800"
        await run.respond_to_input(seen.request_id, "\ud800 too")
        result = await run.result()
        assert result.result == "\ud800 too"
        assert math.isnan(result.cost_total_usd)
    assert not caplog.records


@pytest.mark.parametrize(
    "run_id",
    [
        " ",
        "\n",
        "a b",
        "../../etc/passwd",
        "%s%n",
        "'; DROP TABLE runs; --",
        "<b>",
        "\u202eevil",
        "😀" * 1_000,
        "\x7f\x01",
        "\ufeff",
    ],
)
async def test_a_run_may_have_any_name(autojump_clock, run_id):
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as remote:
        run = await remote.start("huges", ["events", 1], run_id=run_id, metadata={run_id: run_id})
        assert [each async for each in run.stream_events(0, types=[Odd])] == list(map(Odd, "aabbcc"))
        assert (await run.result()).result == 1
        assert [each.run_id for each in await remote.runs()] == [run_id]
        assert (await remote.get(run_id)).run_id == run_id
        assert (await run.snapshot()).run_id == run_id
        await remote.delete(run_id)
        assert await remote.runs() == []


async def test_an_event_of_five_megabytes_arrives_and_so_do_its_neighbours(autojump_clock):
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as remote:
        run = await remote.start("huges", ["events", 5_000_000])
        with trio.fail_after(60):
            got = [each async for each in run.stream_events(0, types=[Odd])]
        assert got == [Odd(each * size) for each in "abc" for size in (1, 5_000_000)]


async def test_it_does_so_too_where_the_window_holds_no_such_thing(autojump_clock):
    async with open_castle(huges, limits=WebsocketLimits(window_bytes=100_000)) as castle:
        client = await castle.guest()
        await client.ask("start", workflow="huges", event=start_event(["events", 1_000_000]), run_id="run")
        await client.ask("subscribe", id=5, run_id="run")
        assert await client.ended(5) is None
        came, missed = client.tally(5)
        assert came + missed == 7
        assert "b" * 1_000_000 in [each["event"]["data"].get("value") for each in client.items(5)]


async def test_a_snapshot_of_twenty_megabytes_arrives(autojump_clock):
    async with open_engine(MemoryStore(), ALL) as engine, remote_engine(engine) as remote:
        here = await engine.start("huges", ["kept", "é" * 10_000_000])
        await trio.sleep(1)
        snapshot = await (await remote.get(here.run_id)).snapshot()
        assert len(snapshot.to_json().encode()) > 20_000_000
        assert attrs.evolve(snapshot, timestamp=0.0) == attrs.evolve(await here.snapshot(), timestamp=0.0)
