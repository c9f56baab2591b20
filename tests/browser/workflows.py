"""What the console looks at in its tests: workflows that stream, ask, wait, fail, and say hostile things."""

from typing import Any

import trio

from blazen_trio import Context, Event, ProgressEvent, StartEvent, StopEvent, UsageEvent, Workflow, step

HOSTILE = (
    "<img src=x onerror=\"window.broken='img'\">",
    "</script><script>window.broken='script'</script>",
    "<svg onload=window.broken='svg'>",
    "javascript:window.broken='url'",
    "{{constructor.constructor('window.broken=1')()}} ${window.broken=1} `",
    "\u202egnp.exe\u202c \u2066hidden\u2069 \ufeff\x7f\x00\x1b[31m",
    "&lt;b&gt; &amp; &#60;",
)


class Sample(Event):
    """One of many events."""

    number: int
    note: str = "steady"


class Strange(Event, event_type="<b>Strange</b>"):
    """Whatever somebody wants others to see."""

    text: str
    fields: dict[str, Any]


class Nudge(Event, external=True):
    """May be sent from outside."""

    text: str


class Page(Event):
    url: str


class Fetched(Event):
    url: str
    characters: int


class Ranked(Event):
    urls: list[str]


class Draft(Event):
    text: str


class Reviewed(Event):
    text: str
    is_good: bool


@step
async def pour(event: StartEvent, ctx: Context) -> StopEvent:
    """Publish ``count`` events at a ``rate``; ten or so at once, as a busy step would."""
    count, rate = event.data["count"], event.data["rate"]
    begun, done = trio.current_time(), 0
    while done < count:
        due = min(count, int((trio.current_time() - begun) * rate) + 1)
        for number in range(done, due):
            ctx.write_event_to_stream(Sample(number))
        done = due
        await trio.sleep(0.01)
    return StopEvent(count)


@step
async def ask(event: StartEvent, ctx: Context) -> StopEvent:
    """Ask what the input says, and give back the answer."""
    answer = await ctx.request_input(event.data["prompt"], metadata=event.data.get("metadata", {}))
    return StopEvent({"answer": answer})


@step
async def wait(event: StartEvent, ctx: Context) -> StopEvent:
    """Work until somebody ends it, or sends the event."""
    nudge = await ctx.wait_for_event(Nudge)
    return StopEvent(nudge.text)


@step
async def work(event: StartEvent) -> StopEvent:
    """Work for so many seconds."""
    await trio.sleep(event.data)
    return StopEvent("done")


@step
async def fail(event: StartEvent) -> StopEvent:
    """Fail with the text that was given."""
    raise ValueError(event.data)


@step
async def shout(event: StartEvent, ctx: Context) -> StopEvent:
    """Everything that text could do to a page."""
    for text in HOSTILE:
        ctx.write_event_to_stream(Strange(text, {"__proto__": {"broken": text}, "constructor": text, text: [text]}))
    unfriendly = {"toString": 1, "valueOf": 2, "toJSON": 3}
    ctx.write_event_to_stream(Strange("unfriendly", unfriendly))
    ctx.write_event_to_stream(Strange("long " * 200_000, {}))
    ctx.write_event_to_stream(ProgressEvent(1, 2, HOSTILE[0]))
    answer = await ctx.request_input(
        HOSTILE[0] + HOSTILE[5],
        metadata={"choices": [HOSTILE[1], "fine"], "__proto__": HOSTILE[2], HOSTILE[3]: HOSTILE[4]},
    )
    raise ValueError(f"{HOSTILE[0]} {answer}")


@step
async def plan(event: StartEvent, ctx: Context) -> list[Page]:
    """Where to look: a fan-out."""
    topics = event.data or 12
    ctx.state["total"] = topics
    return [Page(f"https://example.org/{number}") for number in range(topics)]


@step(max_concurrency=6)
async def fetch(event: Page, ctx: Context) -> Fetched:
    """Read one page."""
    await trio.sleep(0.4 + len(event.url) % 5 / 5)
    ctx.emit_usage(UsageEvent("small-model", "here", 210, 64, 274, cost_usd=0.0009))
    return Fetched(event.url, 100 * len(event.url))


@step
async def rank(fetched: list[Fetched], ctx: Context) -> Ranked:
    """The join."""
    ctx.report_progress(1, 4, "pages ranked")
    await trio.sleep(0.2)
    return Ranked([each.url for each in fetched])


@step
async def write(event: Ranked | Reviewed, ctx: Context) -> Draft:
    """Write, and write again."""
    ctx.report_progress(2, 4, "draft written")
    ctx.write_event_to_stream(Sample(1, "the first sentence"))
    await trio.sleep(0.2)
    return Draft("A report.")


@step
async def review(event: Draft, ctx: Context) -> Reviewed | StopEvent:
    """Let a person look at it; what is not good is written again."""
    ctx.report_progress(3, 4, "waiting for a reviewer")
    answer = await ctx.request_input(
        "Publish this report?\n\nA report on twelve pages, with their sources.",
        metadata={"choices": ["publish", "write again"], "words": 1_250, "reviewer": "somebody of the desk"},
    )
    return (
        StopEvent({"report": event.text, "words": 1_250})
        if answer == "publish"
        else Reviewed(event.text, is_good=False)
    )


def workflows() -> list[Workflow]:
    """All of them, by the names that the tests use."""
    return [
        Workflow("report", [plan, fetch, rank, write, review], events=[Sample]),
        Workflow("pour", [pour], events=[Sample], stream_buffer=100_000),
        Workflow("forgetful", [pour], events=[Sample], stream_buffer=5),
        Workflow("ask", [ask]),
        Workflow("wait", [wait], events=[Nudge]),
        Workflow("work", [work]),
        Workflow("fail", [fail]),
        Workflow("<i>shout</i>", [shout], events=[Strange]),
    ]
