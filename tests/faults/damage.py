"""Damage that files come by, each as a function of the path of a sound file."""

import os
from collections.abc import Callable
from pathlib import Path


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return apply


def _flipped(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _unreadable(path: Path) -> None:
    path.chmod(0)


_RANDOM = bytes((number * 197 + number // 7 * 31) % 256 for number in range(5000))
_WRONG = b"\x89PNG\r\n\x1a\n" + _RANDOM[:500]

DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": _rewritten(lambda data: data[: len(data) * 2 // 3]),
    "one byte altered": _rewritten(_flipped),
    "empty": _rewritten(lambda data: b""),
    "random": _rewritten(lambda data: _RANDOM),
    "of another kind": _rewritten(lambda data: _WRONG),
    "with NUL": _rewritten(lambda data: data[: len(data) // 2] + bytes(64) + data[len(data) // 2 :]),
    "with a huge header": _rewritten(lambda data: (2**62).to_bytes(8, "little") + data[8:]),
    "nested deeply": _rewritten(lambda data: b"[" * 100_000),
    "a folder": _folder,
}
if os.name != "nt" and os.geteuid() != 0:  # whom every file is readable to
    DAMAGE["unreadable"] = _unreadable
