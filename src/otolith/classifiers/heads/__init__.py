"""Heads: modules from an encoder's features to logits, and how they are fitted. A new head is one file and one line here."""

from otolith.classifiers.heads.contract import Head, HeadInputs
from otolith.classifiers.heads.logistic import LogisticHead
from otolith.classifiers.heads.mlp import MLPHead
from otolith.classifiers.heads.text import TextHead

HEADS: dict[str, type[Head]] = {"mlp": MLPHead, "logistic": LogisticHead, "text": TextHead}
"""Every head by name, as recipes and files name it."""

__all__ = ["HEADS", "Head", "HeadInputs", "LogisticHead", "MLPHead", "TextHead"]
