"""``Peer``: what is needed of another server to run a workflow there.

The rules of this file:

* Nothing here knows how a peer is reached. The websocket client is one; ``blazen_trio.testing.LocalPeer`` is one in
  the same process.
* A call has an id, and that is the id of its run on the peer. A call that is made again under its id gives the result
  of the first one, however often the connection was lost in between.
* What a run there ends with is raised as it would be here. What cannot be sent to any peer, now or later, is an
  ``EncodeError``: no outage. Everything else that can go wrong is one ``PeerError``.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import attrs
import trio

from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.errors import RUN_ENDS, EncodeError, PeerError, WorkflowError, describe_exception
from blazen_trio.core.events import Event
from blazen_trio.metadata import checked_metadata
from blazen_trio.session_refs import RegistryKey

if TYPE_CHECKING:
    from blazen_trio.run import WorkflowResult

ABORT_S: Final = 2.0
"""How long a caller who is cancelled tries at most to abort the run on the peer: he is in a hurry."""

_PASSING: Final[tuple[type[WorkflowError], ...]] = (*RUN_ENDS, EncodeError, PeerError)

logger: Final = logging.getLogger("blazen_trio")


@attrs.frozen
class SessionRefData:
    """A serializable object as bytes, as its ``blazen_serialize`` gave them.

    Attributes:
        type_tag: what kind of object it is: which deserializer it takes.
        data: what that needs.
    """

    type_tag: str
    data: bytes = attrs.field(repr=False)


@runtime_checkable
class Peer(Protocol):
    """Another server that runs workflows for us. All methods but the properties are checkpoints.

    A peer that is lost must be noticed in bounded time, which is the peer's own business: ``call`` then raises
    ``PeerError``, and what runs there runs on.
    """

    @property
    def name(self) -> str:
        """What errors call it: a URL, for example."""
        ...

    @property
    def node_id(self) -> str | None:
        """Which node it is, as ``RemoteRefDescriptor.origin_node_id`` says; ``None`` while that is not known."""
        ...

    async def call(
        self,
        workflow: WorkflowDefinition,
        event: Event,
        *,
        call_id: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> "WorkflowResult":
        """Run the workflow of this name there, to its end, or attach to the run that this call began before.

        Each of the result's ``session_refs`` is a ``RemoteRefDescriptor``: the objects stay there.

        Raises:
            EncodeError: the event or the metadata cannot be sent, or is more than the peer takes; nothing was begun.
            PeerError: it is lost, or it refuses: it knows no such workflow, or another call has this id.
            WorkflowError: what the run ended with.
        """
        ...

    async def abort(self, run_id: str, reason: str | None = None) -> None:
        """End the run of a call; harmless after its end. One that has not begun, since its call is lost, never does."""
        ...

    async def deref_session_ref(self, key: RegistryKey) -> SessionRefData:
        """An object that stayed there, as bytes.

        Raises:
            PeerError: the peer is lost.
            SessionRefNotFoundError: it is not there (any more).
            SessionRefsNotSerializableError: it cannot be had as bytes.
        """
        ...

    async def release_session_ref(self, key: RegistryKey) -> bool:
        """Let go of an object there; whether it was there.

        Raises:
            PeerError: the peer is lost.
        """
        ...


async def call_peer(
    peer: Peer, workflow: WorkflowDefinition, event: Event, call_id: str, metadata: Mapping[str, Any] | None
) -> "WorkflowResult":
    """Run the workflow on the peer; a checkpoint. Being cancelled does nothing there: see ``abort_call``.

    Raises:
        EncodeError: the event or the metadata cannot be sent.
        PeerError: the peer is lost or refuses; its ``run_id`` is the call's.
        TypeError, ValueError: the metadata is no mapping of texts, or has reserved keys.
        WorkflowError: what the run ended with.
    """
    known = checked_metadata(metadata)
    try:
        return await peer.call(workflow, event, call_id=call_id, metadata=known)
    except PeerError as error:
        error.run_id = error.run_id or call_id  # under which the same call can be made again
        raise
    except _PASSING:
        raise
    except UnicodeEncodeError as error:  # a lone surrogate: no peer takes it, however often it is tried
        raise EncodeError("str", "the call's id, names or metadata", describe_exception(error)) from error
    except Exception as error:
        raise PeerError(peer.name, describe_exception(error), call_id) from error


async def abort_call(peer: Peer, call_id: str, reason: str) -> None:
    """Try to abort the run of a call that nobody wants any more; a checkpoint, shielded for at most ``ABORT_S``."""
    with trio.move_on_after(ABORT_S, shield=True) as scope:  # noqa: ASYNC912 - a call that fails at once needs none
        try:
            await peer.abort(call_id, reason)
        except Exception as error:  # noqa: BLE001 - whoever is cancelled has no use for it
            logger.debug("call %s: its run on peer %r was not aborted: %r", call_id, peer.name, error)
    if scope.cancelled_caught:
        logger.debug("call %s: peer %r did not answer to an abort within %g s", call_id, peer.name, ABORT_S)
