"""The stores: what they promise, and what SQLite's own faults do to that."""
