"""The order of packages is the order of the data and of the imports: a module imports only from packages above its own."""

import ast
from pathlib import Path

import otolith

ROOT = Path(otolith.__file__).parent
ORDER = """
    plugins storage data formats datasets paired encoders objectives pretraining checkpoints classifiers evaluation reports
    experiments apps cli
""".split()  # noqa: SIM905 - reads as the list it is
FORBIDDEN = {
    "evaluation": {"objectives", "pretraining"},
    "encoders": {"storage", "data", "formats", "datasets", "paired"},
}


def _imports(path: Path) -> set[str]:
    """Full names of the modules of Otolith that a file imports, `package.module` or `package`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "otolith":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("otolith."):
            found.add((node.module or "").removeprefix("otolith."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("otolith.") for alias in node.names if alias.name.startswith("otolith.")}
    return found


def _files(name: str) -> list[Path]:
    return sorted((ROOT / name).rglob("*.py")) if (ROOT / name).is_dir() else [ROOT / f"{name}.py"]


def test_every_package_is_in_the_order() -> None:
    parts = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert parts - {"__init__", "__main__"} == set(ORDER)


def test_modules_import_only_from_packages_above() -> None:
    for place, name in enumerate(ORDER):
        for path in _files(name):
            packages = {module.split(".")[0] for module in _imports(path)}
            wrong = packages - set(ORDER[:place]) - {name, "__version__"}
            wrong |= packages & FORBIDDEN.get(name, set())
            assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}, which is not above it"
