"""The test kit: for the tests of those who write workflows. Nothing else imports it.

=================  =====================================================================================================
``resumable``      ``assert_resumable``: a run that is interrupted anywhere comes to the same end
``driving``        ``drive``: a run on a clock that jumps, in an order that a seed decides, as a text
``state_machine``  ``WorkflowStateMachine``: Hypothesis decides when a run is interrupted; imported when asked for
``strategies``     Hypothesis strategies for events, values and snapshots; only they need Hypothesis
``conformance``    ``store_conformance``: whether a store keeps what a store promises; each is told in ``promises``
``stores``         ``CrashingStore``, ``FlakyStore``: stores that fail on purpose
``peers``          ``LocalPeer``: another server in the same process, which can be lost
``ends``           how a run ended, to be compared
``laws``           what must hold of every run that is interrupted
``living``         a run to its end, with the answers of the people outside
``watching``       a runner that tells of each message it took in
``scheduling``     Trio's scheduler, shuffled by a seed
=================  =====================================================================================================
"""

from typing import TYPE_CHECKING, Any

from blazen_trio.testing.conformance import STORE_PROMISES as STORE_PROMISES
from blazen_trio.testing.conformance import StoreConformanceError as StoreConformanceError
from blazen_trio.testing.conformance import store_conformance as store_conformance
from blazen_trio.testing.driving import Transcript as Transcript
from blazen_trio.testing.driving import drive as drive
from blazen_trio.testing.living import UnansweredError as UnansweredError
from blazen_trio.testing.peers import LocalPeer as LocalPeer
from blazen_trio.testing.resumable import NotResumableError as NotResumableError
from blazen_trio.testing.resumable import assert_resumable as assert_resumable
from blazen_trio.testing.stores import CrashingStore as CrashingStore
from blazen_trio.testing.stores import FlakyStore as FlakyStore
from blazen_trio.testing.strategies import events as events
from blazen_trio.testing.strategies import snapshots as snapshots
from blazen_trio.testing.strategies import state_values as state_values

if TYPE_CHECKING:
    from blazen_trio.testing.state_machine import WorkflowStateMachine as WorkflowStateMachine


def __getattr__(name: str) -> Any:
    """``WorkflowStateMachine``, which needs Hypothesis: the rest of the kit works without it."""
    if name == "WorkflowStateMachine":
        from blazen_trio.testing.state_machine import WorkflowStateMachine  # noqa: PLC0415 - it needs Hypothesis

        return WorkflowStateMachine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
