"""Share a model: its file without names of people, and its card, in a folder or on the hub."""

from otolith.apps.share.card import card_of
from otolith.apps.share.push import Pushed, push

__all__ = ["Pushed", "card_of", "push"]
