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

PRETRAINING_CODE = ("data", "encoders", "objectives", "pretraining")
"""Packages and modules whose code decides the weights of a pretrained encoder. Where the objective takes paired embeddings,
`paired` is another; a change of classifiers leaves encoders as they are."""

RESULT_CODE = ("data", "paired", "encoders", "objectives", "pretraining", "checkpoints", "classifiers", "evaluation")
"""Packages and modules whose code decides the numbers of a result row. Left out are `formats` and `datasets`, whose output
is hashed with the prepared store; `storage`, which computes nothing; and `plugins`, `reports`, `experiments`, `apps` and
`cli`, whose choices are the arguments of what they build, and these are hashed."""


@functools.cache
def code_version(packages: tuple[str, ...] = RESULT_CODE) -> str:
    """Return a hash of the sources of some of Otolith's packages and modules.

    Args:
        packages: names below `otolith`.

    Raises:
        ValueError: there is no such package or module.
    """
    root = Path(otolith.__file__).parent
    files: list[Path] = []
    for name in packages:
        own = sorted((root / name).rglob("*.py")) or [path for path in [root / f"{name}.py"] if path.is_file()]
        if not own:
            raise ValueError(f"Otolith has no package '{name}'")
        files += own
    return fingerprint({path.relative_to(root).as_posix(): sha256(path) for path in files})[:16]


@functools.cache
def provenance() -> dict[str, Any]:
    """Return version, code, commit and machine, as result rows and checkpoints record them.

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
