"""Recordings that are given twice are read once, and results never leave the folder that they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from otolith.formats.sources import find_sources


def recording(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("time,x,y,z\n" + "".join(f"{step / 50},0.1,0.0,1.0\n" for step in range(200)))
    return path


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a.csv", "a.csv"], ["a"]),
        (["a.csv", "./a.csv"], ["a"]),
        (["sub/../a.csv", "a.csv"], ["a"]),
        (["a.csv", "."], ["a", "sub/a"]),
        ([".", "sub"], ["a", "sub/a"]),
        (["sub", "sub"], ["a"]),
        (["a.csv", "sub/a.csv"], ["a.csv", "sub/a.csv"]),
        (["sub/a.csv", "a.csv"], ["a.csv", "{folder}/a.csv"]),
    ],
)
def test_what_is_given_twice_is_read_once(
    given: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(Path("a.csv"))
    recording(Path("sub/a.csv"))
    for paths in ([Path(name) for name in given], [tmp_path / name for name in given]):
        sources, _ = find_sources(paths)
        found = [source.name for source in sources]
        assert found == [name.format(folder=tmp_path.name) for name in names]
        assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in found)
