"""Stories of peers: workflows that run on other servers."""
