"""A bug in a snapshot does not get past ``assert_resumable``.

That it takes nothing for a bug which is none is seen in ``tests/kit``: there all programs are resumable.
"""

import pytest

from tests.snapshots.planted_bugs import APT, BUGS, NOTHING, look


@pytest.mark.parametrize("name", [name for name in BUGS if name != NOTHING])
def test_a_planted_bug_is_found(name: str) -> None:
    assert look(name) is not None


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is_planted() -> None:
    assert look(NOTHING) is None


def test_there_are_bugs_of_all_kinds() -> None:
    assert len(BUGS) > 30
    assert set(APT) < set(BUGS)
