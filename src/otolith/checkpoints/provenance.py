"""Describe the code and the machine that made a file."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import otolith
from otolith.storage.files import fingerprint, sha256


@functools.cache
def code_version() -> str:
    """Identity of the code that results depend on: a hash of Otolith's own sources, without the surface modules."""
    root = Path(otolith.__file__).parent
    surface = {"cli", "reports", "apps", "experiments"}
    files = sorted(path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in surface)
    return fingerprint({path.relative_to(root).as_posix(): sha256(path) for path in files})[:16]


@functools.cache
def provenance() -> dict[str, Any]:
    """Version, code, commit and machine, as result rows and checkpoints record them.

    The commit is that of the checkout Otolith runs from, with `+` where it has changes; None for an installed package.
    """
    root = Path(otolith.__file__).parent
    commit = _git(root, "rev-parse", "--short=12", "HEAD") if (root.parent.parent / ".git").exists() else None
    if commit and _git(root, "status", "--porcelain", "--untracked-files=no", "--", "."):
        commit += "+"
    return {
        "otolith": otolith.__version__,
        "code": code_version(),
        "commit": commit,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
