"""The command line of the benchmarks.

Exit codes: 0; 1 with ``--compare`` if a ratio is worse than the stored one by more than ``--threshold`` percent; 2 for
wrong arguments. A goal that is not met is shown but is no failure: that is what ``--compare`` is for.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.catalogue import WORKS
from benchmarks.measuring import Result, Scale, measure
from benchmarks.report import (
    CHANGE_HEADINGS,
    HEADINGS,
    THRESHOLD_PERCENT,
    Key,
    changes,
    machine,
    markdown,
    read_ratios,
    row,
    table,
    write,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; gives the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    before = _read_before(parser, options.compare)
    _check_folder(parser, options.json)
    results = list(_measure_all(options.only, Scale(is_quick=options.quick)))
    print(markdown(results) if options.markdown else table([HEADINGS, *map(row, results)]))
    if options.json is not None:
        write(options.json, results)
    return 0 if before is None else _compare(results, before, options.threshold)


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="How fast the engine is, beside bare Trio.")
    parser.add_argument("--only", type=_works, default=list(WORKS), metavar="W1,W2", help="only these works")
    parser.add_argument("--quick", action="store_true", help="a smoke test: small sizes, two repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="a stored result: exit code 1 if a ratio got worse"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD_PERCENT,
        metavar="PERCENT",
        help="how much worse a ratio may be (default %(default)g: machines are noisy)",
    )
    return parser


def _works(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",")]
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        message = f"unknown: {', '.join(map(repr, unknown))}; the works are {', '.join(WORKS)}"
        raise argparse.ArgumentTypeError(message)
    return [name for name in WORKS if name in names]


def _read_before(parser: argparse.ArgumentParser, path: Path | None) -> dict[Key, float] | None:
    """Read the stored result before measuring for minutes."""
    try:
        return None if path is None else read_ratios(path)
    except (OSError, ValueError) as error:
        parser.error(f"argument --compare: cannot read {path}: {error}")


def _check_folder(parser: argparse.ArgumentParser, path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        parser.error(f"argument --json: there is no folder {path.parent}")


def _measure_all(works: Sequence[str], scale: Scale) -> Iterator[Result]:
    """Measure, and tell on standard error how far it is."""
    print(", ".join(f"{name} {value}" for name, value in machine().items()), file=sys.stderr)
    if scale.is_quick:
        print("A smoke test: at these sizes the figures mean little.", file=sys.stderr)
    for work in works:
        for case in WORKS[work](scale):
            print(f"{work}: {case.name} ...", file=sys.stderr, flush=True)
            yield measure(work, case, scale.repetitions)


def _compare(results: Sequence[Result], before: dict[Key, float], threshold_percent: float) -> int:
    found = changes(results, before)
    if not found:
        print("\nNothing to compare: the stored result has none of these cases.")
        return 0
    print()
    print(table([CHANGE_HEADINGS, *(change.row(threshold_percent) for change in found)]))
    return int(any(change.worse_percent > threshold_percent for change in found))


if __name__ == "__main__":
    sys.exit(main())
