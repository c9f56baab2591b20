"""Every error of the library, under one root: ``WorkflowError``.

The rules of this file:

* An error carries what a program needs as typed attributes; ``str()`` says what happened, where, and what to do.
* ``run_id`` is left out of the message while it is ``None``: errors are often born where no run is known yet.
* Every error pickles, and ``copy.copy`` gives an independent one with the same attributes, notes and cause, but
  without the traceback. Each waiter of a run gets such a copy: one shared object would collect the frames of all.
* A pickled error does not take its ``__cause__`` along: foreign exceptions need not pickle. What matters of a cause
  is kept as text in ``error``, made by ``describe_exception``.
"""

from collections.abc import Iterable
from typing import Final, Self

import attrs

from blazen_trio.core.limits import ERROR_TEXT_CHARS_MAX

_CUT: Final = "..."


def describe_exception(error: BaseException) -> str:
    """``"ValueError: text"`` for any exception; never fails, whatever the ``str()`` of that exception does.

    The text is cut at ``ERROR_TEXT_CHARS_MAX`` characters. Lone surrogates are escaped, so it always encodes to UTF-8.
    """
    text = _text_of(error)
    described = f"{type(error).__name__}: {text}" if text else type(error).__name__
    described = described.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(described) <= ERROR_TEXT_CHARS_MAX:
        return described
    return described[: ERROR_TEXT_CHARS_MAX - len(_CUT)] + _CUT


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - foreign __str__ code may raise anything
        return f"<its text cannot be shown: str() raised {type(broken).__name__}>"


def _revive(cls: type["WorkflowError"], args: tuple[object, ...], attributes: dict[str, object]) -> "WorkflowError":
    """Rebuild an error without its ``__init__``, whose signature need not be that of ``args``."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


def _lines(problems: Iterable[str]) -> tuple[str, ...]:
    return (problems,) if isinstance(problems, str) else tuple(problems)


def _of_run(run_id: str | None) -> str:
    return "" if run_id is None else f" of run {run_id!r}"


def _in_run(run_id: str | None) -> str:
    return "" if run_id is None else f" in run {run_id!r}"


def _because(problem: str) -> str:
    return f": {problem}" if problem else ""


def _the_run(run_id: str | None) -> str:
    return "the run" if run_id is None else f"run {run_id!r}"


class WorkflowError(Exception):
    """The root of all errors of this library."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by attributes: subclasses may have any constructor."""
        return _revive, (type(self), self.args, dict(self.__dict__))

    def __copy__(self) -> Self:
        """An independent error: same attributes, notes and cause, no traceback."""
        clone = type(self).__new__(type(self), *self.args)
        clone.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            clone.__notes__ = list(self.__notes__)
        clone.__cause__ = self.__cause__
        clone.__suppress_context__ = self.__suppress_context__
        return clone


# --- Building a workflow ---------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class WorkflowValidationError(WorkflowError):
    """A workflow cannot be built; lists every problem at once."""

    workflow_name: str
    problems: tuple[str, ...] = attrs.field(converter=_lines)

    def __str__(self) -> str:
        """Number the problems, one per line."""
        count = len(self.problems)
        heading = f"workflow {self.workflow_name!r} cannot be built, {count} problem{'s'[: count != 1]} to fix:"
        return "\n".join([heading, *(f"  {number}. {text}" for number, text in enumerate(self.problems, 1))])


@attrs.define(eq=False, slots=False)
class UnknownStepError(WorkflowError):
    """A step was named that the registry does not know; ``unknown`` are all such names, if there were several."""

    name: str
    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name what is unknown and what is known."""
        unknown = ", ".join(map(repr, self.unknown or (self.name,)))
        known = f"; known are {', '.join(map(repr, self.known))}" if self.known else ""
        return f"no step is registered as {unknown}{known}; register it with StepRegistry().register(step)"


# --- Running steps ---------------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class NoHandlerError(WorkflowError):
    """An event came up that no step of the workflow accepts."""

    event_type: str
    source_step: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the event and where it came from."""
        source = f", sent by step {self.source_step!r}," if self.source_step is not None else ""
        return (
            f"no step accepts the event {self.event_type!r}{source}{_in_run(self.run_id)}; add a step with a parameter "
            f"of that class, or declare it with Workflow(..., events=[{self.event_type}]) if something waits for it"
        )


@attrs.define(eq=False, slots=False)
class StepFailedError(WorkflowError):
    """A step failed for good. The exception of the last attempt is the ``__cause__``, its text is ``error``."""

    step_name: str
    attempts: int = 1
    error: str = ""
    event_type: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        """Name step, event, number of attempts and the last failure."""
        event = f" on event {self.event_type!r}" if self.event_type is not None else ""
        attempts = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"step {self.step_name!r}{_of_run(self.run_id)} failed{event} after {attempts}{_because(self.error)}"


@attrs.define(eq=False, slots=False)
class StepTimeoutError(WorkflowError):
    """One attempt of a step took longer than its ``timeout`` (seconds)."""

    step_name: str
    timeout: float
    attempt: int = 1
    run_id: str | None = None

    def __str__(self) -> str:
        """Name step, attempt and limit."""
        return (
            f"attempt {self.attempt} of step {self.step_name!r}{_in_run(self.run_id)} did not end within "
            f"{self.timeout:g} s; raise the timeout of the step, or make it faster"
        )


@attrs.define(eq=False, slots=False)
class StepResultError(WorkflowError, TypeError):
    """A step returned what it may not. An addition to the contract; also a ``TypeError``."""

    step_name: str
    problem: str
    expected: str
    run_id: str | None = None

    def __str__(self) -> str:
        """Name step, what came and what was expected."""
        return f"step {self.step_name!r}{_of_run(self.run_id)} {self.problem}; expected {self.expected}"


@attrs.define(eq=False, slots=False)
class SubWorkflowError(WorkflowError):
    """A workflow that runs as a step failed; its error is the ``__cause__``, the text of it is ``error``."""

    step_name: str
    workflow_name: str
    error: str = ""

    def __str__(self) -> str:
        """Name the step, the workflow inside and its failure."""
        return f"the workflow {self.workflow_name!r} inside step {self.step_name!r} failed{_because(self.error)}"


@attrs.define(eq=False, slots=False)
class EventLimitError(WorkflowError):
    """Too many of something wait in a run, such as pending events. An addition to the contract."""

    what: str
    limit: int
    step_name: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        """Name what was too much, the limit and the step that went over it."""
        step = f", passed by step {self.step_name!r}" if self.step_name is not None else ""
        return (
            f"more than {self.limit} {self.what}{_in_run(self.run_id)}{step}; does a step emit without end? "
            "If so many are meant, raise max_pending_events of the workflow"
        )


# --- The life of a run -----------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class WorkflowTimeoutError(WorkflowError):
    """A run used up its running time; ``elapsed`` and ``timeout`` are seconds, paused and waiting time not counted."""

    elapsed: float
    timeout: float | None = None
    workflow_name: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the run, the time used and the time allowed."""
        workflow = f" of workflow {self.workflow_name!r}" if self.workflow_name is not None else ""
        limit = f" (its limit is {self.timeout:g} s)" if self.timeout is not None else ""
        return f"{_the_run(self.run_id)}{workflow} timed out after {self.elapsed:g} s of running time{limit}"


@attrs.define(eq=False, slots=False)
class WorkflowAbortedError(WorkflowError):
    """A run was aborted, by ``abort()`` or by leaving its block."""

    reason: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the run and the reason, if one was given."""
        return f"{_the_run(self.run_id)} was aborted{_because(self.reason or '')}"


@attrs.define(eq=False, slots=False)
class RunStalledError(WorkflowError):
    """A run has nothing left to do and no ``StopEvent`` came."""

    last_step: str | None = None
    open_joins: tuple[str, ...] = ()
    run_id: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        """Name the last step, the joins that still wait, and what to look at."""
        last = f"; the last step was {self.last_step!r}" if self.last_step is not None else ""
        joins = f"; still waiting: {', '.join(self.open_joins)}" if self.open_joins else ""
        advice = self.detail or "look for a branch that ends in None"
        return f"{_the_run(self.run_id)} has nothing left to do but never produced a StopEvent{last}{joins}; {advice}"


@attrs.define(eq=False, slots=False)
class RunClosedError(WorkflowError):
    """Something was asked of a run that has ended; ``verb`` is what was asked, ``status`` how the run ended."""

    verb: str
    status: str
    run_id: str | None = None

    def __str__(self) -> str:
        """Name what was asked and how the run ended."""
        return (
            f"cannot {self.verb} {_the_run(self.run_id)}: it has {str(self.status).upper()}; "
            "only result() and snapshot() still answer, start or resume a run to go on"
        )


@attrs.define(eq=False, slots=False)
class UnknownInputRequestError(WorkflowError):
    """An answer came to a question that this run never asked."""

    request_id: str
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the question and say where the open ones are."""
        return f"{_the_run(self.run_id)} has no input request {self.request_id!r}; see pending_inputs for the open ones"


class AnswerConflictError(UnknownInputRequestError):
    """A question that was answered got a different answer. An addition to the contract."""

    def __str__(self) -> str:
        """Name the question and the rule."""
        return (
            f"input request {self.request_id!r}{_of_run(self.run_id)} was already answered differently; "
            "only the same answer may be given again"
        )


@attrs.define(eq=False, slots=False)
class InputRequestExistsError(WorkflowError):
    """Two questions of one run have the same id. An addition to the contract."""

    request_id: str
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the id and the way to have none twice."""
        return (
            f"{_the_run(self.run_id)} has asked an input request {self.request_id!r} already; "
            "leave out request_id, so that each question gets its own"
        )


RUN_ENDS: Final[tuple[type[WorkflowError], ...]] = (
    EventLimitError,
    InputRequestExistsError,
    NoHandlerError,
    RunStalledError,
    StepFailedError,
    WorkflowAbortedError,
    WorkflowTimeoutError,
)
"""The errors that runs end with."""


# --- Encoding and decoding -------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class EncodeError(WorkflowError):
    """A value cannot be saved; ``where`` names event and field or state key, ``type_name`` the type of the value."""

    type_name: str
    where: str
    problem: str = ""

    def __str__(self) -> str:
        """Name the type, the place and the ways out."""
        return (
            f"cannot encode {self.where} of type {self.type_name!r}{_because(self.problem)}; use plain data there, "
            "annotate the field Live[...], or keep the object in ctx.session"
        )


@attrs.define(eq=False, slots=False)
class EventDecodeError(WorkflowError):
    """Data does not make an event of this type."""

    event_type: str
    field: str | None = None
    problem: str = ""

    def __str__(self) -> str:
        """Name event, field and problem."""
        field = f", field {self.field!r}" if self.field is not None else ""
        return f"cannot decode event {self.event_type!r}{field}{_because(self.problem)}"


# --- Snapshots -------------------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class SnapshotError(WorkflowError):
    """A snapshot cannot be taken or read; the subclasses say why. Nothing has run yet."""

    problem: str = ""
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the run and the problem."""
        return f"the snapshot{_of_run(self.run_id)} cannot be used{_because(self.problem)}"


class SnapshotVersionError(SnapshotError):
    """A snapshot was written in a format that this version does not read; ``found`` is its version."""

    found: object
    supported: int

    def __init__(self, found: object, supported: int, run_id: str | None = None) -> None:
        problem = f"its format version is {found!r}, but this library reads up to {supported}; update blazen_trio"
        if found == 1:
            problem = "its format version is 1, that of Blazen itself: read its JSON with WorkflowSnapshot.from_json"
        super().__init__(problem, run_id)
        self.found = found
        self.supported = supported


class SnapshotMismatchError(SnapshotError):
    """A snapshot does not belong to this workflow: another name, or event classes or steps that it has not."""


class SnapshotCorruptError(SnapshotError):
    """A snapshot is damaged: cut off, forged, or not a snapshot at all."""


class SnapshotSignatureError(SnapshotError):
    """A snapshot is unsigned, or its signature does not fit the key."""


# --- Session refs ----------------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class SessionRefError(WorkflowError):
    """Something is wrong with references to live objects; the subclasses say what."""

    problem: str = ""

    def __str__(self) -> str:
        """Say the problem."""
        return self.problem or "a session ref cannot be used"


class SessionRefCapacityError(SessionRefError):
    """A registry of session refs is full."""

    capacity: int

    def __init__(self, capacity: int) -> None:
        super().__init__(
            f"the session ref registry is full with {capacity} refs; remove some, or raise its capacity "
            "(max_session_refs of the workflow)"
        )
        self.capacity = capacity


class SessionRefNotFoundError(SessionRefError):
    """There is no session ref under this key (its UUID as text)."""

    key: str

    def __init__(self, key: object) -> None:
        super().__init__(f"there is no session ref {str(key)!r}; it was removed, drained or never inserted here")
        self.key = str(key)


_KEYS_SHOWN: Final = 10
_TAG_SHOWN: Final = 60


class SessionRefsNotSerializableError(SessionRefError):
    """Session refs cannot be saved or rebuilt; ``keys`` are theirs (UUIDs as text), ``type_tag`` the kind, if known."""

    keys: tuple[str, ...]
    detail: str
    type_tag: str | None

    def __init__(self, keys: Iterable[object], detail: str = "", type_tag: str | None = None) -> None:
        names = tuple(str(key) for key in keys)
        more = "" if len(names) <= _KEYS_SHOWN else f" and {len(names) - _KEYS_SHOWN} more"
        shown = ", ".join(names[:_KEYS_SHOWN]) + more
        tag = "" if type_tag is None else f" (type tag {type_tag[:_TAG_SHOWN]!r})"
        super().__init__(f"cannot save or restore the session refs {shown}{tag}{_because(detail)}")
        self.keys = names
        self.detail = detail
        self.type_tag = type_tag


# --- Stores ----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class StoreError(WorkflowError):
    """A store failed. Nothing that was not written became visible."""

    problem: str = ""
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the run and the problem."""
        run = "" if self.run_id is None else f" for run {self.run_id!r}"
        return f"the store failed{run}{_because(self.problem)}"


class RunNotFoundError(StoreError):
    """The store has no such run."""

    def __init__(self, run_id: str) -> None:
        super().__init__("not found", run_id)

    def __str__(self) -> str:
        """Name the run."""
        return f"there is no run {self.run_id!r} in the store; runs() lists those that are"


class RunExistsError(StoreError):
    """A run was started under an id that is taken."""

    def __init__(self, run_id: str) -> None:
        super().__init__("exists", run_id)

    def __str__(self) -> str:
        """Name the run and the ways out."""
        return f"there already is a run {self.run_id!r}; get() gives it, or start under another run_id"


class RunLockedError(StoreError):
    """Another engine holds the run; ``owner`` names it, if known."""

    owner: str | None

    def __init__(self, run_id: str, owner: str | None = None) -> None:
        super().__init__("locked", run_id)
        self.owner = owner

    def __str__(self) -> str:
        """Name the run, its owner and what is possible."""
        owner = "another engine" if self.owner is None else f"engine {self.owner!r}"
        return f"run {self.run_id!r} is held by {owner}; it can be read and controlled here, but not written"


class StoreFullError(StoreError):
    """The store has no room left."""

    def __str__(self) -> str:
        """Name the run and what to do."""
        return f"{super().__str__()}; free some space, the run goes on from its last step when it is resumed"


class StoreCorruptError(StoreError):
    """What the store holds is damaged; nothing of it was used."""

    def __str__(self) -> str:
        """Name the run and what to do."""
        return f"{super().__str__()}; what is stored is damaged, restore it from a backup"


# --- Other machines --------------------------------------------------------------------------------------------------


@attrs.define(eq=False, slots=False)
class ProtocolError(WorkflowError):
    """The other side of a connection said what it may not, or we were asked to."""

    problem: str
    request_id: str | None = None

    def __str__(self) -> str:
        """Name the problem and the request, if it had an id."""
        request = "" if self.request_id is None else f" (request {self.request_id!r})"
        return f"{self.problem}{request}"


@attrs.define(eq=False, slots=False)
class PeerError(WorkflowError):
    """A server that should run a workflow for us is lost or refuses."""

    peer: str
    problem: str = ""
    run_id: str | None = None

    def __str__(self) -> str:
        """Name the server and the problem."""
        return f"peer {self.peer!r} failed{_in_run(self.run_id)}{_because(self.problem)}"
