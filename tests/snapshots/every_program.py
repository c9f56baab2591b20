"""All programs that are interrupted at every point. A new family is a file of its own beside these, and a line here.

=================  ====================================================================================================
``programs``       chains, fan-outs, limits, joins, retries, time-outs, recoveries, collectors, waits, questions,
                   ``once``, state, generators, sends, pauses, failures, threads
``more_programs``  typed state, values of all kinds, idempotency keys, attempts, stream items, usage and cost, history,
                   channels, unanswered questions, empty and mixed and deep joins, one limiter for several steps,
                   generators and sends that are repeated, running time, long timers, recoveries of recoveries, races,
                   stalls
``live_programs``  objects in ``Live`` fields, session refs that are pickled or give their bytes
``sub_workflows``  runs inside of runs: their state, questions, retries and failures, two levels of them, in parallel
=================  ====================================================================================================
"""

from collections.abc import Callable
from typing import Final

import pytest

from blazen_trio.testing import assert_resumable
from tests.snapshots.live_programs import LIVE_PROGRAMS
from tests.snapshots.more_programs import MORE_PROGRAMS
from tests.snapshots.programs import PROGRAMS, Program
from tests.snapshots.sub_workflows import SUB_WORKFLOWS

Make = Callable[[], Program]

EVERY_PROGRAM: Final[tuple[Make, ...]] = (*PROGRAMS, *MORE_PROGRAMS, *LIVE_PROGRAMS, *SUB_WORKFLOWS)

ALONE: Final = tuple(make for make in EVERY_PROGRAM if make().is_alone)
"""Those that ``assert_resumable`` can run: nobody outside does more than answer."""


def by_name(makers: tuple[Callable[[], object], ...]) -> pytest.MarkDecorator:
    """One test for each program."""
    return pytest.mark.parametrize("make", makers, ids=lambda make: make.__name__)


async def check(make: Make, *, seed: int = 0) -> int:
    """``assert_resumable`` with all there is to compare, and with fresh steps for each run, as in another process."""
    program = make()
    return await assert_resumable(
        lambda: make().workflow,
        program.start,
        answers=program.answers,
        deserializers=program.deserializers,
        seed=seed,
        stream=True,
    )
