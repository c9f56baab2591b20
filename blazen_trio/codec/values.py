"""What the walkers do with each built-in type: values that say what they are.

The rules of this file:

* Values are told apart by their exact class, through one dict. A subclass of a built-in type is another type: an
  ``OrderedDict``, a named tuple or a ``str`` subclass is refused, not turned into its base.
* What is written shares nothing mutable with the value, and what is read is new each time. A part that stands in two
  places is written twice; a cycle is refused.
* A dict is written as it is if its keys are texts (and it is no marker look-alike), else as a list of pairs. Order is
  kept. The members of a set are written in a fixed order, so that equal sets of the same classes are the same text.
* Reading knows these tags, the classes given to the codec, and nothing else.
"""

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any, Final

from blazen_trio.codec.leaves import LEAVES, LOADERS, Leaf, clean_text, dump_float, dump_int, dump_str
from blazen_trio.codec.plain import HASH_COLLISIONS_MAX, INT_MAX, INT_MIN, MARKER_PREFIX, DecodeError, Plain
from blazen_trio.codec.walkers import Encoder, Loader, Reader, Refused, Writer, segment
from blazen_trio.session_refs.keys import SESSION_REF, RegistryKey

DICT: Final = "__blazen_dict__"
"""The tag of a dict that is written as pairs."""

TUPLE: Final = "__blazen_tuple__"
SET: Final = "__blazen_set__"
FROZENSET: Final = "__blazen_frozenset__"


def _encode_itself(value: Plain, _: Writer) -> Plain:
    return value


def _encode_str(value: str, _: Writer) -> Plain:
    return value if clean_text(value) else {"__blazen_str__": dump_str(value)}


def _encode_int(value: int, _: Writer) -> Plain:
    return value if INT_MIN <= value <= INT_MAX else {"__blazen_int__": dump_int(value)}


def _encode_float(value: float, _: Writer) -> Plain:
    return value if isfinite(value) else {"__blazen_float__": dump_float(value)}


def _encode_list(value: list[object], writer: Writer) -> Plain:
    copy = writer.flat(value)
    return writer.items(value) if copy is None else copy


def _encode_tuple(value: tuple[object, ...], writer: Writer) -> Plain:
    return {TUPLE: writer.items(value)}


def _encode_set(value: set[object], writer: Writer) -> Plain:
    return {SET: encode_set(value, writer)}


def _encode_frozenset(value: frozenset[object], writer: Writer) -> Plain:
    return {FROZENSET: encode_set(value, writer)}


def encode_set(value: Collection[object], writer: Writer, encoder: Encoder | None = None) -> list[Plain]:
    """The members of a set in a fixed order."""
    return sorted(writer.items(value, encoder), key=repr)


def _encode_dict(value: dict[Any, object], writer: Writer) -> Plain:
    copy = writer.flat(value)
    return encode_dict(value, writer) if copy is None else copy


def encode_dict(
    value: dict[Any, object], writer: Writer, key_encoder: Encoder | None = None, encoder: Encoder | None = None
) -> Plain:
    """A dict as it is, if every key is a clean text and it is no look-alike; as pairs otherwise."""
    if _has_plain_keys(value):
        return writer.fields(value, encoder)
    keys = writer.items(value, key_encoder)
    writer.enter(value)
    pairs: list[Plain] = []
    for key, (original, item) in zip(keys, value.items(), strict=True):
        try:
            pairs.append([key, writer.encode(item) if encoder is None else encoder(item, writer)])
        except Refused as refused:
            raise refused.within(segment(original)) from None
    writer.leave()
    return {DICT: pairs}


def _has_plain_keys(value: dict[Any, object]) -> bool:
    for key in value:
        if type(key) is not str or not (key.isascii() or clean_text(key)):
            return False
    return len(value) != 1 or not next(iter(value)).startswith(MARKER_PREFIX)


def _encode_key(value: RegistryKey, _: Writer) -> Plain:
    return {SESSION_REF: str(value)}


def _leaf_encoder(leaf: Leaf) -> Encoder:
    dump, tag = leaf.dump, leaf.tag

    def encode(value: object, _: Writer) -> Plain:
        try:
            return {tag: dump(value)}
        except ValueError as problem:
            raise Refused(value, str(problem)) from None

    return encode


ENCODERS: Final[Mapping[type, Encoder]] = {
    str: _encode_str,
    int: _encode_int,
    float: _encode_float,
    bool: _encode_itself,
    type(None): _encode_itself,
    list: _encode_list,
    dict: _encode_dict,
    tuple: _encode_tuple,
    set: _encode_set,
    frozenset: _encode_frozenset,
    RegistryKey: _encode_key,
    **{leaf.type: _leaf_encoder(leaf) for leaf in LEAVES},
}
"""How values of each built-in type are written; a codec adds its own classes."""


def _check_hashes(values: Collection[object]) -> None:
    """Refuse values that cannot be hashed, or that were made to collide."""
    try:
        hashes = list(map(hash, values))
    except Exception as error:  # noqa: BLE001 - a user's __hash__ may raise anything
        raise DecodeError(f"not hashable: {type(error).__name__}") from None
    if len(hashes) - len(set(hashes)) > HASH_COLLISIONS_MAX:
        raise DecodeError(f"more than {HASH_COLLISIONS_MAX} members or keys with equal hashes")


def distinct(members: list[Any]) -> frozenset[Any]:
    """The set of these members, no two of which may be equal."""
    _check_hashes(members)
    found = frozenset(members)
    if len(found) != len(members):
        raise DecodeError("a set with equal members")
    return found


def load_pairs(content: Plain, reader: Reader, key_loader: Loader | None, loader: Loader | None) -> dict[Any, Any]:
    """The dict that was written as pairs."""

    def load_pair(pair: Plain, reader: Reader) -> tuple[Any, Any]:
        if type(pair) is not list or len(pair) != 2:  # noqa: PLR2004 - a pair is two
            raise DecodeError("expected a pair of key and value")
        key, value = pair
        return (
            reader.decode(key) if key_loader is None else key_loader(key, reader),
            reader.decode(value) if loader is None else loader(value, reader),
        )

    pairs = reader.items(content, load_pair)
    _check_hashes([key for key, _ in pairs])
    read = dict(pairs)
    if len(read) != len(pairs):
        raise DecodeError("a dict with equal keys")
    return read


def _load_tuple(content: Plain, reader: Reader) -> object:
    return tuple(reader.items(content))


def _load_set(content: Plain, reader: Reader) -> object:
    return set(distinct(reader.items(content)))


def _load_frozenset(content: Plain, reader: Reader) -> object:
    return distinct(reader.items(content))


def _load_dict(content: Plain, reader: Reader) -> object:
    return load_pairs(content, reader, None, None)


def _load_key(content: Plain, _: Reader) -> object:
    try:
        return RegistryKey.from_text(content)
    except ValueError:
        raise DecodeError("not the key of a session ref") from None


def _leaf_loader(load: Callable[[Plain], object]) -> Loader:
    return lambda content, _: load(content)


TAGS: Final[Mapping[str, Loader]] = {
    TUPLE: _load_tuple,
    SET: _load_set,
    FROZENSET: _load_frozenset,
    DICT: _load_dict,
    SESSION_REF: _load_key,
    **{tag: _leaf_loader(load) for tag, load in LOADERS.items()},
}
"""How each built-in tag is read; a codec adds its own classes."""
