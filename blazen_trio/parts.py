"""What a run has beside its machine and its workers; most runs never need it, so it is made when first used."""

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import enable_ki_protection

from blazen_trio.codec import Codec
from blazen_trio.core.definition import WorkflowDefinition
from blazen_trio.core.messages import DispatchHeld, DispatchReleased, ObservationChanged
from blazen_trio.core.state import RunState
from blazen_trio.door import Door
from blazen_trio.metadata import split_metadata
from blazen_trio.session_refs import RefLifetime, SessionRefRegistry
from blazen_trio.snapshot import WorkflowSnapshot
from blazen_trio.stream import EventSubscription, EventTypes, Stream
from blazen_trio.timers import Timers

if TYPE_CHECKING:
    from blazen_trio.runner import Runner

_making: Final = RLock()
"""Held while the registry of a run's session refs is made: two threads would make two."""


class Parts(Door):
    """A run's stream, timers, session refs, and the runs inside it.

    Attributes:
        before_outage: of a run that a lost server ended, the condition in which it can go on.
        is_over: the run has ended, and everything that the end orders was done.
        owns_session_refs: the registry of session refs is the run's own; else that of a run around it.
    """

    __slots__ = (
        "_live",
        "_marks",
        "_metadata",
        "_seq_before",
        "_session",
        "_session_refs",
        "_stream",
        "_timers",
        "before_outage",
        "is_over",
        "owns_session_refs",
    )

    def __init__(
        self, definition: WorkflowDefinition, state: RunState, codec: Codec, metadata: dict[str, Any] | None
    ) -> None:
        super().__init__(definition, state, codec)
        self.before_outage: WorkflowSnapshot | None = None
        self.is_over: bool = False
        self.owns_session_refs: bool = True
        self._metadata: dict[str, Any] | None = None
        self._marks: dict[str, Any] | None = None
        if metadata is not None:
            self._metadata, self._marks = split_metadata(metadata)
        self._session: dict[str, Any] | None = None
        self._session_refs: SessionRefRegistry | None = None
        self._stream: Stream | None = None
        self._seq_before: int = state.seq
        self._timers: Timers | None = None
        self._live: dict[RunState, Runner] | None = None

    def start_task(self, function: Callable[[], Any]) -> None:
        """Start a task of the run."""
        raise NotImplementedError

    # --- Runs inside this one -----------------------------------------------------------------------------------------

    @property
    def live(self) -> "dict[RunState, Runner]":
        """By their states, the runners of the runs inside this one, at any depth, that are in their calls now."""
        if self._live is None:
            self._live = {}
        return self._live

    @property
    def path(self) -> tuple[int, ...]:
        """The ids of the calls around this run, from the outside in."""
        return ()

    def is_observed_in(self, state: RunState) -> bool:
        """Whether lifecycle events of this run, or of one inside it, are made now."""
        runner = self if state is self.state else (self._live or {}).get(state)
        return runner is not None and runner.machine.is_observed

    @property
    def is_observed(self) -> bool:
        """Whether somebody reads the run's stream."""
        return self._stream is not None and self._stream.statistics().subscribers > 0

    def live_ones(self) -> "tuple[Runner, ...]":
        """The runners of the runs inside this one."""
        return () if self._live is None else tuple(self._live.values())

    # --- Its own ------------------------------------------------------------------------------------------------------

    @property
    def metadata(self) -> dict[str, Any]:
        """What the caller gave the run to know."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    @property
    def marks(self) -> dict[str, Any]:
        """What the library noted beside that; steps do not see it."""
        return self._marks or {}

    @property
    def saved_metadata(self) -> dict[str, Any]:
        """Both, as they are saved."""
        return {**self.metadata, **self._marks} if self._marks else self.metadata

    @property
    def session(self) -> dict[str, Any]:
        """Live objects of the run, by name."""
        if self._session is None:
            self._session = {}
        return self._session

    @property
    def stream(self) -> Stream:
        """The run's stream, made when first needed."""
        if self._stream is None:
            self._stream = Stream(
                self.definition.options.stream_buffer,
                last_seq=self._seq_before,
                on_observed=self._on_observed,
                on_held=self._on_held,
            )
            if self.is_over:
                self._stream.close()
        return self._stream

    @property
    def timers(self) -> Timers:
        """The run's timers, made when first needed."""
        if self._timers is None:
            self._timers = Timers(self.start_task)
        return self._timers

    @property
    @enable_ki_protection  # else Ctrl-C might leave the lock behind, locked
    def session_refs(self) -> SessionRefRegistry:
        """The run's session refs, made when first needed; steps in threads may be the first."""
        if self._session_refs is None:
            with _making:
                if self._session_refs is None:
                    self._session_refs = SessionRefRegistry(self.definition.options.max_session_refs)
        return self._session_refs

    @property
    def has_session_refs(self) -> bool:
        """Whether anybody has used them."""
        return self._session_refs is not None

    def use_session_refs(self, registry: SessionRefRegistry, *, is_owner: bool) -> None:
        """Work with the refs of a snapshot, which the run then owns, or with those of a run around it."""
        self._session_refs = registry
        self.owns_session_refs = is_owner

    def purge_session_refs(self, *lifetimes: RefLifetime) -> None:
        """Forget the refs of these lifetimes, if they are the run's own."""
        if self._session_refs is not None and self.owns_session_refs:
            self._session_refs.purge(*lifetimes)

    def _on_observed(self, is_observed: bool) -> None:  # noqa: FBT001 - a callback with one argument
        for runner in (self, *self.live_ones()):
            runner.observe(is_observed=is_observed)

    def observe(self, *, is_observed: bool) -> None:
        """Somebody began to read the stream, or the last one went."""
        if is_observed is not self.machine.is_observed:
            self.post(ObservationChanged(is_observed))

    def _on_held(self, is_held: bool) -> None:  # noqa: FBT001 - a callback with one argument
        if is_held:  # found out while an effect is carried out
            self.later(self._hold)
        else:
            for runner in (self, *self.live_ones()):
                runner.post(DispatchReleased(self.clock()))

    def _hold(self) -> None:
        if self.stream.statistics().held:  # it may have been released before this was done
            for runner in (self, *self.live_ones()):
                runner.feed(DispatchHeld(self.clock()))

    def subscribe(self, after: int, types: EventTypes | None, *, lossless: bool) -> EventSubscription:
        """A subscription to the run's stream; one that begins far behind and is lossless holds the dispatch at once."""
        subscription = self.stream.subscribe(after, types, lossless=lossless)
        self.do_later()
        return subscription
