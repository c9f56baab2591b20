"""A real job written with the public API: a licence audit of the installed Python packages.

Read it in this order; the first file is the example, the others are what any program has around its workflow:

=============  ========================================================================================================
``workflow``   the workflow: its events, its steps, and nothing else
``report``     what comes out: an ``Entry`` for each distribution, and how it goes to JSON
``packages``   reading distributions from the disk, however damaged they are
``licences``   pure: which licence is this, and of which family
=============  ========================================================================================================

``blazen-trio demo`` runs it, ``blazen-trio graph blazen_trio.demo:audit`` draws it, and so does a program of your own::

    result = await audit.run({"paths": ["/some/site-packages"]})
    for entry in result.result.entries:
        ...
"""

from blazen_trio.demo.report import Entry as Entry
from blazen_trio.demo.report import Status as Status
from blazen_trio.demo.workflow import AuditReport as AuditReport
from blazen_trio.demo.workflow import audit as audit
