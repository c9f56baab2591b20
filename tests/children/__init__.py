"""Stories about runs inside runs: workflows that are steps of other workflows."""
