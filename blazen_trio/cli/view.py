"""What is shown of a run while it goes on: a live picture on a terminal, a few plain lines in a log. All on stderr."""

import contextlib
from collections.abc import Iterator
from typing import Final, Protocol

import attrs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from blazen_trio import Event, LifecycleEvent, ProgressEvent, StreamGap
from blazen_trio.cli.output import printable

FRAMES_PER_SECOND: Final = 10

PLAIN_LINES: Final = 5
"""So many lines of progress stand in a log, however many items there are."""

STEPS_SHOWN_MAX: Final = 20
"""More lines would scroll on a small terminal, and a live picture cannot."""


@attrs.define
class Tally:
    """Calls of one step by how they went."""

    running: int = 0
    done: int = 0
    failed: int = 0

    def count(self, kind: str) -> None:
        """Take note of one lifecycle event."""
        if kind == "step_started":
            self.running += 1
        elif kind in ("step_completed", "step_failed", "step_retrying"):
            self.running = max(self.running - 1, 0)
            self.done += kind == "step_completed"
            self.failed += kind == "step_failed"


class View(Protocol):
    """Shows the events of a run; ``progress`` is the last one seen."""

    progress: ProgressEvent | None

    def show(self, event: Event) -> None:
        """Take an event in."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
        ...

    def ask(self, prompt: str) -> None:
        """Print the beginning of a line that a person will end."""
        ...

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Leave the terminal to a question."""
        ...

    def running(self) -> contextlib.AbstractContextManager[None]:
        """The time in which events come."""
        ...


def view_for(console: Console, title: str) -> View:
    """The view that fits the console."""
    return LiveView(console, title) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)


@attrs.define
class PlainView:
    """Lines for a log: progress now and then, failures, gaps."""

    console: Console
    progress: ProgressEvent | None = None
    _lines: int = 0

    def show(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, ProgressEvent):
            self.progress = event
            self._tell_progress(event)
        elif isinstance(event, LifecycleEvent) and event.kind in ("step_failed", "step_retrying"):
            self.say(f"{event.kind.replace('_', ' ')}: {event.step_name}: {printable(event.error or '')}")
        elif isinstance(event, StreamGap):
            self.say(f"({event.missed} events were not seen)")

    def _tell_progress(self, event: ProgressEvent) -> None:
        reached = int((event.percent or 0) * PLAIN_LINES / 100)
        if reached > self._lines:
            self._lines = reached
            self.say(describe_progress(event))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print_plain(self.console, text)

    def ask(self, prompt: str) -> None:
        """Print the beginning of a line that a person will end."""
        self.console.print(Text(prompt), end="", soft_wrap=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The time in which events come."""
        yield


@attrs.define
class LiveView(PlainView):
    """A picture that is drawn anew ten times a second: the steps, and a bar."""

    title: str = ""
    _tallies: dict[str, Tally] = attrs.field(factory=dict[str, Tally])
    _live: Live | None = None

    def __init__(self, console: Console, title: str) -> None:
        self.__attrs_init__(console, title=title)

    def show(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, ProgressEvent):
            self.progress = event
        elif isinstance(event, LifecycleEvent) and event.step_name is not None:
            self._tallies.setdefault(event.step_name, Tally()).count(event.kind)
