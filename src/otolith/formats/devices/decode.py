"""Samples of device files, decoded by actfast (extra `devices`) in a process of its own.

Its Rust code ends the process where a header asks for more memory than there is. So this module runs itself as a script: the
parent writes a file of a few blocks that it has checked, the child decodes it and answers over a pipe; where the child ends
without an answer, the blocks are damaged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np

_RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
_KEYS = ("acceleration", "gyroscope", "light")


class Decoded(NamedTuple):
    """Samples of one file.

    Attributes:
        signal: (samples, 3 or 6) float32, in the library's units.
        light: (samples,) float32 where light has as many values as there are samples, else None.
    """

    signal: np.ndarray
    light: np.ndarray | None


class Decoder:
    """A child process that decodes one file after another. Use it in a `with` statement.

    Raises:
        ImportError: actfast is not installed.
    """

    def __enter__(self) -> Decoder:
        self._folder = tempfile.TemporaryDirectory(prefix="otolith-")
        self._child: subprocess.Popen[bytes] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            with self._child as child:  # waits, and closes the pipes
                child.kill()
        self._folder.cleanup()

    def decode(self, container: bytes, suffix: str, samples: int, columns: int) -> Decoded:
        """Return the samples of a file.

        Args:
            container: the bytes of the file.
            suffix: of its name.
            samples: how many the file holds.
            columns: 3, or 6 with a gyroscope.

        Raises:
            ImportError: actfast is not installed.
            ValueError: the library does not read the file, or finds another number of samples.
        """
        path = Path(self._folder.name) / f"blocks{suffix}"
        path.write_bytes(container)
        try:
            answer, pipe = self._ask(str(path))
            sizes: dict[str, list[int]] = answer["arrays"]
            want = {"acceleration": [samples, 3], **({"gyroscope": [samples, 3]} if columns == 6 else {})}
            if any(sizes.get(key) != size for key, size in want.items()) or sizes.get("light", [samples]) != [samples]:
                raise ValueError(f"{sizes.get('acceleration', [0])[0]:,} samples were decoded of {samples:,}")
            arrays = {key: np.empty(size, np.float32) for key, size in sizes.items()}
            for key in sizes:  # in the order of the answer
                view = arrays[key].data.cast("B")
                if pipe.readinto(view) != len(view):  # type: ignore[attr-defined]  # the pipe is a BufferedReader
                    raise ValueError("the decoder broke off")
        finally:
            path.unlink()
        signal = np.hstack([arrays[key] for key in want]) if columns == 6 else arrays["acceleration"]
        return Decoded(signal, arrays.get("light"))

    def _ask(self, path: str) -> tuple[dict[str, Any], IO[bytes]]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _RUN, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(path).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:  # the child has ended
            pass
        answer = json.loads(self._child.stdout.readline() or b'{"error": "the decoder broke off"}')
        if answer.get("missing"):
            raise ImportError("device files are decoded by actfast: pip install 'otolith[devices]'")
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer, self._child.stdout


def _answer(path: str, out: IO[bytes]) -> None:
    """Decode one file, in the child."""
    try:
        import actfast
    except ImportError:
        out.write(b'{"missing": true}\n')
        return
    tables: dict[str, Any] = dict(actfast.read(path)["timeseries"])
    table = tables.get("high_frequency") or tables["acceleration"]
    arrays = {key: np.ascontiguousarray(table[key], np.float32) for key in _KEYS if key in table}
    out.write(json.dumps({"arrays": {key: list(array.shape) for key, array in arrays.items()}}).encode() + b"\n")
    for array in arrays.values():
        out.write(array.tobytes())


def _main() -> None:
    pipe = os.dup(1)  # what the library prints must not mix with the answers
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with os.fdopen(pipe, "wb") as out:
        for line in sys.stdin:
            try:
                _answer(json.loads(line), out)
            except BaseException as error:  # a panic of the library is no Exception
                out.write(json.dumps({"error": f"{str(error)[:300] or type(error).__name__}"}).encode() + b"\n")
            out.flush()


if __name__ == "__main__":
    _main()
