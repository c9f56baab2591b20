"""Event-driven workflows as structured concurrency, for Trio.

The house, from the street to the cellar (imports point downwards only; ``docs/design.md`` draws it at length):

================  ==================================================================================================
``cli``           the command ``blazen-trio``
``testing``       the test kit for those who write workflows; nothing here imports it
``demo``          a real job written with the public API: a licence audit of the installed packages
``stores``        where durable runs are kept; an engine knows only ``abc``, what it needs of them
``engine``        ``open_engine``: many durable runs, in memory while they have something to do
``parallel``      ``parallel_step``: several workflows at once as one step
``workflow``      ``Workflow``: steps and options; makes runs; with ``single_run`` (one durable run)
``durable``       a runner whose messages go into a journal; effects wait until that is on disk
``remote_step``   a workflow on another server as a step; with ``peers`` (what is needed of such a server)
``sub_workflow``  a workflow as a step; with ``child_runner`` (its run, inside a call)
``run``           ``WorkflowRun``: the handle of a run; with ``block`` (what it lives in), ``endings`` (what waiters
                  get), ``send_channel``, ``run_ids``
``journal``       messages as rows, and a run told again from them
``runner``        carries out what the machine decides, on Trio; with ``door`` (how it is told), ``parts`` (stream and
                  the like), ``worker`` (runs calls), ``timers``, ``tokens``, ``threads``, ``slices``, ``parking``,
                  ``failures``, ``groups``, ``outages``
``context``       ``Context``: what a step can do; with ``values`` (``ctx.state``)
``stream``        the broadcast of a run: one ring, a position per reader
``snapshot``      a run's whole condition outside of its process
``codec``         values and events as plain data, exact and strict
``session_refs``  live objects by keys that can stand in data
``abc``           ``Store`` and its records, for those who write one; with ``processes`` (who still lives)
``core``          pure: events, steps, routing, and the machine that decides everything; beside it ``step_registry``
                  (steps by name, for servers that are told names)
================  ==================================================================================================
"""

import importlib
import typing

from blazen_trio.context import Context as Context
from blazen_trio.context import EventChannel as EventChannel
from blazen_trio.core.description import Edge as Edge
from blazen_trio.core.description import Node as Node
from blazen_trio.core.description import WorkflowDescription as WorkflowDescription
from blazen_trio.core.errors import AnswerConflictError as AnswerConflictError
from blazen_trio.core.errors import EncodeError as EncodeError
from blazen_trio.core.errors import EventDecodeError as EventDecodeError
from blazen_trio.core.errors import EventLimitError as EventLimitError
from blazen_trio.core.errors import InputRequestExistsError as InputRequestExistsError
from blazen_trio.core.errors import NoHandlerError as NoHandlerError
from blazen_trio.core.errors import PeerError as PeerError
from blazen_trio.core.errors import ProtocolError as ProtocolError
from blazen_trio.core.errors import RunClosedError as RunClosedError
from blazen_trio.core.errors import RunExistsError as RunExistsError
from blazen_trio.core.errors import RunLockedError as RunLockedError
from blazen_trio.core.errors import RunNotFoundError as RunNotFoundError
from blazen_trio.core.errors import RunStalledError as RunStalledError
from blazen_trio.core.errors import SessionRefCapacityError as SessionRefCapacityError
from blazen_trio.core.errors import SessionRefError as SessionRefError
from blazen_trio.core.errors import SessionRefNotFoundError as SessionRefNotFoundError
from blazen_trio.core.errors import SessionRefsNotSerializableError as SessionRefsNotSerializableError
from blazen_trio.core.errors import SnapshotCorruptError as SnapshotCorruptError
from blazen_trio.core.errors import SnapshotError as SnapshotError
from blazen_trio.core.errors import SnapshotMismatchError as SnapshotMismatchError
from blazen_trio.core.errors import SnapshotSignatureError as SnapshotSignatureError
from blazen_trio.core.errors import SnapshotVersionError as SnapshotVersionError
from blazen_trio.core.errors import StepFailedError as StepFailedError
from blazen_trio.core.errors import StepResultError as StepResultError
from blazen_trio.core.errors import StepTimeoutError as StepTimeoutError
from blazen_trio.core.errors import StoreCorruptError as StoreCorruptError
from blazen_trio.core.errors import StoreError as StoreError
from blazen_trio.core.errors import StoreFullError as StoreFullError
from blazen_trio.core.errors import SubWorkflowError as SubWorkflowError
from blazen_trio.core.errors import UnknownInputRequestError as UnknownInputRequestError
from blazen_trio.core.errors import UnknownStepError as UnknownStepError
from blazen_trio.core.errors import WorkflowAbortedError as WorkflowAbortedError
from blazen_trio.core.errors import WorkflowError as WorkflowError
from blazen_trio.core.errors import WorkflowTimeoutError as WorkflowTimeoutError
from blazen_trio.core.errors import WorkflowValidationError as WorkflowValidationError
from blazen_trio.core.events import DynamicEvent as DynamicEvent
from blazen_trio.core.events import Event as Event
from blazen_trio.core.events import InputRequestEvent as InputRequestEvent
from blazen_trio.core.events import InputResponseEvent as InputResponseEvent
from blazen_trio.core.events import LifecycleEvent as LifecycleEvent
from blazen_trio.core.events import Live as Live
from blazen_trio.core.events import ProgressEvent as ProgressEvent
from blazen_trio.core.events import StartEvent as StartEvent
from blazen_trio.core.events import StepFailedEvent as StepFailedEvent
from blazen_trio.core.events import StopEvent as StopEvent
from blazen_trio.core.events import StreamGap as StreamGap
from blazen_trio.core.events import UsageEvent as UsageEvent
from blazen_trio.core.history import HistoryEvent as HistoryEvent
from blazen_trio.core.publication import StreamItem as StreamItem
from blazen_trio.core.retry import RetryConfig as RetryConfig
from blazen_trio.core.retry import RetryStack as RetryStack
from blazen_trio.core.status import RunStatus as RunStatus
from blazen_trio.core.steps import Step as Step
from blazen_trio.core.steps import step as step
from blazen_trio.core.usage import TokenUsage as TokenUsage
from blazen_trio.parallel import parallel_step as parallel_step
from blazen_trio.run import WorkflowResult as WorkflowResult
from blazen_trio.run import WorkflowRun as WorkflowRun
from blazen_trio.send_channel import RunSendChannel as RunSendChannel
from blazen_trio.session_refs import RefLifetime as RefLifetime
from blazen_trio.session_refs import RegistryKey as RegistryKey
from blazen_trio.session_refs import RemoteRefDescriptor as RemoteRefDescriptor
from blazen_trio.session_refs import SessionPausePolicy as SessionPausePolicy
from blazen_trio.session_refs import SessionRefRegistry as SessionRefRegistry
from blazen_trio.session_refs import SessionRefSerializable as SessionRefSerializable
from blazen_trio.snapshot import WorkflowSnapshot as WorkflowSnapshot
from blazen_trio.stream import EventSubscription as EventSubscription
from blazen_trio.values import State as State
from blazen_trio.workflow import Workflow as Workflow

if typing.TYPE_CHECKING:
    from blazen_trio.engine import Engine as Engine
    from blazen_trio.engine import EngineRun as EngineRun
    from blazen_trio.engine import RunInfo as RunInfo
    from blazen_trio.engine import open_engine as open_engine
    from blazen_trio.peers import Peer as Peer
    from blazen_trio.peers import SessionRefData as SessionRefData
    from blazen_trio.step_registry import StepRegistry as StepRegistry
    from blazen_trio.stores import MemoryStore as MemoryStore
    from blazen_trio.stores import SqliteStore as SqliteStore

_WHEN_ASKED_FOR = {
    "Engine": "blazen_trio.engine",
    "EngineRun": "blazen_trio.engine",
    "MemoryStore": "blazen_trio.stores",
    "Peer": "blazen_trio.peers",
    "RunInfo": "blazen_trio.engine",
    "SessionRefData": "blazen_trio.peers",
    "SqliteStore": "blazen_trio.stores",
    "StepRegistry": "blazen_trio.step_registry",
    "open_engine": "blazen_trio.engine",
}
"""What is imported when it is asked for: a program without durable runs need not load engines and SQLite."""


def __getattr__(name: str) -> typing.Any:
    if name not in _WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_WHEN_ASKED_FOR[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_ASKED_FOR})


__version__ = "0.1.0"
