"""The audit as a workflow. Read from top to bottom: that is the way an event goes.

::

    StartEvent -> find =[Package]=> read -> Contents -> classify -> Examined
                                     |                                |
                                     +-- failed -> give_up -----------+
                                                                      v
    AuditReport <- report <= Settled <- ask <- Undecided <=[...]= sort_out

Two fan-outs, each with its join: over the packages, and over the licences that nobody could classify. With nothing
installed both are empty, and both joins run all the same.
"""

from typing import Any, Final, cast

import attrs

from blazen_trio import Context, Event, StartEvent, StepFailedEvent, StopEvent, Workflow, step
from blazen_trio.demo.licences import classify as classify_licence
from blazen_trio.demo.licences import licence_named
from blazen_trio.demo.packages import Contents, Found, find_packages, read_package
from blazen_trio.demo.report import Entry, Status

UNDECIDED: Final = "unknown"
"""The answer of somebody who does not know."""


class Package(Event):
    """Here is a distribution."""

    found: Found


class Read(Event):
    """This is what it contains."""

    found: Found
    contents: Contents


class Examined(Event):
    """Its line in the report; ``stated`` is what it says about its licence if that says nothing to us."""

    entry: Entry
    stated: str = ""


class Undecided(Event):
    """Distributions under one licence that a person has to look at."""

    licence: str
    entries: tuple[Entry, ...]


class Settled(Event):
    """Lines of the report that are final."""

    entries: tuple[Entry, ...]


class AuditReport(StopEvent):
    """The end: every distribution, by name."""

    entries: tuple[Entry, ...]


@step
def find(event: StartEvent, ctx: Context) -> list[Package]:
    """A returned list is a fan-out: each package goes its own way from here. A plain ``def`` runs in a thread."""
    options: dict[str, Any] = event.data or {}
    found = find_packages(options.get("paths"))
    ctx.state["total"] = len(found)
    return [Package(each) for each in found]


@step(max_concurrency=8, timeout=60)
def read(event: Package) -> Read:
    """Reading blocks, so this is a plain ``def`` too; eight at a time keep a disk busy."""
    return Read(event.found, read_package(event.found))


@step
async def classify(event: Read, ctx: Context) -> Examined:
    """An ``async`` step without an ``await`` is not interrupted by others: it may count."""
    examined = ctx.state.get("examined", 0, type=int) + 1
    ctx.state["examined"] = examined
    ctx.report_progress(examined, ctx.state.get("total", type=int), "packages examined")
    found, contents = event.found, event.contents
    entry = Entry(
        name=found.name,
        version=contents.version,
        path=found.path,
        status=Status.UNDECIDED,
        files=contents.files,
        size_bytes=contents.size_bytes,
        problems=contents.problems,
    )
    licence = classify_licence(contents.statement)
    if licence is not None:
        entry = attrs.evolve(entry, licence=licence.name, family=licence.family, source=licence.source)
    if contents.is_broken:
        return Examined(attrs.evolve(entry, status=Status.BROKEN))
    if licence is not None:
        return Examined(attrs.evolve(entry, status=Status.CLASSIFIED))
    return Examined(entry, stated=contents.statement.summary)


@step(recovers=["read"])
async def give_up(event: StepFailedEvent) -> Examined:
    """One unreadable package must not cost the report of all others: this takes the place of the failed call."""
    found = cast("Package", event.event).found
    problem = f"could not be read: {event.error_type}: {event.message}"
    return Examined(Entry(found.name, "", found.path, Status.BROKEN, problems=(problem,)))


@step
async def sort_out(examined: list[Examined]) -> list[Settled | Undecided]:
    """A join: runs once, when every package is examined. Who states the same licence is asked about once."""
    clear = tuple(each.entry for each in examined if each.entry.status is not Status.UNDECIDED)
    unclear: dict[str, list[Entry]] = {}
    for each in examined:
        if each.entry.status is Status.UNDECIDED:
            unclear.setdefault(each.stated or f"none stated by {each.entry.name}", []).append(each.entry)
    questions = [Undecided(licence, tuple(entries)) for licence, entries in unclear.items()]
    return [Settled(clear), *questions]


@step
async def ask(event: Undecided, ctx: Context) -> Settled:
    """A person decides. The run waits, however long it takes, and a repeated call does not ask again."""
    names = ", ".join(entry.name for entry in event.entries)
    answer = await ctx.request_input(
        f"Which licence is {event.licence!r}? It is that of {names}",
        metadata={"default": UNDECIDED, "hint": "an SPDX expression, or a family such as permissive"},
    )
    if answer == UNDECIDED:
        return Settled(tuple(attrs.evolve(entry, source="nobody could say") for entry in event.entries))
    licence = licence_named(str(answer), source="a person")
    return Settled(
        tuple(
            attrs.evolve(
                entry, status=Status.ANSWERED, licence=licence.name, family=licence.family, source=licence.source
            )
            for entry in event.entries
        )
    )


@step
async def report(settled: list[Settled]) -> AuditReport:
    """The second join, and the end of the run."""
    entries = [entry for each in settled for entry in each.entries]
    return AuditReport(tuple(sorted(entries, key=lambda entry: (entry.name.lower(), str(entry.path)))))


audit: Final = Workflow("licence-audit", [find, read, classify, give_up, sort_out, ask, report], timeout=600)
