"""Applications for people's own recordings."""
