"""A model -> a folder with its file, without names of people, and its card; and on the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from otolith.apps.share.card import card_of
from otolith.checkpoints import checkpoint, shipped
from otolith.datasets import DATASETS
from otolith.storage import hub, tensors
from otolith.storage.files import check_apart, write_text

CARD = "README.md"
"""Name of the card."""


class Pushed(NamedTuple):
    """What was shared.

    Attributes:
        address: of the model on the hub; empty if it was only written to a folder.
        card: text of its card.
        renamed: number of people whose names were replaced by numbers.
    """

    address: str
    card: str
    renamed: int


def push(
    model: str | Path,
    name: str = "",
    *,
    licence: str = "",
    rows: pd.DataFrame | None = None,
    folder: Path | None = None,
    private: bool = False,
) -> Pushed:
    """Write a model and its card to a folder, or upload them to the hub, or both.

    People of published corpora keep the codes that the corpora gave them, so that `otolith evaluate` can refuse to test on
    people that the encoder saw. All others get numbers.

    Args:
        model: a checkpoint or classifier, as `shipped.locate` takes it.
        name: `user/name` on the hub; empty: no upload.
        licence: of the weights, such as `apache-2.0`; empty: that of the file's header.
        rows: result rows of the model, for the scores on its card.
        folder: for the two files; None: none is kept.
        private: whether a repository that is made is private.

    Raises:
        FileNotFoundError: there is no such model, or the hub cannot be reached.
        ValueError: no licence is known, neither name nor folder is given, the folder is that of the model, or the hub
            refuses.
    """
    if not name and folder is None:
        raise ValueError("nothing to do: name a repository of the hub, USER/NAME, or a folder with --out")
    path = shipped.locate(model)
    if folder is not None:
        check_apart(path, folder / hub.MODEL)
    header, state = checkpoint.read_file(path)
    header, renamed = without_names(header)
    card = card_of(header, name or "USER/NAME", licence=licence, rows=rows)
    with tempfile.TemporaryDirectory() as made:
        out = folder or Path(made)
        out.mkdir(parents=True, exist_ok=True)
        tensors.write(out / hub.MODEL, state, header)
        write_text(out / CARD, card)
        if not name:
            return Pushed("", card, renamed)
        with tempfile.TemporaryDirectory() as alone:  # other files of a folder stay at home
            for file in (hub.MODEL, CARD):
                (Path(alone) / file).write_bytes((out / file).read_bytes())
            return Pushed(hub.upload(Path(alone), name, private=private), card, renamed)


def without_names(header: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a header whose people of unpublished corpora are numbered, and the number of those people."""
    public = {name for name, card in DATASETS.items() if card.cite != "-"}
    numbers: dict[str, str] = {}
    for person in [*header["about"].get("subjects", ()), *header["about"].get("labelled_subjects", ())]:
        corpus, _, _ = str(person).partition(":")
        if corpus not in public:
            numbers.setdefault(str(person), f"{corpus}:{len(numbers) + 1}")
    about = {**header["about"], "recipe": ""} if numbers else header["about"]  # a recipe may name people or folders
    replaced: dict[str, Any] = _replaced({**header, "about": about}, numbers)
    return replaced, len(numbers)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value
