"""Takes the picture of the console for the documentation: ``python -m tests.browser.picture FILE [light|dark]``."""

import sys
from pathlib import Path

import trio

from blazen_trio import Context, Event, StartEvent, StepFailedEvent, StopEvent, UsageEvent, Workflow, open_engine, step
from blazen_trio.stores import MemoryStore
from tests.browser.chromium import find_chromium, open_chromium
from tests.browser.server import open_console
from tests.browser.workflows import ask, fail, work


class Source(Event):
    url: str


class Note(Event):
    url: str
    text: str


class Outline(Event):
    headings: list[str]


class Draft(Event):
    text: str


class Revision(Event):
    wishes: str


@step
async def search(event: StartEvent, ctx: Context) -> list[Source]:
    """A fan-out over what was found."""
    return [Source(f"https://example.org/glaciers/{number}") for number in range(1, 25)]


@step(max_concurrency=6)
async def read(event: Source, ctx: Context) -> Note:
    """Six at a time; one of them needs a person."""
    number = int(event.url.rpartition("/")[2])
    await trio.sleep(0.05 if number < 12 else 0.4)
    ctx.emit_usage(UsageEvent("small-model", "here", 812, 164, 976, cost_usd=0.0021))
    if number == 12:
        await ctx.request_input(
            "This source contradicts three others on the ice loss of 2024. Which figure shall the report use?",
            metadata={
                "choices": ["1.9 m (this one)", "2.4 m (the others)", "both, with a remark"],
                "source": event.url,
            },
        )
    if number > 17:
        await trio.sleep_forever()
    ctx.state["done"] = done = ctx.state.get("done", 0, type=int) + 1
    ctx.report_progress(done, 24, "sources read")
    return Note(event.url, "Summer melt exceeded the mean of 1991 to 2020.")


@step(recovers=["read"])
async def skip(event: StepFailedEvent) -> Note:
    """A source that cannot be read is left out."""
    return Note("", "")


@step
async def outline(notes: list[Note]) -> Outline:
    """The join."""
    return Outline(["Where the ice is", "How it changed", "What is measured next"])


@step
async def write(event: Outline | Revision) -> Draft:
    """Again for each revision."""
    return Draft("...")


@step
async def review(event: Draft) -> Revision | StopEvent:
    """Good, or not yet."""
    return StopEvent()


def workflows() -> list[Workflow]:
    return [
        Workflow("glacier-report", [search, read, skip, outline, write, review]),
        Workflow("invoice-check", [ask]),
        Workflow("nightly-import", [fail]),
        Workflow("thumbnails", [work]),
    ]


async def take(target: Path, scheme: str) -> None:
    """Let some runs go, and look at one of them."""
    program = find_chromium()
    assert program is not None
    async with open_engine(MemoryStore(), workflows()) as engine, open_console(engine) as server:
        for number in range(3):
            await engine.start("thumbnails", 0.01, f"thumbnails-{6_101 + number}")
        await engine.start("invoice-check", {"prompt": "Is the invoice of 12 March a duplicate?"}, "invoice-2231")
        await engine.start("nightly-import", "the file has no column 'amount'", "import-2026-11-19")
        await engine.start("thumbnails", 1_000, "thumbnails-6104")
        await engine.start("thumbnails", 1_000, "thumbnails-6105")
        await engine.abort("thumbnails-6105", "started twice")
        await engine.start("thumbnails", 1_000, "thumbnails-6106")
        await engine.pause("thumbnails-6106", interrupt=True)
        async with open_chromium(program) as tab:
            await tab.show(scheme=scheme)
            await engine.start("glacier-report", "glaciers", "glaciers-2026-47")
            await tab.go(f"{server.url}#/run/glaciers-2026-47")
            await tab.until("document.querySelector('.question')")
            await tab.until("document.querySelector('#progress-count').textContent.startsWith('16 ')")
            await tab.until("document.querySelector('#now').textContent.endsWith('6')")
            await tab.until("document.querySelectorAll('#runs li').length > 8")
            await tab.until("!document.querySelector('#tokens').textContent.startsWith('0')")
            await trio.Path(target).write_bytes(await tab.screenshot())
        for run in await engine.runs():
            await engine.abort(run.run_id)


if __name__ == "__main__":
    trio.run(take, Path(sys.argv[1]), (sys.argv[2:] or ["light"])[0])
