"""The tests of engines catch bugs that are planted for them."""

import pytest

from tests.engine.planted_bugs import BUGS, NOTHING, catches


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    assert catches(name) == (name != NOTHING)
