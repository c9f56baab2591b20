"""`blazen-trio run` and `blazen-trio graph`: a workflow by its name, its questions, its result."""

import json

import pytest

from blazen_trio.cli import main

from .terminal_for_tests import (
    COMMAND,
    begin_piped,
    end_of,
    interrupt,
    run_at_terminal,
    run_piped,
    terminate,
    wait_for,
)
from .workflows_for_tests import many

HERE = "tests.cli.workflows_for_tests"


def test_a_result_is_printed_alone_on_stdout(capsys):
    assert main(["run", f"{HERE}:echoing", "--input", '{"a": [1, 2]}']) == 0

    said = capsys.readouterr()
    assert said.out == "{'a': [1, 2]}\n"
    assert said.err == ""


@pytest.mark.parametrize(("argv", "out"), [([], ""), (["--input", '"text"'], "text\n")])
def test_text_is_printed_as_it_is_and_none_not_at_all(argv, out, capsys):
    assert main(["run", f"{HERE}:echoing", *argv]) == 0
    assert capsys.readouterr().out == out


def test_a_result_as_json_is_json_whatever_it_is(capsys):
    assert main(["run", f"{HERE}:odd", "--json"]) == 0

    ended = json.loads(capsys.readouterr().out)
    assert ended["status"] == "completed"
    assert ended["result"] == {"point": {"x": "nan", "tags": ["a"]}, "5": "b'raw'", "huge": 2**70}


def test_a_failure_is_one_line_and_code_1(capsys):
    assert main(["run", f"{HERE}:failing", "--json"]) == 1

    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert "the run failed: StepFailedError: step 'fail'" in last
    assert "ValueError: no luck \\x1b[31mtoday" in last
    assert json.loads(said.out)["error"]["type"] == "StepFailedError"


def test_progress_in_a_log_is_a_few_lines(capsys):
    assert main(["run", f"{HERE}:many"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"{number} of 10 items" for number in (2, 4, 6, 8, 10)]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("nowhere", "write module:name"),
        (":name", "write module:name"),
        ("module:", "write module:name"),
        ("no_such_module_here:flow", "there is no module 'no_such_module_here'"),
        ("tests.cli.no_such_module:flow", "there is no module 'tests.cli.no_such_module'"),
        (f"{HERE}:missing", "its workflows are: echoing, failing"),
        (f"{HERE}:no_workflow", "of type str; its workflows are: echoing"),
        (f"{HERE}:echoing.name.missing", "has no 'echoing.name.missing'"),
        ("json:dumps", "it has no workflow"),
        ("..:x", "cannot be imported"),
    ],
)
@pytest.mark.parametrize("command", ["run", "graph"])
def test_a_name_that_is_no_workflow_is_explained_with_code_2(command, target, hint, capsys):
    assert main([command, target]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("import no_such_module_inside", "needs 'no_such_module_inside', which is not installed"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("def", "cannot be imported: SyntaxError"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("from blazen_trio import Workflow\nflow = Workflow('empty', [])", "workflow 'empty' cannot be built"),
    ],
)
def test_a_module_that_cannot_be_imported_is_explained(source, hint, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    assert main(["graph", "broken_module:flow"]) == 2
    assert hint in capsys.readouterr().err


def test_modules_of_the_current_directory_are_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "module_right_here.py").write_text(f"from {HERE} import many as flow")
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    monkeypatch.chdir(tmp_path)

    assert main(["graph", "module_right_here:flow"]) == 0
    assert capsys.readouterr().out == many.to_mermaid()


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "nope", "[" * 100_000])
def test_input_that_is_no_json_is_explained_with_code_2(text, capsys):
    assert main(["run", f"{HERE}:echoing", f"--input={text}"]) == 2
    assert "--input is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "prompt"), [("asking", "First?"), ("routing", "Routed?"), ("silent", "First?")])
def test_without_a_terminal_an_open_question_is_named_with_code_3(name, prompt, capsys):
    assert main(["run", f"{HERE}:{name}", "--json"]) == 3

    said = capsys.readouterr()
    assert f"waits for an answer to '{prompt}'" in said.err
    ended = json.loads(said.out)
    assert ended["status"] == "awaiting_input"
    assert [question["prompt"] for question in ended["pending_inputs"]] == [prompt]


def test_a_question_that_is_not_needed_for_the_end_does_not_stop_the_run(capsys):
    assert main(["run", f"{HERE}:ending"]) == 0
    assert capsys.readouterr().out == "came to an end\n"


def test_a_person_answers_at_the_terminal():
    ended = run_at_terminal("run", f"{HERE}:asking", script=[("Enter: x", "\n"), ("Second?", "no, \u00fcber\n")])

    assert (ended.code, ended.out) == (0, "['x', 'no, \u00fcber']\n")


def test_the_end_of_input_leaves_the_question_open():
    ended = run_at_terminal("run", f"{HERE}:routing", script=[("> ", "\x04")])

    assert ended.code == 3
    assert "waits for an answer to 'Routed?'" in ended.err


def test_a_run_that_ends_meanwhile_takes_its_question_back():
    ended = run_at_terminal("run", f"{HERE}:ending", script=[("Still there?", "")])

    assert (ended.code, ended.out) == (0, "came to an end\n")


def test_ctrl_c_saves_the_run_and_says_how_to_go_on(tmp_path):
    asked = run_at_terminal(
        "run", f"{HERE}:asking", script=[("First?", "one\n"), ("Second?", interrupt())], cwd=tmp_path
    )

    (file,) = tmp_path.iterdir()
    line = f"blazen-trio: interrupted; go on with: blazen-trio resume {HERE}:asking --snapshot {file.name}"
    assert (asked.code, asked.out) == (130, "")
    assert line in asked.err
    assert "Traceback" not in asked.err

    answered = run_at_terminal(*line.split()[6:], script=[("Second?", "two\n")], cwd=tmp_path)
    assert (answered.code, answered.out) == (0, "['one', 'two']\n")
    assert "First?" not in answered.err


def test_ctrl_c_says_how_far_the_run_was_and_keeps_what_ran(tmp_path):
    ended = run_at_terminal("run", f"{HERE}:endless", "--json", script=[("5 of 5", interrupt())], cwd=tmp_path)

    assert ended.code == 130
    assert "interrupted after 5 of 5 steps of waiting begun; go on with: " in ended.err
    assert json.loads(ended.out)["status"] == "interrupted"

    again = run_at_terminal(*json.loads(ended.out)["go_on"].split()[1:], script=[("5 of 5", terminate())], cwd=tmp_path)
    assert again.code == 143
    assert "terminated after 5 of 5" in again.err


def test_a_signal_that_the_process_was_told_to_ignore_is_ignored(tmp_path):
    deaf = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *COMMAND]

    with begin_piped("run", f"{HERE}:endless", cwd=tmp_path, command=deaf) as process:
        wait_for(process, "5 of 5")
        process.send_signal(interrupt())
        process.send_signal(terminate())
        ended = end_of(process)

    assert ended.code == 143
    assert "terminated after 5 of 5 steps of waiting begun; go on with: " in ended.err


def test_what_cannot_be_saved_is_said(tmp_path):
    ended = run_at_terminal("run", f"{HERE}:unsavable", script=[("1 of 1", interrupt())], cwd=tmp_path)

    assert ended.code == 130
    assert "there is no result, and it could not be saved: " in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [(None, "No such file"), ("{", "snapshot"), ("\x00", "snapshot")],
)
def test_a_file_that_is_no_snapshot_is_explained(text, hint, tmp_path, capsys):
    file = tmp_path / "file.json"
    if text is not None:
        file.write_text(text)

    assert main(["resume", f"{HERE}:asking", "--snapshot", str(file)]) == 2

    said = capsys.readouterr().err
    assert hint in said
    assert said.count("\n") == 1


def test_a_snapshot_of_another_workflow_is_explained(tmp_path, capsys):
    run_at_terminal("run", f"{HERE}:asking", script=[("First?", interrupt())], cwd=tmp_path)
    (file,) = tmp_path.iterdir()

    assert main(["resume", f"{HERE}:echoing", "--snapshot", str(file)]) == 2
    assert "'asking'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["a"], ["--db", "f"], ["a", "--db", "f", "--snapshot", "g"], ["a", "--snapshot", "g"]]
)
def test_resume_wants_a_run_or_a_snapshot(argv, capsys):
    assert main(["resume", f"{HERE}:asking", *argv]) == 2
    assert "resume needs the id of a run and --db FILE, or --snapshot FILE" in capsys.readouterr().err


def test_the_command_works_in_a_process_of_its_own():
    ended = run_piped("graph", "blazen_trio.demo:audit")

    assert ended.code == 0
    assert ended.out.startswith("flowchart TD\n")
