"""What is done to a run from afar, by its handle or by its engine: the same requests with the same errors."""

from typing import Final

from blazen_trio.core.errors import PeerError, RunClosedError, RunNotFoundError, UnknownInputRequestError
from blazen_trio.core.events import Event, require_event
from blazen_trio.websocket.client import checks
from blazen_trio.websocket.client.client import Client
from blazen_trio.websocket.client.requests import Asked
from blazen_trio.websocket.protocol.fields import EventData
from blazen_trio.websocket.protocol.messages import Abort, Pause, RespondToInput, Resume, SendEvent

ENDED_SINCE: Final = "the run has ended since the connection was lost, so nobody knows whether this answer was taken"


async def respond_to_input(client: Client, run_id: str, request_id: str, response: object, name: str | None) -> None:
    """Answer a question of a run, of the workflow of this name if that is known; a checkpoint."""
    if not isinstance(request_id, str) or not checks.is_writable(request_id):
        raise UnknownInputRequestError(request_id, run_id)
    plain = client.plain(response, "the answer", client.name_of(run_id, name))
    request = RespondToInput(
        id=client.link.new_id(), run_id=checks.known(run_id), request_id=request_id, response=plain
    )
    asked = Asked(request, is_repeatable=True)
    try:
        client.note_look(await client.link.answer(asked))
    except (RunClosedError, RunNotFoundError):
        if asked.times_sent == 1:
            raise
        raise PeerError(client.url, ENDED_SINCE, run_id) from None


async def send_event(client: Client, run_id: str, event: Event, name: str | None) -> None:
    """Put an event into a run, of the workflow of this name if that is known; a checkpoint."""
    require_event(event, "send_event")
    data: EventData = client.knowledge.write(event, client.name_of(run_id, name))
    client.note_look(await client.ask(SendEvent, run_id=checks.known(run_id), event=data))


async def pause(client: Client, run_id: str, *, interrupt: bool) -> None:
    """Pause a run, and wait until no call of it runs; a checkpoint."""
    client.note_look(await client.ask(Pause, run_id=checks.known(run_id), interrupt=interrupt))


async def resume(client: Client, run_id: str) -> None:
    """Go on with a run; a checkpoint."""
    client.note_look(await client.ask(Resume, run_id=checks.known(run_id)))


async def abort(client: Client, run_id: str, reason: str | None) -> None:
    """End a run now; a checkpoint."""
    client.note_look(await client.ask(Abort, run_id=checks.known(run_id), reason=checks.shown(reason)))
