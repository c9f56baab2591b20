"""Session refs in snapshots: what each policy keeps, what it refuses, and that neither harms the registry."""

import gc
import logging
import threading
from functools import partial
from typing import Any

import attrs
import pytest

from blazen_trio import (
    Event,
    Live,
    RefLifetime,
    RegistryKey,
    RemoteRefDescriptor,
    SessionPausePolicy,
    SessionRefCapacityError,
    SessionRefRegistry,
    SessionRefsNotSerializableError,
)
from blazen_trio.codec import Codec, from_json, to_json
from blazen_trio.session_refs import pickles
from blazen_trio.session_refs.saving import LiveKeys, SavedRefs, SerializedRef, export_refs, import_refs

AFAR = RemoteRefDescriptor("node-1", "model", 1_700_000_000_000)
PICKLE, SERIALIZE, DROP, ERROR = SessionPausePolicy
CODEC = Codec([], [SavedRefs])

load = partial(import_refs, allow_pickle=True)


@attrs.define
class Model:
    weights: Any = b"weights"
    blazen_type_tag: Any = "model"

    def blazen_serialize(self):
        if isinstance(self.weights, Exception):
            raise self.weights
        return self.weights


@attrs.define(eq=False)
class Pool:
    model: object = None


class Explosive:
    def __reduce__(self):
        raise LookupError("boom")


class Opened(Event):
    pool: Live[Any]


def through_json(saved: SavedRefs) -> Any:
    return CODEC.structure(from_json(to_json(CODEC.to_plain(saved, "refs"))), SavedRefs)


def unchanged(refs: SessionRefRegistry, keys: tuple[RegistryKey, ...]) -> bool:
    return refs.keys() == keys


# --- Pickle or error -------------------------------------------------------------------------------------------------


def test_pickled_refs_come_back_under_their_keys_with_their_kinds_and_lifetimes():
    refs = SessionRefRegistry()
    plain = refs.insert({"a": [1]}, RefLifetime.UNTIL_EXPLICIT_DROP)
    model = refs.insert_serializable(Model())
    refs.insert_remote(afar := RegistryKey(), AFAR, RefLifetime.UNTIL_PARENT_FINISH)

    found = load(through_json(export_refs(refs)))

    assert found.get(plain) == {"a": [1]}
    assert found.get(plain) is not refs.get(plain)
    assert found.get(model, Model) == Model()
    assert found.get_serializable(model) is found.get(model)
    assert (found.get_serializable(plain), found.get_remote(afar)) == (None, AFAR)
    assert [found.lifetime_of(key) for key in (plain, model, afar)] == [
        RefLifetime.UNTIL_EXPLICIT_DROP,
        RefLifetime.UNTIL_CONTEXT_DROP,
        RefLifetime.UNTIL_PARENT_FINISH,
    ]
    assert set(found.keys()) == set(refs.keys())


def test_what_refs_share_they_share_again():
    refs, pool = SessionRefRegistry(), Pool(Model())
    keys = [refs.insert(pool), refs.insert(pool.model), refs.clone_ref(refs.insert(pool))]
    found = load(export_refs(refs))
    assert found.get(keys[0]) is found.get(keys[2])
    assert found.get(keys[0]).model is found.get(keys[1])


@pytest.mark.parametrize("bad", [threading.Lock(), lambda: None, Explosive()], ids=["lock", "lambda", "raising"])
def test_one_that_cannot_be_pickled_is_named_and_the_registry_stays(bad):
    refs = SessionRefRegistry()
    refs.insert("fine")
    key = refs.insert(bad)
    refs.insert("fleeting", RefLifetime.UNTIL_SNAPSHOT)
    keys = refs.keys()
    with pytest.raises(SessionRefsNotSerializableError) as raised:
        export_refs(refs)
    assert raised.value.keys == (str(key),)
    assert unchanged(refs, keys)


def test_a_huge_one_is_refused(monkeypatch):
    monkeypatch.setattr(pickles, "SAVED_BYTES_MAX", 1_000)
    refs = SessionRefRegistry()
    refs.insert(b"x" * 10)
    key = refs.insert(b"x" * 1_001)
    with pytest.raises(SessionRefsNotSerializableError, match="more than") as raised:
        export_refs(refs)
    assert raised.value.keys == (str(key),)
    refs.drain()
    keys = [str(refs.insert(b"x" * 600)), str(refs.insert(b"y" * 600))]
    with pytest.raises(SessionRefsNotSerializableError) as raised:  # each fits, both do not
        export_refs(refs)
    assert list(raised.value.keys) == keys


def test_a_ref_until_snapshot_is_not_in_it_and_fails_nothing():
    refs = SessionRefRegistry()
    refs.insert(threading.Lock(), RefLifetime.UNTIL_SNAPSHOT)
    for policy in SessionPausePolicy:
        assert export_refs(refs, policy) == SavedRefs()
    assert len(refs) == 1  # who takes the snapshot purges it


def test_nothing_is_unpickled_without_permission():
    refs = SessionRefRegistry()
    key = refs.insert("text")
    saved = export_refs(refs)
    with pytest.raises(SessionRefsNotSerializableError, match="allow_pickle=True") as raised:
        import_refs(saved)
    assert raised.value.keys == (str(key),)
    assert len(import_refs(SavedRefs())) == 0


@pytest.mark.parametrize("data", [b"", b"x", b"\x80\x05K\x01.", b"\x80\x05}."], ids=["none", "junk", "int", "empty"])
def test_a_damaged_pickle_is_one_error(data):
    refs = SessionRefRegistry()
    refs.insert("text")
    with pytest.raises(SessionRefsNotSerializableError):
        load(attrs.evolve(export_refs(refs), pickle=data))


# --- Pickle or serialize ---------------------------------------------------------------------------------------------


def test_serializable_refs_are_rebuilt_by_their_tags_and_the_rest_is_dropped_with_a_warning(caplog):
    refs = SessionRefRegistry()
    model = refs.insert_serializable(Model(b"w"), RefLifetime.UNTIL_EXPLICIT_DROP)
    clone = refs.clone_ref(model)
    lock = refs.insert(threading.Lock())

    with caplog.at_level(logging.WARNING, "blazen_trio"):
        saved = through_json(export_refs(refs, SERIALIZE))

    assert (str(lock) in caplog.text, saved.dropped) == (True, (str(lock),))
    found = import_refs(saved, deserializers={"model": Model})
    assert found.get_serializable(model) is found.get(model)
    assert found.get(model) == Model(b"w")
    assert found.get(model) is found.get(clone)
    assert found.lifetime_of(model) is RefLifetime.UNTIL_EXPLICIT_DROP
    assert lock not in found


def test_what_is_rebuilt_need_not_be_serializable_itself():
    refs = SessionRefRegistry()
    key = refs.insert_serializable(Model(b"w"))
    found = import_refs(export_refs(refs, SERIALIZE), deserializers={"model": lambda data: [data]})
    assert (found.get(key), found.get_serializable(key)) == ([b"w"], None)


def test_without_deserializers_serialized_refs_wait_for_a_later_resume():
    refs = SessionRefRegistry()
    key = refs.insert_serializable(Model(b"w"))
    clone = refs.clone_ref(key)
    saved = export_refs(refs, SERIALIZE)
    asleep = import_refs(saved)
    assert (asleep.get(key), asleep.get_serializable(key), key in asleep) == (None, None, True)
    for policy in SessionPausePolicy:  # it is data by now
        assert export_refs(asleep, policy) == saved
    found = import_refs(export_refs(asleep), deserializers={"model": Model})
    assert found.get(key) is found.get(clone)
    assert found.get(key) == Model(b"w")
    assert asleep.remove(key) is None
    assert key not in asleep


@pytest.mark.parametrize("deserializers", [{"other": Model}, {"model": lambda data: 1 / 0}], ids=["missing", "failing"])
def test_a_missing_or_failing_deserializer_is_an_error_with_key_and_tag(deserializers):
    refs = SessionRefRegistry()
    key = refs.insert_serializable(Model())
    with pytest.raises(SessionRefsNotSerializableError) as raised:
        import_refs(export_refs(refs, SERIALIZE), deserializers=deserializers)
    assert (raised.value.keys, raised.value.type_tag) == ((str(key),), "model")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Model(LookupError("boom")), "boom"),
        (Model("text"), "str, not bytes"),
        (Model(None), "NoneType, not bytes"),
        (Model(b"", 7), "int, not str"),
        (Model(bytes(1_001)), "more than"),
    ],
)
def test_a_serializer_that_raises_or_gives_no_bytes_is_an_error_and_the_registry_stays(model, problem, monkeypatch):
    monkeypatch.setattr(pickles, "SAVED_BYTES_MAX", 1_000)
    refs = SessionRefRegistry()
    refs.insert("dropped otherwise")
    key = refs.insert_serializable(model)
    keys = refs.keys()
    with pytest.raises(SessionRefsNotSerializableError, match=problem) as raised:
        export_refs(refs, SERIALIZE)
    assert raised.value.keys == (str(key),)
    assert unchanged(refs, keys)


# --- The others ------------------------------------------------------------------------------------------------------


def test_warn_drop_drops_all_that_is_live_and_lists_it(caplog):
    refs = SessionRefRegistry()
    keys = (refs.insert(threading.Lock()), refs.insert_serializable(Model()))
    refs.insert_remote(afar := RegistryKey(), AFAR)
    with caplog.at_level(logging.WARNING, "blazen_trio"):
        saved = export_refs(refs, DROP)
    assert saved.dropped == tuple(map(str, keys))
    assert "2 live session refs" in caplog.text
    assert import_refs(saved).keys() == (afar,)


def test_hard_error_refuses_anything_live_but_nothing_remote():
    refs = SessionRefRegistry()
    refs.insert_remote(RegistryKey(), AFAR)
    assert len(import_refs(export_refs(refs, ERROR))) == 1
    key = refs.insert("text")
    with pytest.raises(SessionRefsNotSerializableError, match="HARD_ERROR") as raised:
        export_refs(refs, ERROR)
    assert raised.value.keys == (str(key),)


def test_more_refs_than_the_workflow_allows_are_an_error():
    refs = SessionRefRegistry()
    refs.insert(1)
    refs.insert(2)
    with pytest.raises(SessionRefCapacityError):
        load(export_refs(refs), capacity=1)


def test_data_with_keys_that_are_none_or_stand_twice_is_refused():
    kept = {str(RegistryKey()): RefLifetime.UNTIL_CONTEXT_DROP}
    for fields in ({"pickled": {"x": RefLifetime.UNTIL_CONTEXT_DROP}}, {"dropped": ("x",)}, {"serializable": ("x",)}):
        with pytest.raises(ValueError, match=r"UUID|session ref"):
            SavedRefs(**fields)
    with pytest.raises(ValueError, match="twice"):
        SavedRefs(pickled=kept, serialized=(SerializedRef(kept, "tag", b""),))


# --- Live fields -----------------------------------------------------------------------------------------------------


def test_the_objects_of_live_fields_are_saved_without_staying_in_the_run():
    codec, refs, known, fleeting, new = Codec([Opened]), SessionRefRegistry(), Pool(1), Pool(2), Pool(3)
    key = refs.insert(known)
    refs.insert(fleeting, RefLifetime.UNTIL_SNAPSHOT)

    scratch = refs.copy()
    keys = LiveKeys(scratch)
    events = [codec.event_to_plain(Opened(each), keys) for each in (known, fleeting, new, new)]
    found = load(export_refs(scratch))

    read = [codec.event_from_plain(each, lambda text: found.get(RegistryKey(text))) for each in events]
    pools = [event.pool for event in read if isinstance(event, Opened)]
    assert [pool.model for pool in pools] == [1, 2, 3, 3]
    assert pools[0] is found.get(key)
    assert pools[2] is pools[3]
    assert len(refs) == 2


def test_the_keys_of_live_objects_are_not_confused_by_ids_that_come_again():
    keys = LiveKeys(SessionRefRegistry())
    found = set()
    for number in range(100):
        found.add(keys(Pool(number)))
        gc.collect(0)
    assert len(found) == 100
