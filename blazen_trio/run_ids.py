"""Ids of runs: 128 random bits of the operating system, drawn in blocks: a system call for each costs a run 3 %."""

import os
from typing import Final

_BLOCK_BYTES: Final = 4096
_ID_BYTES: Final = 16
_pool = bytearray()


def new_run_id() -> str:
    """A new id: 32 hexadecimal digits."""
    if not _pool:
        _pool.extend(os.urandom(_BLOCK_BYTES))
    run_id = _pool[-_ID_BYTES:].hex()
    del _pool[-_ID_BYTES:]
    return run_id


os.register_at_fork(after_in_child=_pool.clear)  # else parent and child would give the same ids
