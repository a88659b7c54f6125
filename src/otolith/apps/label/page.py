"""The page of a labelled recording."""

from otolith.apps.label.recording import Labelled


def page(labelled: Labelled) -> str:
    """Return the page."""
    return labelled.session.name
