"""What every store promises: one small function each, in files by subject. Each takes a store that is open and empty.

============  =========================================================================================================
``runs``      creating, reading, forgetting; ids and blobs are exact
``journals``  entries, snapshots, headers; a refused write leaves no trace
``streams``   rows with numbers, and their floor
``owning``    fences, leases, taking over
``claiming``  which runs are taken
``lists``     pages of runs
``commands``  what is left for a run that somebody else holds
``calls``     checkpoints, cancelled calls, openings
``scene``     what they are all played with
============  =========================================================================================================
"""
