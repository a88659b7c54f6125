"""File parsers, one per format."""
