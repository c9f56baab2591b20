"""Runs that are kept in a file: begun, listed, shown, answered, gone on with, aborted, from any process."""

import json
import logging
import shutil
import time

import pytest
import trio
from rich.console import Console

from blazen_trio import SqliteStore, open_engine
from blazen_trio.cli import main
from blazen_trio.cli.view import PlainView, logging_to
from blazen_trio.engine.opening import DRAIN_S

from .terminal_for_tests import (
    COMMAND,
    begin_piped,
    end_of,
    interrupt,
    run_at_terminal,
    run_piped,
    running,
    terminate,
)
from .workflows_for_tests import routing

HERE = "tests.cli.workflows_for_tests"


@pytest.fixture
def db(tmp_path):
    """A file that is not there yet."""
    return str(tmp_path / "runs.db")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A file with a run of each kind: done, failed, and two that wait for answers."""
    db = tmp_path_factory.mktemp("kept") / "runs.db"
    assert main(["run", f"{HERE}:echoing", "--input", "[1]", "--db", str(db), "--run-id", "done"]) == 0
    assert main(["run", f"{HERE}:failing", "--db", str(db), "--run-id", "failed"]) == 1
    assert main(["run", f"{HERE}:asking", "--db", str(db), "--run-id", "waiting"]) == 3
    assert main(["run", f"{HERE}:two", "--db", str(db), "--run-id", "both"]) == 3
    return db


@pytest.fixture
def kept(db, template):
    """Such a file of one's own."""
    shutil.copy(template, db)
    return db


def said_as_json(capsys):
    return json.loads(capsys.readouterr().out)


# --- Going on ---------------------------------------------------------------------------------------------------------


def test_a_run_in_a_file_gives_its_result_now_and_later(db, capsys):
    assert main(["run", f"{HERE}:echoing", "--input", '"text"', "--db", db, "--run-id", "a"]) == 0
    assert capsys.readouterr().out == "text\n"

    assert main(["resume", f"{HERE}:echoing", "a", "--db", db]) == 0

    said = capsys.readouterr()
    assert said.out == "text\n"
    assert "is over since" in said.err


def test_a_failure_in_a_file_stays_one(kept, capsys):
    assert main(["resume", f"{HERE}:failing", "failed", "--db", kept, "--json"]) == 1

    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["type"] == "StepFailedError"
    assert "no luck \\x1b[31mtoday" in said.err
    assert "step failed" not in said.err  # that was then


def test_a_question_is_answered_whenever_somebody_knows(kept, capsys):
    assert main(["respond", f"{HERE}:asking", "waiting", "one", "--db", kept, "--json"]) == 3
    assert [question["prompt"] for question in said_as_json(capsys)["pending_inputs"]] == ["Second?"]

    assert main(["respond", f"{HERE}:asking", "waiting", '{"a": [1, null]}', "--db", kept]) == 0
    assert capsys.readouterr().out == "['one', {'a': [1, None]}]\n"


@pytest.mark.parametrize(
    ("text", "answer"), [("-5", -5), ("NaN", "NaN"), ('"5"', "5"), ("5, or 6", "5, or 6"), ("", "")]
)
def test_an_answer_is_json_if_it_can_be(text, answer, db, capsys):
    main(["run", f"{HERE}:routing", "--db", db, "--run-id", "a"])
    capsys.readouterr()

    assert main(["respond", f"{HERE}:routing", "a", text, "--db", db, "--json"]) == 0
    assert said_as_json(capsys)["result"] == answer


def test_a_waiting_run_says_how_to_answer_it(db, capsys):
    assert main(["run", f"{HERE}:asking", "--db", db, "--run-id", "a b"]) == 3
    assert f"answer it: blazen-trio respond {HERE}:asking 'a b' ANSWER --db {db}" in capsys.readouterr().err


def test_one_of_several_questions_is_named(kept, capsys):
    assert main(["show", "both", "--db", kept, "--json"]) == 0
    questions = {question["prompt"]: question["request_id"] for question in said_as_json(capsys)["pending_inputs"]}
    assert len(questions) == 2

    assert main(["respond", f"{HERE}:two", "both", "B", "--db", kept, "--request", questions["Right?"]]) == 3
    capsys.readouterr()
    assert main(["respond", f"{HERE}:two", "both", "A", "--db", kept]) == 0
    assert capsys.readouterr().out == "['Left?: A', 'Right?: B']\n"


@pytest.mark.parametrize(("stop", "code"), [(interrupt(), 130), (terminate(), 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_parks_the_run_and_the_line_that_is_said_goes_on(stop, code, db, tmp_path, capsys):
    asked = run_at_terminal(
        "run", f"{HERE}:asking", "--db", "runs.db", script=[("First?", "one\n"), ("Second?", stop)], cwd=tmp_path
    )
    assert (asked.code, asked.out) == (code, "")
    assert "Traceback" not in asked.err
    line = asked.err.split("go on with: blazen-trio ")[1].split()

    main(["runs", "--db", db, "--json"])
    assert [each["run_id"] for each in said_as_json(capsys)] == [line[2]]

    answered = run_at_terminal(*line, script=[("Second?", "two\n")], cwd=tmp_path)
    assert (answered.code, answered.out) == (0, "['one', 'two']\n")
    assert "First?" not in answered.err


def test_a_second_ctrl_c_does_not_wait_for_the_calls(db, capsys):
    script: list[tuple[str, str | int]] = [("5 of 5", interrupt()), ("Ctrl-C again", interrupt())]

    begun = time.monotonic()
    ended = run_at_terminal("run", f"{HERE}:endless", "--db", db, "--run-id", "a", script=script)

    assert time.monotonic() - begun < DRAIN_S
    assert ended.code == 130
    assert (
        f"interrupted after 5 of 5 steps of waiting begun; go on with: blazen-trio resume {HERE}:endless a" in ended.err
    )
    assert main(["show", "a", "--db", db, "--json"]) == 0
    shown = said_as_json(capsys)
    assert (shown["status"], shown["held_by"]) == ("running", None)


def test_a_paused_run_takes_an_answer_and_goes_on_when_it_is_resumed(db, capsys):
    async def pause() -> None:
        async with open_engine(SqliteStore(db), [routing]) as engine:
            await engine.pause("a")

    main(["run", f"{HERE}:routing", "--db", db, "--run-id", "a"])
    trio.run(pause)
    capsys.readouterr()

    assert main(["respond", f"{HERE}:routing", "a", "yes", "--db", db]) == 0
    line = f"the run is paused; go on with it: blazen-trio resume {HERE}:routing a --db {db}"
    assert line in capsys.readouterr().err

    assert main(["resume", f"{HERE}:routing", "a", "--db", db]) == 0
    assert capsys.readouterr().out == "yes\n"


# --- Looking ----------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(kept, capsys):
    assert main(["runs", "--db", kept]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["Run", "Workflow", "Status"]
    rows = [line.split()[:3] for line in lines[1:] if not line.startswith(" ")]
    assert rows == [
        ["both", "two", "awaiting_input"],
        ["waiting", "asking", "awaiting_input"],
        ["failed", "failing", "failed"],
        ["done", "echoing", "completed"],
    ]


@pytest.mark.parametrize(
    ("argv", "ids"),
    [
        (["--status", "awaiting_input"], ["both", "waiting"]),
        (["--workflow", "asking"], ["waiting"]),
        (["--workflow", "nowhere"], []),
        (["--limit", "1"], ["both"]),
        (["--after", "waiting"], ["failed", "done"]),
        (["--after", "waiting", "--limit", "1"], ["failed"]),
    ],
)
def test_a_list_is_narrowed(argv, ids, kept, capsys):
    assert main(["runs", "--db", kept, "--json", *argv]) == 0
    assert [each["run_id"] for each in said_as_json(capsys)] == ids


def test_a_full_page_says_where_the_next_one_begins(kept, capsys):
    assert main(["runs", "--db", kept, "--limit", "2"]) == 0
    assert capsys.readouterr().err == "There may be more: --after waiting\n"


def test_a_run_is_shown_with_what_it_waits_for(kept, capsys):
    assert main(["show", "waiting", "--db", kept]) == 0

    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["status"].strip() == "awaiting_input"
    assert facts["held by"].strip() == "nobody"
    assert facts["question"].strip().startswith("First? (request ")
    assert facts["go on"].strip() == f"blazen-trio respond MODULE:WORKFLOW waiting ANSWER --db {kept}"


def test_what_runs_say_cannot_harm_a_terminal(kept, capsys):
    main(["runs", "--db", kept])
    main(["show", "failed", "--db", kept])

    assert "\x1b" not in capsys.readouterr().out


# --- What makes no sense ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["run", f"{HERE}:echoing", "--run-id", "done"], "there already is a run 'done' in"),
        (["run", f"{HERE}:echoing", "--run-id", ""], "the run cannot begin: run_id= must be a text"),
        (["run", f"{HERE}:echoing", "--run-id", "a\udcff"], "the run cannot begin: run_id= must be a text"),
        (["resume", f"{HERE}:echoing", "nowhere"], "there is no run 'nowhere' in"),
        (["resume", f"{HERE}:echoing", "\udcff"], "there is no run '\\udcff' in"),
        (["resume", f"{HERE}:failing", "done"], "is of the workflow 'echoing', and this one is named 'failing'"),
        (["show", "nowhere"], "there is no run 'nowhere' in"),
        (["runs", "--after", "nowhere"], "there is no run 'nowhere' in"),
        (["runs", "--status", "happy"], "--status happy is none; there are running, paused"),
        (["runs", "--limit", "0"], "--limit 0 lists nothing"),
        (["respond", f"{HERE}:echoing", "nowhere", "x"], "there is no run 'nowhere' in"),
        (["respond", f"{HERE}:echoing", "done", "x"], "run 'done' is over (completed) and takes no answer"),
        (["respond", f"{HERE}:two", "both", "x"], "has several open questions, say which is answered: --request "),
        (["respond", f"{HERE}:asking", "waiting", "x", "--request", "r"], "has no such open question: --request "),
        (
            ["respond", f"{HERE}:echoing", "waiting", "x"],
            "is of the workflow 'asking', and this one is named 'echoing'",
        ),
        (["abort", "nowhere"], "there is no run 'nowhere' in"),
        (["abort", "waiting"], "nobody holds run 'waiting'; say which workflow can read it: blazen-trio abort waiting"),
        (["abort", "waiting", "--workflow", f"{HERE}:two"], "is of the workflow 'asking', not of 'two'"),
        (["abort", "waiting", "--workflow", "nowhere"], "write module:name"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_code_2(argv, hint, kept, capsys):
    assert main([*argv, "--db", kept]) == 2

    said = capsys.readouterr()
    assert hint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


COMMANDS = [
    ["run", f"{HERE}:echoing"],
    ["resume", f"{HERE}:echoing", "a"],
    ["respond", f"{HERE}:asking", "a", "x"],
    ["runs"],
    ["show", "a"],
    ["abort", "a"],
    ["demo"],
]


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: argv[0])
def test_a_file_that_is_no_store_is_left_alone(argv, tmp_path, capsys):
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader")

    assert main([*argv, "--db", str(file)]) == 2

    said = capsys.readouterr().err
    assert "is damaged, or no database" in said
    assert said.count("\n") == 1
    assert file.read_text() == "Dear reader"


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: argv[0])
def test_a_place_for_no_file_is_explained(argv, tmp_path, capsys):
    assert main([*argv, "--db", str(tmp_path)]) == 2
    assert main([*argv, "--db", str(tmp_path / "missing" / "runs.db")]) == 2

    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("that is a directory")
    assert second.endswith("its directory does not exist")


@pytest.mark.parametrize("argv", COMMANDS[1:-1], ids=lambda argv: argv[0])
def test_a_file_is_made_only_for_a_new_run(argv, db, tmp_path, capsys):
    assert main([*argv, "--db", db]) == 2

    assert "there is no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["run", f"{HERE}:echoing", "--run-id", "a"], ["demo", "--run-id", "a"]])
def test_an_id_without_a_file_is_a_mistake(argv, capsys):
    assert main(argv) == 2
    assert "give --db, too" in capsys.readouterr().err


# --- Aborting ---------------------------------------------------------------------------------------------------------


def test_a_run_that_nobody_holds_is_aborted_with_its_workflow(kept, capsys):
    assert main(["abort", "waiting", "--db", kept, "--workflow", f"{HERE}:asking", "--json"]) == 0
    assert said_as_json(capsys) == {"run_id": "waiting", "status": "aborted"}

    assert main(["resume", f"{HERE}:asking", "waiting", "--db", kept]) == 1
    assert "WorkflowAbortedError" in capsys.readouterr().err


def test_aborting_a_run_that_is_over_changes_nothing(kept, capsys):
    assert main(["abort", "done", "--db", kept]) == 0
    assert "run 'done' is over (completed)" in capsys.readouterr().err


# --- A file that fails ------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_stops_the_run_and_it_goes_on_when_there_is_room(db, capsys):
    small = ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash", *COMMAND]
    argv = ("run", f"{HERE}:growing", "--db", db, "--run-id", "a", "--json")

    with begin_piped(*argv, command=small) as process:
        ended = end_of(process)

    line = f"blazen-trio resume {HERE}:growing a --db {db}"
    assert ended.code == 1
    assert "the run stopped: StoreError: " in ended.err
    assert ended.err.endswith(f"go on with: {line}\n")
    assert (json.loads(ended.out)["status"], json.loads(ended.out)["go_on"]) == ("stopped", line)

    assert main(line.split()[1:]) == 0
    assert capsys.readouterr().out == "50\n"


def test_what_the_library_logs_is_shown_as_harmless_lines(capsys):
    logger = logging.getLogger("blazen_trio")
    with logging_to(PlainView(Console(stderr=True))):
        logger.warning("run %s: \x1b[2J", "a")
    logger.debug("nobody hears this")

    assert capsys.readouterr().err == "(run a: \\x1b[2J)\n"


# --- Several processes ------------------------------------------------------------------------------------------------

BUSY = ("run", f"{HERE}:meeting", "--run-id", "held")
CUE = "5 of 5 steps of waiting begun"


def test_a_run_that_another_process_holds_is_shown_and_left_to_it(db, capsys):
    with running(*BUSY, "--db", db, cue=CUE) as process:
        refused = run_piped("resume", f"{HERE}:meeting", "held", "--db", db)
        assert refused.code == 2
        assert f"run 'held' is held by process {process.pid} of " in refused.err
        assert refused.err.count("\n") == 1

        assert main(["show", "held", "--db", db]) == 0
        assert f"process {process.pid} of " in capsys.readouterr().out


def test_answers_for_a_run_of_another_process_go_there(db, capsys):
    with running(*BUSY, "--db", db, cue=CUE) as process:
        assert main(["respond", f"{HERE}:meeting", "held", "one", "--db", db]) == 0
        assert f"the answer is taken; process {process.pid} of " in capsys.readouterr().err

        while main(["show", "held", "--db", db, "--json"]) == 0:
            if [each["prompt"] for each in said_as_json(capsys)["pending_inputs"]] == ["Second?"]:
                break
        assert main(["respond", f"{HERE}:meeting", "held", "two", "--db", db, "--json"]) == 0
        assert said_as_json(capsys) == {"run_id": "held", "status": "answered"}

        ended = end_of(process)
        assert (ended.code, ended.out) == (0, "['one', 'two']\n")


def test_a_run_of_another_process_is_aborted_there(db, capsys):
    with running(*BUSY, "--db", db, cue=CUE) as process:
        assert main(["abort", "held", "--db", db]) == 0
        assert "run 'held' is over (aborted)" in capsys.readouterr().err

        ended = end_of(process)
        assert ended.code == 1
        assert "WorkflowAbortedError" in ended.err


def test_two_processes_run_their_own_runs_in_one_file(db, capsys):
    with running(*BUSY, "--db", db, cue=CUE):
        assert main(["run", f"{HERE}:many", "--db", db, "--run-id", "ours"]) == 0
        assert main(["run", f"{HERE}:meeting", "--db", db, "--run-id", "held"]) == 2
        assert "there already is a run 'held'" in capsys.readouterr().err

    assert main(["show", "held", "--db", db, "--json"]) == 0
    assert said_as_json(capsys)["held_by"] is None
