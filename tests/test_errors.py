"""Errors say what, where and what to do; they pickle, copy and carry typed attributes."""

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

from blazen_trio.core import errors
from blazen_trio.core.errors import (
    AnswerConflictError,
    EncodeError,
    EventDecodeError,
    EventLimitError,
    InputRequestExistsError,
    NoHandlerError,
    PeerError,
    ProtocolError,
    RunClosedError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    RunStalledError,
    SessionRefCapacityError,
    SessionRefError,
    SessionRefNotFoundError,
    SessionRefsNotSerializableError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotMismatchError,
    SnapshotSignatureError,
    SnapshotVersionError,
    StepFailedError,
    StepResultError,
    StepTimeoutError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    SubWorkflowError,
    UnknownInputRequestError,
    UnknownStepError,
    WorkflowAbortedError,
    WorkflowError,
    WorkflowTimeoutError,
    WorkflowValidationError,
    describe_exception,
)
from blazen_trio.core.limits import ERROR_TEXT_CHARS_MAX

EXAMPLES = [
    (WorkflowError("something"), "something"),
    (
        WorkflowValidationError("shop", ("no steps", "bad limit")),
        "workflow 'shop' cannot be built, 2 problems to fix:\n  1. no steps\n  2. bad limit",
    ),
    (WorkflowValidationError("shop", ("no steps",)), "workflow 'shop' cannot be built, 1 problem to fix:"),
    (NoHandlerError("Page", "fetch", "r1"), "no step accepts the event 'Page', sent by step 'fetch', in run 'r1'"),
    (NoHandlerError("Page"), "no step accepts the event 'Page'; add a step"),
    (
        StepFailedError("fetch", 3, "ValueError: no", "Page", "r1"),
        "step 'fetch' of run 'r1' failed on event 'Page' after 3 attempts: ValueError: no",
    ),
    (StepFailedError("fetch"), "step 'fetch' failed after 1 attempt"),
    (StepTimeoutError("fetch", 1.5, 2, "r1"), "attempt 2 of step 'fetch' in run 'r1' did not end within 1.5 s"),
    (StepResultError("fetch", "returned an int", "Page or None", "r1"), "expected Page or None"),
    (SubWorkflowError("child", "shop", "StepFailedError: x"), "the workflow 'shop' inside step 'child' failed: Step"),
    (EventLimitError("pending events", 9, "fetch", "r1"), "more than 9 pending events in run 'r1', passed by step"),
    (EventLimitError("pending events", 9), "more than 9 pending events; does a step"),
    (WorkflowTimeoutError(2.5, 2, "shop", "r1"), "run 'r1' of workflow 'shop' timed out after 2.5 s of running time"),
    (WorkflowTimeoutError(2.5), "the run timed out after 2.5 s of running time"),
    (WorkflowAbortedError("enough", "r1"), "run 'r1' was aborted: enough"),
    (WorkflowAbortedError(), "the run was aborted"),
    (RunStalledError("fetch", ("join",), "r1", "3 events wait"), "the last step was 'fetch'; still waiting: join; 3"),
    (RunStalledError(), "the run has nothing left to do but never produced a StopEvent; look"),
    (RunClosedError("pause", "completed", "r1"), "cannot pause run 'r1': it has COMPLETED;"),
    (UnknownInputRequestError("q1", "r1"), "run 'r1' has no input request 'q1'"),
    (AnswerConflictError("q1", "r1"), "input request 'q1' of run 'r1' was already answered differently"),
    (InputRequestExistsError("q1"), "the run has asked an input request 'q1' already"),
    (EncodeError("socket", "Page.link", "a live object"), "cannot encode Page.link of type 'socket': a live object"),
    (EventDecodeError("Page", "url", "expected str"), "cannot decode event 'Page', field 'url': expected str"),
    (EventDecodeError("Page"), "cannot decode event 'Page'"),
    (SnapshotError("bad", "r1"), "the snapshot of run 'r1' cannot be used: bad"),
    (SnapshotVersionError(9, 2), "its format version is 9, but this library reads up to 2"),
    (SnapshotMismatchError("other workflow"), "other workflow"),
    (SnapshotCorruptError("cut off"), "cut off"),
    (SnapshotSignatureError("unsigned"), "unsigned"),
    (SessionRefError("gone"), "gone"),
    (SessionRefError(), "a session ref cannot be used"),
    (SessionRefCapacityError(10), "the session ref registry is full with 10 refs"),
    (SessionRefNotFoundError("k1"), "there is no session ref 'k1'"),
    (SessionRefsNotSerializableError(("k1", "k2"), "no pickle", "db"), "refs k1, k2 (type tag 'db'): no pickle"),
    (StoreError("disk gone", "r1"), "the store failed for run 'r1': disk gone"),
    (RunNotFoundError("r1"), "there is no run 'r1' in the store"),
    (RunExistsError("r1"), "there already is a run 'r1'"),
    (RunLockedError("r1", "host-7"), "run 'r1' is held by engine 'host-7'"),
    (RunLockedError("r1"), "run 'r1' is held by another engine"),
    (StoreFullError("disk full"), "the store failed: disk full; free some space"),
    (StoreCorruptError("checksum", "r1"), "the store failed for run 'r1': checksum; what is stored is damaged"),
    (UnknownStepError("fetch", ("load", "save")), "no step is registered as 'fetch'; known are 'load', 'save'"),
    (UnknownStepError("fetch"), "no step is registered as 'fetch'; register"),
    (ProtocolError("not JSON", "7"), "not JSON (request '7')"),
    (ProtocolError("not JSON"), "not JSON"),
    (PeerError("ws://b", "lost", "r1"), "peer 'ws://b' failed in run 'r1': lost"),
]

every_example = pytest.mark.parametrize(
    ("error", "text"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)


def attributes(error: BaseException) -> dict[str, object]:
    return {name: value for name, value in vars(error).items() if name != "__notes__"}


def test_every_error_class_has_an_example() -> None:
    defined = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, WorkflowError)}
    assert defined == {type(error) for error, _ in EXAMPLES}


@every_example
def test_a_message_says_what_where_and_what_to_do(error: WorkflowError, text: str) -> None:
    assert text in str(error)
    assert not re.search(r"run None|'None'|: None", str(error))


@every_example
def test_an_error_survives_pickling(error: WorkflowError, text: str) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error)
        assert (str(again), repr(again), attributes(again)) == (str(error), repr(error), attributes(error))


@every_example
def test_a_copy_equals_and_is_independent(error: WorkflowError, text: str) -> None:
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert again is not error
        assert (type(again), str(again), attributes(again)) == (type(error), str(error), attributes(error))


def test_a_copy_keeps_cause_and_notes_but_not_the_frames() -> None:
    cause = ValueError("no")
    try:
        raise StepFailedError("fetch") from cause
    except StepFailedError as caught:
        error = caught
    error.add_note("seen in a test")
    again = copy.copy(error)
    again.add_note("only here")
    assert again.__cause__ is cause
    assert again.__suppress_context__
    assert again.__traceback__ is None
    assert error.__notes__ == ["seen in a test"]
    assert again.__notes__ == ["seen in a test", "only here"]


def test_errors_of_users_with_their_own_constructor_pickle_and_copy_too() -> None:
    error = OrderError(order=7)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(again), again.order) == ("order 7 failed", 7)


class OrderError(WorkflowError):
    def __init__(self, *, order: int) -> None:
        super().__init__(f"order {order} failed")
        self.order = order


def test_families_can_be_caught_by_their_root() -> None:
    assert issubclass(SnapshotCorruptError, SnapshotError)
    assert issubclass(SessionRefCapacityError, SessionRefError)
    assert issubclass(RunLockedError, StoreError)
    assert issubclass(AnswerConflictError, UnknownInputRequestError)
    assert issubclass(StepResultError, TypeError)


def test_attributes_are_those_given() -> None:
    assert RunLockedError("r1", "host-7").owner == "host-7"
    assert RunNotFoundError("r1").run_id == "r1"
    assert SnapshotVersionError(9, 2).found == 9
    assert SessionRefsNotSerializableError([1, 2]).keys == ("1", "2")
    assert WorkflowValidationError("shop", ["a", "b"]).problems == ("a", "b")


def test_a_single_text_is_one_problem_not_a_list_of_letters() -> None:
    assert WorkflowValidationError("shop", "no steps").problems == ("no steps",)


# --- describe_exception ----------------------------------------------------------------------------------------------


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class LyingError(Exception):
    def __str__(self) -> Any:
        words: Any = 5
        return words


def test_an_exception_is_described_by_type_and_text() -> None:
    assert describe_exception(ValueError("no such page")) == "ValueError: no such page"
    assert describe_exception(KeyError()) == "KeyError"


def test_an_exception_that_cannot_show_itself_is_described_all_the_same() -> None:
    assert describe_exception(SpeechlessError()).startswith("SpeechlessError: <its text cannot be shown")
    assert "TypeError" in describe_exception(LyingError())


def test_a_description_is_bounded_and_always_encodes() -> None:
    long = describe_exception(ValueError("x" * 10_000_000))
    assert len(long) == ERROR_TEXT_CHARS_MAX
    assert long.endswith("...")
    assert describe_exception(ValueError("\ud800")).encode() == b"ValueError: \\ud800"
