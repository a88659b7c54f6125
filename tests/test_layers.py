"""The page order is the data order is the import order: a module imports only from modules above it."""

import ast
from pathlib import Path

import otolith

ROOT = Path(otolith.__file__).parent
ORDER = """
    files tensors recording datasets download store paired windows splits sampling augment features encoders objectives
    pretrain checkpoint published zeroshot logistic transfer baseline evaluate report study predict adapt recipe stages
    search cli
""".split()  # noqa: SIM905 - reads as the list it is
FORBIDDEN = {"evaluate": {"objectives", "pretrain"}, "encoders": {"files", "recording", "datasets", "store", "windows"}}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "otolith":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("otolith."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("otolith.")}
    return found


def test_every_module_is_in_the_order() -> None:
    parts = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()} - {
        "__init__",
        "__pycache__",
        "demo",
    }
    assert parts - {"__main__"} == set(ORDER)


def test_modules_import_only_from_above() -> None:
    for place, name in enumerate(ORDER):
        paths = (ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / f"{name}.py"]
        for path in paths:
            wrong = _imports(path) - set(ORDER[:place]) - {name, "__version__"}
            wrong |= _imports(path) & FORBIDDEN.get(name, set())
            assert not wrong, f"{path.name} imports {', '.join(sorted(wrong))}, which is not above it"
