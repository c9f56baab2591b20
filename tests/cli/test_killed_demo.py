"""`kill -9` at any moment: `blazen-trio demo --db` goes on where it was, and the report is the same.

What was done is seen from outside: the child's audit hook notes each RECORD that is opened, and `read` opens the one of
its package once.
"""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.demo.packages_for_tests import install

from .terminal_for_tests import begin_piped, end_of, run_piped, wait_for

PACKAGES = 40

READS_AT_ONCE_MAX = 8  # max_concurrency of the step `read`

CHILD = """
import os, sys

noted = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("RECORD"):
        os.write(noted, (str(arguments[0]) + "\\n").encode())

sys.addaudithook(note)
from blazen_trio.cli import main
sys.exit(main())
"""


@attrs.frozen
class Audit:
    """Audits of the packages of a site, with their file in a folder of their own."""

    folder: Path
    site: Path

    def begin(self, name: str = "audit") -> subprocess.Popen[bytes]:
        """Begin it, or go on with it, in a new process."""
        argv = ["demo", "--yes", "--json", "-", "--db", str(self.folder / "runs.db"), "--run-id", name]
        noted = str(self.folder / f"{name}.noted")
        return begin_piped(noted, *argv, "--path", str(self.site), command=[sys.executable, "-c", CHILD])

    def finish(self, name: str = "audit") -> tuple[object, str]:
        """Bring it to its end; gives the report, and what was said."""
        with self.begin(name) as process:
            ended = end_of(process)
        assert ended.code == 0, ended.err
        return json.loads(ended.out), ended.err

    def check_reads(self, kills: int, name: str = "audit") -> None:
        """Each package was read, and no more were read again than could be running at a kill."""
        reads = Counter((self.folder / f"{name}.noted").read_text().split())
        assert len(reads) == PACKAGES
        assert sum(reads.values()) - PACKAGES <= kills * READS_AT_ONCE_MAX
        assert max(reads.values()) <= 1 + kills


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Packages to be audited, two of them with a licence that has to be asked for."""
    folder = tmp_path_factory.mktemp("packages")
    for number in range(PACKAGES):
        install(folder, f"package-{number}", "License: Our Own" if number < 2 else "License: MIT")
    return folder


@pytest.fixture(scope="module")
def report(site):
    """What an uninterrupted audit says."""
    return json.loads(run_piped("demo", "--yes", "--json", "-", "--path", str(site)).out)


@pytest.fixture
def audit(site, tmp_path):
    return Audit(tmp_path, site)


@pytest.mark.parametrize("cue", ["8 of 40", "24 of 40", "Which licence"])
def test_a_killed_audit_goes_on_where_it_was(cue, audit, report):
    with audit.begin() as process:
        wait_for(process, cue)
        process.kill()

    again, said = audit.finish()

    assert again == report
    assert "run audit, begun " in said
    audit.check_reads(kills=1)


def test_an_audit_that_was_killed_twice_goes_on_twice(audit, report):
    for cue in ("8 of 40", "32 of 40"):
        with audit.begin() as process:
            wait_for(process, cue)
            process.kill()

    again, said = audit.finish()

    assert again == report
    assert "goes on with run audit, begun " in said or "is over since" in said
    audit.check_reads(kills=2)


def test_an_audit_that_is_over_gives_its_report_again_and_another_name_begins_another(audit, report):
    first, _ = audit.finish()
    noted = (audit.folder / "audit.noted").read_text()
    second, said = audit.finish()

    assert first == second == report
    assert "run audit, begun " in said
    assert "is over since" in said
    assert (audit.folder / "audit.noted").read_text() == noted

    assert audit.finish("other")[0] == report
    audit.check_reads(0, "other")


@pytest.mark.slow
def test_audits_that_are_killed_again_and_again_give_the_same_report(audit, report):
    """At random moments, most of them after the first line was said; a new audit when one came to its end."""
    chance = random.Random(7)
    kills = {"0": 0}
    for _ in range(30):
        name = str(len(kills) - 1)
        with audit.begin(name) as process:
            if chance.random() < 0.8:
                process.stderr.readline()
                time.sleep(chance.uniform(0, 0.1))
            else:
                time.sleep(chance.uniform(0.1, 0.6))
            if process.poll() is None:
                process.kill()
                kills[name] += 1
            else:
                kills[str(len(kills))] = 0

    for name, times in kills.items():
        assert audit.finish(name)[0] == report
        audit.check_reads(times, name)
