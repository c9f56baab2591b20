"""The runner on Trio: the same results in every schedule, nothing starved, nothing lost, nothing left behind."""
