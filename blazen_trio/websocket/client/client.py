"""``Client``: what a ``RemoteEngine`` and its runs have in common: the line, what is known here, what was heard."""

from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from blazen_trio.core.errors import PeerError, ProtocolError, RunNotFoundError
from blazen_trio.websocket.client.answers import Seen, history_in, look_in, questions_in, run_in
from blazen_trio.websocket.client.knowledge import Knowledge
from blazen_trio.websocket.client.link import Link
from blazen_trio.websocket.protocol import Request
from blazen_trio.websocket.protocol.messages import Get, History
from blazen_trio.websocket.protocol.views import RunView


class Client:
    """One client of a server.

    Attributes:
        url: of the server.
        link: the connections.
        knowledge: the workflows that are known here.
        window: events of one subscription that wait here at most.
    """

    def __init__(self, url: str, link: Link, knowledge: Knowledge, window: int) -> None:
        self.url: str = url
        self.link: Link = link
        self.knowledge: Knowledge = knowledge
        self.window: int = window
        self._seen: WeakValueDictionary[str, Seen] = WeakValueDictionary()

    async def ask(self, kind: type[Request], **fields: Any) -> Any:
        """The answer to a request of this kind; a checkpoint. Raises as ``Link.answer``."""
        return await self.link.ask(kind(id=self.link.new_id(), **fields))

    def plain(self, value: object, where: str, workflow_name: str | None) -> Any:
        """A value for a run of this workflow, as data; raises ``EncodeError``."""
        return self.knowledge.codec(workflow_name or "").to_plain(value, where)

    def name_of(self, run_id: str, workflow_name: str | None = None) -> str | None:
        """The name of the workflow that this is a run of, as far as it is known."""
        seen = self._seen.get(run_id)
        return workflow_name if seen is None else seen.view.workflow

    # --- What was heard -----------------------------------------------------------------------------------------------

    def note(self, value: object) -> Seen:
        """An answer says how a run is; raises ``ProtocolError`` if it does not."""
        return self.note_view(run_in(value))

    def note_look(self, value: object) -> None:
        """An answer may say how a run is."""
        view = look_in(value)
        if view is not None:
            self.note_view(view)

    def note_view(self, view: RunView) -> Seen:
        """A run is so now."""
        questions = questions_in(view.questions)
        seen = self._seen.get(view.run_id)
        if seen is None:
            seen = self._seen[view.run_id] = Seen(view, questions)
        seen.view, seen.questions = view, questions
        return seen

    async def look(self, run_id: str) -> Seen:
        """Ask how a run is; a checkpoint."""
        return self.note(await self.ask(Get, run_id=run_id))

    async def learn_history(self, seen: Seen) -> None:
        """Ask for the history of a run, if it has entries that are not known yet."""
        last = seen.history[-1].sequence if seen.history else 0
        if seen.view.history != last:
            seen.history = history_in(await self.ask(History, run_id=seen.view.run_id))

    async def look_back(self, seen: Seen) -> None:
        """The same where something else was asked for: the history stays as it is known if it cannot be had."""
        with suppress(PeerError, ProtocolError, RunNotFoundError):
            await self.learn_history(seen)
