"""A recipe file -> typed constructor arguments. Its keys are those arguments; there is no second list of settings.

    extends = "dont-freeze.toml"     # another recipe beside this one, which this one changes
    name = "motionsense-simclr"      # of the run
    dataset = "motionsense"          # a prepared corpus with labels
    pretrain_on = ["capture24"]      # prepared corpora to pretrain on; default: the training people of that one alone
    setting = "unseen actions"       # what a study calls this target; default: the dataset
    prompts = "prompts/mine.toml"    # sentences by label, beside this file, for heads of words; or a section [prompts]
    seed = 0

    [windows]                        # arguments of windows.cut, for windows with labels
    [unlabelled]                     # what differs for the windows of pretraining, for example overlap = 0.0
    [paired]                         # pairs for pretraining: modalities = ["text", "video"], and arguments of windows.attach
    [encoder]                        # name, and arguments of that encoder
    [objective]                      # name, and arguments of that objective
    [pretrain]                       # arguments of pretrain.pretrain
    [protocol]                       # arguments of plan.fold_seeds and plan.planned_rows
    [transfer]                       # arguments of TransferClassifier for all modes:
    head = { name = "mlp" }          # the head's name and its arguments; default: LogisticHead
    training = { steps = 400 }       # arguments of Training; finetuning = {...} in it holds those of FineTuning
    [transfer.finetune]              # further ones for one mode, merged into those above
    [transfer.supervised]            # an arm under a name of its own: mode = "scratch", and what differs
    [search]                         # what `otolith search` may change: ranges and choices, by setting
    "pretrain.lr" = { low = 5e-5, high = 5e-3, log = true }
    "encoder.name" = ["tpn", "resnet"]
    [variants.cpc.objective]         # what differs in a variant of the experiment; a section with a name replaces its own

TOML has no word for nothing, so the strings "none" and "all" stand for Python's None.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from otolith.classifiers.heads import HEADS
from otolith.classifiers.prompts import check_prompts
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.data.features import log_features
from otolith.data.sampling import seeded
from otolith.data.windows import Windows
from otolith.datasets import DATASETS
from otolith.encoders import ENCODERS, Encoder
from otolith.evaluation.arms import MODES, arm_arguments
from otolith.evaluation.plan import fold_seeds, planned_rows
from otolith.experiments.shipped import find_shipped
from otolith.experiments.toml import Table, _apply, _as_toml, _merged, _nones, _read
from otolith.objectives import OBJECTIVES, Objective
from otolith.paired.attach import attach
from otolith.pretrain import pretrain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_GIVEN = {
    "encoder": ("channels", "mean", "std"),
    "objective": ("encoder", "paired", "mean", "std"),
    "pretrain": ("objective", "train", "validation", "seed", "resume"),
}
"""Arguments that no recipe sets, as they follow from the run."""

_SAMPLE = 8192  # training windows whose statistics stand for all


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment, checked against the signatures it will be passed to. See the module's docstring for its parts."""

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

    @property
    def pairs(self) -> bool:
        """Whether the objective takes paired vectors: others are pretrained on the same windows without them."""
        return "paired" in inspect.signature(OBJECTIVES[self.objective["name"]]).parameters

    def build_encoder(self, train: Windows, seed: int) -> Encoder:
        """The encoder with initial weights from `seed`, standardising by the training windows' statistics where it does
        not normalise each window by itself."""
        kind = ENCODERS[self.encoder["name"]]
        arguments = {key: value for key, value in self.encoder.items() if key != "name"}
        if not kind.normalises_itself:
            arguments |= train.statistics()
        with seeded(seed):
            return kind(channels=train.shape[1], **arguments)

    def build_objective(self, encoder: Encoder, train: Windows, seed: int) -> Objective:
        """The objective on that encoder; its heads' initial weights come from `seed`, and their sizes from the pairs."""
        kind = OBJECTIVES[self.objective["name"]]
        arguments = {key: value for key, value in self.objective.items() if key != "name"}
        if "steps" in inspect.signature(kind).parameters:
            arguments.setdefault("steps", train.shape[2])
        if "mean" in inspect.signature(kind).parameters:
            sample = train.gather(torch.linspace(0, len(train) - 1, min(len(train), _SAMPLE)).long())
            features = log_features(sample.cpu().double())
            arguments["mean"] = features.mean(dim=0).tolist()
            arguments["std"] = features.std(dim=0).clamp_min(1e-3).tolist()
        if self.pairs:
            arguments["paired"] = {name: vectors.shape[1] for name, vectors in train.paired.items()}
        with seeded(seed + 1):
            return kind(encoder, **arguments)


def load(path: str | Path, changes: Sequence[str] = (), seed: int | None = None, variant: str | None = None) -> Recipe:
    """Reads and checks a recipe.

    Args:
        path: the TOML file, or the name of a recipe that ships.
        changes: `section.key=value`, with the value as TOML writes it; they win over the file.
        seed: wins over the file's.
        variant: one of the file's `variants`; the recipe's name ends in its name. None: the recipe as it stands.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: not TOML, an unknown section or key (the nearest one is named), or a value of the wrong type.
    """
    path = find_shipped(path)
    tree = _read(path)
    try:
        found = tree.pop("variants", {})
        if variant is not None:
            _known([variant], found, "variants")
            tree["name"] = f"{tree.get('name', path.stem)}-{variant}"
            tree = _merged(tree, found[variant])
        for change in changes:
            _apply(tree, change)
        if seed is not None:
            tree["seed"] = seed
        return _check(_nones(tree), default_name=path.stem)
    except ValueError as error:
        raise ValueError(f"recipe '{path}': {error}") from error


def changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings, such as `{"pretrain.lr": 1e-4}`, checked as in a file, and without its `search`.

    Another encoder or objective starts from its own defaults.
    """
    tree = {**tomllib.loads(recipe.text), "name": recipe.name}
    tree.pop("search", None)
    for section in ("encoder", "objective"):
        name = settings.get(f"{section}.name", tree[section]["name"])
        if name != tree[section]["name"]:
            tree[section] = {"name": name}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
    return _check(_nones(tree), recipe.name)


def variants(path: str | Path) -> list[str]:
    """Names of a recipe's variants, in the file's order; empty if it has none. Errors as `load`."""
    found = _read(find_shipped(path)).get("variants", {})
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise ValueError(f"recipe '{path}': variants are tables, [variants.NAME.SECTION]")
    return list(found)


def _check(tree: Table, default_name: str) -> Recipe:
    tree = dict(tree)
    if isinstance(tree.get("search"), dict):
        tree["search"] = _dotted(tree["search"])
    text = _as_toml(tree)
    sections = (
        "windows", "unlabelled", "paired", "prompts", "encoder", "objective", "pretrain", "protocol", "transfer", "search",
    )  # fmt: skip
    _known(tree, ["name", "setting", "dataset", "pretrain_on", "seed", *sections], "the top level")
    for section in sections:
        if not isinstance(tree.setdefault(section, {}), dict):
            raise ValueError(f"'{section}' is a value; expected a section [{section}]")
    if "dataset" not in tree:
        raise ValueError(f'no dataset named; add: dataset = "...", one of {", ".join(DATASETS)}')
    _known([tree["dataset"]], DATASETS, "dataset")
    corpora = tree.get("pretrain_on", [tree["dataset"]])
    if not isinstance(corpora, list) or not corpora or len(set(map(str, corpora))) < len(corpora):
        raise ValueError(f"pretrain_on is {corpora!r}; expected a list of corpora, each once")
    _known(corpora, DATASETS, "pretrain_on")
    transfer, overrides = _transfer(tree["transfer"])
    windows = _typed(tree["windows"], [cut], "windows", skip=("store", "starts"))
    try:
        prompts = check_prompts(tree["prompts"]) or None
    except ValueError as error:
        raise ValueError(f"[prompts] {error}") from None
    return Recipe(
        name=str(tree.get("name", default_name)),
        setting=str(tree.get("setting", tree["dataset"])),
        dataset=tree["dataset"],
        pretrain_on=tuple(corpora),
        seed=int(tree.get("seed", 0)),
        windows=windows,
        unlabelled={
            **windows,
            **_typed(tree["unlabelled"], [cut], "unlabelled", skip=("store", "label", "starts")),
            "label": None,
        },
        paired=_pairs(tree["paired"]),
        prompts=prompts,
        encoder=_member(tree["encoder"], ENCODERS, "encoder", skip=_GIVEN["encoder"]),
        objective=_member(tree["objective"], OBJECTIVES, "objective", skip=_GIVEN["objective"]),
        pretrain=_typed(tree["pretrain"], [pretrain], "pretrain", skip=_GIVEN["pretrain"]),
        protocol=_typed(
            tree["protocol"],
            [fold_seeds, planned_rows],
            "protocol",
            skip=("windows", "plan", "encoders", "transfer", "overrides", "prompts", "allow_seen"),
        ),
        transfer=transfer,
        overrides=overrides,
        search=_searched(tree["search"], tree["encoder"]["name"], tree["objective"]["name"]),
        text=text,
    )


def _known(names: Iterable[str], allowed: Iterable[str], what: str) -> None:
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(allowed)
            raise ValueError(f"unknown name '{name}' in {what}; {hint}")


def _member(table: Table, family: Mapping[str, Callable[..., Any]], what: str, skip: Sequence[str]) -> Table:
    if "name" not in table:
        raise ValueError(f"[{what}] has no name; one of {', '.join(family)}")
    name = table["name"]
    _known([name], family, what)
    rest = {key: value for key, value in table.items() if key != "name"}
    return {"name": name, **_typed(rest, [family[name]], what, skip=skip)}


def _transfer(table: Table) -> tuple[Table, dict[str, Table]]:
    """The section [transfer]: arguments of `TransferClassifier` for all arms, and further ones by arm."""
    own = ("head", "training")
    arms = {key: value for key, value in table.items() if isinstance(value, dict) and key not in own}
    shared = {key: value for key, value in table.items() if key not in arms}
    for arm, settings in arms.items():
        _known([settings.get("mode", arm)], MODES, f"[transfer.{arm}], whose mode is none of these")
    transfer = _classifier(shared, "transfer", None, skip=("encoder", "mode", "seed"))
    head = transfer.get("head", {}).get("name")
    overrides = {arm: _classifier(each, f"transfer.{arm}", head, ("encoder", "seed")) for arm, each in arms.items()}
    return transfer, overrides


def _classifier(table: Table, what: str, head: str | None, skip: Sequence[str]) -> Table:
    """Arguments of `TransferClassifier`, of which `head` and `training` are tables. A head without a name is `head`, or the
    default one."""
    tables = {key: table.get(key, {}) for key in ("head", "training")}
    _known(table, [name for name in inspect.signature(TransferClassifier).parameters if name not in skip], f"[{what}]")
    for key, value in tables.items():
        if not isinstance(value, dict):
            example = '{ name = "logistic" }' if key == "head" else "{ steps = 400 }"
            raise ValueError(f"[{what}] {key} = {value!r}; expected a table, such as {key} = {example}")
    rest = {key: value for key, value in table.items() if key not in tables}
    checked = _typed(rest, [TransferClassifier], what, skip=(*skip, *tables))
    if "head" in table:
        named = {"name": head or "logistic", **table["head"]}
        found = _member(named, HEADS, f"{what}.head", skip=("prompts",))
        checked["head"] = {key: value for key, value in found.items() if key in table["head"]}
    if "training" in table:
        given = dict(table["training"])
        tuning = given.pop("finetuning", {})
        if not isinstance(tuning, dict):
            example = "{ layer_decay = 0.5 }"
            raise ValueError(f"[{what}.training] finetuning = {tuning!r}; expected a table, such as {example}")
        _known(given, inspect.signature(Training).parameters, f"[{what}.training]")
        checked["training"] = _typed(given, [Training], f"{what}.training", skip=("finetuning",))
        if tuning:
            checked["training"]["finetuning"] = _typed(tuning, [FineTuning], f"{what}.training.finetuning", skip=())
    return checked


def _pairs(table: Table) -> Table:
    """The section [paired]: names of modalities, and arguments of `windows.attach`."""
    rest = {key: value for key, value in table.items() if key != "modalities"}
    skip = [name for name in inspect.signature(attach).parameters if name != "fraction"]
    checked = _typed(rest, [attach], "paired", skip=skip) if rest else {}
    if not table:
        return {}
    names = table.get("modalities")
    if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)) or len(set(names)) < len(
        names
    ):
        raise ValueError(f'[paired] modalities is {names!r}; expected a list such as ["text", "video"], each once')
    return {"modalities": names, **checked}


def _dotted(table: Table) -> Table:
    """`{"pretrain": {"lr": ...}}`, as TOML reads dots without quotes around them, -> `{"pretrain.lr": ...}`."""
    flat: Table = {}
    for key, value in table.items():
        if "." not in key and isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _searched(table: Table, encoder: str, objective: str) -> Table:
    """Choices (a list) and ranges (low, high, log) by setting, each checked against the signatures of whatever may be
    chosen to have it."""
    families: dict[str, Mapping[str, Callable[..., Any]]] = {"encoder": ENCODERS, "objective": OBJECTIVES}
    own = {"encoder": encoder, "objective": objective}
    space: Table = {}
    for key in sorted(table, key=lambda key: not key.endswith(".name")):  # names first: the rest depends on them
        what = table[key]
        section, _, name = key.partition(".")
        _known([section], _GIVEN, "[search]")
        limits = isinstance(what, dict)
        if limits:
            _known(what, ("low", "high", "log"), f"[search] {key}")
        if not (limits and {"low", "high"} <= set(what)) and not (isinstance(what, list) and what):
            raise ValueError(
                f"[search] {key} is {what!r}; expected a list of choices, or a range such as {{ low = 1e-4, high = 1e-2, "
                "log = true }"
            )
        values = [what["low"], what["high"]] if limits else what
        if name == "name" and section in families:
            _known(values, families[section], f"[search] {key}")
        else:
            functions: list[Callable[..., Any]] = [pretrain]
            if section in families:
                functions = [families[section][member] for member in space.get(f"{section}.name", [own[section]])]
            values = [_typed({name: value}, functions, f"search.{section}", _GIVEN[section])[name] for value in values]
        if len(set(map(str, values))) < len(values):
            raise ValueError(f"[search] {key} names a value twice: {values}")
        space[key] = values
        if limits:
            low, high = values
            log = what.get("log", False)
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            if not numbers or not low < high or not isinstance(log, bool) or (log and low <= 0):
                raise ValueError(f"[search] {key} is {what!r}; expected numbers with low < high, and low > 0 for log")
            space[key] = {"low": low, "high": high, "log": log}
    return space


def _typed(table: Table, functions: Sequence[Callable[..., Any]], what: str, skip: Sequence[str]) -> Table:
    """The table with its values checked against the functions' annotations."""
    hints: dict[str, Any] = {}
    for function in functions:
        of = function.__init__ if inspect.isclass(function) else function
        annotations = typing.get_type_hints(of)
        for name in inspect.signature(function).parameters:
            if name not in skip:
                hints[name] = annotations[name]
    _known(table, hints, f"[{what}]")
    checked = {}
    for name, value in table.items():
        try:
            checked[name] = TypeAdapter(hints[name], config=ConfigDict(strict=False)).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ValueError(f"[{what}] {name} = {value!r}: {problem['msg']}") from None
    return checked
