"""The benchmarks' command line: what it writes, what it refuses, when a comparison fails. No figure is judged."""

import json

import attrs
import pytest

from benchmarks.__main__ import main
from benchmarks.measuring import Case, Goal, Result, measure
from benchmarks.report import changes


def only_w1(*arguments):
    return main(["--only", "W1", "--quick", *map(str, arguments)])


def with_ratios_times(factor, path):
    data = json.loads(path.read_text("utf-8"))
    for entry in data["results"]:
        entry["ratio"] *= factor
    path.write_text(json.dumps(data), "utf-8")


def refusal_of(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_results_are_printed_and_written_as_json(tmp_path, capsys):
    path = tmp_path / "results.json"
    assert only_w1("--json", path) == 0
    data = json.loads(path.read_text("utf-8"))
    assert set(data) == {"machine", "results"}
    assert set(data["machine"]) == {"python", "trio", "blazen_trio", "system", "cpus"}
    assert [entry["work"] for entry in data["results"]] == ["W1"] * 3
    printed = capsys.readouterr().out
    for entry in data["results"]:
        assert set(entry) == {field.name for field in attrs.fields(Result)}
        assert 0 < entry["min"] <= entry["median"] <= entry["max"]
        assert entry["ratio"] > 0
        assert (entry["unit"], entry["goal"], entry["rule"]) == ("us/step", 0.25, "ratio below 0.25")
        assert entry["met"] is (entry["ratio"] < 0.25)
        assert entry["case"] in printed


def test_a_markdown_table_has_a_row_for_each_case(capsys):
    assert only_w1("--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| work | case | blazen_trio | bare Trio | ratio | goal |"
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {7}


def test_a_ratio_that_got_worse_than_the_threshold_fails_the_comparison(tmp_path, capsys):
    path = tmp_path / "last.json"
    only_w1("--json", path)
    with_ratios_times(0.001, path)
    assert only_w1("--compare", path) == 1
    assert "LOST" in capsys.readouterr().out
    with_ratios_times(1_000_000, path)
    assert only_w1("--compare", path) == 0
    assert "better" in capsys.readouterr().out


def test_a_greater_threshold_forgives_more(tmp_path):
    path = tmp_path / "last.json"
    only_w1("--json", path)
    with_ratios_times(0.1, path)  # ten times worse now: by 900 %, give or take the noise of this machine
    assert only_w1("--compare", path, "--threshold", 1_000_000) == 0


def test_a_stored_result_without_the_measured_cases_has_nothing_to_compare(tmp_path, capsys):
    path = tmp_path / "last.json"
    path.write_text('{"machine": {}, "results": []}', "utf-8")
    assert only_w1("--compare", path) == 0
    assert "Nothing to compare" in capsys.readouterr().out


@pytest.mark.parametrize(("before", "now", "unit", "worse"), [(2.0, 3.0, "us/run", 50), (3.0, 2.0, "deliveries/s", 50)])
def test_what_worse_means_depends_on_the_unit(before, now, unit, worse):
    result = measure("W0", Case("a case", unit, engine=lambda: now, baseline=lambda: 1.0), 1)
    (change,) = changes([result], {("W0", "a case"): before})
    assert change.worse_percent == pytest.approx(worse)


def test_baseline_and_engine_take_turns_and_the_ratio_is_that_of_neighbours():
    turns = []

    def figures(name, values):
        source = iter(values)

        def measured():
            turns.append(name)
            return next(source)

        return measured

    case = Case("a case", "us", figures("engine", [2.0, 30.0, 4.0]), figures("baseline", [1.0, 10.0, 4.0]), Goal(2.5))
    result = measure("W0", case, 3)
    assert turns == ["baseline", "engine"] * 3
    assert (result.median, result.min, result.max, result.baseline) == (4.0, 2.0, 30.0, 4.0)
    assert result.ratio == 2.0
    assert result.met


def test_a_goal_for_the_worst_case_looks_at_every_repetition():
    late = iter([1.0, 25.0, 1.0])
    goal = Goal(20.0, "at most", of="worst")
    result = measure("W0", Case("lateness", "ms", lambda: next(late), lambda: 1.0, goal, is_lasting=False), 3)
    assert not result.met
    assert result.ratio is None


def test_an_unknown_work_is_a_usage_error(capsys):
    message = refusal_of(["--only", "W1,W77"], capsys)
    assert "usage: python -m benchmarks" in message
    assert "unknown: 'W77'; the works are W1, W2, W3, W4" in message


def test_a_stored_result_that_cannot_be_read_is_a_usage_error(tmp_path, capsys):
    path = tmp_path / "last.json"
    assert "cannot read" in refusal_of(["--compare", str(path)], capsys)
    for text in ("not JSON", '{"results": [{}]}', "[]"):
        path.write_text(text, "utf-8")
        assert "cannot read" in refusal_of(["--compare", str(path)], capsys)


def test_a_file_in_no_folder_is_a_usage_error_before_anything_is_measured(tmp_path, capsys):
    assert "no folder" in refusal_of(["--json", str(tmp_path / "nowhere" / "results.json")], capsys)
