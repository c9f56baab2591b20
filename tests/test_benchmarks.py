"""The benchmarks' command line: what it writes, what it refuses, when a comparison fails. No figure is judged."""

import json

import attrs
import pytest

from benchmarks.__main__ import main
from benchmarks.catalogue import WORKS
from benchmarks.measuring import Case, Goal, Result, measure
from benchmarks.report import changes


@pytest.fixture
def steady_work(monkeypatch):
    """A work of one case, W0, that always takes twice as long as its baseline."""
    case = Case("a case", "us/run", engine=lambda: 2.0, baseline=lambda: 1.0, goal=Goal(1.5))
    monkeypatch.setitem(WORKS, "W0", lambda scale: [case])


@pytest.fixture
def last(tmp_path):
    """Stores a result of W0 with some ratio."""

    def store(ratio):
        path = tmp_path / "last.json"
        path.write_text(json.dumps({"results": [{"work": "W0", "case": "a case", "ratio": ratio}]}), "utf-8")
        return str(path)

    return store


def refusal_of(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_results_are_printed_and_written_as_json(tmp_path, capsys):
    path = tmp_path / "results.json"
    assert main(["--only", "W1", "--quick", "--json", str(path)]) == 0
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


@pytest.mark.usefixtures("steady_work")
def test_a_markdown_table_has_a_row_for_each_case(capsys):
    assert main(["--only", "W0", "--quick", "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| work | case | blazen_trio | bare Trio | ratio | goal |",
        "| --- | --- | --- | --- | --- | --- |",
        "| W0 | a case | 2 us/run (2 to 2) | 1 us/run | 2.000 | ratio below 1.5: NO |",
    ]


@pytest.mark.usefixtures("steady_work")
@pytest.mark.parametrize(
    ("before", "code", "words"),
    [
        (1.0, 1, "100.0 % worse  LOST"),
        (1.9, 0, "5.3 % worse"),
        (4.0, 0, "50.0 % better"),
        (None, 0, "Nothing to compare"),
    ],
)
def test_a_ratio_that_got_worse_by_more_than_the_threshold_fails(last, capsys, before, code, words):
    assert main(["--only", "W0", "--quick", "--compare", last(before)]) == code
    assert words in capsys.readouterr().out


@pytest.mark.usefixtures("steady_work")
@pytest.mark.parametrize(("threshold", "code"), [("99", 1), ("101", 0)])
def test_the_threshold_is_in_percent_of_the_ratio(last, threshold, code):
    assert main(["--only", "W0", "--quick", "--compare", last(1.0), "--threshold", threshold]) == code


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
