"""The pure core: what a run is and what it does next, without Trio, clocks, randomness, logging or I/O.

``machine`` takes messages (``messages``), changes a run's state (``state``) and gives effects (``effects``). It works
from a workflow's ``definition``: ``steps``, compiled to ``plans``, with the tables of ``routing``, checked by
``validation``.
"""
