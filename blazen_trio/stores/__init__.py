"""The stores that come with the library; each implements ``blazen_trio.abc.Store``.

==========  ===========================================================================================================
``memory``  ``MemoryStore``: dictionaries; for tests, and for engines whose runs need not outlive the process
``sqlite``  ``SqliteStore``: one file, safe against crashes
==========  ===========================================================================================================
"""

from blazen_trio.stores.memory import MemoryStore as MemoryStore
from blazen_trio.stores.sqlite import SqliteStore as SqliteStore
