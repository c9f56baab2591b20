"""A headless Chromium, driven over its DevTools protocol: one page, what it says and what it shows.

``CHROMIUM`` names the program; by default ``chromium`` on the PATH. Every wait has a deadline and asks again and again:
nothing sleeps for a time that somebody guessed.
"""

import base64
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

PATIENCE_S: Final = 20.0
"""How long something may take at most; a busy machine is slow."""

LOOK_S: Final = 0.02
"""How often it is looked for."""

MESSAGE_BYTES_MAX: Final = 64 * 1024**2
"""A screenshot is one message."""

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers, and the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--force-color-profile=srgb",
    "--lang=en-GB",
    "--remote-debugging-port=0",
)

KEYS: Final = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "Tab": ("Tab", 9, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "Home": ("Home", 36, ""),
    " ": ("Space", 32, " "),
}


def find_chromium() -> str | None:
    """The program, if there is one here."""
    return shutil.which(os.environ.get("CHROMIUM", "chromium"))


def is_expected() -> bool:
    """Whether there must be one: in CI, as a user who could have installed it, as ``.ci/run`` does."""
    return bool(os.environ.get("CI")) and shutil.which("apt-get") is not None and os.geteuid() == 0


_STILL: Final = """async element => {
    element.scrollIntoView({ block: 'nearest' });
    for (let last = null; ;) {
        const { x, y, width, height } = element.getBoundingClientRect();
        const middle = [x + width / 2, y + height / 2];
        if (String(middle) === last) return middle;
        last = String(middle);
        await new Promise(requestAnimationFrame);
    }
}"""
"""Where the middle of an element is, once it moves no more: what appears above pushes it down."""


async def comes_true(look: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_S) -> bool:
    """Look again and again; whether it came true in time."""
    with trio.move_on_after(seconds):
        while not await look():  # noqa: ASYNC110 - what happens in another process sets no event of ours
            await trio.sleep(LOOK_S)
        return True
    return False


class PageError(Exception):
    """A script that a test ran in the page failed."""


@attrs.define(eq=False)
class Tab:
    """One page of the browser."""

    socket: WebSocketConnection
    problems: list[str] = attrs.field(factory=list)
    """What went wrong in the page: exceptions, errors on its console, what its security policy refused."""

    sent: list[Any] = attrs.field(factory=list)
    """What the page said over its websockets."""

    _last_id: int = 0
    _answers: dict[int, trio.MemorySendChannel[Any]] = attrs.field(factory=dict)

    async def listen(self) -> None:
        """Take what the browser says; one task."""
        while True:
            try:
                message = json.loads(await self.socket.get_message())
            except ConnectionClosed:
                return
            if "id" in message:
                self._answers.pop(message["id"]).send_nowait(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, params: Any) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", details).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.problems.append(f"console: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.problems.append(params["entry"]["text"])
        elif method == "Network.webSocketFrameSent" and params["response"]["opcode"] == 1:
            self.sent.append(json.loads(params["response"]["payloadData"]))

    async def command(self, method: str, **params: Any) -> Any:
        """Ask the browser; gives its answer."""
        self._last_id += 1
        send, receive = trio.open_memory_channel[Any](1)
        self._answers[self._last_id] = send
        await self.socket.send_message(json.dumps({"id": self._last_id, "method": method, "params": params}))
        with trio.fail_after(PATIENCE_S):
            answer = await receive.receive()
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = await self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"].get("exception", {}).get("description", expression))
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = PATIENCE_S) -> None:
        """Wait until an expression is true in the page."""

        async def is_so() -> bool:
            return bool(await self.js(f"Boolean({expression})"))

        if await comes_true(is_so, seconds):
            return
        seen = await self.js("document.body.innerText.slice(0, 1500)")
        raise AssertionError(f"not within {seconds} s: {expression}\nproblems: {self.problems}\nthe page:\n{seen}")

    async def text(self, selector: str) -> str:
        """The text of an element."""
        return str(await self.js(f"document.querySelector({json.dumps(selector)}).textContent"))

    async def go(self, url: str) -> None:
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, once it can be pressed there."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{found} && !{found}.disabled && {found}.checkVisibility()")
        x, y = await self.js(f"({_STILL})({found})")
        for kind in ("mousePressed", "mouseReleased"):
            await self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1, buttons=1)

    async def press(self, *keys: str) -> None:
        """Press keys, by the names that scripts know; a single character is typed."""
        for key in keys:
            code, number, text = KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0]), key))
            shared = {"key": key, "code": code, "windowsVirtualKeyCode": number}
            await self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
            await self.command("Input.dispatchKeyEvent", type="keyUp", **shared)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.command("Input.insertText", text=text)

    async def show(self, *, scheme: str = "light", width: int = 1400, height: int = 900) -> None:
        """Be a screen of this size, in light or dark."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await self.command("Emulation.setEmulatedMedia", features=features)
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    async def screenshot(self) -> bytes:
        """What it shows now, as PNG."""
        return base64.b64decode((await self.command("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def open_chromium(program: str) -> AsyncIterator[Tab]:
    """A browser with a profile of its own, and its one tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with trio.open_nursery() as nursery:
            command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
            await nursery.start(
                partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False)
            )
            async with open_websocket_url(await _address(Path(profile)), max_message_size=MESSAGE_BYTES_MAX) as socket:
                tab = Tab(socket)
                nursery.start_soon(tab.listen)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await tab.command(f"{domain}.enable")
                yield tab
            nursery.cancel_scope.cancel()


async def _address(profile: Path) -> str:
    """Where the tab is spoken to: the browser writes its port and path into its profile, and lists its tabs there."""
    port_file = profile / "DevToolsActivePort"

    async def is_written() -> bool:
        return port_file.exists() and "\n" in port_file.read_text()

    async def is_listed() -> bool:
        pages[:] = [each for each in await _tabs(int(port_file.read_text().split("\n")[0])) if each["type"] == "page"]
        return bool(pages)

    pages: list[dict[str, str]] = []
    assert await comes_true(is_written), "Chromium does not start"
    assert await comes_true(is_listed), "Chromium has no page"
    return pages[0]["webSocketDebuggerUrl"]


async def _tabs(port: int) -> list[dict[str, str]]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(b"GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
        answer = b""
        while b"\r\n\r\n" not in answer or not _is_whole(answer):
            answer += await stream.receive_some()
    return list(json.loads(answer.partition(b"\r\n\r\n")[2]))


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    return len(body) >= length
