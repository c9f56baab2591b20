"""How a run ended, in a form that can be compared and told.

What counts: the result (or error), the values of ``ctx.state``, the tokens used and their cost. Each is compared as the
text of its plain data, which tells ``1`` from ``True`` and ``1.0`` and finds equal NaNs equal.
"""

import json
from typing import Final

import attrs

from blazen_trio.codec import Codec, Plain
from blazen_trio.runner import Runner

_NOTHING: Final = "nothing"


@attrs.frozen
class Thing:
    """One thing that counts; ``shown`` is for people."""

    text: str
    shown: str = attrs.field(eq=False)


End = dict[str, Thing]
"""What counts, by name."""


def end_of(runner: Runner) -> End:
    """How a run ended that is over.

    Raises:
        EncodeError: its result cannot be saved.
    """
    snapshot = runner.snapshot()
    end = {"result": _result(runner)}
    for key, value in sorted(snapshot.context_state.items()):
        end[f"state[{key!r}]"] = _thing(value, runner.codec)
    end["usage"] = Thing(_text(snapshot.usage["tokens"]), str(runner.state.usage))
    cost = f"{runner.state.cost_usd:.9g}"  # the sum of floats depends on their order a little
    end["cost"] = Thing(cost, cost)
    return end


def differences(whole: End, resumed: End) -> list[str]:
    """Lines about each thing that is not the same."""
    names = list(dict.fromkeys([*whole, *resumed]))
    return [
        f"  {name}: {_shown(resumed, name)}, but uninterrupted: {_shown(whole, name)}"
        for name in names
        if whole.get(name) != resumed.get(name)
    ]


def _result(runner: Runner) -> Thing:
    outcome = runner.state.outcome
    assert outcome is not None
    if outcome.event is None:
        text = f"{type(outcome.error).__name__}: {outcome.error}".replace(runner.run_id, "...")
        return Thing(text, text)
    return _thing(runner.codec.to_plain(outcome.event, "the result"), runner.codec)


def _thing(plain: Plain, codec: Codec) -> Thing:
    return Thing(_text(plain), repr(codec.from_plain(plain)))


def _text(plain: Plain) -> str:
    return json.dumps(plain, sort_keys=True)


def _shown(end: End, name: str) -> str:
    return end[name].shown if name in end else _NOTHING
