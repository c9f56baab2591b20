"""Stories about what a caller sees of runs, and about bad input."""
