"""The registry of session refs by itself: a model of a few dicts, and the stories that the model does not tell."""

import gc
import pickle
import threading
import weakref
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from blazen_trio import (
    Event,
    RefLifetime,
    RegistryKey,
    RemoteRefDescriptor,
    SessionRefCapacityError,
    SessionRefError,
    SessionRefNotFoundError,
    SessionRefRegistry,
    SessionRefSerializable,
)
from blazen_trio.codec import Codec, DecodeError, from_json, to_json

AFAR = RemoteRefDescriptor("node-1", "model", 1_700_000_000_000)


class Connection:
    """A live object: equal to nothing but itself."""


class Model:
    """A live object that knows its own bytes."""

    blazen_type_tag = "model"

    def __init__(self, weights: bytes = b"weights") -> None:
        self.weights = weights

    def blazen_serialize(self) -> bytes:
        return self.weights


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_a_uuid_of_a_type_of_its_own():
    key = RegistryKey()
    assert isinstance(key, UUID)
    assert key not in {RegistryKey(), uuid4()}
    assert RegistryKey(str(key)) == RegistryKey(UUID(str(key))) == key
    assert pickle.loads(pickle.dumps(key)) == key
    assert type(pickle.loads(pickle.dumps(key))) is RegistryKey


def test_a_key_stands_in_json_as_a_marker():
    key = RegistryKey()
    assert key.to_plain() == {"__blazen_session_ref__": str(key)}
    assert RegistryKey.from_plain(key.to_plain()) == key


@pytest.mark.parametrize(
    "plain",
    [
        None,
        "x",
        {},
        {"a": str(uuid4())},
        *({"__blazen_session_ref__": content} for content in (1, "x", uuid4().hex, f"{{{uuid4()}}}", f"{uuid4()}A")),
    ],
)
def test_what_is_no_marker_gives_no_key(plain):
    with pytest.raises(ValueError, match=r"session ref|UUID"):
        RegistryKey.from_plain(plain)


class Opened(Event):
    connection: RegistryKey
    spare: RegistryKey | None = None
    others: object = None


def test_a_key_may_stand_in_events_and_values_and_comes_back_as_a_key():
    codec, key = Codec([Opened]), RegistryKey()
    event = Opened(key, key, {"a": [key], "looks like one": {"__blazen_session_ref__": "x"}})
    plain = codec.event_to_plain(event)
    assert to_json(plain).count(f'{{"__blazen_session_ref__":"{key}"}}') == 3
    found = codec.event_from_plain(from_json(to_json(plain)))
    assert found == event
    assert type(found.connection) is RegistryKey
    assert codec.from_plain(codec.to_plain([key], "x")) == [key]
    with pytest.raises(DecodeError, match="key of a session ref"):
        codec.from_plain({"__blazen_session_ref__": "x"})


# --- Stories ---------------------------------------------------------------------------------------------------------


def test_an_object_comes_back_by_identity():
    refs, connection = SessionRefRegistry(), Connection()
    key = refs.insert(connection)
    assert refs.get(key) is refs.get(key, Connection) is refs.get(UUID(str(key)), object) is connection
    assert refs.lifetime_of(key) is RefLifetime.UNTIL_CONTEXT_DROP
    assert (refs.keys(), len(refs), key in refs) == ((key,), 1, True)


def test_a_wrong_type_and_an_unknown_key_give_none():
    refs = SessionRefRegistry()
    assert refs.get(refs.insert(Connection()), Model) is None
    key = RegistryKey()
    assert [refs.get(key), refs.get_serializable(key), refs.get_remote(key), refs.remove(key)] == [None] * 4
    assert not refs.is_remote(key)


def test_what_has_nothing_to_do_its_work_on_is_an_error():
    refs, key = SessionRefRegistry(), RegistryKey()
    for attempt in (refs.clone_ref, refs.lifetime_of, lambda key: refs.transfer_ref(key, SessionRefRegistry())):
        with pytest.raises(SessionRefNotFoundError, match=str(key)):
            attempt(key)


def test_text_is_no_key():
    refs = SessionRefRegistry()
    text: Any = str(refs.insert(Connection()))
    for attempt in (refs.get, refs.remove, refs.clone_ref):
        with pytest.raises(TypeError, match="RegistryKey"):
            attempt(text)


def test_one_object_too_many_is_an_error_and_changes_nothing():
    refs = SessionRefRegistry(capacity=2)
    first, second = refs.insert(Connection()), refs.insert_serializable(Model())
    attempts = (
        lambda: refs.insert(Connection()),
        lambda: refs.insert_serializable(Model()),
        lambda: refs.insert_remote(RegistryKey(), AFAR),
        lambda: refs.clone_ref(first),
    )
    for attempt in attempts:
        with pytest.raises(SessionRefCapacityError) as raised:
            attempt()
        assert (raised.value.capacity, refs.keys()) == (2, (first, second))
    refs.remove(first)
    refs.insert(Connection())


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, None])
def test_a_capacity_is_a_number_of_refs(capacity):
    with pytest.raises(ValueError, match="capacity"):
        SessionRefRegistry(capacity)


def test_only_what_knows_its_bytes_is_inserted_as_serializable():
    refs, model = SessionRefRegistry(), Model()
    key = refs.insert_serializable(model, lifetime=RefLifetime.UNTIL_EXPLICIT_DROP)
    assert refs.get_serializable(key) is refs.get(key) is model
    assert isinstance(model, SessionRefSerializable)
    assert refs.get_serializable(refs.insert(Model())) is None
    with pytest.raises(TypeError, match="Connection has no blazen_serialize"):
        refs.insert_serializable(cast("Any", Connection()))


def test_a_lifetime_is_a_lifetime():
    with pytest.raises(TypeError, match="lifetime"):
        SessionRefRegistry().insert(Connection(), lifetime=cast("Any", "until_snapshot"))


def test_a_remote_ref_is_a_descriptor_and_no_object():
    refs, key = SessionRefRegistry(), RegistryKey()
    refs.insert_remote(key, AFAR)
    assert (refs.get(key), refs.get_serializable(key), refs.get_remote(key)) == (None, None, AFAR)
    assert refs.is_remote(key)
    newer = RemoteRefDescriptor("node-2", "model", 1_700_000_000_001)
    refs.insert_remote(key, newer)
    assert (refs.get_remote(key), len(refs)) == (newer, 1)
    with pytest.raises(SessionRefError, match="remote"):
        refs.clone_ref(key)
    assert refs.remove(key) is newer


def test_the_key_of_an_object_that_is_here_is_never_a_remote_one():
    refs, connection = SessionRefRegistry(), Connection()
    key = refs.insert(connection)
    with pytest.raises(SessionRefError, match="already"):
        refs.insert_remote(key, AFAR)
    assert refs.get(key) is connection
    with pytest.raises(TypeError, match="RemoteRefDescriptor"):
        refs.insert_remote(RegistryKey(), cast("Any", "node-1"))


def test_a_clone_is_another_key_for_the_same_object():
    refs, model = SessionRefRegistry(), Model()
    key = refs.insert_serializable(model, RefLifetime.UNTIL_SNAPSHOT)
    clone = refs.clone_ref(key)
    refs.remove(key)
    assert refs.get(clone) is refs.get_serializable(clone) is model
    assert refs.lifetime_of(clone) is RefLifetime.UNTIL_SNAPSHOT


def test_a_transfer_keeps_the_key_and_moves_all_or_nothing():
    refs, full, model = SessionRefRegistry(), SessionRefRegistry(capacity=1), Model()
    key = refs.insert_serializable(model, RefLifetime.UNTIL_EXPLICIT_DROP)
    blocker = full.insert(Connection())
    with pytest.raises(SessionRefCapacityError):
        refs.transfer_ref(key, full)
    assert (refs.keys(), full.keys()) == ((key,), (blocker,))
    full.drain()
    assert refs.transfer_ref(key, full) == key
    assert (refs.keys(), full.get_serializable(key)) == ((), model)
    assert full.lifetime_of(key) is RefLifetime.UNTIL_EXPLICIT_DROP
    assert full.transfer_ref(key, full) == key
    assert full.keys() == (key,)


def test_a_transfer_onto_a_key_that_is_taken_changes_nothing():
    here, there, key = SessionRefRegistry(), SessionRefRegistry(), RegistryKey()
    here.insert_remote(key, AFAR)
    there.insert_remote(key, AFAR)
    with pytest.raises(SessionRefError, match="already"):
        here.transfer_ref(key, there)
    assert here.keys() == there.keys() == (key,)


def test_what_is_removed_drained_or_purged_is_released():
    refs = SessionRefRegistry()
    objects = [Connection() for _ in range(4)]
    keys = [refs.insert(each, lifetime) for each, lifetime in zip(objects, RefLifetime, strict=True)]
    watched = [weakref.ref(each) for each in objects]
    del objects
    refs.remove(keys[0])
    assert refs.purge(RefLifetime.UNTIL_SNAPSHOT) == 1
    gc.collect()
    assert [ref() is None for ref in watched] == [True, False, True, False]
    assert (refs.drain(), refs.drain(), len(refs)) == (2, 0, 0)
    gc.collect()
    assert all(ref() is None for ref in watched)


def test_an_object_that_uses_the_registry_while_it_is_released_harms_nothing():
    refs = SessionRefRegistry()

    class Pool:
        def __del__(self) -> None:
            refs.insert("epitaph")

    refs.insert(Pool())
    assert refs.drain() == 1
    gc.collect()
    assert [refs.get(key) for key in refs] == ["epitaph"]


def test_a_copy_has_the_same_refs_and_a_life_of_its_own():
    refs, connection = SessionRefRegistry(capacity=2), Connection()
    key = refs.insert(connection)
    copy = refs.copy()
    copy.insert(Connection())
    assert (copy.get(key), len(copy), len(refs)) == (connection, 2, 1)
    with pytest.raises(SessionRefCapacityError):
        copy.insert(Connection())


def test_statistics_tell_what_is_held():
    refs = SessionRefRegistry(capacity=7)
    refs.insert(Connection())
    refs.insert_remote(RegistryKey(), AFAR)
    assert refs.statistics() == {"capacity": 7, "live": 1, "serializable": 0, "remote": 1, "saved": 0}
    assert repr(refs) == "<SessionRefRegistry with 2 of at most 7 refs>"


def test_threads_that_fill_one_registry_never_exceed_its_capacity():
    refs, other = SessionRefRegistry(capacity=500), SessionRefRegistry(capacity=500)
    refused: list[SessionRefCapacityError] = []

    def work(here: SessionRefRegistry, there: SessionRefRegistry) -> None:
        for _ in range(300):
            try:
                here.transfer_ref(here.insert(Connection()), there)
            except SessionRefCapacityError as error:
                refused.append(error)

    ways = [(refs, other), (other, refs)] * 3
    threads = [threading.Thread(target=work, args=way) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(len(refs), len(other)) <= 500
    assert not set(refs.keys()) & set(other.keys())


# --- Model -----------------------------------------------------------------------------------------------------------

CAPACITY = 4
LIFETIMES = st.sampled_from(RefLifetime)
WHICH = st.booleans()


class RegistryModel(RuleBasedStateMachine):
    """Two registries beside two dicts of ``key: (content, kind, lifetime)``."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.refs = [SessionRefRegistry(CAPACITY), SessionRefRegistry(CAPACITY)]
        self.held: list[dict[RegistryKey, tuple[object, str, RefLifetime]]] = [{}, {}]

    def is_full(self, which: bool) -> bool:
        return len(self.held[which]) == CAPACITY

    @rule(target=keys, which=WHICH, lifetime=LIFETIMES, is_serializable=st.booleans())
    def insert(self, which, lifetime, is_serializable):
        refs, content = self.refs[which], Model() if is_serializable else Connection()
        insert = refs.insert_serializable if is_serializable else refs.insert
        if self.is_full(which):
            with pytest.raises(SessionRefCapacityError):
                insert(content, lifetime)
            return multiple()
        key = insert(content, lifetime=lifetime)
        self.held[which][key] = (content, "serializable" if is_serializable else "live", lifetime)
        return key

    @rule(target=keys, which=WHICH, lifetime=LIFETIMES, key=st.one_of(keys, st.builds(RegistryKey)))
    def insert_remote(self, which, lifetime, key):
        held, descriptor = self.held[which], RemoteRefDescriptor("node", "tag", 1)
        if key in held and held[key][1] != "remote":
            with pytest.raises(SessionRefError):
                self.refs[which].insert_remote(key, descriptor, lifetime)
        elif key not in held and self.is_full(which):
            with pytest.raises(SessionRefCapacityError):
                self.refs[which].insert_remote(key, descriptor, lifetime)
        else:
            self.refs[which].insert_remote(key, descriptor, lifetime)
            held[key] = (descriptor, "remote", lifetime)
        return key

    @rule(which=WHICH, key=keys)
    def look(self, which, key):
        refs, (content, kind, lifetime) = self.refs[which], self.held[which].get(key, (None, "", None))
        assert refs.get(key) is (content if kind in {"live", "serializable"} else None)
        assert refs.get(key, Model) is (content if kind == "serializable" else None)
        assert refs.get_serializable(key) is (content if kind == "serializable" else None)
        assert refs.get_remote(key) is (content if kind == "remote" else None)
        assert refs.is_remote(key) is (kind == "remote")
        assert (key in refs) is bool(kind)
        if kind:
            assert refs.lifetime_of(key) is lifetime

    @rule(which=WHICH, key=consumes(keys))
    def remove(self, which, key):
        assert self.refs[which].remove(key) is self.held[which].pop(key, (None,))[0]

    @rule(target=keys, which=WHICH, key=keys)
    def clone(self, which, key):
        held = self.held[which]
        problem = (
            SessionRefNotFoundError
            if key not in held
            else SessionRefError
            if held[key][1] == "remote"
            else SessionRefCapacityError
            if self.is_full(which)
            else None
        )
        if problem is not None:
            with pytest.raises(problem):
                self.refs[which].clone_ref(key)
            return multiple()
        clone = self.refs[which].clone_ref(key)
        held[clone] = held[key]
        return clone

    @rule(which=WHICH, to=WHICH, key=keys)
    def transfer(self, which, to, key):
        here, there = self.held[which], self.held[to]
        if key not in here or (here is not there and (key in there or self.is_full(to))):
            with pytest.raises(SessionRefError):
                self.refs[which].transfer_ref(key, self.refs[to])
        else:
            assert self.refs[which].transfer_ref(key, self.refs[to]) == key
            there[key] = here.pop(key)

    @rule(which=WHICH, lifetimes=st.sets(LIFETIMES))
    def purge(self, which, lifetimes):
        gone = [key for key, (_, _, lifetime) in self.held[which].items() if lifetime in lifetimes]
        assert self.refs[which].purge(*lifetimes) == len(gone)
        for key in gone:
            del self.held[which][key]

    @rule(which=WHICH)
    def drain(self, which):
        assert self.refs[which].drain() == len(self.held[which])
        self.held[which].clear()

    @invariant()
    def the_same_refs_are_there(self):
        for refs, held in zip(self.refs, self.held, strict=True):
            assert (set(refs.keys()), len(refs)) == (set(held), len(held))


TestRegistryModel = RegistryModel.TestCase
