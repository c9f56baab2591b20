"""W9: ``import blazen_trio`` in a fresh interpreter, beside importing its dependencies there.

The clock runs inside the interpreter, around the import alone: Python's own start would only hide what the package
adds. The second case counts only those dependencies that the package really loads: it shows what its own modules add.
"""

import sys
from functools import partial

from benchmarks.fresh import figure_of
from benchmarks.measuring import Case, Goal, Scale

DEPENDENCIES = ("trio", "attrs", "cattrs", "trio_websocket", "msgspec", "apsw")


def cases(scale: Scale) -> list[Case]:
    engine = partial(import_ms, "blazen_trio")
    engine()  # writes the bytecode of what was edited last, as an installation does
    return [
        Case("import blazen_trio", "ms", engine, partial(import_ms, *DEPENDENCIES), Goal(1.3, "at most")),
        Case("import blazen_trio, of what it loads", "ms", engine, partial(import_ms, *loaded_dependencies())),
    ]


def import_ms(*modules: str) -> float:
    """Milliseconds that importing these modules takes in a fresh interpreter."""
    return figure_of(
        "-c",
        f"import time; begin = time.perf_counter(); import {', '.join(modules)}; "
        "print((time.perf_counter() - begin) * 1e3)",
    )


def loaded_dependencies() -> list[str]:
    """The dependencies that importing the package loads; this program has imported nothing beyond it."""
    return [name for name in DEPENDENCIES if name in sys.modules]
