"""The text head of PRIMUS: class embeddings of a text encoder as the weights of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import prompts as zeroshot
from otolith.classifiers.heads.contract import Head, HeadInputs


class TextClassifier(nn.Module):
    """Maps features to the embedding space of a text encoder, normalises them to unit length, and maps them to classes.

    Args:
        width: size of the encoder's vector.
        dim: size of a text embedding.
        classes: number of classes.
    """

    def __init__(self, width: int, dim: int, classes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, dim)
        self.classes = nn.Linear(dim, classes)

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        logits: Tensor = self.classes(F.normalize(self.projection(features), dim=1))
        return logits


class TextHead(Head):
    """The checkpoint's projection into the space of a text encoder, and a Linear whose initial weights are class embeddings.

    A class embedding is the mean over the class's prompts; biases start at 0. In the mode `zero-shot` this is the
    classifier, and of the labels only their names are used. `frozen` freezes the encoder and the projection; `finetune`
    trains everything. A checkpoint without a projection for text gets a newly initialised one, and so do `scratch` and
    `random-frozen`: the published arms without words.

    Source: PRIMUS (Das et al., ICASSP 2025) and its published code.

    Args:
        prompts: sentences by label, or the TOML file that holds them; None: the labels' own words.
        text: name or folder of the text encoder; None: the one that the checkpoint was pretrained with, else the default.
    """

    def __init__(
        self, prompts: Mapping[str, Sequence[str]] | str | Path | None = None, text: str | None = None
    ) -> None:
        self.prompts = prompts
        self.text = text

    def fit(self, inputs: HeadInputs) -> nn.Module:
        """Return the head with class embeddings as its initial weights.

        In zero-shot use, logits are divided by the temperature that pretraining learned, so that probabilities are as sharp
        as there; which class is nearest does not depend on it.

        Raises:
            FileNotFoundError: the file of prompts does not exist.
            ImportError: the text encoder needs a package that is not installed.
            ValueError: the checkpoint has no projection for text and the head is not trained, the text encoder is another
                than that of pretraining, or a label has no prompts.
        """
        known = zeroshot.projection(inputs.pretrained_heads, "text")
        if known is None and not inputs.trained:
            raise ValueError(
                "this checkpoint has no head for text, so zero-shot classification is not possible: pretrain with paired "
                "text (a recipe's section [paired]), import published weights, or train on labels (mode frozen or finetune)"
            )
        vectors = zeroshot.vectors_for(inputs.about, inputs.names, self._sentences(), self.text)
        head = TextClassifier(inputs.dim, vectors.shape[1], len(inputs.names))
        if known is not None:
            if len(known["weight"]) != vectors.shape[1]:
                raise ValueError(
                    f"the checkpoint's head for text has {len(known['weight'])} dimensions and the text encoder "
                    f"'{zeroshot.words_of(inputs.about, self.text)}' has {vectors.shape[1]}; pass the text encoder that the "
                    "checkpoint was pretrained with"
                )
            checkpoint.check_fit(head.projection, known, what="the head for text")
            head.projection.load_state_dict(known)
        temperature = 1.0 if inputs.trained else _temperature(inputs.about)
        with torch.no_grad():
            head.classes.weight.copy_(vectors * (1 / temperature))
            head.classes.bias.zero_()
        return head

    def outline(self, width: int, classes: int, state: Mapping[str, Tensor]) -> nn.Module:
        """Return the layers; the size of a text embedding is read from `state`."""
        return TextClassifier(width, len(state["projection.weight"]), classes)

    def pretrained_part(self, module: nn.Module) -> nn.Module | None:
        """Return the projection."""
        assert isinstance(module, TextClassifier)
        return module.projection

    def arguments(self) -> dict[str, Any]:
        """Return all arguments; prompts that are given as a file are returned as their sentences."""
        return {"prompts": self._sentences(), "text": self.text}

    def _sentences(self) -> dict[str, list[str]] | None:
        if isinstance(self.prompts, str | Path):
            return zeroshot.read_prompts(Path(self.prompts))
        if self.prompts is None:
            return None
        return {label: [lines] if isinstance(lines, str) else list(lines) for label, lines in self.prompts.items()}


def _temperature(about: Mapping[str, Any]) -> float:
    """The temperature that divides cosines to text: as pretraining learned it, else its initial value."""
    learned = about.get("temperatures", {}).get("mmcl")
    return float(learned if learned is not None else about.get("objective_arguments", {}).get("temperature", 0.1))
