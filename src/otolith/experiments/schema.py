"""A JSON schema of recipes, from the signatures that check them: editors complete and check TOML with it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from otolith.classifiers.heads import HEADS
from otolith.classifiers.settings import FineTuning, Training
from otolith.classifiers.transfer import TransferClassifier
from otolith.data.cutting import cut
from otolith.encoders import ENCODERS
from otolith.evaluation.plan import fold_seeds, planned_rows
from otolith.experiments.checks import Function, argument_types, is_group
from otolith.experiments.recipe import GIVEN, GIVEN_CLASSIFIER, GIVEN_PROTOCOL, GIVEN_WINDOWS
from otolith.objectives import OBJECTIVES
from otolith.paired.attach import attach
from otolith.pretraining import pretrain

Schema = dict[str, Any]

_NONE = {"enum": ["none", "all"], "description": "stands for Python's None"}


def recipe_schema() -> Schema:
    """Return the schema of recipes, as JSON Schema 2020-12.

    Names of encoders, objectives and corpora that other packages add are allowed; arguments of theirs are not checked.
    """
    parts = _parts()
    dotted = "^(encoder|objective|pretrain)([.].+)?$"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of Otolith",
        "type": "object",
        "properties": {
            **parts,
            "extends": {"type": "string", "description": "another recipe, which this one changes"},
            "search": _table({}, "what `otolith search` may change: choices and ranges")
            | {"patternProperties": {dotted: {}}},
            "variants": {
                "type": "object",
                "description": "what differs in each variant",
                "additionalProperties": {"type": "object", "properties": parts, "additionalProperties": False},
            },
        },
        "additionalProperties": False,
    }


def argument_descriptions(function: Function) -> dict[str, str]:
    """Return the description of each argument, from the section `Args:` of a docstring."""
    text = inspect.getdoc(function) or ""
    _, found, rest = text.partition("Args:\n")
    if not found:
        return {}
    entries = re.split(r"\n(?=\S)", rest)[0]  # up to the next section
    pairs = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", entries, flags=re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in pairs}


def _parts() -> Schema:
    """Return the schema of the sections of a recipe, which its variants can hold too."""
    windows = _arguments([cut], GIVEN_WINDOWS)
    fraction = _arguments([attach], [name for name in argument_types([attach]) if name != "fraction"])
    modalities = {"type": "array", "items": {"type": "string"}, "description": 'such as ["text", "video"]'}
    sentences = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    classifier = _arguments([TransferClassifier], (*GIVEN_CLASSIFIER, "head", "training")) | {
        "head": _family(HEADS, ["prompts"], "the head and its arguments"),
        "training": _training(),
    }
    arm = _table(classifier, "further arguments for one mode, or another arm with its own name")
    return {
        "name": {"type": "string", "description": "of the run; default: the file's name"},
        "dataset": {"type": "string", "description": "a prepared corpus with labels"},
        "pretrain_on": {
            "type": "array",
            "items": {"type": "string"},
            "description": "prepared corpora to pretrain on; default: the training subjects of the dataset",
        },
        "setting": {"type": "string", "description": "what a study calls this dataset and its windows"},
        "seed": {"type": "integer", "description": "random seed"},
        "prompts": {
            "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": sentences}],
            "description": "sentences by label, for text heads: a TOML file or a table",
        },
        "windows": _table(windows, "arguments of `cut`, for windows with labels"),
        "unlabelled": _table(
            {name: value for name, value in windows.items() if name != "label"}, "what differs for pretraining"
        ),
        "paired": _table({"modalities": modalities, **fraction}, "paired embeddings for pretraining"),
        "encoder": _family(ENCODERS, GIVEN["encoder"], "the encoder and its arguments"),
        "objective": _family(OBJECTIVES, GIVEN["objective"], "the objective and its arguments"),
        "pretrain": _table(_arguments([pretrain], GIVEN["pretrain"]), "arguments of `pretrain`"),
        "protocol": _table(
            _arguments([fold_seeds, planned_rows], GIVEN_PROTOCOL), "folds, seeds, windows per class and modes"
        ),
        "transfer": _table(
            {name: value for name, value in classifier.items() if name != "mode"}, "arguments of `TransferClassifier`"
        )
        | {"additionalProperties": arm},
    }


def _training() -> Schema:
    tuning = _table(_arguments([FineTuning], ()), "which parts of the encoder are trained, and at which rate")
    return _table(_arguments([Training], ["finetuning"]) | {"finetuning": tuning}, "arguments of `Training`")


def _table(properties: Schema, description: str) -> Schema:
    return {"type": "object", "description": description, "properties": properties, "additionalProperties": False}


def _family(members: Mapping[str, Function], skip: Sequence[str], description: str) -> Schema:
    """Return the schema of a member's name and arguments; a table without a name changes a base recipe."""
    tables, every = [], dict[str, Any]()
    for name, member in members.items():
        properties = _arguments([member], skip)
        named = {"name": {"const": name, "description": (inspect.getdoc(member) or "").partition("\n\n")[0]}}
        tables.append(_table(named | properties, "") | {"required": ["name"]})
        for argument, schema in properties.items():
            every[argument] = {"anyOf": [*every.get(argument, {}).get("anyOf", ()), schema]}
    other = {"type": "object", "properties": {"name": {"not": {"enum": list(members)}}}, "required": ["name"]}
    return {"type": "object", "description": description, "anyOf": [*tables, other, _table(every, "")]}


def _arguments(functions: Sequence[Function], skip: Sequence[str]) -> Schema:
    """Return a schema of each argument, with its description and default."""
    found: Schema = {}
    for function in functions:
        words, parameters = argument_descriptions(function), inspect.signature(function).parameters
        for name, hint in argument_types([function], skip).items():
            if is_group(hint):
                inner = [each.removeprefix(f"{name}.") for each in skip if each.startswith(f"{name}.")]
                found[name] = _table(_arguments([hint], inner), words.get(name, ""))
                continue
            found[name] = _in_toml(TypeAdapter(hint).json_schema())
            if name in words:
                found[name]["description"] = words[name]
            default = parameters[name].default
            if isinstance(default, bool | int | float | str):
                found[name]["default"] = default
    return found


def _in_toml(schema: Any) -> Any:
    """Return the schema with the strings that stand for None where it allows null."""
    if isinstance(schema, dict):
        return dict(_NONE) if schema == {"type": "null"} else {key: _in_toml(value) for key, value in schema.items()}
    return [_in_toml(value) for value in schema] if isinstance(schema, list) else schema
