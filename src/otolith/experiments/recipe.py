"""Read a recipe file: its keys are constructor arguments, checked against their signatures.

    extends = "dont-freeze.toml"     # another recipe, which this one changes
    name = "motionsense-simclr"      # of the run
    dataset = "motionsense"          # a prepared corpus: the name of any store below --data; with labels, for evaluation
    pretrain_on = ["capture24"]      # prepared corpora to pretrain on; default: the training subjects of the dataset only
    setting = "unseen actions"       # what a study calls this dataset and its windows; default: the dataset's name
    prompts = "prompts/mine.toml"    # sentences by label, for text heads: a file, or a section [prompts]
    seed = 0

    [windows]                        # arguments of data.cutting.cut, for windows with labels
    [unlabelled]                     # what differs for the windows of pretraining, for example overlap = 0.0
    [paired]                         # pairs for pretraining: modalities = ["text", "video"], and fraction of paired.attach
    [encoder]                        # name, and arguments of that encoder
    [objective]                      # name, and arguments of that objective
    [pretrain]                       # arguments of pretraining.pretrain:
    epochs = 50
    sampling = { share = 0.1 }       # arguments of Sampling: draw, share, replacement
    runtime = { precision = "bf16-mixed" }  # arguments of Runtime: precision, accelerator, report_every, save_every_s
    [protocol]                       # arguments of evaluation.plan: fold_seeds and planned_rows
    [transfer]                       # arguments of TransferClassifier for all modes:
    head = { name = "mlp" }          # the head's name and its arguments; default: LogisticHead
    training = { steps = 400 }       # arguments of Training; finetuning = {...} in it holds those of FineTuning
    [transfer.finetune]              # further ones for one mode, merged into those above
    [transfer.supervised]            # another arm with its own name: mode = "scratch", and what differs
    [search]                         # what `otolith search` may change: ranges and choices, by setting
    "pretrain.lr" = { low = 5e-5, high = 5e-3, log = true }
    "encoder.name" = ["tpn", "resnet"]
    [variants.cpc.objective]         # what differs in a variant; a table with a name replaces the recipe's own

TOML has no null value, so the strings "none" and "all" stand for Python's None.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otolith.classifiers.prompts import check_prompts
from otolith.data.conversion import check_number
from otolith.data.cutting import cut
from otolith.encoders import ENCODERS, find_encoder
from otolith.evaluation.arms import arm_arguments
from otolith.evaluation.plan import check_protocol, fold_seeds, planned_rows
from otolith.experiments.checks import build_arguments, check_member, check_names, check_table
from otolith.experiments.search_table import check_search, with_dotted_keys
from otolith.experiments.shipped import find_shipped
from otolith.experiments.toml import Table, apply_change, as_toml, merged, read_recipe, with_nones
from otolith.experiments.transfer_table import check_transfer
from otolith.objectives import OBJECTIVES, find_objective
from otolith.paired.attach import attach
from otolith.pretraining import pretrain
from otolith.pretraining.settings import check_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


GIVEN = {
    "encoder": ("channels", "mean", "std"),
    "objective": ("encoder", "paired", "mean", "std"),
    "pretrain": ("objective", "train", "validation", "seed", "runtime.resume", "logger"),
}
"""Arguments by section that a recipe cannot set, because the run determines them."""

GIVEN_WINDOWS = ("store", "starts")
GIVEN_PROTOCOL = ("windows", "plan", "encoders", "transfer", "overrides", "prompts", "allow_seen")
GIVEN_CLASSIFIER = ("encoder", "seed", "prompts")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment, checked against the signatures that it is passed to. The module's docstring explains its parts."""

    name: str
    setting: str
    dataset: str
    pretrain_on: tuple[str, ...]
    seed: int
    windows: Table
    unlabelled: Table
    paired: Table
    prompts: dict[str, list[str]] | None
    encoder: Table
    objective: Table
    pretrain: Table
    protocol: Table
    transfer: Table
    overrides: dict[str, Table]
    search: Table
    text: str

    def classifier_arguments(self, arm: str) -> Table:
        """Return the arguments of an arm's classifier, as `TransferClassifier.from_arguments` takes them."""
        return arm_arguments(arm, self.transfer, self.overrides, self.prompts)

    def as_json(self) -> str:
        """Return the recipe in one line, without its section [search]; `from_json` reads it."""
        tree = {key: value for key, value in tomllib.loads(self.text).items() if key != "search"}
        return json.dumps({**tree, "name": self.name}, ensure_ascii=False)

    @property
    def takes_pairs(self) -> bool:
        """Whether the objective takes paired embeddings; others are pretrained on the same windows without them."""
        return "paired" in inspect.signature(find_objective(self.objective["name"])).parameters


def load(path: str | Path, changes: Sequence[str] = (), seed: int | None = None, variant: str | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the TOML file, or the name of a recipe that ships.
        changes: `section.key=value`, with the value as TOML writes it; they override the file.
        seed: overrides the file's.
        variant: one of the file's `variants`; the recipe's name ends in its name. None: the recipe as it stands.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: not TOML, an unknown section or key (the nearest one is named), or a value of the wrong type.
    """
    given, path = path, find_shipped(path)
    tree = read_recipe(path)
    try:
        found = tree.pop("variants", {})
        if variant is not None:
            check_names([variant], found, "variants")
            tree["name"] = f"{tree.get('name', path.stem)}-{variant}"
            tree = merged(tree, found[variant])
        for change in changes:
            apply_change(tree, change)
        if seed is not None:
            tree["seed"] = seed
        return _check(with_nones(tree), default_name=path.stem)
    except ValueError as error:
        raise ValueError(f"recipe '{given}': {error}") from error
    except RecursionError:
        raise ValueError(f"recipe '{given}': its tables are nested too deeply") from None


def changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with other settings, such as `{"pretrain.lr": 1e-4}`, checked as in a file, without its `search`.

    Another encoder or objective starts from its own defaults.
    """
    tree = {**tomllib.loads(recipe.text), "name": recipe.name}
    tree.pop("search", None)
    for section in ("encoder", "objective"):
        name = settings.get(f"{section}.name", tree[section]["name"])
        if name != tree[section]["name"]:
            tree[section] = {"name": name}
    for key, value in settings.items():
        *path, name = key.split(".")
        table = tree
        for part in path:
            table = table.setdefault(part, {})
        table[name] = value
    return _check(with_nones(tree), recipe.name)


def from_json(text: str) -> Recipe:
    """Return the recipe of `Recipe.as_json`, checked as in a file.

    Raises:
        ValueError: the text is not JSON, or not such a recipe.
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the recipe is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"the recipe is JSON of another kind: {text[:40]}; expected an object with its sections")
    return _check(with_nones(tree), default_name="recipe")


def variants(path: str | Path) -> list[str]:
    """Return the names of a recipe's variants, in the file's order; empty if it has none. Errors as `load`."""
    found = read_recipe(find_shipped(path)).get("variants", {})
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise ValueError(f"recipe '{path}': variants are tables, [variants.NAME.SECTION]")
    return list(found)


def _check(tree: Table, default_name: str) -> Recipe:
    tree = dict(tree)
    if isinstance(tree.get("search"), dict):
        tree["search"] = with_dotted_keys(tree["search"])
    text = as_toml(tree)
    sections = (
        "windows", "unlabelled", "paired", "prompts", "encoder", "objective", "pretrain", "protocol", "transfer", "search",
    )  # fmt: skip
    check_names(tree, ["name", "setting", "dataset", "pretrain_on", "seed", *sections], "the top level")
    for section in sections:
        if not isinstance(tree.setdefault(section, {}), dict):
            raise ValueError(f"'{section}' is a value; expected a section [{section}]")
    if "dataset" not in tree:
        raise ValueError('no dataset named; add: dataset = "NAME", the name of a prepared corpus such as spar')
    corpora = tree.get("pretrain_on", [tree["dataset"]])
    if not isinstance(corpora, list) or not corpora or len(set(map(str, corpora))) < len(corpora):
        raise ValueError(f"pretrain_on is {corpora!r}; expected a list of corpora, each once")
    for name in (tree["dataset"], *corpora):
        if not isinstance(name, str) or not re.fullmatch(r"[^./\\][^/\\]*", name):
            raise ValueError(
                f"the corpus {name!r} is not the name of a folder of prepared data; expected a name such as spar"
            )
    transfer, overrides = check_transfer(tree["transfer"])
    windows = check_table(tree["windows"], [cut], "windows", skip=GIVEN_WINDOWS)
    try:
        prompts = check_prompts(tree["prompts"]) or None
    except ValueError as error:
        raise ValueError(f"[prompts] {error}") from None
    name, seed = str(tree.get("name", default_name)), tree.get("seed", 0)
    if not re.fullmatch(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,99}", name):
        raise ValueError(
            f"name is {name!r}; expected the name of a folder: at most 100 characters, no / or control character"
        )
    check_number("seed", seed, least=0, whole=True)
    protocol = check_table(tree["protocol"], [fold_seeds, planned_rows], "protocol", skip=GIVEN_PROTOCOL)
    pretraining = check_table(tree["pretrain"], [pretrain], "pretrain", skip=GIVEN["pretrain"])
    check_protocol(**protocol)
    settings = build_arguments(pretraining, pretrain)  # which builds, and so checks, sampling and runtime
    check_settings(**{key: value for key, value in settings.items() if key not in ("sampling", "runtime")})
    return Recipe(
        name=name,
        setting=str(tree.get("setting", tree["dataset"])),
        dataset=tree["dataset"],
        pretrain_on=tuple(corpora),
        seed=seed,
        windows=windows,
        unlabelled={
            **windows,
            **check_table(tree["unlabelled"], [cut], "unlabelled", skip=("label", *GIVEN_WINDOWS)),
            "label": None,
        },
        paired=_pairs(tree["paired"]),
        prompts=prompts,
        encoder=check_member(tree["encoder"], find_encoder, ENCODERS, "encoder", GIVEN["encoder"]),
        objective=check_member(tree["objective"], find_objective, OBJECTIVES, "objective", GIVEN["objective"]),
        pretrain=pretraining,
        protocol=protocol,
        transfer=transfer,
        overrides=overrides,
        search=check_search(tree["search"], tree["encoder"]["name"], tree["objective"]["name"], GIVEN),
        text=text,
    )


def _pairs(table: Table) -> Table:
    """Check the section [paired]: names of modalities, and the fraction of `paired.attach`."""
    rest = {key: value for key, value in table.items() if key != "modalities"}
    skip = [name for name in inspect.signature(attach).parameters if name != "fraction"]
    checked = check_table(rest, [attach], "paired", skip=skip) if rest else {}
    if not table:
        return {}
    names = table.get("modalities")
    if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)) or len(set(names)) < len(
        names
    ):
        raise ValueError(f'[paired] modalities is {names!r}; expected a list such as ["text", "video"], each once')
    return {"modalities": names, **checked}
