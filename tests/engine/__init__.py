"""Engines: many durable runs."""
