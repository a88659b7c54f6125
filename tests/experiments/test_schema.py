"""The JSON schema: every recipe that ships is valid under it, and mistakes are not."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import otolith
from otolith.experiments import recipe
from otolith.experiments.schema import argument_descriptions, recipe_schema
from otolith.pretraining import pretrain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(otolith.__file__).parent / "recipes"
EVERY = sorted(path for path in RECIPES.rglob("*.toml") if path.parent.name != "prompts")
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
KNOWN = {
    "$schema", "title", "description", "default", "type", "enum", "const", "not", "anyOf", "properties", "required", "items",
    "additionalProperties", "patternProperties", "prefixItems", "minItems", "maxItems",
}  # fmt: skip


def problems(value: Any, schema: Any, path: str = "") -> list[str]:
    """What is wrong with a value: the keywords of JSON Schema that the schema uses, and no other."""
    if schema is True or schema == {}:
        return []
    if schema is False:
        return [f"{path} is not allowed"]
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "type" in schema:
        fits = isinstance(value, TYPES[schema["type"]]) and (schema["type"] == "boolean" or not isinstance(value, bool))
        if not fits:
            return [f"{path} is {value!r}, not of type {schema['type']}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path} is {value!r}, not one of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{path} is {value!r}, not {schema['const']!r}")
    if "not" in schema and not problems(value, schema["not"], path):
        found.append(f"{path} is {value!r}")
    if "anyOf" in schema and all(problems(value, each, path) for each in schema["anyOf"]):
        found += min((problems(value, each, path) for each in schema["anyOf"]), key=len)
    if isinstance(value, list):
        found += [
            text for k, each in enumerate(value) for text in problems(each, schema.get("items", {}), f"{path}[{k}]")
        ]
    if isinstance(value, dict):
        found += [f"{path} lacks {name}" for name in schema.get("required", ()) if name not in value]
        own = schema.get("properties", {})
        rest = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        for name, each in value.items():
            found += problems(each, own.get(name, rest), f"{path}.{name}")
    return found


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(recipe_schema(), allow_nan=False))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.relative_to(RECIPES).as_posix())
def test_every_recipe_that_ships_is_valid(path: Path, schema: dict[str, Any]) -> None:
    assert problems(tomllib.loads(path.read_text(encoding="utf-8")), schema) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pretrain]\nepoch = 3", ".pretrain.epoch is not allowed"),
        ("[pretrain]\nepochs = 'many'", ".pretrain.epochs is 'many', not of type integer"),
        ("[pretrain]\ndraw = 'variance'", ".pretrain.draw is not allowed"),
        ("[pretrain.sampling]\ndraw = 'odd'", "not one of ['uniform', 'subject', 'placement', 'variance']"),
        ("[pretrain.runtime]\nresume = 'x'", ".pretrain.runtime.resume is not allowed"),
        ("[encoder]\nname = 'tpn'\nkernel = 3", ".encoder"),
        ("[encoder]\nname = 'cpc'\nchannels = 3", ".encoder"),
        ("[objective]\ntemperature = 'warm'", ".objective"),
        ("[windows]\nseconds = true", ".windows.seconds is True"),
        ("[variants.a.protocol]\nfold = 3", ".variants.a.protocol.fold is not allowed"),
        ("[unlabelled]\nlabel = 'last'", ".unlabelled.label is not allowed"),
        ("datasets = 'spar'", ".datasets is not allowed"),
        ("pretrain_on = 'spar'", ".pretrain_on is 'spar', not of type array"),
    ],
)
def test_mistakes_are_found(text: str, message: str, schema: dict[str, Any]) -> None:
    assert message in " ".join(problems(tomllib.loads(text), schema))


@pytest.mark.parametrize(
    "text",
    [
        "dataset = 'mine'\n[pretrain]\npatience = 'none'\nsampling = { share = 1 }",
        "[encoder]\nname = 'of-another-package'\nanything = [1, 2]",
        "[encoder]\nkernel = 5",
        "[protocol]\nshots = [2, 'all']",
        "[search]\n'pretrain.lr' = { low = 1e-4, high = 1e-2 }\nencoder.dropout = [0.1]",
    ],
)
def test_what_a_recipe_may_say_is_valid(text: str, schema: dict[str, Any]) -> None:
    assert problems(tomllib.loads(text), schema) == []


def test_the_schema_knows_every_section_of_a_recipe_and_its_defaults(schema: dict[str, Any]) -> None:
    sections = {"windows", "unlabelled", "paired", "encoder", "objective", "pretrain", "protocol", "transfer", "search"}
    assert sections <= schema["properties"].keys() and sections <= set(recipe.Recipe.__dataclass_fields__)
    assert schema["properties"]["pretrain"]["properties"]["epochs"]["default"] == 50
    assert schema["properties"]["pretrain"]["properties"]["lr"]["description"].startswith("learning rate of Adam")


def test_descriptions_come_from_the_docstring() -> None:
    found = argument_descriptions(pretrain)
    assert found["schedule"].endswith("see `warmup_cosine`.") and "Raises" not in " ".join(found.values())
    assert found["batch_size"].endswith("unless it is the only one.") and set(found) >= {
        "objective",
        "epochs",
        "runtime",
    }
