"""Snapshots as Blazen writes them, and the workflows they are of.

The recorded ones were written by Blazen 0.6.74: two by a run of its Python package, ``PENDING`` by its
``WorkflowSnapshot.to_json_pretty`` (its own runs leave out what is pending).
"""

import json
from pathlib import Path
from typing import Any

from blazen_trio import (
    Context,
    Event,
    InputRequestEvent,
    InputResponseEvent,
    RegistryKey,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowSnapshot,
    step,
)

RECORDED = Path(__file__).with_name("recorded")
QUESTION, ANSWERED, PENDING = [
    (RECORDED / f"blazen-1-{name}.json").read_text() for name in ("question", "answered", "pending")
]

KEY = "d2262842-579c-4613-a812-d5665cf441cf"
"""Of the session ref in ``QUESTION`` and ``ANSWERED``."""


class Page(Event):
    url: str


class Opened(Event):
    blob: RegistryKey


@step
async def begin(event: StartEvent) -> list[Page]:
    return [Page(url=url) for url in event.data["urls"]]


@step
async def count(event: Page, ctx: Context) -> StopEvent | None:
    urls = ctx.state["urls"] = [*ctx.state.get("urls", [], type=list[str]), event.url]
    return StopEvent(dict(ctx.state)) if len(urls) == 3 else None


@step
async def ask(event: StartEvent) -> list[Opened | InputRequestEvent]:
    return [InputRequestEvent("Go on?")]


@step
async def open_it(event: Opened) -> None:
    return None


@step
async def answered(event: InputResponseEvent, ctx: Context) -> StopEvent:
    return StopEvent((event, dict(ctx.state)))


def pages(**options: Any) -> Workflow:
    return Workflow("pages", [begin, count], **options)


def approval(**options: Any) -> Workflow:
    return Workflow("approval", [ask, open_it, answered], **options)


def blazen(**fields: Any) -> str:
    """A snapshot as Blazen writes it, with some fields changed; ``...`` takes one out."""
    plain: dict[str, Any] = {
        "version": 1,
        "workflow_name": "pages",
        "run_id": "9f35ee37-b484-4c20-836e-5b3e09f35d9e",
        "timestamp": "2026-11-20T10:24:45.249155474Z",
        "context_state": {},
        "collected_events": {},
        "pending_events": [],
        "metadata": {},
        **fields,
    }
    return json.dumps({key: value for key, value in plain.items() if value is not ...})


def pending(event_type: Any, data: Any, source_step: Any = None) -> dict[str, Any]:
    return {"event_type": event_type, "data": data, "source_step": source_step}


async def finished(workflow: Workflow, text: str, **options: Any) -> Any:
    async with workflow.resume(WorkflowSnapshot.from_json(text), **options) as run:
        return (await run.result()).result
