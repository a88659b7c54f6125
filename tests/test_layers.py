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


# The measures of a readable module. Corpora are exempt from the length of a file: a corpus is one file.
MOST_LINES, MOST_LINES_OF_FUNCTION, MOST_ARGUMENTS = 400, 80, 13


def test_files_are_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES and path.parent.name != "datasets"
    }
    assert not long


def test_functions_are_short_and_take_few_arguments() -> None:
    wrong = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
            if lines > MOST_LINES_OF_FUNCTION or count > MOST_ARGUMENTS:
                wrong[f"{path.relative_to(ROOT)}:{node.name}"] = f"{lines} lines, {count} arguments"
    assert not wrong


def test_imports_form_no_circle() -> None:
    names = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in ROOT.rglob("*.py")
    }
    modules = set(names.values())
    needs = {name: {m for m in _at_the_top(path) if m in modules and m != name} for path, name in names.items()}
    done: set[str] = set()
    while ready := {name for name in needs if name not in done and needs[name] <= done}:
        done |= ready
    assert done == modules, f"in a circle, or behind one: {', '.join(sorted(modules - done))}"


def _at_the_top(path: Path) -> set[str]:
    """Modules that are imported when a module is, with the names that are modules themselves."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "otolith":
            base = (node.module or "").removeprefix("otolith").removeprefix(".")
            inner = {f"{base}.{alias.name}".removeprefix(".") for alias in node.names}
            are_modules = {name for name in inner if (ROOT / name.replace(".", "/")).with_suffix(".py").exists()}
            found |= are_modules or {base}
    return found - {""}
