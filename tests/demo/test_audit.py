"""The audit: every distribution is in the report exactly once, whatever is wrong with it."""

from blazen_trio import InputRequestEvent, ProgressEvent, Workflow, step
from blazen_trio.demo import Status, audit
from blazen_trio.demo.licences import Family
from blazen_trio.demo.packages import read_package
from blazen_trio.demo.report import as_plain
from blazen_trio.demo.workflow import Package, Read

from .packages_for_tests import install


async def report_of(*sites, answers=(), workflow=audit):
    """The entries by name, and the questions that were asked; the answers are given in turn."""
    remaining, questions = list(answers), []
    async with workflow.start({"paths": [str(site) for site in sites]}) as run:
        async with run.stream_events(types=InputRequestEvent) as events:
            async for question in events:
                questions.append(question)
                answer = remaining.pop(0) if remaining else question.metadata["default"]
                await run.respond_to_input(question.request_id, answer)
        result = await run.result()
    entries = result.result.entries
    assert len({entry.name for entry in entries}) == len(entries)
    return {entry.name: entry for entry in entries}, questions


async def test_packages_that_speak_clearly_need_nobody(tmp_path):
    install(tmp_path, "one", "License-Expression: MIT")
    install(tmp_path, "two", "Classifier: License :: OSI Approved :: BSD License")

    entries, questions = await report_of(tmp_path)

    assert {name: (e.status, e.licence) for name, e in entries.items()} == {
        "one": (Status.CLASSIFIED, "MIT"),
        "two": (Status.CLASSIFIED, "BSD"),
    }
    assert questions == []


async def test_without_packages_both_joins_are_empty_and_the_report_too(tmp_path):
    assert await report_of(tmp_path) == ({}, [])


async def test_a_licence_is_asked_about_once_for_all_that_state_it(tmp_path):
    install(tmp_path, "one", "License: Our Own")
    install(tmp_path, "two", "License: Our Own")
    install(tmp_path, "three", "License: MIT")

    entries, [question] = await report_of(tmp_path, answers=["mpl 2.0"])

    assert question.prompt == "Which licence is 'Our Own'? It is that of one, two"
    assert {entries[name].status for name in ("one", "two")} == {Status.ANSWERED}
    assert entries["two"].licence == "MPL-2.0"
    assert entries["two"].family is Family.WEAK_COPYLEFT


async def test_who_states_nothing_is_asked_about_alone(tmp_path):
    install(tmp_path, "one")
    install(tmp_path, "two")

    entries, questions = await report_of(tmp_path)

    assert len(questions) == 2
    assert {entry.status for entry in entries.values()} == {Status.UNDECIDED}


async def test_nothing_is_lost_among_broken_ones(tmp_path):
    install(tmp_path, "good", "License: MIT")
    install(tmp_path, "ghost", "License: MIT")
    (tmp_path / "ghost.py").unlink()
    (install(tmp_path, "lost") / "METADATA").unlink()

    entries, questions = await report_of(tmp_path)

    assert {name: entry.status for name, entry in entries.items()} == {
        "good": Status.CLASSIFIED,
        "ghost": Status.BROKEN,
        "lost": Status.BROKEN,
    }
    assert questions == []


@step(name="read")
def read_with_an_accident(event: Package) -> Read:
    if event.found.name == "cursed":
        raise ZeroDivisionError("one in a million")
    return Read(event.found, read_package(event.found))


async def test_a_package_whose_reading_fails_in_a_way_nobody_foresaw_is_in_the_report(tmp_path):
    install(tmp_path, "good", "License: MIT")
    install(tmp_path, "cursed", "License: MIT")
    steps = [read_with_an_accident if step.name == "read" else step for step in audit.steps]

    entries, _ = await report_of(tmp_path, workflow=Workflow("unlucky-audit", steps))

    assert entries["good"].status is Status.CLASSIFIED
    assert entries["cursed"].status is Status.BROKEN
    assert entries["cursed"].problems == ("could not be read: ZeroDivisionError: one in a million",)


async def test_progress_is_reported_up_to_the_last_package(tmp_path):
    for number in range(5):
        install(tmp_path, f"package{number}", "License: MIT")

    async with audit.start({"paths": [str(tmp_path)]}) as run:
        async with run.stream_events(types=ProgressEvent) as events:
            seen = [event async for event in events]
        await run.result()

    assert seen == [ProgressEvent(number, 5, "packages examined", "classify") for number in range(1, 6)]


async def test_the_report_as_plain_data_counts_what_it_lists(tmp_path):
    install(tmp_path, "one", "License: MIT")
    install(tmp_path, "two", "License: ISC")
    install(tmp_path, "three")

    entries, _ = await report_of(tmp_path)
    plain = as_plain(entries.values())

    assert plain["summary"] == {
        "packages": 3,
        "status": {"classified": 2, "undecided": 1},
        "family": {"permissive": 2, "unknown": 1},
    }
    assert [package["name"] for package in plain["packages"]] == ["one", "three", "two"]
    assert plain["packages"][0]["path"] == str(tmp_path / "one-1.0.dist-info")
