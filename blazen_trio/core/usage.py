"""What runs use of models, summed up."""

from typing import Self

import attrs

from blazen_trio.core.events import UsageEvent


@attrs.frozen
class TokenUsage:
    """Counts of tokens; ``a + b`` adds them up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0
    cached_input_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0

    @classmethod
    def from_event(cls, event: UsageEvent) -> Self:
        """Take the counts of one ``UsageEvent``; its cost is counted elsewhere."""
        return cls(
            event.prompt_tokens,
            event.completion_tokens,
            event.total_tokens,
            event.reasoning_tokens,
            event.cached_input_tokens,
            event.audio_input_tokens,
            event.audio_output_tokens,
        )

    def __add__(self, other: object) -> "TokenUsage":
        """Add count by count."""
        if not isinstance(other, TokenUsage):
            return NotImplemented
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.audio_input_tokens + other.audio_input_tokens,
            self.audio_output_tokens + other.audio_output_tokens,
        )
