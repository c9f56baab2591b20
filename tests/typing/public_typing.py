"""Checked by mypy and pyright, never run: a user's program, with everything typed as its author expects."""

import math
from collections.abc import AsyncIterator
from typing import Any, assert_type

import attrs
import trio

from blazen_trio import (
    Context,
    Event,
    EventChannel,
    EventSubscription,
    HistoryEvent,
    InputRequestEvent,
    ProgressEvent,
    RefLifetime,
    RegistryKey,
    RemoteRefDescriptor,
    RetryConfig,
    RunSendChannel,
    RunStatus,
    SessionPausePolicy,
    SessionRefRegistry,
    SessionRefSerializable,
    StartEvent,
    State,
    Step,
    StepFailedError,
    StepFailedEvent,
    StopEvent,
    StreamItem,
    TokenUsage,
    UsageEvent,
    Workflow,
    WorkflowDescription,
    WorkflowError,
    WorkflowResult,
    WorkflowRun,
    WorkflowSnapshot,
    step,
)


class City(Event):
    name: str


class Forecast(Event):
    city: str
    degrees: float


class Nudge(Event, external=True):
    """Comes from outside."""


class Plan(StopEvent):
    best: str


@attrs.define
class Trip:
    budget: int = 0
    seen: list[str] = attrs.field(factory=list[str])


# --- Steps in all their forms -----------------------------------------------------------------------------------------


@step
async def fan_out(event: StartEvent) -> list[City]:
    return [City("Rome"), City(name=str(event.data))]


@step(max_concurrency=4, timeout=10, retry=RetryConfig(max_retries=2), limiter=trio.CapacityLimiter(8))
async def ask(ctx: Context[Trip], event: City) -> Forecast | StopEvent | None:
    assert_type(ctx.state, Trip)
    assert_type(ctx.state.budget, int)
    ctx.state.budget += 1
    if ctx.state.seen:
        return None
    return Forecast(event.name, 20.5) if ctx.attempt == 1 else StopEvent("gave up")


@step(name="stream", max_concurrency=math.inf)
async def pages(event: City) -> AsyncIterator[Forecast]:
    yield Forecast(event.name, 1)


@step
def in_a_thread(event: Nudge, ctx: Context) -> None:
    assert_type(ctx.state, State)
    ctx.send_event(City("Oslo"))


@step
async def gather(forecasts: list[Forecast]) -> Plan:
    return Plan(max(forecasts, key=lambda each: each.degrees).city)


@step(recovers=["ask"], max_recoveries=2, sends=[Nudge])
async def give_up(failed: StepFailedEvent) -> Plan:
    return Plan(failed.message)


class Guide:
    """Steps may be methods."""

    @step
    async def lead(self, event: City) -> Forecast:
        return Forecast(event.name, 0)


async def plain(event: City) -> Forecast:
    return Forecast(event.name, 0)


def steps_are_values() -> None:
    assert_type(fan_out, Step)
    assert_type(ask, Step)
    assert_type(Guide().lead, Step)
    assert_type(Guide.lead, Step)
    assert_type(step(plain), Step)
    assert_type(step(name="other")(plain), Step)
    assert_type(ask.with_options(timeout=None, name="ask again"), Step)
    assert_type(ask.accepts, tuple[type[Event], ...])


# --- The context ------------------------------------------------------------------------------------------------------


async def length_of(text: str) -> int:
    return len(text)


async def what_a_step_can_do(ctx: Context, event: City) -> None:
    assert_type(ctx.run_id, str)
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.metadata, dict[str, Any])
    assert_type(await ctx.wait_for_event(Nudge), Nudge)
    assert_type(await ctx.wait_for_event(City, lambda city: city.name == event.name), City)
    assert_type(ctx.collect_events(City, 3), list[City] | None)
    assert_type(await ctx.once("size", length_of, event.name), int)
    assert_type(await ctx.once("sync", len, event.name), int)
    assert_type(await ctx.request_input("Where to?", {"choices": ["Rome"]}), Any)
    async with ctx.receive_events(Nudge) as nudges:
        assert_type(nudges, EventChannel[Nudge])
        async for nudge in nudges:
            assert_type(nudge, Nudge)
    ctx.write_event_to_stream(event)
    ctx.report_progress(1, 2, label="half")
    ctx.emit_usage(UsageEvent(prompt_tokens=3))


def the_state_is_a_mapping(state: State) -> None:
    assert_type(state["a"], object)
    assert_type(state.get("a"), Any)
    assert_type(state.get("a", type=int), int | None)
    assert_type(state.get("a", 0, type=int), int)
    assert_type(state.get("a", "none", type=int), int | str)
    assert_type(list(state), list[str])
    state["a"] = {"b": [1, 2]}
    state.setdefault("c", 3)
    state.update(d=4)
    del state["a"]


# --- The workflow and its runs ----------------------------------------------------------------------------------------


async def answer(question: InputRequestEvent) -> str:
    return question.prompt


workflow = Workflow(
    "trip",
    [fan_out, ask, pages, in_a_thread, gather, give_up, Guide().lead, step(plain)],
    timeout=60,
    retry=RetryConfig(max_retries=1),
    input_handler=answer,
    publish_lifecycle=False,
    state_type=Trip,
    collect_history=True,
    events=[Nudge],
    max_pending_events=10_000,
    stream_buffer=100,
    max_session_refs=10,
)


async def to_the_end() -> None:
    result = await workflow.run({"from": "Oslo"}, metadata={"user": 7})
    assert_type(result, WorkflowResult)
    assert_type(result.run_id, str)
    assert_type(result.event, Event)
    assert_type(result.result, Any)
    assert_type(result.usage_total, TokenUsage)
    assert_type(result.cost_total_usd, float)
    assert_type(result.session_refs, SessionRefRegistry)
    key = result.session_refs.insert("anything", lifetime=RefLifetime.UNTIL_EXPLICIT_DROP)
    assert_type(key, RegistryKey)
    assert_type(result.session_refs.get(key), Any)
    assert_type(result.session_refs.get(key, str), str | None)
    assert_type(result.session_refs.get_serializable(key), SessionRefSerializable | None)
    assert_type(result.session_refs.get_remote(key), RemoteRefDescriptor | None)
    assert_type(result.session_refs.keys(), tuple[RegistryKey, ...])
    assert_type(result.session_refs.drain(), int)
    assert_type(workflow.describe(), WorkflowDescription)
    assert_type(workflow.to_mermaid(), str)


async def with_a_handle() -> str:
    async with workflow.start(City("Rome"), metadata={}) as run:
        assert_type(run, WorkflowRun)
        assert_type(run.status, RunStatus)
        assert_type(run.pending_inputs, tuple[InputRequestEvent, ...])
        assert_type(run.history, tuple[HistoryEvent, ...])
        assert_type(run.progress, ProgressEvent | None)
        await run.pause(interrupt=True)
        await run.resume_in_place()
        await run.send_event(Nudge())
        for question in run.pending_inputs:
            await run.respond_to_input(question.request_id, "yes")
        async with run.open_send_channel() as channel:
            assert_type(channel, RunSendChannel)
            await channel.send(Nudge())
        try:
            return str((await run.result()).result)
        except StepFailedError as error:
            assert_type(error.step_name, str)
        except WorkflowError:
            await run.abort("no use")
    return ""


async def saved_and_resumed(run: WorkflowRun) -> None:
    careful = Workflow("typed", [step(plain)], session_pause_policy=SessionPausePolicy.HARD_ERROR, allow_pickle=False)
    snapshot = await run.snapshot()
    assert_type(snapshot, WorkflowSnapshot)
    assert_type(WorkflowSnapshot.from_json(snapshot.sign(b"key").to_json(), verify_key=b"key"), WorkflowSnapshot)
    async with careful.resume(snapshot, deserializers={"model": bytes.decode}) as resumed:
        assert_type(resumed, WorkflowRun)


async def watching(run: WorkflowRun) -> None:
    async with run.stream_events() as events:
        assert_type(events, EventSubscription)
        async for event in events:
            assert_type(event, Event)
    async with run.stream_events(after=3, types=[City, Forecast], lossless=True) as events:
        assert_type(await events.receive(), Event)
        async for item in events.envelopes():
            assert_type(item, StreamItem)
            assert_type(item.event, Event)
    async with run.stream_events(types=City) as events:
        assert_type(events.receive_nowait(), Event)


async def channels_are_trios(run: WorkflowRun) -> None:
    """What takes Trio's channels takes these."""
    sender: trio.abc.SendChannel[Event] = run.open_send_channel()
    receiver: trio.abc.ReceiveChannel[Event] = run.stream_events()
    await sender.send(await receiver.receive())


async def mistakes_are_found(run: WorkflowRun, ctx: Context[Trip]) -> None:
    Workflow("trip", [fan_out], time_out=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Workflow("trip", [plain])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    ask.with_options(limit=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    step(retries=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await run.send_event("go")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.stream_events(types=[str])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    ctx.state.budget = "low"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    ctx.send_event(City)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.wait_for_event(int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
