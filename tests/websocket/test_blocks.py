"""What is raised in a block of an engine, a server or a client leaves it as it is, a group of the user's included."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import MockClock

from blazen_trio import Engine, PeerError, open_engine
from blazen_trio.groups import open_users_nursery
from blazen_trio.stores import MemoryStore
from blazen_trio.websocket import open_websocket_server
from tests.websocket.lines import Exchange, exchange
from tests.websocket.stories import noting

Block: TypeAlias = Callable[[Engine, Exchange], AbstractAsyncContextManager[Any]]


def engine(_engine: Engine, _there: Exchange) -> AbstractAsyncContextManager[Any]:
    return open_engine(MemoryStore(), [noting])


def server(engine: Engine, _there: Exchange) -> AbstractAsyncContextManager[Any]:
    return open_websocket_server(engine, port=0)


def client(_engine: Engine, there: Exchange) -> AbstractAsyncContextManager[Any]:
    return there.client([], [noting])


blocks = pytest.mark.parametrize("block", [engine, server, client])


@asynccontextmanager
async def surroundings() -> AsyncIterator[tuple[Engine, Exchange]]:
    async with open_engine(MemoryStore(), [noting]) as engine, exchange() as there:
        await there.open(engine)
        yield engine, there


async def left(block: Block, error: BaseException) -> BaseException:
    """What leaves the block when this is raised in it."""
    async with surroundings() as around:
        try:
            async with block(*around):
                await trio.lowlevel.checkpoint()
                raise error
        except BaseException as found:
            return found
    raise AssertionError


@blocks
@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("mine", [ValueError(1), KeyError(2)]),
        ExceptionGroup("mine", [ValueError(1)]),
        BaseExceptionGroup("mine", [KeyboardInterrupt(), ExceptionGroup("inner", [ValueError(1)])]),
        ValueError(1),
        SystemExit(3),
    ],
)
async def test_the_users_own_exception_leaves_as_it_is(
    block: Block, error: BaseException, autojump_clock: MockClock
) -> None:
    error.__cause__ = cause = LookupError()
    error.__context__ = context = OSError()
    error.__suppress_context__ = False
    found = await left(block, error)
    assert found is error
    assert (found.__cause__, found.__context__, found.__suppress_context__) == (cause, context, False)


async def fail(error: Exception) -> None:
    raise error


@blocks
async def test_what_a_nursery_in_the_block_raises_can_be_told_apart(block: Block, autojump_clock: MockClock) -> None:
    caught: list[str] = []
    async with surroundings() as around:
        try:
            async with block(*around), trio.open_nursery() as nursery:
                nursery.start_soon(fail, ValueError(1))
                nursery.start_soon(fail, KeyError(2))
        except* ValueError:
            caught.append("value")
        except* KeyError:
            caught.append("key")
    assert sorted(caught) == ["key", "value"]


@blocks
async def test_who_is_cancelled_in_the_block_is_gone(block: Block, autojump_clock: MockClock) -> None:
    async with surroundings() as around:
        with trio.move_on_after(1) as scope:
            async with block(*around), trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


async def test_a_defect_of_another_task_goes_before_what_it_cancelled() -> None:
    with pytest.raises(PeerError) as caught:
        async with open_users_nursery() as nursery:
            nursery.start_soon(fail, PeerError("there"))
            async with trio.open_nursery():
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("cleaning up")
    assert caught.value.peer == "there"
