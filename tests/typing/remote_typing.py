"""Checked by mypy and pyright, never run: a user's program on both sides of a websocket, and with peers."""

import ssl
from typing import Any, assert_type

import trio

from blazen_trio import (
    Engine,
    Event,
    InputRequestEvent,
    MemoryStore,
    Peer,
    RunInfo,
    RunStatus,
    SessionRefData,
    StartEvent,
    Step,
    StepRegistry,
    StopEvent,
    StreamItem,
    Workflow,
    WorkflowDescription,
    WorkflowResult,
    WorkflowSnapshot,
    open_engine,
    step,
)
from blazen_trio.testing import LocalPeer
from blazen_trio.websocket import (
    Access,
    RemoteEngine,
    RemoteRun,
    RemoteSubscription,
    WebsocketLimits,
    WebsocketServer,
    open_websocket_client,
    open_websocket_server,
)


class Approval(Event, external=True):
    name: str


@step
async def approve(event: StartEvent | Approval) -> StopEvent:
    return StopEvent(event)


workflow = Workflow("approve", [approve])
registry = StepRegistry()
assert_type(registry.register(approve), Step)


# --- The server -------------------------------------------------------------------------------------------------------


async def may(access: Access) -> bool:
    assert_type(access.verb, str)
    assert_type(access.run_id, str | None)
    assert_type(access.workflow, str | None)
    assert_type(access.token, str | None)
    return access.verb == "get" and access.headers["user-agent"] != "" and access.remote != ""


def may_now(access: Access) -> bool:
    return access.token == "secret"


async def serve(ssl_context: ssl.SSLContext) -> None:
    async with open_engine(MemoryStore(), [workflow]) as engine:
        assert_type(engine, Engine)
        async with open_websocket_server(
            engine,
            "runs.example",
            443,
            token="secret",
            authorize=may,
            origins=["https://example.org"],
            hosts=("runs.example",),
            ssl_context=ssl_context,
            limits=WebsocketLimits(message_bytes=1 << 20, ping=10),
            registry=registry,
        ) as server:
            assert_type(server, WebsocketServer)
            assert_type(server.port, int)
            assert_type(server.statistics(), dict[str, Any])
        async with open_websocket_server(engine, authorize=may_now, port=0):
            pass


# --- The client -------------------------------------------------------------------------------------------------------


async def call() -> None:
    async with open_websocket_client("wss://runs.example/", token="secret", workflows=[workflow], window=10) as engine:
        assert_type(engine, RemoteEngine)
        run = await engine.start("approve", {"a": 1}, metadata={"user": 7})
        assert_type(run, RemoteRun)
        assert_type(run.status, RunStatus)
        assert_type(run.pending_inputs, tuple[InputRequestEvent, ...])
        assert_type(await run.result(), WorkflowResult)
        assert_type(await run.snapshot(), WorkflowSnapshot)
        assert_type(await engine.get("a"), RemoteRun)
        assert_type(await engine.runs(status="running", limit=3), list[RunInfo])
        assert_type(await engine.workflows(), list[WorkflowDescription])
        await engine.send_event("a", Approval("Ada"))
        await run.respond_to_input(run.pending_inputs[0].request_id, "yes")
        async with run.stream_events(after=3, types=[Approval]) as events:
            assert_type(events, RemoteSubscription)
            async for event in events:
                assert_type(event, Event)
            async for item in events.envelopes():
                assert_type(item, StreamItem)


async def a_subscription_is_a_channel_of_trios(run: RemoteRun) -> None:
    receiver: trio.abc.ReceiveChannel[Event] = run.stream_events()
    await receiver.receive()


# --- Peers ------------------------------------------------------------------------------------------------------------


async def with_a_peer(remote: RemoteEngine, local: LocalPeer) -> None:
    peer: Peer = remote
    other: Peer = local
    assert_type(await workflow.run_remote("input", peer), WorkflowResult)
    assert_type(workflow.as_step(accepts=Approval, emits=StopEvent, peer=other), Step)
    result = await workflow.run_remote("input", other)
    assert_type(await peer.deref_session_ref(result.session_refs.keys()[0]), SessionRefData)
    assert_type(await remote.release_session_ref(result.session_refs.keys()[0]), bool)
    assert_type(Workflow.from_registered_steps("approve", ["approve"], registry), Workflow)


async def mistakes_are_found(engine: Engine, run: RemoteRun, remote: RemoteEngine) -> None:
    open_websocket_server(engine, limits=WebsocketLimits(5))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_websocket_server(engine, token=b"secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket_client("ws://a/", workflows=[approve])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await run.send_event("go")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await remote.start(workflow)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run.stream_events(types=[str])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
