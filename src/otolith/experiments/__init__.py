"""Recipes, runs, studies and searches."""
