"""`blazen-trio demo`: the table for people, the JSON for programs, and an answer to whatever goes wrong."""

import json
from pathlib import Path

import pytest

from blazen_trio.cli import main
from tests.demo.packages_for_tests import install

from .terminal_for_tests import interrupt, run_at_terminal, run_piped


@pytest.fixture
def site(tmp_path):
    """Some packages: a clear one, one to be asked about, a broken one, one with a hostile name."""
    folder = tmp_path / "site"
    install(folder, "clear", "License-Expression: MIT")
    install(folder, "own", "License: Our Own")
    (install(folder, "lost") / "METADATA").unlink()
    (install(folder, "hostile") / "METADATA").write_text("Name: [red]\x1b[2J\nVersion: 1\nLicense: ISC\n\n")
    return folder


def test_the_table_has_every_package_and_every_problem(site, capsys):
    assert main(["demo", "--path", str(site)]) == 0

    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["Package", "[red]\\x1b[2J", "clear", "lost", "own"]
    assert "! lost: METADATA is missing" in lines
    assert lines[-1] == "4 packages: 2 permissive, 2 unknown"
    assert "\x1b" not in said.out + said.err


def test_without_a_terminal_the_default_is_taken_and_that_is_said(site, capsys):
    assert main(["demo", "--path", str(site)]) == 0

    said = capsys.readouterr().err
    assert "Which licence is 'Our Own'? It is that of own - no terminal to ask at, took the default: unknown" in said
    assert "4 of 4 packages examined" in said


def test_json_on_stdout_is_all_that_is_there(site, capsys):
    assert main(["demo", "--path", str(site), "--json", "-"]) == 0

    said = capsys.readouterr()
    report = json.loads(said.out)
    assert {package["name"]: package["status"] for package in report["packages"]} == {
        "clear": "classified",
        "own": "undecided",
        "lost": "broken",
        "[red]\x1b[2J": "classified",
    }
    assert "4 packages:" in said.err


def test_json_goes_to_a_file_beside_the_table(site, tmp_path, capsys):
    file = tmp_path / "report.json"

    assert main(["demo", "--path", str(site), "--json", str(file)]) == 0

    assert json.loads(file.read_text())["summary"]["packages"] == 4
    assert "4 packages:" in capsys.readouterr().out


def test_the_packages_of_several_directories_are_one_report(site, tmp_path, capsys):
    install(tmp_path / "more", "Clear", version="9")
    install(tmp_path / "more", "other", "License: MIT")

    assert main(["demo", "--path", str(site), "--path", str(tmp_path / "more"), "--json", "-"]) == 0

    packages = {package["name"]: package for package in json.loads(capsys.readouterr().out)["packages"]}
    assert len(packages) == 5
    assert packages["clear"]["version"] == "1.0"
    assert packages["clear"]["problems"] == [f"hides another copy at {tmp_path / 'more' / 'Clear-9.dist-info'}"]


def test_without_packages_there_is_an_empty_report(tmp_path, capsys):
    assert main(["demo", "--path", str(tmp_path), "--json", "-"]) == 0

    said = capsys.readouterr()
    assert json.loads(said.out) == {"summary": {"packages": 0, "status": {}, "family": {}}, "packages": []}
    assert said.err == "There are no packages.\n"


@pytest.mark.parametrize(
    ("place", "hint"), [("missing/report.json", "its directory does not exist"), (".", "that is a directory")]
)
def test_a_report_that_cannot_be_written_is_refused_before_the_work(site, tmp_path, capsys, place, hint):
    assert main(["demo", "--path", str(site), "--json", str(tmp_path / place)]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert hint in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_costs_the_file_but_not_the_table(site, capsys):
    assert main(["demo", "--path", str(site), "--json", "/dev/full"]) == 1

    said = capsys.readouterr()
    assert "4 packages:" in said.out
    assert "--json /dev/full: cannot be written: No space left on device" in said.err


def test_a_directory_that_does_not_exist_is_told(tmp_path, capsys):
    assert main(["demo", "--path", str(tmp_path / "missing")]) == 2
    assert "there is no such directory" in capsys.readouterr().err


def test_a_person_is_asked_about_what_is_not_clear(site):
    ended = run_at_terminal("demo", "--path", str(site), "--json", "-", script=[("Enter: unknown) > ", "MPL 2.0\n")])

    own = next(package for package in json.loads(ended.out)["packages"] if package["name"] == "own")
    assert ended.code == 0
    assert (own["status"], own["licence"], own["family"]) == ("answered", "MPL-2.0", "weak copyleft")


@pytest.mark.parametrize("typed", ["\n", "\x04", "unknown\n"], ids=["enter", "end of input", "the default itself"])
def test_a_person_may_not_know(site, typed):
    ended = run_at_terminal("demo", "--path", str(site), "--json", "-", script=[("Enter: unknown) > ", typed)])

    own = next(package for package in json.loads(ended.out)["packages"] if package["name"] == "own")
    assert (ended.code, own["status"]) == (0, "undecided")


def test_with_yes_nobody_is_asked_even_at_a_terminal(site):
    ended = run_at_terminal(
        "demo", "--yes", "--path", str(site), script=[("with --yes, took the default: unknown", "")]
    )

    assert ended.code == 0


def test_ctrl_c_is_answered_with_a_clear_line(site):
    ended = run_at_terminal("demo", "--path", str(site), script=[("Enter: unknown) > ", interrupt())])

    assert (ended.code, ended.out) == (130, "")
    assert "interrupted after 4 of 4 packages examined; there is no result" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_keeps_an_audit_that_has_a_file(site, tmp_path):
    argv = ("demo", "--path", str(site), "--db", str(tmp_path / "runs.db"))

    first = run_at_terminal(*argv, script=[("Enter: unknown) > ", interrupt())])
    again = run_at_terminal(*argv, "--json", "-", script=[("Enter: unknown) > ", "MPL 2.0\n")])

    assert (first.code, first.out) == (130, "")
    line = f"interrupted after 4 of 4 packages examined; go on with: blazen-trio demo --db {tmp_path / 'runs.db'}"
    assert line in first.err.replace("\r\n", "")
    assert again.code == 0
    assert "goes on with run licence-audit, begun " in again.err
    own = next(package for package in json.loads(again.out)["packages"] if package["name"] == "own")
    assert own["licence"] == "MPL-2.0"


def test_the_packages_of_this_python_are_audited_in_a_process_of_its_own():
    ended = run_piped("demo", "--yes", "--json", "-")

    names = [package["name"] for package in json.loads(ended.out)["packages"]]
    assert ended.code == 0
    assert "trio" in names
    assert len(names) == len(set(names))
