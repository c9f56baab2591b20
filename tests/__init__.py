"""The tests of blazen_trio: stories in sentences, deterministic, without mocks and without real sleeping."""
