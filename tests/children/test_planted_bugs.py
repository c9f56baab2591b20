"""The stories of this folder catch what they are there for: each planted bug, and nothing in the control."""

import subprocess
import sys

import pytest

from tests.children.planted_bugs import BUGS

FOUND = 1
"""The exit code of pytest when a test failed; a broken run of it has another."""


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    command = [sys.executable, "-m", "tests.children.planted_bugs", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    expected = 0 if name == "nothing" else FOUND
    assert done.returncode == expected, done.stdout[-3000:] + done.stderr[-3000:]
