"""The command as a whole: what it answers to bad arguments, and what it needs."""

import subprocess
import sys

import pytest

import blazen_trio
from blazen_trio.cli import main
from blazen_trio.cli.output import printable, to_json

from .terminal_for_tests import ROOT, run_piped


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{blazen_trio.__version__}\n"


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["demo", "--help"], ["run", "-h"], ["resume", "-h"], ["runs", "-h"], ["respond", "-h"]]
)
def test_help_is_help(argv, capsys):
    assert main(argv) == 0
    assert "Usage: blazen-trio" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["dmeo"], 'Unknown command "dmeo"'),
        (["run"], "requires an argument"),
        (["graph", "a:b", "c:d"], "c:d"),
        (["demo", "--jsn", "x"], "--jsn"),
        (["demo", "--json"], "--json"),
        (["demo", "--json", "--yes"], "--json needs a file name"),
    ],
)
def test_what_cannot_be_understood_is_explained_with_code_2(argv, hint, capsys):
    assert main(argv) == 2

    said = capsys.readouterr()
    assert hint in said.err
    assert said.out == ""


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_the_command_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from blazen_trio.cli import main; sys.exit(main(['demo']))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "pip install 'blazen-trio[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_library_imports_neither_the_command_nor_the_demo():
    code = (
        "import sys, blazen_trio; names = ('blazen_trio.cli', 'blazen_trio.demo', 'rich', 'cyclopts'); "
        "sys.exit(any(name in sys.modules for name in names))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_the_module_is_the_command():
    assert run_piped("--version").out == f"{blazen_trio.__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_accident():
    command = f"{sys.executable} -m blazen_trio.cli demo --yes --json - | true"

    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_printed_text_is_one_harmless_line():
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable("x" * 100, 10) == "xxxxxxx..."


def test_any_value_has_a_json():
    nested: object = "core"
    for _ in range(10_000):
        nested = [nested]

    assert "..." in to_json(nested)
    assert to_json({"a": float("inf"), 1: {2}}) == '{\n  "a": "inf",\n  "1": [\n    2\n  ]\n}\n'
    assert to_json("\ud800") == '"\\ud800"\n'
