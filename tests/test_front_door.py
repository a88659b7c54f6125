"""`import otolith as ot`: every public name is there, for people, for type checkers, and without loading anything heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import otolith as ot

SOURCE = Path(ot.__file__)
TREE = ast.parse(SOURCE.read_text(encoding="utf-8"))


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", ot.__all__)
def test_every_public_name_can_be_used(name: str) -> None:
    assert getattr(ot, name) is getattr(ot, name) is not None


def test_people_and_type_checkers_see_the_same_names() -> None:
    blocks = [node for node in TREE.body if isinstance(node, ast.If)]
    (imports,) = [block for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING"]
    typed = {name.asname: f"{node.module}:{name.name}" for node in imports.body for name in node.names}  # type: ignore[attr-defined]
    assert sorted(typed) == sorted(ot.__all__) and len(set(ot.__all__)) == len(ot.__all__)
    assert set(ot.__all__) <= set(dir(ot)) and "__version__" in dir(ot)
    for name, place in typed.items():
        value = getattr(ot, name)
        home = getattr(value, "__module__", None) or ""
        original = place.partition(":")[2]
        assert getattr(value, "__name__", original).rpartition(".")[2] == original
        if callable(value):
            assert home.startswith(place.partition(":")[0].rpartition(".")[0] or "otolith"), f"{name} is of {home}"


def test_the_list_of_names_is_literal() -> None:
    (assigned,) = [n for n in TREE.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    assert ast.literal_eval(assigned.value) == ot.__all__
    assert (SOURCE.parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'otolith' has no attribute 'SimCRL'"):
        ot.SimCRL  # noqa: B018
    assert not hasattr(ot, "__wrapped__")


def test_the_import_loads_nothing_heavy() -> None:
    heavy = "torch numpy pandas scipy sklearn matplotlib lightning_fabric rich typer".split()  # noqa: SIM905
    code = f"import otolith as ot, sys; dir(ot); print([name for name in {heavy!r} if name in sys.modules])"
    assert python(code) == "[]"


def test_pretrain_is_the_function_before_and_after_its_module_is_imported() -> None:
    assert python("import otolith as ot; print(callable(ot.pretrain))") == "True"
    code = "import otolith.pretraining as module, otolith as ot; print(ot.pretrain is module.pretrain)"
    assert python(code) == "True"
    code = "import otolith as ot; first = ot.pretrain; import otolith.pretraining.loop; print(ot.pretrain is first)"
    assert python(code) == "True"


def test_star_import_gives_the_names() -> None:
    assert python("from otolith import *; print(SimCLR.__name__, encoders.Strided.__name__)") == "SimCLR Strided"
