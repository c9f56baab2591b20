"""Snapshots: saved at any point, read strictly, resumed exactly."""
