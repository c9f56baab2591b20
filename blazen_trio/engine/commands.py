"""Controls and answers that another engine left in the store for a run that this one holds."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from blazen_trio.abc import Command
from blazen_trio.codec import Codec, DecodeError, Plain, from_msgpack
from blazen_trio.core.errors import SnapshotError, StoreError, WorkflowError
from blazen_trio.engine.engine import Engine
from blazen_trio.engine.holding import HeldRun
from blazen_trio.snapshot.fields import checked, checked_list

logger: Final = logging.getLogger("blazen_trio")


async def obey_commands(engine: Engine) -> None:
    """Begin to do what was asked of this engine's runs: for each run in order; a checkpoint.

    Each run has a task for that, since a pause waits for the calls that run. Who asked is not waiting for a word: what
    cannot be done is logged. A command stays in the store until it was done, or never can be.
    """
    by_run: dict[str, list[Command]] = {}
    for command in await engine.store.commands(engine.owner):
        by_run.setdefault(command.run_id, []).append(command)
    for run_id, commands in by_run.items():
        held = engine.held.get(run_id)
        if held is not None and held.error is None and held not in engine.obeying:
            engine.obeying.add(held)
            engine.nursery.start_soon(_obey_all, engine, held, commands)


async def _obey_all(engine: Engine, held: HeldRun, commands: list[Command]) -> None:
    try:
        for command in commands:
            await _obey(engine, held, command)
            await engine.store.done([command.command_id])
    except (StoreError, SnapshotError) as error:  # the run stopped, or is elsewhere: the rest waits for whoever has it
        logger.warning("run %s: what another engine asked waits: %s", held.run_id, error)
    finally:
        engine.obeying.discard(held)


async def _obey(engine: Engine, held: HeldRun, command: Command) -> None:
    try:
        arguments = checked_list(from_msgpack(command.payload), "command")
        await _VERBS[command.kind](engine, command.run_id, held.workflow.codec, *arguments)
    except (StoreError, SnapshotError):
        raise
    except (WorkflowError, DecodeError, KeyError, TypeError, ValueError) as error:
        logger.warning("run %s: %s, asked by another engine, was not done: %s", command.run_id, command.kind, error)


async def _respond(engine: Engine, run_id: str, codec: Codec, request_id: Plain, response: Plain) -> None:
    await engine.respond_to_input(run_id, checked(request_id, str, "request_id"), codec.from_plain(response))


async def _send(engine: Engine, run_id: str, codec: Codec, event: Plain) -> None:
    await engine.send_event(run_id, codec.event_from_plain(event))


async def _pause(engine: Engine, run_id: str, _codec: Codec, interrupt: Plain) -> None:
    await engine.pause(run_id, interrupt=checked(interrupt, bool, "interrupt"))


async def _resume(engine: Engine, run_id: str, _codec: Codec) -> None:
    await engine.resume(run_id)


async def _abort(engine: Engine, run_id: str, _codec: Codec, reason: Plain) -> None:
    await engine.abort(run_id, None if reason is None else checked(reason, str, "reason"))


_VERBS: Final[Mapping[str, Callable[..., Awaitable[Any]]]] = {
    "respond_to_input": _respond,
    "send_event": _send,
    "pause": _pause,
    "resume": _resume,
    "abort": _abort,
}
