"""Recordings, prepared stores, windows, splits, sampling, augmentation, features."""
