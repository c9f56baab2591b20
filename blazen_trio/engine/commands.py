"""Controls and answers that another engine left in the store for a run that this one holds."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from blazen_trio.abc import Command
from blazen_trio.codec import Codec, DecodeError, Plain, from_msgpack
from blazen_trio.core.errors import WorkflowError
from blazen_trio.engine.engine import Engine
from blazen_trio.snapshot.fields import checked, checked_list

logger: Final = logging.getLogger("blazen_trio")


async def obey_commands(engine: Engine) -> None:
    """Do what was asked of this engine's runs, in order; a checkpoint.

    Who asked is not waiting for a word: what cannot be done is logged.
    """
    commands = await engine.store.commands(engine.owner)
    for command in commands:
        try:
            await _obey(engine, command)
        except (WorkflowError, DecodeError, KeyError, ValueError) as error:
            logger.warning("run %s: %s, asked by another engine, was not done: %s", command.run_id, command.kind, error)
    if commands:
        await engine.store.done([command.command_id for command in commands])


async def _obey(engine: Engine, command: Command) -> None:
    held = engine.held.get(command.run_id)
    if held is not None:
        arguments = checked_list(from_msgpack(command.payload), "command")
        await _VERBS[command.kind](engine, command.run_id, held.workflow.codec, *arguments)


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
