"""`blazen-trio run` and `blazen-trio graph`: a workflow by its name, its questions, its result."""

import json

import pytest

from blazen_trio.cli import main

from .terminal_for_tests import interrupt, run_at_terminal, run_piped
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


def test_ctrl_c_says_how_far_the_run_was():
    ended = run_at_terminal("run", f"{HERE}:endless", script=[("5 of 5", interrupt())])

    assert ended.code == 130
    assert "interrupted after 5 of 5 steps of waiting begun; there is no result" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_at_a_question_ends_the_command():
    ended = run_at_terminal("run", f"{HERE}:asking", script=[("Enter: x) > ", interrupt())])

    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_the_command_works_in_a_process_of_its_own():
    ended = run_piped("graph", "blazen_trio.demo:audit")

    assert ended.code == 0
    assert ended.out.startswith("flowchart TD\n")
