"""`blazen-trio graph`: the same graph as Mermaid, as JSON, and as a picture that needs nothing else."""

import json
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from blazen_trio import Edge, Node, WorkflowDescription
from blazen_trio.cli import main
from blazen_trio.cli.drawing import to_svg
from blazen_trio.demo import audit
from tests.budget import soon

HERE = "tests.cli.workflows_for_tests"
SVG = "{http://www.w3.org/2000/svg}"


def graph_of(*names: str, edges: list[Edge]) -> WorkflowDescription:
    return WorkflowDescription("graph", tuple(Node(name, "step") for name in names), tuple(edges))


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg.encode())  # noqa: S314 - it is our own


def boxes_in(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each box, by the name of its node."""
    found = {}
    for group in parsed(svg).iter(f"{SVG}g"):
        rect, title = group.find(f"{SVG}rect"), group.find(f"{SVG}title")
        if rect is not None and title is not None:
            x, y, width, height = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
            found[str(title.text)] = (x, y, x + width, y + height)
    return found


def test_the_three_forms_show_the_same_graph(capsys):
    assert main(["graph", "blazen_trio.demo:audit", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert main(["graph", "blazen_trio.demo:audit", "--svg"]) == 0
    drawn = capsys.readouterr().out

    names = {node.name for node in audit.describe().nodes}
    assert {node["name"] for node in described["nodes"]} == set(boxes_in(drawn)) == names
    assert len(described["edges"]) == len(audit.describe().edges)


def test_only_one_form_is_printed(capsys):
    assert main(["graph", f"{HERE}:many", "--json", "--svg"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_events_go_downwards_and_only_what_goes_round_comes_up():
    svg = to_svg(graph_of("a", "b", "c", edges=[Edge("a", "b", "X"), Edge("b", "c", "Y"), Edge("c", "a", "Back")]))

    boxes = boxes_in(svg)
    assert boxes["a"][3] < boxes["b"][1]
    assert boxes["b"][3] < boxes["c"][1]


def test_no_two_boxes_are_over_each_other():
    boxes = list(boxes_in(to_svg(audit.describe())).values())

    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top


def test_all_of_the_picture_is_in_its_frame():
    svg = to_svg(graph_of("a", "b", "c", edges=[Edge("a", "c", "A long name of an event"), Edge("a", "a", "Again")]))

    left, top, width, height = map(float, re.findall(r'viewBox="([^"]*)"', svg)[0].split())
    points = [
        (float(x), float(y))
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", " ".join(re.findall(r' d="(M[^z"]*)"', svg)))
    ]
    assert points
    assert all(left <= x <= left + width and top <= y <= top + height for x, y in points if (x, y) != (0, 0))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"&'", "a\x00\x1b[31mb", "\ud800", "]]>", "x" * 1_000])
def test_no_name_breaks_the_picture(name):
    described = WorkflowDescription(name, (Node(name, "step"), Node("b", "join")), (Edge(name, "b", name, True),))

    root = parsed(to_svg(described))

    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "style", "marker", "path", "g", "rect", "text")
    }


def test_a_workflow_of_thousands_of_steps_is_drawn_soon():
    names = [str(number) for number in range(3_000)]
    edges = [Edge(one, other, "E") for one, other in pairwise(names)]

    with soon():
        svg = to_svg(graph_of(*names, edges=edges))

    assert len(boxes_in(svg)) == 3_000


def test_an_empty_graph_is_a_picture():
    assert boxes_in(to_svg(graph_of(edges=[]))) == {}


def test_lines_do_not_cross_where_they_need_not():
    boxes = boxes_in(to_svg(graph_of("a", "b", "of b", "of a", edges=[Edge("a", "of a", "X"), Edge("b", "of b", "Y")])))

    assert (boxes["a"][0] < boxes["b"][0]) == (boxes["of a"][0] < boxes["of b"][0])
