"""Pickling within limits. Reading is for those who have permission: it runs code that stands in the data."""

from typing import Any, Final

SAVED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of the pickle of all refs of a run, and of one serializable ref: refs are handles; the state is for data."""


class _Bounded:
    """A file that refuses to grow beyond the limit, so that a huge object costs neither its memory nor its time."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._left = SAVED_BYTES_MAX

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._left -= view.nbytes
        if self._left < 0:
            raise ValueError(f"it takes more than {SAVED_BYTES_MAX:,} bytes")
        self.parts.append(view.tobytes())
        return view.nbytes


class Unread:
    """Stands in a pickle for the value of another pickle, which is read when the first one is, and not before."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        import pickle  # noqa: PLC0415 - as below

        return pickle.loads, (self._data,)


def dump(value: object) -> bytes:
    """The pickle of a value; raises whatever pickling it raises, and ``ValueError`` if it is too big."""
    import pickle  # noqa: PLC0415 - 3 ms of every start, for what few runs do

    file = _Bounded()
    pickle.Pickler(file, protocol=5).dump(value)
    return b"".join(file.parts)


def load(data: bytes) -> Any:
    """The value of a pickle; raises whatever unpickling it raises."""
    import pickle  # noqa: PLC0415 - as above

    return pickle.loads(data)  # noqa: S301 - callers ask for permission first
