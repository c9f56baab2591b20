"""The examples in README.md and docs/ run as they stand, and the README's commands are the ones that CI runs.

Rules for whoever writes documentation:

* Every block fenced with three backticks and `python` is a program: it runs as `__main__`, in a namespace of its own
  and in an empty directory. Blocks in other languages (`pycon`, `console`, `text`) are only shown.
* `<!-- continues -->` on the line before the fence: the block goes on in the namespace of the block that ran before
  it in that file.
* `<!-- not run: the reason -->` on the line before the fence: the block is shown but skipped, with that reason.

An error in a block points at the line of the page. A page that does not exist has no blocks.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

USE_COMMAND = "python3 -m venv .venv && .venv/bin/pip install '.[cli]' && .venv/bin/blazen-trio demo"
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -e '.[cli,dev]' && .venv/bin/python -m pytest"

BLOCK = re.compile(
    r"""
    (?: ^<!--[ ] (?P<continues>continues) [ ]-->\n | ^<!--[ ]not[ ]run:[ ] (?P<not_run>.+?) [ ]-->\n )?
    ^```python\n (?P<code> .*? ) ^```$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@attrs.frozen
class Example:
    """One block, or a block with those that continue it; each block with the number of its first line."""

    page: Path
    blocks: tuple[tuple[int, str], ...]
    not_run: str | None = None

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.blocks[0][0]}"

    def compiled(self) -> Iterator[CodeType]:
        for line, code in self.blocks:
            yield compile("\n" * (line - 1) + code, str(self.page), "exec", dont_inherit=True)


def examples_of(page: Path, text: str) -> list[Example]:
    """The examples of one page, in the order of their first blocks."""
    found: list[Example] = []
    runnable: int | None = None  # where in `found` the example is that may be continued
    for match in BLOCK.finditer(text):
        block = (text.count("\n", 0, match.start("code")) + 1, match["code"])
        if match["continues"]:
            if runnable is None:
                message = f"{page}:{block[0]}: nothing runs before this block that it could continue"
                raise ValueError(message)
            found[runnable] = attrs.evolve(found[runnable], blocks=(*found[runnable].blocks, block))
            continue
        if not match["not_run"]:
            runnable = len(found)
        found.append(Example(page, (block,), match["not_run"]))
    return found


def all_examples() -> list[Example]:
    return [example for page in PAGES if page.exists() for example in examples_of(page, page.read_text("utf-8"))]


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for example in all_examples()])
def test_an_example_runs_as_it_stands(example, tmp_path, monkeypatch):
    if example.not_run:
        pytest.skip(example.not_run)
    program = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", program)  # so that annotations and pickles find the example's classes
    monkeypatch.chdir(tmp_path)
    for code in example.compiled():
        exec(code, vars(program))  # noqa: S102 - running the documentation is the point of this file


def test_blocks_are_found_joined_and_left_out_by_their_marks():
    page = ROOT / "docs" / "page.md"
    text = (
        "```python\nx = 1\n```\ntext\n<!-- continues -->\n```python\ny = x\n```\n"
        "<!-- not run: needs a server -->\n```python\nserve()\n```\n"
        "<!-- continues -->\n```python\nz = y\n```\n"
        "```console\n$ ls\n```\n```python\nalone = True\n```\n"
    )

    joined, left_out, alone = examples_of(page, text)

    assert joined.blocks == ((2, "x = 1\n"), (7, "y = x\n"), (15, "z = y\n"))
    assert (left_out.blocks, left_out.not_run) == (((11, "serve()\n"),), "needs a server")
    assert (alone.name, alone.not_run) == ("docs/page.md:21", None)


def test_a_block_cannot_continue_nothing():
    with pytest.raises(ValueError, match=r"page\.md:3: nothing runs before"):
        examples_of(ROOT / "page.md", "<!-- continues -->\n```python\nx = 1\n```\n")


def test_every_python_block_of_the_pages_is_seen():
    for page in filter(Path.exists, PAGES):
        text = page.read_text("utf-8")
        seen = sum(len(example.blocks) for example in examples_of(page, text))
        assert seen == len(re.findall(r"^\s*```\s*python\b", text, re.MULTILINE)), f"{page}: indented or oddly fenced"


@pytest.mark.parametrize("command", [USE_COMMAND, TEST_COMMAND], ids=["use", "test"])
def test_the_readme_shows_the_command(command):
    assert command in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "part",
    [
        "-m venv .venv",
        ".venv/bin/pip install -e '.[cli,dev]'",
        ".venv/bin/python -m pytest",
        ".venv/bin/blazen-trio demo",
    ],
)
def test_ci_runs_what_the_readme_shows(part):
    assert part in USE_COMMAND + TEST_COMMAND
    assert part in ci_script_as_typed()


def ci_script_as_typed() -> str:
    """The text of `.ci/run` with its variables and quiet options taken out, as the README would write it."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for written, typed in {
        '"$venv"': ".venv",
        '${clear[@]+"${clear[@]}"} ': "",
        "--quiet --disable-pip-version-check ": "",
        "-m coverage run ": "",
    }.items():
        script = script.replace(written, typed)
    return script
