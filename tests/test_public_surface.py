"""What `blazen_trio` exports: exactly these names, each documented, and every error can cross a process's border.

The same for `blazen_trio.websocket`.
"""

import inspect
import pickle
from types import ModuleType

import pytest

import blazen_trio
import blazen_trio.websocket

EVENTS = {
    "DynamicEvent",
    "Event",
    "InputRequestEvent",
    "InputResponseEvent",
    "LifecycleEvent",
    "Live",
    "ProgressEvent",
    "StartEvent",
    "StepFailedEvent",
    "StopEvent",
    "StreamGap",
    "UsageEvent",
}
WORKFLOWS = {
    "Context",
    "RunStatus",
    "Edge",
    "EventChannel",
    "EventSubscription",
    "Node",
    "RunSendChannel",
    "State",
    "Step",
    "StreamItem",
    "Workflow",
    "WorkflowDescription",
    "WorkflowResult",
    "WorkflowRun",
    "WorkflowSnapshot",
    "open_engine",
    "Engine",
    "EngineRun",
    "RunInfo",
    "parallel_step",
    "step",
}
SESSION_REFS = {
    "RefLifetime",
    "RegistryKey",
    "RemoteRefDescriptor",
    "SessionPausePolicy",
    "SessionRefRegistry",
    "SessionRefSerializable",
}
STORES = {
    "MemoryStore",
    "SqliteStore",
}
VALUES = {
    "HistoryEvent",
    "RetryConfig",
    "RetryStack",
    "TokenUsage",
}
PEERS = {
    "Peer",
    "SessionRefData",
    "StepRegistry",
}
ERRORS = {
    "AnswerConflictError",
    "EncodeError",
    "EventDecodeError",
    "EventLimitError",
    "InputRequestExistsError",
    "NoHandlerError",
    "PeerError",
    "ProtocolError",
    "RunClosedError",
    "RunExistsError",
    "RunLockedError",
    "RunNotFoundError",
    "RunStalledError",
    "SessionRefCapacityError",
    "SessionRefError",
    "SessionRefNotFoundError",
    "SessionRefsNotSerializableError",
    "SnapshotCorruptError",
    "SnapshotError",
    "SnapshotMismatchError",
    "SnapshotSignatureError",
    "SnapshotVersionError",
    "StepFailedError",
    "StepResultError",
    "StepTimeoutError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "SubWorkflowError",
    "UnknownInputRequestError",
    "UnknownStepError",
    "WorkflowAbortedError",
    "WorkflowError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
}
WEBSOCKET = {
    "Access",
    "Authorize",
    "RemoteEngine",
    "RemoteRun",
    "RemoteSubscription",
    "WebsocketLimits",
    "WebsocketServer",
    "open_websocket_client",
    "open_websocket_server",
}
PUBLIC = EVENTS | WORKFLOWS | SESSION_REFS | STORES | VALUES | PEERS | ERRORS


def exported(package: ModuleType = blazen_trio) -> dict[str, object]:
    """The public names as a user's `dir()` shows them, without the submodules that importing left behind."""
    return {
        name: value
        for name, value in ((name, getattr(package, name)) for name in dir(package))
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


def test_exactly_the_public_names_are_exported():
    assert sorted(exported()) == sorted(PUBLIC)
    assert sorted(exported(blazen_trio.websocket)) == sorted(WEBSOCKET)


def has_text(value: object) -> bool:
    return bool(vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_class_or_function_says_what_it_is(name):
    value = getattr(blazen_trio, name)
    assert has_text(value) or not (inspect.isclass(value) or inspect.isroutine(value))


@pytest.mark.parametrize("name", sorted(WEBSOCKET))
def test_so_does_each_of_the_websocket_and_all_that_it_has(name):
    value = getattr(blazen_trio.websocket, name)
    assert has_text(value) or not (inspect.isclass(value) or inspect.isroutine(value))
    for part, member in inspect.getmembers(value):
        if not part.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
            assert member.__doc__, f"{name}.{part}"


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_is_a_workflow_error_and_its_class_pickles(name):
    error = getattr(blazen_trio, name)

    assert issubclass(error, blazen_trio.WorkflowError)
    assert pickle.loads(pickle.dumps(error)) is error


def test_every_exported_exception_is_listed_as_an_error():
    exceptions = {n for n, v in exported().items() if inspect.isclass(v) and issubclass(v, BaseException)}

    assert exceptions == ERRORS


def test_the_version_is_a_version():
    assert all(part.isdigit() for part in blazen_trio.__version__.split("."))
