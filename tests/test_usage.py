"""Usage adds up, count by count."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.events import UsageEvent
from blazen_trio.core.usage import TokenUsage

COUNTS = tuple(field.name for field in attrs.fields(TokenUsage))
usages = st.builds(TokenUsage, **{name: st.integers(0, 10**20) for name in COUNTS})


@given(usages, usages)
def test_a_sum_has_the_sum_of_each_count(one: TokenUsage, two: TokenUsage) -> None:
    for name in COUNTS:
        assert getattr(one + two, name) == getattr(one, name) + getattr(two, name)


@given(usages)
def test_nothing_used_changes_nothing(usage: TokenUsage) -> None:
    assert usage + TokenUsage() == usage == TokenUsage() + usage


@given(usages)
def test_an_event_gives_its_seven_counts(usage: TokenUsage) -> None:
    event = UsageEvent(model="m", cost_usd=0.5, **attrs.asdict(usage))
    assert TokenUsage.from_event(event) == usage


def test_adding_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        TokenUsage() + 5
