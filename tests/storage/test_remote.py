"""Stores and models at addresses: fetched once, fetched again when they change, found again by another process."""

import functools
import http.server
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from otolith.checkpoints import checkpoint, shipped
from otolith.data.cutting import cut
from otolith.data.store import Store, open_store
from otolith.storage import remote


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTOLITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(store: Store) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.put(str(store.folder), "/bucket/synthetic", recursive=True)
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("data/spar", None),
        ("/data/spar", None),
        ("C:/data", None),
        ("a:b", None),
        ("s3://bucket/data", "s3://bucket/data"),
        (Path("s3://bucket/data") / "spar", "s3://bucket/data/spar"),
        (Path("file:///data"), "file:///data"),
        ("https://host/x.safetensors", "https://host/x.safetensors"),
    ],
)
def test_what_is_an_address(path: str | Path, address: str | None) -> None:
    assert remote.address_of(path) == address


def test_a_store_is_fetched_once_and_again_when_it_changes(bucket: str, store: Store, cache: Path) -> None:
    address = Path(bucket) / "synthetic"
    assert remote.exists(address / "manifest.json") and not remote.exists(address / "other.json")
    found = open_store(address)
    assert found.hash == store.hash and found.folder.is_relative_to(cache)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.f32")}
    open_store(address)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.f32")} == before and len(before) == 2
    files = fsspec.filesystem("memory")
    text = files.cat("/bucket/synthetic/manifest.json")
    files.pipe("/bucket/synthetic/manifest.json", text.replace(b'"1"', b'"7"') + b" ")
    with pytest.raises(ValueError, match="damaged or altered"):
        open_store(address)


def test_a_store_that_is_altered_on_its_way_is_refused(bucket: str) -> None:
    files = fsspec.filesystem("memory")
    values = bytearray(files.cat("/bucket/synthetic/signal.f32"))
    values[1000] ^= 1
    files.pipe("/bucket/synthetic/signal.f32", bytes(values))
    with pytest.raises(ValueError, match="was altered"):
        open_store(f"{bucket}/synthetic")


READ = "import pickle, sys; print(float(pickle.load(open(sys.argv[1], 'rb')).values[0].sum()))"


def test_another_node_fetches_the_store_of_windows_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store.folder, tmp_path / "far" / "synthetic")
    windows = cut(open_store(f"file://{tmp_path}/far/synthetic"))
    (tmp_path / "windows.pkl").write_bytes(pickle.dumps(windows))
    monkeypatch.setenv("OTOLITH_CACHE", str(tmp_path / "other node"))
    words = [sys.executable, "-c", READ, str(tmp_path / "windows.pkl")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) == float(windows.values[0].sum())
    assert len(list((tmp_path / "other node").rglob("signal.f32"))) == 1


def test_a_model_is_loaded_from_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reads https with it")
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(shipped.WEIGHTS))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/encoder.safetensors"
        assert checkpoint.load(address).sha256 == checkpoint.load().sha256
        with pytest.raises(FileNotFoundError):
            checkpoint.load(address + "x")
        server.shutdown()


@pytest.mark.parametrize("address", ["memory://nowhere/spar", "file:///nowhere/spar", "moon://x/spar"])
def test_what_is_not_there_is_said_in_one_line(address: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError)) as raised:
        open_store(address)
    assert "\n" not in str(raised.value)
