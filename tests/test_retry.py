"""When a step is tried again, and after which wait."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.retry import JITTER_SHARE, RetryConfig, RetryStack, retry_after_of

MS = 1_000

delays = st.floats(0, 1e300)
configs = st.builds(
    RetryConfig,
    initial_delay_ms=delays,
    max_delay_ms=delays,
    multiplier=st.floats(1, 1e300),
    jitter=st.booleans(),
)
retries = st.integers(0, 10**9)
fractions = st.floats(0, 1, exclude_max=True)


@given(configs, retries, fractions)
def test_a_wait_never_leaves_its_bounds(config: RetryConfig, retry: int, fraction: float) -> None:
    wait_s = config.delay_s(retry, fraction)
    assert min(config.initial_delay_ms, config.max_delay_ms) / MS <= wait_s
    assert wait_s <= config.max_delay_ms / MS * (1 + JITTER_SHARE)


@given(configs, retries, fractions)
def test_waits_never_get_shorter(config: RetryConfig, retry: int, fraction: float) -> None:
    assert config.delay_s(retry, fraction) <= config.delay_s(retry + 1, fraction)


def test_waits_double_up_to_the_bound() -> None:
    config = RetryConfig(initial_delay_ms=100, max_delay_ms=500, jitter=False)
    assert [config.delay_s(retry, 0.9) for retry in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_jitter_adds_up_to_a_quarter() -> None:
    config = RetryConfig(initial_delay_ms=1_000)
    assert config.delay_s(0, 0.0) == 1.0
    assert config.delay_s(0, 0.5) == 1.125


def test_no_initial_delay_is_no_wait_however_often() -> None:
    assert RetryConfig(initial_delay_ms=0, multiplier=1e300).delay_s(10**9, 0.5) == 0.0


def test_the_bound_holds_for_the_first_wait_too() -> None:
    assert RetryConfig(max_delay_ms=10, jitter=False).delay_s(0, 0.0) == 0.01


def test_a_wait_asked_for_is_kept_exactly() -> None:
    assert RetryConfig().delay_s(0, 0.9, retry_after=120) == 120
    assert RetryConfig().delay_s(0, 0.9, retry_after=0.0) == 0.0


def test_a_wait_asked_for_can_be_disregarded() -> None:
    assert RetryConfig(honor_retry_after=False, jitter=False).delay_s(0, 0.0, retry_after=120) == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", True),
        ("initial_delay_ms", -1),
        ("initial_delay_ms", math.nan),
        ("initial_delay_ms", "1"),
        ("max_delay_ms", math.inf),
        ("max_delay_ms", 10**400),
        ("multiplier", 0.5),
        ("multiplier", math.nan),
        ("jitter", 1),
        ("honor_retry_after", None),
        ("retry_on", ValueError),
        ("retry_on", [ValueError]),
        ("retry_on", (BaseException,)),
        ("retry_on", (KeyboardInterrupt,)),
        ("retry_on", ("ValueError",)),
    ],
)
def test_a_bad_setting_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"RetryConfig.{field} is "):
        RetryConfig(**{field: value})


def test_only_the_named_kinds_are_tried_again() -> None:
    config = RetryConfig(retry_on=(OSError, ValueError))
    assert config.wants(ConnectionResetError())
    assert config.wants(UnicodeError())
    assert not config.wants(TypeError())


def test_an_interrupt_is_never_tried_again() -> None:
    assert not RetryConfig().wants(KeyboardInterrupt())


class BusyError(Exception):
    def __init__(self, retry_after: object) -> None:
        self.retry_after = retry_after


class TrickyError(Exception):
    @property
    def retry_after(self) -> float:
        raise RuntimeError("not today")


@pytest.mark.parametrize(("given_wait", "seconds"), [(3, 3.0), (0.5, 0.5), (0, 0.0)])
def test_an_exception_may_ask_for_a_wait(given_wait: float, seconds: float) -> None:
    assert retry_after_of(BusyError(given_wait)) == seconds


@pytest.mark.parametrize("nonsense", [None, True, "3", -1, math.nan, math.inf, 10**400, [1]])
def test_a_wait_that_is_no_wait_is_not_asked_for(nonsense: object) -> None:
    assert retry_after_of(BusyError(nonsense)) is None


def test_an_exception_without_a_wait_or_with_a_broken_one_asks_for_none() -> None:
    assert retry_after_of(ValueError()) is None
    assert retry_after_of(TrickyError()) is None


# --- levels ----------------------------------------------------------------------------------------------------------

CALL, STEP, WORKFLOW, PIPELINE, PROVIDER = (RetryConfig(max_retries=count) for count in range(5))


def test_the_strongest_level_that_is_given_counts() -> None:
    full = RetryStack(STEP, WORKFLOW, PIPELINE, PROVIDER)
    assert full.resolve(CALL) is CALL
    assert full.resolve() is STEP
    assert RetryStack(None, WORKFLOW, PIPELINE, PROVIDER).resolve() is WORKFLOW
    assert RetryStack(None, None, PIPELINE, PROVIDER).resolve() is PIPELINE
    assert RetryStack(provider=PROVIDER).resolve() is PROVIDER
    assert RetryStack().resolve() == RetryConfig()


def test_a_step_is_retried_only_if_step_workflow_or_pipeline_asks() -> None:
    assert RetryStack(STEP, WORKFLOW, PIPELINE).asked() is STEP
    assert RetryStack(None, WORKFLOW, PIPELINE).asked() is WORKFLOW
    assert RetryStack(None, None, PIPELINE).asked() is PIPELINE
    assert RetryStack(provider=PROVIDER).asked() is None


def test_a_step_can_switch_off_what_its_workflow_asks_for() -> None:
    never = RetryConfig(max_retries=0)
    assert RetryStack(step=never, workflow=WORKFLOW).asked() is never


def test_a_group_is_of_a_kind_that_is_tried_again_if_all_its_parts_are() -> None:
    config = RetryConfig(retry_on=(OSError,))
    assert config.wants(ExceptionGroup("two", [OSError(), ExceptionGroup("one", [TimeoutError()])]))
    assert not config.wants(ExceptionGroup("two", [OSError(), ValueError()]))
    assert not config.wants(BaseExceptionGroup("two", [OSError(), KeyboardInterrupt()]))
