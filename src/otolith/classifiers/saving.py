"""Write a fitted `TransferClassifier` as a checkpoint, and read it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from otolith.checkpoints import checkpoint
from otolith.classifiers import bouts, rejection
from otolith.data.features import feature_count

_ARGUMENTS = ("mode", "head", "training", "first_layer", "seed")


def save(model: Any, path: str | Path, label_names: Sequence[str] | None, about: Mapping[str, Any]) -> None:
    """Write the classifier; see `TransferClassifier.save`."""
    check_is_fitted(model, "head_")
    if model.signal_ is None:
        raise ValueError(
            "this classifier was fitted on arrays, whose sampling rate and units are unknown; fit it on Windows"
        )
    names = [str(label) if label_names is None else label_names[int(label)] for label in model.classes_]
    arguments = model.arguments()
    facts = {
        **{name: arguments[name] for name in _ARGUMENTS if name in arguments},
        "labels": names,
        "effective_head": model.effective_head_.arguments(),
    }
    about = {**model.about_, **about, "classifier": facts}
    checkpoint.save(
        path, model.encoder_, model.signal_, about=about, heads={"classifier": model.head_, **extras(model)}
    )


def extras(model: Any) -> dict[str, nn.Module]:
    """Return what a classifier of any kind knows of the unknown and of bouts, by the name of its tensors in the file."""
    found = {name: getattr(model, f"{name}_", None) for name in ("rejection", "bouts")}
    return {name: module for name, module in found.items() if module is not None}


def restore_extras(model: Any, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Set `rejection_` and `bouts_` of a loaded classifier; None where its file has none.

    Raises:
        ValueError: a state does not fit the classifier.
    """
    classes, signal = len(model.classes_), model.signal_
    width = feature_count(len(signal.channels), signal.steps)
    model.rejection_ = rejection.restored(states.get("rejection", {}), classes, width)
    model.bouts_ = bouts.restored(states.get("bouts", {}), classes)


def load(kind: Any, path: str | Path, device: str) -> Any:
    """Read a classifier; see `TransferClassifier.load`."""
    loaded = checkpoint.load(path)
    facts = loaded.about.get("classifier")
    if facts is None:
        raise ValueError(
            f"'{path}' holds an encoder without a classifier; train one with labels first: otolith adapt ENCODER "
            "--recordings DIR --labels FILE, or otolith transfer"
        )
    weights = loaded.heads.get("classifier", {})
    width = loaded.encoder.dim
    try:
        given = {name: facts[name] for name in _ARGUMENTS if name in facts or name != "first_layer"}
        model = kind.from_arguments({**given, "device": device}, loaded)
        model.effective_head_ = type(model.head)(**facts["effective_head"])
        if model.head.use_statistics:
            width += feature_count(len(loaded.signal.channels), loaded.signal.steps)
        model.classes_ = np.array([str(label) for label in facts["labels"]])
        with torch.device("meta"):  # takes no memory: sizes may be absurd until they are compared with the weights
            head = model.head.outline(width, len(model.classes_), weights)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"the classifier in '{path}' cannot be used: {error}") from error
    checkpoint.check_fit(head, weights, what=f"the classifier in '{path}'")
    head.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    model.encoder_, model.head_ = loaded.encoder.to(device), head.to(device).eval()
    model.signal_, model.about_ = loaded.signal, loaded.about
    model.shape_ = len(loaded.signal.channels), loaded.signal.steps
    model.steps_, model.history_ = 0, []
    with checkpoint.usable(path):
        restore_extras(model, loaded.heads)
    return model
