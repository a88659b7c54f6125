"""Tensors and their header come back as they were, or the file is refused; an older one survives whatever goes wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from forging import save_forged
from otolith.storage import tensors


def test_what_shares_memory_lies_apart_and_all_else_comes_back_to_the_bit(tmp_path: Path) -> None:
    path, table = tmp_path / "t.safetensors", torch.randn(4, 6)
    given = {
        "table": table,
        "again": table,
        "turned": table.T,
        "part": table[1:3],
        "half": torch.randn(3).bfloat16(),
        "trained": torch.nn.Parameter(torch.randn(2)),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "mapped": torch.from_numpy(np.memmap(tmp_path / "m", np.float64, "w+", shape=(5, 2))),
    }
    header = {"name": "é", "nested": [{"a": None}, 0.1]}
    tensors.write(path, given, header)
    found = tensors.read(path)
    assert found[0] == header == tensors.read_header(path) and found[1].keys() == given.keys()
    assert all(
        torch.equal(found[1][name], value) and found[1][name].dtype == value.dtype for name, value in given.items()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds tensors but no Otolith header; only files that Otolith wrote"),
        ("{", "header of .* cannot be used: Expecting"),
        ("[1]", "header of .* cannot be used: it is a list; expected an object"),
        ("[" * 100_000, "header of .* cannot be used: maximum recursion"),
    ],
)
def test_a_header_that_is_none_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    if text is None:
        save_file({"x": torch.zeros(2)}, path)
    else:
        save_forged({"x": torch.zeros(2)}, path, text)
    for read in (tensors.read, tensors.read_header):
        with pytest.raises(ValueError, match=message):
            read(path)


@pytest.mark.parametrize("damage", ["shorter", "longer", "a longer tensor", "a header without end"])
def test_sizes_that_do_not_fit_the_file_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    tensors.write(path, {"x": torch.zeros(8)}, {})
    whole = path.read_bytes()
    if damage == "a longer tensor":
        size = int.from_bytes(whole[:8], "little")
        layout = json.loads(whole[8 : 8 + size])
        layout["x"] |= {"shape": [2**40], "data_offsets": [0, 2**42]}
        text = json.dumps(layout).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
    else:
        path.write_bytes(
            {"shorter": whole[:-1], "longer": whole + b"\0", "a header without end": b"\xff" * 8 + whole[8:]}[damage]
        )
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        tensors.read(path)


def test_what_json_cannot_hold_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    tensors.write(path, {"x": torch.ones(2)}, {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        tensors.write(path, {"x": torch.zeros(2)}, {"loss": float("nan")})
    assert tensors.read(path)[0] == {"loss": 1.0} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seed", range(24))
def test_one_altered_bit_is_refused(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    state = {"w": torch.arange(6, dtype=torch.float32), "n": torch.tensor(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    tensors.write(path, {**state, "none": torch.zeros(0)}, {"about": "x"})
    assert tensors.read(path)[0] == {"about": "x"}
    content = bytearray(path.read_bytes())
    start = len(content) - 64 if seed % 2 else 8  # the values, or the header
    at = int(np.random.default_rng(seed).integers(start, len(content)))
    content[at] ^= 1 << seed % 8
    path.write_bytes(content)
    try:
        header, found = tensors.read(path)
    except ValueError as error:
        assert "t.safetensors" in str(error)
    else:  # a bit outside of everything that is read, such as padding of the header
        assert header == {"about": "x"} and all(torch.equal(found[name], state[name]) for name in state)


def test_another_name_type_or_shape_is_another_content(tmp_path: Path) -> None:
    x = torch.zeros(4)
    contents = [{"x": x}, {"y": x}, {"x": x.reshape(2, 2)}, {"x": x.to(torch.int32)}, {"x": x, "z": torch.zeros(0)}]
    assert len({tensors.digest({}, content) for content in contents} | {tensors.digest({"a": 1}, {"x": x})}) == 6


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from otolith.storage import tensors
from otolith.storage.files import write_text

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for write in (
    lambda: tensors.write(Path(sys.argv[1]), {"x": torch.zeros(50_000)}, {}),
    lambda: write_text(Path(sys.argv[1]), "x" * 50_000),
):
    try:
        write()
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits differ there")
def test_a_full_disk_is_an_error_of_one_line_that_names_the_file_and_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    tensors.write(path, {"x": torch.ones(2)}, {})
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert len(lines) == 2, ran.stdout
    for line in lines:
        assert line.startswith(f"'{path}' cannot be written: ") and line.endswith(
            "free some space, or choose another folder"
        )
    assert torch.equal(tensors.read(path)[1]["x"], torch.ones(2)) and list(tmp_path.iterdir()) == [path]
