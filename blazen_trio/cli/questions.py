"""Who answers the questions of a run.

The commands understand two things in a question's ``metadata``: ``default``, the answer to an empty line, and ``hint``,
what an answer looks like.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from blazen_trio import InputRequestEvent
from blazen_trio.cli.output import printable
from blazen_trio.cli.view import View, print_line

NO_ANSWER: Final = object()
"""What an answerer gives that cannot answer; the question stays open."""

LINE_BYTES_MAX: Final = 4096
"""A terminal gives no longer lines."""

Answerer: TypeAlias = Callable[[InputRequestEvent, View], Awaitable[object]]


def has_person() -> bool:
    """Whether somebody sits at standard input."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # it was closed
        return False


async def ask_person(question: InputRequestEvent, view: View) -> object:
    """Show the question, wait for a line; the default for an empty one, ``NO_ANSWER`` at the end of input."""
    with view.paused():
        view.say(f"? {printable(question.prompt)}")
        print_line(view.console, _prompt_of(question), end="")
        line = await _read_line()
    if line.strip():
        return line.strip()
    return question.metadata.get("default", "" if line else NO_ANSWER)


def take_defaults(reason: str) -> Answerer:
    """An answerer that gives the default and says so; ``reason`` is why nobody was asked."""

    async def take_default(question: InputRequestEvent, view: View) -> object:
        await trio.lowlevel.checkpoint()
        if "default" not in question.metadata:
            return NO_ANSWER
        answer = question.metadata["default"]
        view.say(f"? {printable(question.prompt)} - {reason}, took the default: {printable(answer)}")
        return answer

    return take_default


async def nobody(_question: InputRequestEvent, _view: View) -> object:
    """There is nobody to ask."""
    await trio.lowlevel.checkpoint()
    return NO_ANSWER


def _prompt_of(question: InputRequestEvent) -> str:
    hint = question.metadata.get("hint")
    default = question.metadata.get("default")
    parts = [printable(hint)] if hint else []
    parts += [f"Enter: {printable(default)}"] if default is not None else []
    return f"  ({'; '.join(parts)}) > " if parts else "  > "


async def _read_line() -> str:
    """A line typed at the terminal; empty at the end of input.

    ``os.read`` in a thread that is left behind on a cancel: ``input()`` there would hold a lock that Python
    needs to exit.
    """
    data = await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), LINE_BYTES_MAX, abandon_on_cancel=True)
    return data.decode("utf-8", "replace")
