"""Encoders on disk: weights, arguments, signal contract, provenance."""
