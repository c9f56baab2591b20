"""Workflows are made of registered steps, and of nothing else."""

import pickle
from typing import Any

import pytest

from blazen_trio import StartEvent, Step, StepRegistry, StopEvent, UnknownStepError, Workflow, step


@step
async def begin(event: StartEvent) -> StopEvent:
    return StopEvent("begun")


def named(name: str) -> Step:
    return begin.with_options(name=name)


def test_register_stands_above_a_step() -> None:
    registry = StepRegistry()

    @registry.register
    @step(timeout=5)
    async def fetch(event: StartEvent) -> StopEvent:
        return StopEvent()

    assert registry.get("fetch") is fetch
    assert (fetch.timeout, registry.names, len(registry)) == (5, ("fetch",), 1)
    assert "fetch" in registry
    assert "other" not in registry
    assert [] not in registry


def test_one_name_is_one_step() -> None:
    registry = StepRegistry()
    registry.register(begin)
    registry.register(begin)
    with pytest.raises(ValueError, match="'begin'"):
        registry.register(named("begin"))
    assert registry.get("begin") is begin
    assert len(registry) == 1


def test_only_steps_are_registered() -> None:
    async def bare(event: StartEvent) -> StopEvent:
        return StopEvent()

    mistake: Any = bare
    with pytest.raises(TypeError, match="@step"):
        StepRegistry().register(mistake)


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    registry = StepRegistry()
    registry.register(begin)
    for name in ("os.system", "begin ", "", "__class__"):
        with pytest.raises(UnknownStepError) as caught:
            registry.get(name)
        assert (caught.value.name, caught.value.known) == (name, ("begin",))
        assert "'begin'" in str(caught.value)


async def test_a_workflow_is_made_of_names() -> None:
    registry = StepRegistry()
    for name in ("one", "two"):
        registry.register(named(name))

    workflow = Workflow.from_registered_steps("by-name", ["two", "one"], registry, timeout=7)

    assert [each.name for each in workflow.steps] == ["two", "one"]
    assert workflow.options.timeout == 7
    assert (await workflow.run()).result == "begun"


def test_all_unknown_names_are_told_at_once() -> None:
    registry = StepRegistry()
    registry.register(begin)
    with pytest.raises(UnknownStepError) as caught:
        Workflow.from_registered_steps("by-name", ["a", "begin", "b", "a"], registry)

    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.name, again.unknown, again.known) == ("a", ("a", "b"), ("begin",))
    assert all(each in str(again) for each in ("'a'", "'b'", "'begin'"))
