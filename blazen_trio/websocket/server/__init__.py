"""The server: what clients ask of an engine, and what it tells them."""
