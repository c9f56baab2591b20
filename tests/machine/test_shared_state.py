"""The run's values against a log: every write ever made, with the fate of whoever made it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blazen_trio.core.shared_state import MISSING, SharedState

CALLS = ("a", "b", "c")
operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.sampled_from(CALLS), st.sampled_from("xy"), st.integers(0, 9) | st.just(MISSING)
        ),
        st.tuples(st.sampled_from(["commit", "undo"]), st.sampled_from(CALLS), st.none(), st.none()),
    ),
    max_size=30,
)


class Log:
    """Writes in their order; a call that ends begins anew with its next write."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, str, Any]] = []
        self.fates: list[str] = []
        self.attempts: dict[str, int] = {}

    def write(self, call: str, key: str, value: Any) -> None:
        if call not in self.attempts:
            self.attempts[call] = len(self.fates)
            self.fates.append("running")
        self.writes.append((self.attempts[call], key, value))

    def end(self, call: str, fate: str) -> None:
        if call in self.attempts:
            self.fates[self.attempts.pop(call)] = fate

    def values(self, *fates: str) -> dict[str, Any]:
        found = {key: value for attempt, key, value in self.writes if self.fates[attempt] in fates}
        return {key: value for key, value in found.items() if value is not MISSING}


@given(operations)
def test_what_is_visible_is_the_last_write_of_those_that_did_not_fail(program):
    values, log = SharedState(), Log()
    for verb, call, key, value in program:
        if verb == "write":
            values.write(call, key, value)
            log.write(call, key, value)
        else:
            getattr(values, verb)(call, set("xy"))
            log.end(call, "done" if verb == "commit" else "undone")
        assert values.visible == log.values("done", "running")
        assert values.committed() == log.values("done")


@given(operations)
def test_no_layer_is_kept_when_nobody_runs(program):
    values = SharedState()
    for verb, call, key, value in program:
        if verb == "write":
            values.write(call, key, value)
    for call in CALLS:
        values.undo(call, "xy")
    assert not values.layers
    assert not values.visible


def test_the_failing_calls_value_goes_and_the_others_stays_whichever_came_first():
    for first, second in (("a", "b"), ("b", "a")):
        values = SharedState()
        values.write(first, "x", first)
        values.write(second, "x", second)
        values.undo("a", ["x"])
        assert values.visible == {"x": "b"}
        values.commit("b", ["x"])
        assert values.committed() == {"x": "b"}


def test_a_deletion_is_undone_like_any_write():
    values = SharedState()
    values.write("a", "x", 1)
    values.commit("a", ["x"])
    values.write("b", "x", MISSING)
    assert values.visible == {}
    assert values.committed() == {"x": 1}
    values.undo("b", ["x"])
    assert values.visible == {"x": 1}
