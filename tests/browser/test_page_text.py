"""The console page as text: what it must not contain, whoever changes it."""

import re

import pytest

from blazen_trio.websocket.server.pages import console_page

PAGE, POLICY = console_page("127.0.0.1:8765")
TEXT = PAGE.decode()
SCRIPT = TEXT.partition("<script>")[2].partition("</script>")[0]


@pytest.mark.parametrize(
    "word",
    [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "setHTMLUnsafe",
        "createContextualFragment",
        "DOMParser",
        "document.write",
        "eval(",
        "Function(",
        "javascript:",
        "srcdoc",
        "import(",
        "localStorage",
        "document.cookie",
        "postMessage",
        "window.open",
        "style=",
    ],
)
def test_no_way_to_turn_text_into_markup_or_code(word):
    assert word not in TEXT


def test_no_handlers_in_attributes():
    markup = TEXT.replace(SCRIPT, "")
    assert not re.findall(r"<[^>]*\son[a-z]+\s*=", markup)


def test_attributes_that_are_set_have_fixed_harmless_names():
    assert set(re.findall(r"\.setAttribute\(([^,]+),", SCRIPT)) <= {
        "'aria-current'", "'aria-label'", "'class'", "'data-state'", "'data-status'", "'height'", "'href'", "'role'",
        "'title'", "'width'", "'x'",
        "name",  # in `draw`, where all names are written at the place of the call
    }  # fmt: skip
    assert re.findall(r"setAttribute\('href', (.+)\);", SCRIPT) == ["addressOf(info.run_id)"]
    assert "const addressOf = runId => '#/run/' + encodeURIComponent(runId);" in SCRIPT


def test_timers_are_given_functions_not_text():
    assert not re.findall(r"set(?:Timeout|Interval)\((?!\(\) =>|tick\b)", SCRIPT)


def test_nothing_comes_from_elsewhere():
    assert set(re.findall(r"https?://[^'\"\s)]+", TEXT)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.findall(r"<(?:link|img|script|iframe)[^>]*\s(?:src|href)=\"(?!data:)", TEXT)
    assert "@import" not in TEXT
    assert re.findall(r"fetch\(('[^']*')", SCRIPT) == ["'/metrics'"]


def test_one_script_and_one_style_that_a_policy_can_name():
    assert TEXT.count("<script") == TEXT.count("<style") == 1
    assert POLICY.count("'sha256-") == 2


def test_each_element_that_the_script_wants_is_there_once():
    ids = re.findall(r"\bid=\"([^\"]+)\"", TEXT)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"\$\('([a-z-]+)'\)", SCRIPT)) <= set(ids)
    assert set(
        re.findall(r"(?:for|aria-labelledby|list)=\"([^\"]+)\"", TEXT.replace("progress-label progress-count", ""))
    ) - {""} <= set(ids)


def test_it_is_small():
    assert len(TEXT.encode()) < 80_000
