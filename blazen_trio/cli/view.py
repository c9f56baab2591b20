"""What is shown of a run while it goes on: a live picture on a terminal, a few plain lines in a log. All on stderr."""

import contextlib
import logging
from collections.abc import Generator
from typing import Final, Protocol

import attrs
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from blazen_trio import Event, LifecycleEvent, ProgressEvent, StreamGap
from blazen_trio.cli.output import printable

FRAMES_PER_SECOND: Final = 10

PLAIN_LINES: Final = 5
"""So many lines of progress stand in a log, however many items there are."""

STEPS_SHOWN_MAX: Final = 20
"""More lines would scroll on a small terminal, and a live picture cannot."""


TROUBLE: Final = {"step_failed": "step failed", "step_retrying": "step failed, tries again"}


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

    console: Console
    progress: ProgressEvent | None

    def show(self, event: Event) -> None:
        """Take an event in."""
        ...

    def say(self, text: str) -> None:
        """Print a line that stays."""
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
        elif isinstance(event, LifecycleEvent) and event.kind in TROUBLE:
            self.say(_describe_trouble(event))
        elif isinstance(event, StreamGap):
            self.say(f"({event.missed} events came too fast to be shown)")

    def _tell_progress(self, event: ProgressEvent) -> None:
        reached = int((event.percent or 0) * PLAIN_LINES / 100)
        if reached > self._lines:
            self._lines = reached
            self.say(describe_progress(event))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print_line(self.console, text)

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Leave the terminal to a question."""
        return contextlib.nullcontext()

    def running(self) -> contextlib.AbstractContextManager[None]:
        """The time in which events come."""
        return contextlib.nullcontext()


@attrs.define
class LiveView:
    """A picture that is drawn anew ten times a second, by a thread of rich: the steps, and a bar."""

    console: Console
    title: str
    progress: ProgressEvent | None = None
    _tallies: dict[str, Tally] = attrs.field(factory=dict[str, Tally])
    _live: Live = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._live = Live(
            get_renderable=self._picture, console=self.console, refresh_per_second=FRAMES_PER_SECOND, transient=True
        )

    def show(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, ProgressEvent):
            self.progress = event
        elif isinstance(event, LifecycleEvent) and event.step_name is not None:
            self._tallies.setdefault(event.step_name, Tally()).count(event.kind)
            if event.kind in TROUBLE:
                self.say(_describe_trouble(event))

    def say(self, text: str) -> None:
        """Print a line that stays, above the picture."""
        print_line(self.console, text)

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """Leave the terminal to a question."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """The time in which events come."""
        with self._live:
            yield

    def _picture(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, tally in list(self._tallies.items())[:STEPS_SHOWN_MAX]:
            failed = f"{tally.failed} failed" if tally.failed else ""
            table.add_row(
                Text(printable(name), style="bold" if tally.running else "dim"),
                Text(f"{tally.running} running" if tally.running else ""),
                Text(f"{tally.done} done", style="green"),
                Text(failed, style="red"),
            )
        parts: list[RenderableType] = [Text(self.title, style="bold cyan"), table]
        if self.progress is not None:
            bar = ProgressBar(total=self.progress.total, completed=self.progress.current, width=40)
            parts.append(Columns([bar, Text(describe_progress(self.progress))]))
        return Group(*parts)


class _LogHandler(logging.Handler):
    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        """Say the line; it may come from any thread."""
        self._view.say(f"({printable(record.getMessage())})")


@contextlib.contextmanager
def logging_to(view: View) -> Generator[None]:
    """Show what the library logs meanwhile, among the lines that stay."""
    logger, handler = logging.getLogger("blazen_trio"), _LogHandler(view)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def print_line(console: Console, text: str, *, end: str = "\n") -> None:
    """Print a text as it is: no markup, no colours of its own, no line breaks that a log would keep."""
    console.print(Text(text), end=end, soft_wrap=True)


def describe_progress(event: ProgressEvent) -> str:
    """The words of an event: "12 of 40 pages"."""
    total = "" if event.total is None else f" of {event.total:g}"
    return f"{event.current:g}{total} {printable(event.label or event.step_name or '')}".rstrip()


def _describe_trouble(event: LifecycleEvent) -> str:
    return f"{TROUBLE[event.kind]}: {printable(event.step_name)}: {printable(event.error or '')}"
