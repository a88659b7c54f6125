"""Atomic files, hashes, tensors with metadata, typed records."""
