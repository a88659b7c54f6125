"""Embeddings of class names and prompts in the space of a text encoder.

An encoder that was pretrained with paired text has a head into the embedding space of a frozen text encoder. A class is then
a point in that space, the mean over a few prompts, and a window belongs to the nearest class. Either no label is needed
(zero-shot), or training on a few labels starts from these points (`TextHead`).
"""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from otolith import paired

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Prompts = Mapping[str, Sequence[str]]
"""Sentences by label."""

HEAD = "mmcl_head"
"""Name in checkpoints of the head into the space of the other modalities: one Linear for all, or one for each by name."""


def read_prompts(path: Path) -> dict[str, list[str]]:
    """Read prompts from a TOML file: `label = "a sentence"`, or a list of them.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not TOML, or holds something other than sentences.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no prompts at '{path}'; write a TOML file with one line per label: walking = [\"...\"]"
        )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the prompts '{path}' are not TOML: {error}") from error
    try:
        return check_prompts(tree)
    except ValueError as error:
        raise ValueError(f"the prompts '{path}': {error}") from None


def check_prompts(tree: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a table of prompts in which every value is a list.

    Raises:
        ValueError: a label has something other than sentences.
    """
    prompts = {label: [value] if isinstance(value, str) else value for label, value in tree.items()}
    for label, lines in prompts.items():
        if not (isinstance(lines, list) and lines and all(isinstance(line, str) and line.strip() for line in lines)):
            raise ValueError(
                f"'{label}' is {lines!r}; expected a sentence or a list of them, such as [\"a person walks\"]"
            )
    return prompts


def sentences(labels: Sequence[str], prompts: Prompts | None) -> tuple[tuple[str, ...], ...]:
    """Return the prompts of each label, in the order of the labels; without prompts, the label itself.

    Raises:
        ValueError: a label is not in the prompts.
    """
    if prompts is None:
        return tuple((label.replace("_", " "),) for label in labels)
    for label in labels:
        if label not in prompts:
            near = difflib.get_close_matches(label, list(prompts), n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "there are prompts for: " + ", ".join(prompts)
            raise ValueError(f"there is no prompt for '{label}'; {hint}")
    return tuple(tuple(prompts[label]) for label in labels)


def class_vectors(
    labels: Sequence[str], encoder: paired.TextEncoder, prompts: Prompts | None = None
) -> Float[Tensor, "classes dim"]:
    """Return one embedding per class: the mean of its prompts' L2-normalised text embeddings, itself not normalised.

    Args:
        labels: names of the classes.
        encoder: sentences -> (sentences, dim), L2-normalised.
        prompts: sentences by label; None: the label itself.

    Source: PRIMUS (Das et al., ICASSP 2025) and its published code: the initial weights of its classification head.

    Raises:
        ValueError: a label without prompts.
    """
    asked = sentences(labels, prompts)
    flat = [line for lines in asked for line in lines]
    vectors = torch.as_tensor(np.asarray(encoder(flat)), dtype=torch.float32)
    return torch.stack([part.mean(dim=0) for part in vectors.split([len(lines) for lines in asked])])


def words_of(about: Mapping[str, Any], text: str | None = None) -> str:
    """Return the name of the text encoder of a checkpoint: `text` if given, else the one it was pretrained with, else the
    default."""
    return text or str(about.get("paired", {}).get("text", {}).get("encoder", "minilm"))


def vectors_for(
    about: Mapping[str, Any], labels: Sequence[str], prompts: Prompts | None = None, text: str | None = None
) -> Float[Tensor, "classes dim"]:
    """Return `class_vectors` in the space that a checkpoint was pretrained in; computed once per process.

    Args:
        about: provenance of the checkpoint, whose `paired` names its text encoder.
        labels: names of the classes.
        prompts: sentences by label.
        text: name or folder of the text encoder, if it is not the one that the checkpoint names.

    Raises:
        ImportError: the text encoder needs a package that is not installed.
        ValueError: a label has no prompts, or the text encoder is not the one that the checkpoint was pretrained with.
    """
    name = words_of(about, text)
    vectors, sha = _vectors(name, sentences(labels, prompts))
    known = about.get("paired", {}).get("text", {})
    if known.get("sha256") not in (None, sha):
        raise ValueError(
            f"the text encoder '{name}' has the weights {sha[:12]}; the checkpoint was pretrained with "
            f"'{known.get('encoder')}' of the weights {known['sha256'][:12]}, whose embeddings differ: pass that one"
        )
    return vectors


@functools.lru_cache(maxsize=2)
def _encoder(name: str) -> paired.TextEncoder:
    return paired.text_encoder(name)


@functools.lru_cache(maxsize=64)
def _vectors(name: str, asked: tuple[tuple[str, ...], ...]) -> tuple[Tensor, str]:
    encoder = _encoder(name)
    numbers = [str(number) for number in range(len(asked))]
    return class_vectors(numbers, encoder, dict(zip(numbers, asked, strict=True))), encoder.sha256


def projection(heads: Mapping[str, Mapping[str, Tensor]], modality: str) -> dict[str, Tensor] | None:
    """Return weight and bias of a checkpoint's head into the space of `modality`; None if it has none.

    Args:
        heads: `Checkpoint.heads`.
        modality: such as `text`.
    """
    state = heads.get(HEAD, {})
    for prefix in ("", f"{modality}."):
        if {f"{prefix}weight", f"{prefix}bias"} <= set(state):
            return {key: state[prefix + key] for key in ("weight", "bias")}
    return None
