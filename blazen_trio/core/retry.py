"""When a failed step is tried again, and after which wait.

Pure: the random fraction for the jitter is given by the caller, so that the same run waits the same in every test.

* Retry k (from 0) waits ``min(initial * multiplier ** k, max)``, then up to 25 % more.
* A ``retry_after`` (seconds) that the exception carries sets the wait exactly.
* Levels, the strongest first: call, step, workflow, pipeline, provider, default. The strongest one that is given
  counts as a whole; they are not mixed field by field.
"""

import math
from typing import Any, Final, TypeGuard, cast

import attrs

JITTER_SHARE: Final = 0.25
"""The most that jitter adds, as a share of the wait: enough to part callers that failed together."""

_MS_PER_S: Final = 1_000.0


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; a bool is none, nor is an int too big for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def retry_after_of(error: BaseException) -> float | None:
    """The wait in seconds that an exception asks for in its ``retry_after``, or None.

    Whatever is not a finite number from 0 counts as nothing: the attribute belongs to foreign code.
    """
    try:
        seconds: object = getattr(error, "retry_after", None)
    except Exception:  # noqa: BLE001 - a foreign property may raise anything
        return None
    return float(seconds) if _is_number(seconds) and seconds >= 0 else None


def _check_count(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"RetryConfig.{field.name} is {value!r}; give a whole number from 0 (0: never try again)")


def _check_delay(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not _is_number(value) or value < 0:
        raise ValueError(f"RetryConfig.{field.name} is {value!r}; give a finite number of milliseconds from 0")


def _check_multiplier(_config: object, _field: "attrs.Attribute[Any]", value: object) -> None:
    if not _is_number(value) or value < 1:
        raise ValueError(f"RetryConfig.multiplier is {value!r}; give a finite number from 1 (1: always the same wait)")


def _check_flag(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"RetryConfig.{field.name} is {value!r}; give True or False")  # noqa: TRY004 - all faults of a configuration are one kind of error


def _check_classes(_config: object, _field: object, value: object) -> None:
    if not isinstance(value, tuple) or not all(map(_is_exception_class, cast("tuple[object, ...]", value))):
        raise ValueError(
            f"RetryConfig.retry_on is {value!r}; give a tuple of subclasses of Exception, such as (OSError,). "
            "Cancellation and KeyboardInterrupt are never retried"
        )


def _is_exception_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


@attrs.frozen
class RetryConfig:
    """How often a step is tried again, after which failures, and how long it waits before (milliseconds).

    ``max_retries`` counts the attempts after the first. ``max_delay_ms`` bounds the first wait too. Anything out of
    range is a ``ValueError``.
    """

    max_retries: int = attrs.field(default=3, validator=_check_count)
    initial_delay_ms: float = attrs.field(default=1_000, validator=_check_delay)
    max_delay_ms: float = attrs.field(default=30_000, validator=_check_delay)
    multiplier: float = attrs.field(default=2.0, validator=_check_multiplier)
    jitter: bool = attrs.field(default=True, validator=_check_flag)
    honor_retry_after: bool = attrs.field(default=True, validator=_check_flag)
    retry_on: tuple[type[Exception], ...] = attrs.field(default=(Exception,), validator=_check_classes)

    def wants(self, error: BaseException) -> bool:
        """Whether an exception is of a kind that is tried again; a group is if all its parts are."""
        if isinstance(error, self.retry_on):
            return True
        if not isinstance(error, BaseExceptionGroup):
            return False
        return all(map(self.wants, cast("BaseExceptionGroup[BaseException]", error).exceptions))

    def delay_s(self, retry: int, jitter: float, retry_after: float | None = None) -> float:
        """The wait in seconds before a retry.

        ``retry`` counts from 0; ``jitter`` is a random fraction in [0, 1) of the most that jitter may add;
        ``retry_after`` is what the exception asked for (``retry_after_of``), which then is the wait.
        """
        if retry_after is not None and self.honor_retry_after:
            return retry_after
        wait_s = self._backoff_ms(retry) / _MS_PER_S
        return wait_s * (1.0 + JITTER_SHARE * jitter) if self.jitter else wait_s

    def _backoff_ms(self, retry: int) -> float:
        if not self.initial_delay_ms:
            return 0.0
        try:
            return min(self.initial_delay_ms * float(self.multiplier) ** retry, self.max_delay_ms)
        except OverflowError:  # beyond all floats is beyond the bound
            return self.max_delay_ms


DEFAULT_RETRY: Final = RetryConfig()


@attrs.frozen
class RetryStack:
    """The retry configurations of all levels around a call; those not given are None."""

    step: RetryConfig | None = None
    workflow: RetryConfig | None = None
    pipeline: RetryConfig | None = None
    provider: RetryConfig | None = None

    def resolve(self, call: RetryConfig | None = None) -> RetryConfig:
        """The configuration for a call that a step makes itself: the strongest level given, or the default."""
        return call or self.asked() or self.provider or DEFAULT_RETRY

    def asked(self) -> RetryConfig | None:
        """The configuration by which the engine retries the step, or None: it fails at its first failure.

        Only step, workflow and pipeline ask for that; provider and default serve ``resolve``.
        """
        return self.step or self.workflow or self.pipeline
