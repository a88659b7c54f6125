"""Adapt an encoder to people's own recordings and labels."""
