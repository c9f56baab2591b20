"""Session refs: live objects (connections, locks, models) of a run, known by keys that can stand in data.

From the top down; a file imports only from those below it:

=============  ========================================================================================================
``saving``     the refs in a snapshot: written by policy, rebuilt with permission
``pickles``    pickling within limits
``registry``   ``SessionRefRegistry``: the objects by key
``entries``    what a registry knows of one ref: lifetimes, serializable objects, remote descriptors
``keys``       ``RegistryKey``
=============  ========================================================================================================
"""

from blazen_trio.core.policies import SessionPausePolicy as SessionPausePolicy
from blazen_trio.session_refs.entries import RefLifetime as RefLifetime
from blazen_trio.session_refs.entries import RemoteRefDescriptor as RemoteRefDescriptor
from blazen_trio.session_refs.entries import SessionRefSerializable as SessionRefSerializable
from blazen_trio.session_refs.keys import RegistryKey as RegistryKey
from blazen_trio.session_refs.registry import SessionRefRegistry as SessionRefRegistry
