"""Classifiers of windows: transfer from an encoder, and classical baselines."""
