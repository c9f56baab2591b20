"""What all tests share: the Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE.

`dev` (the default) and `ci` try the same examples at every run; `deep` is for a long look at other examples.

The garbage collector leaves alone what stands once the tests are collected. Half a million objects of modules and
tests made each full collection 0.15 s long, a fifth of the suite's time, and no test asks what becomes of them.
"""

import gc
import os

from hypothesis import HealthCheck, settings

# Deadlines measure the machine, not the code; a slow strategy shows in the seconds of the suite.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", COMMON, max_examples=50, derandomize=True)
settings.register_profile("ci", COMMON, max_examples=300, derandomize=True)
settings.register_profile("deep", COMMON, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
