"""Standard output that is closed, full, or that nobody reads: one line and code 1; standard error likewise: no word."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from blazen_trio.cli import main

from .terminal_for_tests import COMMAND, ROOT, SECONDS_MAX, begin_piped, wait_for

HERE = "tests.cli.workflows_for_tests"

CLOSE = (
    "import os, sys; os.close({}); os.execv(sys.executable, [sys.executable, '-m', 'blazen_trio.cli', *sys.argv[1:]])"
)


@contextlib.contextmanager
def full() -> Iterator[int]:
    """A disk without room."""
    place = os.open("/dev/full", os.O_WRONLY)
    yield place
    os.close(place)


@contextlib.contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def run_into(argv: list[str], **streams: Any) -> tuple[int, str, str]:
    """The command with these streams; its code, and what came on the others."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    with subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, **streams
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.fixture(scope="module")
def argvs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """A command of each kind, with something to print."""
    db = str(tmp_path_factory.mktemp("streams") / "runs.db")
    assert main(["run", f"{HERE}:echoing", "--db", db, "--run-id", "a", "--input", "5"]) == 0
    with begin_piped("serve", f"{HERE}:echoing", "--db", db, "--port", "0", "--json") as server:
        wait_for(server, "Ctrl-C stops")
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        yield {
            "watch": ["watch", url, "a"],
            "run": ["run", f"{HERE}:echoing", "--input", "5", "--json"],
            "runs": ["runs", "--db", db],
            "show": ["show", "a", "--db", db],
            "graph": ["graph", f"{HERE}:echoing"],
            "serve": ["serve", f"{HERE}:echoing", "--port", "0", "--json"],
            "help": ["--help"],
        }
        server.kill()


NAMES = ["watch", "run", "runs", "show", "graph", "serve", "help"]


@pytest.mark.parametrize(("place", "why"), [(full, "No space left on device"), (unread, "Broken pipe")])
@pytest.mark.parametrize("name", NAMES)
def test_output_that_cannot_be_written_is_one_line_and_code_1(argvs, name, place, why):
    with place() as stdout:
        code, _, err = run_into([*COMMAND, *argvs[name]], stdout=stdout)

    assert (code, err) == (1, f"blazen-trio: standard output: {why}\n")


@pytest.mark.parametrize("name", ["watch", "runs"])
def test_a_closed_standard_output_likewise(argvs, name):
    code, _, err = run_into([sys.executable, "-c", CLOSE.format(1), *argvs[name]])

    assert (code, err) == (1, "blazen-trio: standard output: Bad file descriptor\n")


def test_no_file_takes_the_place_of_a_closed_standard_output(tmp_path):
    db = tmp_path / "runs.db"
    argv = ["run", f"{HERE}:echoing", "--db", str(db), "--run-id", "a", "--input", '"a text"']

    assert run_into([sys.executable, "-c", CLOSE.format(1), *argv])[0] == 1
    assert main(["show", "a", "--db", str(db)]) == 0


def test_a_command_without_output_does_not_mind():
    with full() as stdout:
        code, _, err = run_into([*COMMAND, "run", f"{HERE}:echoing"], stdout=stdout)

    assert (code, err) == (0, "")


def test_what_cannot_be_said_on_standard_error_does_not_matter():
    argv = ["run", f"{HERE}:echoing", "--input", "5"]
    with full() as stderr:
        assert run_into([*COMMAND, *argv], stderr=stderr) == (0, "5\n", "")
        assert run_into([*COMMAND, "run", "nowhere"], stderr=stderr) == (2, "", "")
    assert run_into([sys.executable, "-c", CLOSE.format(2), *argv]) == (0, "5\n", "")
    assert run_into([sys.executable, "-c", CLOSE.format(2), "run", "nowhere"]) == (2, "", "")
