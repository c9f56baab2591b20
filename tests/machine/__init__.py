"""The proof of the pure machine: a model that shares no idea with it, unit properties, transcripts, planted bugs."""
