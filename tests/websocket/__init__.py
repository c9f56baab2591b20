"""The websocket: protocol, server, clients."""
