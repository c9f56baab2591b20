"""Mutated snapshots by the hundred thousand: each is refused by a documented error, or is as good as any other.

An input that fails is named by its seed and number. Give both to have it alone, or other counts for more of them::

    FUZZ_SEED=1 FUZZ_FIRST=12345 FUZZ_INPUTS=1 python -m pytest -m slow tests/snapshots/test_fuzz.py
    FUZZ_SEED=2 FUZZ_INPUTS=10000000 python -m pytest -m slow -s tests/snapshots/test_fuzz.py

Without them it is 200,000, from seed 1, whatever ``SLOW_SHARE`` says.
"""

import logging
import os
import re
import sys
from collections import Counter
from time import perf_counter, thread_time

import pytest

from blazen_trio import SessionRefError, SnapshotError, WorkflowSnapshot
from blazen_trio.core.machine import Machine
from blazen_trio.core.messages import RunResumed
from blazen_trio.snapshot import restore, take
from tests.machine.recount import counted, recounted
from tests.snapshots.live_objects import Model
from tests.snapshots.mutating import Mutant, mutant, sources

SEED = int(os.environ.get("FUZZ_SEED", "1"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
INPUTS = int(os.environ.get("FUZZ_INPUTS", "200000"))

SECONDS_MAX = 1.0
WORDS_MAX = 2_000
REF_KEY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DESERIALIZERS = {"model": Model}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Warnings of dropped refs would be kept by the hundred thousand."""
    caplog.set_level(logging.ERROR, "blazen_trio")


def verdict(given: Mutant) -> str:
    """What becomes of it: the name of the error, or ``accepted``."""
    try:
        snapshot = given.read()
        state = restore(given.workflow, given.workflow.codec, snapshot, 0.0, DESERIALIZERS).state
    except (SnapshotError, SessionRefError) as error:
        return f"{type(error).__name__}{' of many words' * (len(str(error)) > WORDS_MAX)}"
    first = taken_again(given, snapshot)
    again = taken_again(given, WorkflowSnapshot.from_json(first.to_json()))
    assert without_keys(again) == without_keys(first)
    if state.outcome is None:
        assert counted(state) == recounted(state)
        Machine(given.workflow, state).handle(RunResumed(0.0, 0.0))
    return "accepted"


def taken_again(given: Mutant, snapshot: WorkflowSnapshot) -> WorkflowSnapshot:
    """What a run that goes on from it gives as its snapshot."""
    codec = given.workflow.codec
    restored = restore(given.workflow, codec, snapshot, 0.0, DESERIALIZERS)
    return take(given.workflow, restored.state, codec, restored.metadata, 0.0, refs=restored.refs)


def without_keys(snapshot: WorkflowSnapshot) -> str:
    """As text, with session-ref keys numbered: objects that only events hold get new ones each time."""
    numbers: dict[str, str] = {}
    return REF_KEY.sub(lambda found: numbers.setdefault(found[0], f"key {len(numbers)}"), snapshot.to_json())


def fuzz(seed: int, first: int, count: int) -> Counter[str]:
    """Try so many; gives how often each verdict fell."""
    verdicts: Counter[str] = Counter()
    worst_s = 0.0
    begin = perf_counter()
    for number in range(first, first + count):
        given = mutant(seed, number)
        begun = thread_time()
        try:
            verdicts[verdict(given)] += 1
        except BaseException as error:
            error.add_note(f"FUZZ_SEED={seed} FUZZ_FIRST={number} FUZZ_INPUTS=1, workflow {given.workflow.name!r}")
            raise
        worst_s = max(worst_s, thread_time() - begun)
        assert worst_s < SECONDS_MAX, f"too slow: FUZZ_SEED={seed} FUZZ_FIRST={number} FUZZ_INPUTS=1"
    taken_s = perf_counter() - begin
    sys.stdout.write(f"\n{count / taken_s:,.0f} inputs/s, the slowest {worst_s * 1e3:.0f} ms, {dict(verdicts)}\n")
    return verdicts


def test_what_is_mutated_is_right_before() -> None:
    for source in sources():
        for is_json, data in zip((True, False), source.texts, strict=True):
            expected = "SessionRefsNotSerializableError" if b'"pickle"' in source.texts[0] else "accepted"
            assert verdict(Mutant(source.workflow, data, is_json)) == expected


def test_a_number_always_gives_the_same_mutant() -> None:
    assert [mutant(5, number).data for number in range(50)] == [mutant(5, number).data for number in range(50)]
    assert mutant(5, 1).data != mutant(6, 1).data


def test_mutated_snapshots_are_refused_or_as_good_as_any() -> None:
    verdicts = fuzz(0, 0, 2_000)
    assert set(verdicts) >= {"accepted", "SnapshotCorruptError", "SnapshotMismatchError", "SnapshotVersionError"}


@pytest.mark.slow
def test_very_many_mutated_snapshots_are_refused_or_as_good_as_any() -> None:
    fuzz(SEED, FIRST, INPUTS)
