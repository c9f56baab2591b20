"""The licence audit."""
