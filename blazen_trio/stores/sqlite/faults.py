"""What SQLite and the system say, as errors that say what to do.

The kind decides what happens next (see ``writer``): after an error of the disk nothing that the connection believes may
be trusted, so it is thrown away.
"""

import errno
from typing import Final

import apsw

from blazen_trio.core.errors import StoreCorruptError, StoreError, StoreFullError

BUSY_S: Final = 5.0
"""How long SQLite waits for the lock of another process: commits take milliseconds, a slow disk's checkpoint less."""

STORAGE_ERRORS: Final = (apsw.Error, OSError, UnicodeDecodeError)
"""What may come from the file; the last one from a text with a flipped bit, while SQLite gives it out."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        apsw.BusyError,
        f"another process keeps the file locked for {BUSY_S:g} s; end the transaction there (a shell? a backup?)",
    ),
    (apsw.LockedError, "another connection of this process keeps the file locked"),
    (apsw.ReadOnlyError, "file or directory may only be read; give this user the right to write in both"),
    (apsw.CantOpenError, "the file cannot be opened; is there such a directory, and may this user write in it?"),
    (apsw.PermissionsError, "this user may not open the file; give it the right to read and write"),
    (apsw.IOError, "the disk failed; look at the system's log, and read the runs again before they go on"),
    (apsw.NoMemError, "there is no memory left"),
    (apsw.TooBigError, "a value is larger than SQLite takes, about 1 GB"),
)


def store_error(error: Exception, path: str) -> StoreError:
    """The store's error for one of apsw or the system, with that as its cause."""
    told = _told(error, path)
    told.__cause__ = error
    return told


def _told(error: Exception, path: str) -> StoreError:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, apsw.FullError) or _is_no_room(error):
        return StoreFullError(f"no room is left for {path} ({said})")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)):
        return StoreCorruptError(f"{path} is damaged, or no database ({said})")
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return StoreError(f"{path}: {advice} ({said})")
    return StoreError(f"{path}: {said}")


def _is_no_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE


def is_harmless(error: Exception) -> bool:
    """Whether the connection is as good as before, once its transaction is rolled back."""
    return isinstance(error, (StoreError, apsw.BusyError, apsw.FullError, apsw.ConstraintError))
