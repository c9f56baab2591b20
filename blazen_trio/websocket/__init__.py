"""The same API from afar: a server on an engine, and clients of it."""
