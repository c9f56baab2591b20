"""What all tests share: the Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE.

`dev` (the default) and `ci` try the same examples at every run; `deep` is for a long look at other examples.

The garbage collector leaves alone what stands before a file's first test: modules, tests and what they remember, half
a million objects. With them a full collection takes 0.15 s, and all of them a fourth of the suite's time; no test asks
what becomes of what was there before it.
"""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FROZEN_FOR = pytest.StashKey[Path]()

# Deadlines measure the machine, not the code; a slow strategy shows in the seconds of the suite.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", COMMON, max_examples=50, derandomize=True)
settings.register_profile("ci", COMMON, max_examples=300, derandomize=True)
settings.register_profile("deep", COMMON, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path != item.session.stash.get(FROZEN_FOR, None):
        item.session.stash[FROZEN_FOR] = item.path
        gc.collect()
        gc.freeze()
