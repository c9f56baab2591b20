"""Read by type checkers only."""
