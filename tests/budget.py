"""How long the slow tests take: by hand in full, in ``.ci/run`` a share of it (``SLOW_SHARE``, 1 by default)."""

import os

SLOW_SHARE = float(os.environ.get("SLOW_SHARE", "1"))


def share(count: int) -> int:
    """That share of so many repetitions, at least one."""
    return max(1, round(count * SLOW_SHARE))
