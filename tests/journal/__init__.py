"""Journals: what happened to a run, told again."""
