"""What `blazen_trio` exports: exactly these names, each documented, and every error can cross a process's border."""

import inspect
import pickle
from types import ModuleType

import pytest

import blazen_trio

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
PUBLIC = EVENTS | WORKFLOWS | SESSION_REFS | STORES | VALUES | PEERS | ERRORS


def exported() -> dict[str, object]:
    """The public names as a user's `dir()` shows them, without the submodules that importing left behind."""
    return {
        name: value
        for name, value in ((name, getattr(blazen_trio, name)) for name in dir(blazen_trio))
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


def test_exactly_the_public_names_are_exported():
    assert sorted(exported()) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_class_or_function_says_what_it_is(name):
    value = getattr(blazen_trio, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__


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
