"""How fast the engine is, each figure beside bare Trio doing the like in the same run: ``python -m benchmarks``.

==================  ============================================================================================
``__main__``        the command line
``catalogue``       the works by key, ``W1`` to ``W9``
``chain`` (W1)      one run, steps one after another
``fan_out`` (W2)    many items and a join; how late other tasks get their turn meanwhile
``short_runs`` (W3) runs of one step, one after another and at once
``broadcast`` (W4)  stream events to many subscribers
``snapshots`` (W5)  a run's state to JSON and back; what taking a snapshot costs
``sleepers`` (W7)   items that wait, 100 at a time
``waiting`` (W8)    memory of runs that wait for input
``imports`` (W9)    ``import blazen_trio``
``heartbeat``       how late another task gets its turn
``measuring``       how a case is measured, and what a goal is
``report``          tables, JSON, and the comparison with a stored result
==================  ============================================================================================

Rules of this package:

* A figure without its baseline says little, since machines differ and are shared. Baseline and engine take turns
  within one process, and the ratio is the median of the ratios of neighbours: noise of the machine hits both.
* What is compared with a stored result is the ratio. It still moves by several percent on a busy machine, the more
  the fewer cores there are; hence the threshold of ``--compare``.
* Garbage is collected before each repetition, and the collector stays on, as in a user's program.
* A work that loses, doubles or misorders anything raises instead of giving a figure.
"""
